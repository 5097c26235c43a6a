//! Counting request heads in a stream of bytes that is cut anywhere.

/// The end of a head.
const END: &[u8; 4] = b"\r\n\r\n";

/// How much of an end of a head the bytes so far stopped in: 0 to 3.
#[derive(Default)]
pub struct Heads {
    matched: usize,
}

impl Heads {
    /// The number of heads that end in `bytes`.
    pub fn count(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        let mut rest = bytes;
        while self.matched > 0 {
            let Some((first, others)) = rest.split_first() else {
                return count;
            };
            rest = others;
            self.step(*first);
            if self.matched == END.len() {
                self.matched = 0;
                count += 1;
            }
        }
        let mut start = 0;
        for end in memchr::memmem::find_iter(rest, END) {
            count += 1;
            start = end + END.len();
        }
        let tail = &rest[start.max(rest.len().saturating_sub(END.len() - 1))..];
        for byte in tail {
            self.step(*byte);
        }
        count
    }

    fn step(&mut self, byte: u8) {
        self.matched = match byte {
            byte if byte == END[self.matched] => self.matched + 1,
            b'\r' => 1,
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_wherever_they_are_cut() {
        let stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut heads = Heads::default();
                let count = heads.count(&stream[..first])
                    + heads.count(&stream[first..second])
                    + heads.count(&stream[second..]);
                assert_eq!(count, 3, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_will_do() {
        let mut heads = Heads::default();
        let stream = b"A\r\n\r\r\n\r\nB\r\n\r\n";
        let count: usize = stream.chunks(1).map(|byte| heads.count(byte)).sum();
        assert_eq!(count, 2);
    }
}
