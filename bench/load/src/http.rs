//! Answers as they come in from a socket.

use anyhow::{Context, Result, bail};

/// Bytes of a body that are kept; the rest of a longer one is only counted.
const KEPT_MAX: usize = 64 << 10;
/// Headers that an answer may have.
const HEADERS_MAX: usize = 48;

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a [u8],
    /// Of a long body, its beginning.
    pub body: &'a [u8],
}

/// The answer that is coming in.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    head: Option<Head>,
    /// Bytes of the body that were read and not kept.
    dropped: usize,
}

#[derive(Clone, Copy)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

impl Answer<'_> {
    /// A header, looked for in a head that was parsed before.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.head).ok()?;
        head.split("\r\n").find_map(|line| {
            let (its, value) = line.split_once(':')?;
            its.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Incoming {
    /// Takes bytes in; true once an answer is whole.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        if self.bytes.len() < KEPT_MAX {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.dropped += bytes.len();
        }
        if self.head.is_none() {
            self.head = parse(&self.bytes)?;
        }
        let Some(head) = self.head else {
            return Ok(false);
        };
        let got = self.bytes.len() + self.dropped;
        let whole = head.bytes + head.body_bytes;
        if got > whole {
            bail!("more came than was asked for");
        }
        Ok(got == whole)
    }

    /// The answer, once it is whole.
    pub fn answer(&self) -> Answer<'_> {
        let head = self.head.expect("is asked for once the answer is whole");
        Answer {
            status: head.status,
            head: &self.bytes[..head.bytes],
            body: &self.bytes[head.bytes..],
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head = None;
        self.dropped = 0;
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("no HTTP answer")? else {
        return Ok(None);
    };
    let status = response.code.context("an answer without a status")?;
    let mut headers = response.headers.iter();
    let length = headers.find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        _ if matches!(status, 204 | 304) => 0,
        Some(length) => std::str::from_utf8(length.value)?.trim().parse()?,
        None => bail!("an answer without a length"),
    };
    Ok(Some(Head {
        status,
        bytes: head,
        body_bytes: length,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nLocation: /operations/0-7\r\n\r\nok";

    #[test]
    fn an_answer_may_be_cut_anywhere() {
        for cut in 0..ANSWER.len() {
            let mut incoming = Incoming::default();
            assert!(!incoming.take(&ANSWER[..cut]).unwrap());
            assert!(incoming.take(&ANSWER[cut..]).unwrap());
            let answer = incoming.answer();
            assert_eq!((answer.status, answer.body), (202, &b"ok"[..]));
            assert_eq!(answer.header("location"), Some("/operations/0-7"));
            assert_eq!(answer.header("etag"), None);
        }
    }

    #[test]
    fn a_long_body_is_counted_and_not_kept() {
        let mut incoming = Incoming::default();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
        assert!(!incoming.take(head).unwrap());
        for _ in 0..99 {
            assert!(!incoming.take(&[b'x'; 10_000]).unwrap());
        }
        assert!(incoming.take(&[b'x'; 10_000]).unwrap());
        assert!(incoming.answer().body.len() <= KEPT_MAX + 10_000);
    }

    #[test]
    fn a_304_has_no_body_and_too_much_is_an_error() {
        let mut incoming = Incoming::default();
        let head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        assert!(incoming.take(head).unwrap());
        incoming.clear();
        assert!(incoming.take(&[ANSWER, b"x"].concat()).is_err());
    }
}
