//! Mutations that know of lines: libFuzzer's own change bytes, and seldom make one good head of
//! another.

use libfuzzer_sys::fuzzer_mutate;

use crate::exchange::PAUSE;

/// What a line may be replaced by or followed by.
const LINES: [&[u8]; 26] = [
    b"GET /todos?limit=1 HTTP/1.1\r\n",
    b"GET /todos HTTP/1.1\r\n",
    b"HEAD /todos?limit=7 HTTP/1.1\r\n",
    b"POST /todos HTTP/1.1\r\n",
    b"GET /health HTTP/1.1\r\n",
    b"GET /todos?limit=1 HTTP/1.0\r\n",
    b"Host: h\r\n",
    b"host:[::1]:80\r\n",
    b"\r\n",
    b"\n",
    b"Connection: close\r\n",
    b"connection: x, keep-alive\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"If-None-Match: *\r\n",
    b"If-None-Match: \"x\"\r\n",
    b"Accept-Encoding: gzip\r\n",
    b"accept-encoding: br;q=0.5, *\r\n",
    b"X-Request-Id: i\r\n",
    b"X-Request-Id: \xe9\r\n",
    b"X-Forwarded-For: 198.51.100.1\r\n",
    b"Consistency-Token: 0-0\r\n",
    &[PAUSE],
];

/// Lines that are changed at once, at most.
const CHANGES_MAX: usize = 4;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's generator, whose upper bits are good enough.
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

/// Changes the stream in the first `size` bytes of `data`, and gives its new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(seed.into());
    dice.below(1);
    if dice.below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let stream = &data[..size];
    let mut lines: Vec<&[u8]> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    for _ in 0..=dice.below(CHANGES_MAX) {
        let at = dice.below(lines.len() + 1);
        let known = LINES[dice.below(LINES.len())];
        match (dice.below(4), lines.get(at).copied()) {
            (0, Some(_)) => drop(lines.remove(at)),
            (1, Some(_)) => lines[at] = known,
            (2, Some(line)) => lines.insert(dice.below(lines.len()), line),
            _ => lines.insert(at, known),
        }
    }
    let changed = lines.concat();
    if changed.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}
