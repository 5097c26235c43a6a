//! Millpond's own responses, kept as files: what the floor and the peers answer with.
//!
//! A directory holds one file per response, named `<limit>.<form>`, where the limit is a number or
//! `all` and the form is `identity` or `gzip`. Each is the response as it came from the socket. A
//! peer turns every answer, at its start, into whatever is cheapest for it to send, and then picks
//! by as little as an HTTP server can: the query, whether gzip is named, whether the entity tag is
//! the one that the client has.

mod ready;

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use bytes::Bytes;

pub use ready::Ready;

/// The largest `limit` that responses are kept for; they are looked up by index.
pub const LIMIT_MAX: usize = 10_000;

/// A response taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, without `content-length` and `date`, which each server writes itself.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// All answers by limit, each as a `T` that `prepare` made.
#[derive(Debug)]
pub struct Answers<T> {
    /// At 0 the answers without a limit.
    by_limit: Vec<Forms<T>>,
}

#[derive(Debug)]
struct Forms<T> {
    identity: Option<Prepared<T>>,
    gzip: Option<Prepared<T>>,
}

#[derive(Debug)]
struct Prepared<T> {
    tag: Option<Vec<u8>>,
    whole: T,
    not_modified: T,
}

impl Answer {
    /// Takes a response apart.
    pub fn parse(response: &[u8]) -> Result<Self> {
        let end = head_end(response).ok_or_else(|| invalid("no end of the head"))?;
        let head = std::str::from_utf8(&response[..end]).map_err(|_| invalid("not a head"))?;
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid("no status"))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, _)| name != "content-length" && name != "date")
            .collect();
        Ok(Self {
            status,
            headers,
            body: Bytes::copy_from_slice(&response[end..]),
        })
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(its, _)| its == name)?;
        Some(value)
    }

    /// The 304 that stands for this answer.
    fn not_modified(&self) -> Self {
        let of_body = |name: &str| name.starts_with("content-");
        let headers = self.headers.iter().filter(|(name, _)| !of_body(name));
        Self {
            status: 304,
            headers: headers.cloned().collect(),
            body: Bytes::new(),
        }
    }
}

impl<T> Answers<T> {
    /// Reads a directory of captured responses.
    pub fn load(directory: &Path, prepare: impl Fn(&Answer) -> T) -> Result<Self> {
        let mut answers = Self {
            by_limit: Vec::new(),
        };
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let form = path.extension().and_then(|form| form.to_str());
            let slot = match stem {
                Some("all") => 0,
                stem => stem
                    .and_then(|limit| limit.parse().ok())
                    .filter(|limit| *limit <= LIMIT_MAX)
                    .ok_or_else(|| invalid("a file whose name is no limit"))?,
            };
            let answer = Answer::parse(&std::fs::read(&path)?)?;
            answers.put(slot, form == Some("gzip"), &answer, &prepare);
        }
        Ok(answers)
    }

    fn put(&mut self, slot: usize, gzip: bool, answer: &Answer, prepare: impl Fn(&Answer) -> T) {
        let none = || Forms {
            identity: None,
            gzip: None,
        };
        let slots = self.by_limit.len().max(slot + 1);
        self.by_limit.resize_with(slots, none);
        let forms = &mut self.by_limit[slot];
        let form = if gzip {
            &mut forms.gzip
        } else {
            &mut forms.identity
        };
        *form = Some(Prepared {
            tag: answer.header("etag").map(|tag| tag.as_bytes().to_vec()),
            whole: prepare(answer),
            not_modified: prepare(&answer.not_modified()),
        });
    }

    /// The answer to `GET /todos?<query>`; `None` where there is none.
    #[must_use]
    pub fn pick(
        &self,
        query: Option<&str>,
        accept_encoding: Option<&[u8]>,
        if_none_match: Option<&[u8]>,
    ) -> Option<&T> {
        let slot: usize = match query {
            None => 0,
            Some(query) => query.strip_prefix("limit=")?.parse().ok()?,
        };
        let forms = self.by_limit.get(slot)?;
        let wants_gzip = accept_encoding.is_some_and(|codings| contains(codings, b"gzip"));
        let gzip = forms.gzip.as_ref().filter(|_| wants_gzip);
        let prepared = gzip.or(forms.identity.as_ref())?;
        let known = if_none_match.is_some() && if_none_match == prepared.tag.as_deref();
        Some(if known {
            &prepared.not_modified
        } else {
            &prepared.whole
        })
    }
}

/// Where the body begins.
#[must_use]
pub fn head_end(response: &[u8]) -> Option<usize> {
    let mut windows = response.windows(4);
    Some(windows.position(|four| four == b"\r\n\r\n")? + 4)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers<Answer> {
        let mut answers = Answers {
            by_limit: Vec::new(),
        };
        for (slot, gzip, tag) in [(0, false, "all"), (3, false, "a"), (3, true, "b")] {
            let response = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nETag: \"{tag}\"\r\n\
                 content-length: 2\r\ndate: today\r\n\r\n[]"
            );
            let answer = Answer::parse(response.as_bytes()).unwrap();
            answers.put(slot, gzip, &answer, Answer::clone);
        }
        answers
    }

    #[test]
    fn a_response_is_taken_apart() {
        let answers = answers();
        let answer = answers.pick(Some("limit=3"), None, None).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("etag"), Some("\"a\""));
        assert_eq!(answer.headers.len(), 2);
        assert_eq!(&answer.body[..], b"[]");
    }

    #[test]
    fn the_coding_and_the_tag_are_heeded() {
        let answers = answers();
        let picked = answers.pick(Some("limit=3"), Some(b"br, gzip"), Some(b"\"b\""));
        let picked = picked.unwrap();
        assert_eq!((picked.status, picked.headers.len()), (304, 1));
        let picked = answers.pick(None, Some(b"gzip"), Some(b"\"b\"")).unwrap();
        assert_eq!(picked.status, 200, "identity has another tag");
    }

    #[test]
    fn an_unknown_limit_has_no_answer() {
        let answers = answers();
        for query in ["limit=2", "limit=9", "limit=x", "after=y"] {
            assert_eq!(answers.pick(Some(query), None, None), None);
        }
    }
}
