//! Streams worth keeping: each a case that is easily got wrong.
//!
//! Those that are short are files of `fuzz/corpus`, which the fuzz targets begin with; a name says
//! what the stream is. One whose name begins with `unended` leaves a request open: nothing is sent
//! behind it.

use std::fs;
use std::path::Path;

use super::exchange::{Last, parts};

/// A kept stream, and where it comes from.
pub struct Kept {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Kept {
    /// The stream's own parts; one that has but one is also cut in half.
    pub fn cuts(&self) -> Vec<Vec<&[u8]>> {
        let own = parts(&self.bytes);
        if own.len() > 1 {
            return vec![own];
        }
        let (first, second) = self.bytes.split_at(self.bytes.len() / 2);
        vec![own, vec![first, second]]
    }

    /// How it may end.
    pub fn lasts(&self) -> &'static [Last] {
        if self.name.starts_with("unended") {
            &[Last::Finish]
        } else {
            &[Last::Request, Last::Finish]
        }
    }
}

pub fn kept() -> Vec<Kept> {
    let mut kept = files();
    kept.extend(of_lengths());
    kept
}

fn files() -> Vec<Kept> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut files: Vec<Kept> = entries
        .map(|entry| Kept {
            name: entry.file_name().into_string().unwrap(),
            bytes: fs::read(entry.path()).unwrap(),
        })
        .collect();
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    assert!(files.len() > 30, "only {} streams are kept", files.len());
    files
}

/// Heads and pipelines around the lengths and counts where something changes.
fn of_lengths() -> Vec<Kept> {
    const HEAD_LIMIT: usize = 16_384;
    const LINE: &str = "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n";
    let mut streams = vec![];
    let mut keep = |name: String, stream: String| {
        let bytes = stream.into();
        streams.push(Kept { name, bytes });
    };
    for length in [
        8_191,
        8_192,
        8_193,
        HEAD_LIMIT - 1,
        HEAD_LIMIT,
        HEAD_LIMIT + 1,
        3 * HEAD_LIMIT,
    ] {
        let filler = "y".repeat(length - LINE.len() - "X: \r\n\r\n".len());
        let head = format!("{LINE}X: {filler}\r\n\r\n");
        assert_eq!(head.len(), length);
        keep(format!("a head of {length} bytes"), head);
    }
    for fields in [62, 63, 64, 65, 98, 99, 100] {
        let lines = "X: y\r\n".repeat(fields);
        keep(format!("{fields} fields"), format!("{LINE}{lines}\r\n"));
    }
    for requests in [16, 63, 64, 65, 200] {
        let one = format!("{LINE}X-Request-Id: i\r\n\r\n");
        keep(format!("{requests} requests"), one.repeat(requests));
    }
    let blank = "\r\n".repeat(HEAD_LIMIT);
    keep("empty lines".to_owned(), format!("{blank}{LINE}\r\n"));
    streams
}
