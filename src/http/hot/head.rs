//! Telling apart what begins a stream of requests: a plain list read, another request whose end is
//! known, or what only hyper understands.
//!
//! A head is parsed by the same parser as hyper's, and a request is hot only where everything that
//! it says is known here to mean the same as there. When in doubt it is not.

use std::mem::MaybeUninit;

use httparse::{Request, Status};

use super::super::query;
use super::fields::{Fields, Said, place};

/// Header fields of a head that is read here; one with more is hyper's, which takes a hundred.
/// Browsers behind two proxies send some thirty.
pub const FIELDS_MAX: usize = 64;

/// What stands at the beginning of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Hot(Asked),
    /// Another request, of so many bytes with its body.
    Framed {
        bytes: u64,
    },
    /// The head is not whole.
    Partial,
    /// Not a request, or one whose end only hyper finds.
    Unframed,
}

/// A plain list read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub line: Line,
    pub fields: Fields,
}

/// What a plain request line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub wants_body: bool,
    pub limit: Option<usize>,
    /// The line and what stands before it.
    pub bytes: usize,
}

impl Asked {
    /// Takes the head off the bytes that it was found in, and gives its fields.
    pub fn split_off<'a>(&self, rest: &mut &'a [u8]) -> &'a [u8] {
        let (head, behind) = rest.split_at(self.line.bytes + self.fields.bytes);
        *rest = behind;
        &head[self.line.bytes..]
    }

    /// The request id that may be echoed, in the head's fields.
    pub fn request_id<'a>(&self, fields: &'a [u8]) -> Option<&'a [u8]> {
        let place = self.fields.request_id.as_ref()?;
        Some(&fields[place.clone()])
    }
}

/// Looks at the request that `bytes` begin with. `head_bytes_max` is the limit on its head.
pub fn next(bytes: &[u8], head_bytes_max: usize) -> Next {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(head_bytes)) if head_bytes <= head_bytes_max => head_bytes,
        Ok(Status::Partial) if bytes.len() < head_bytes_max => return Next::Partial,
        _ => return Next::Unframed,
    };
    let said = Said::of(request.headers);
    if said.is_unframed || request.version != Some(1) || request.method == Some("CONNECT") {
        return Next::Unframed;
    }
    let target = match (request.method, request.path) {
        (Some("GET" | "HEAD"), Some(target)) if said.is_plain() => Target::of(target),
        _ => Target::Other,
    };
    let limit = match target {
        Target::All => None,
        Target::First(limit) => Some(limit),
        Target::Other => {
            let bytes = head_bytes as u64 + said.body_bytes.unwrap_or(0);
            return Next::Framed { bytes };
        }
    };
    // Behind the line feed that ends the line.
    let target_end = request
        .path
        .map_or(0, |target| place(bytes, target.as_bytes()).end);
    let line_end = bytes[target_end..].iter().position(|byte| *byte == b'\n');
    let line_bytes = target_end + line_end.map_or(0, |at| at + 1);
    Next::Hot(Asked {
        line: Line {
            wants_body: request.method == Some("GET"),
            limit,
            bytes: line_bytes,
        },
        fields: said.in_places(&bytes[line_bytes..head_bytes]),
    })
}

pub enum Target {
    /// `/todos`
    All,
    /// `/todos?limit=N`
    First(usize),
    Other,
}

impl Target {
    pub fn of(target: &str) -> Self {
        if target == "/todos" {
            return Target::All;
        }
        let limit = target.strip_prefix("/todos?limit=").and_then(query::limit);
        limit.map_or(Target::Other, Target::First)
    }
}

/// Whether a head ends in `bytes`, of which those before `searched` are known to hold no end.
///
/// As hyper does: a head that came in parts is not parsed until it is whole.
pub fn ends(bytes: &[u8], searched: usize) -> bool {
    let rest = &bytes[searched.saturating_sub(3)..];
    rest.iter().enumerate().any(|(at, byte)| {
        let behind = &rest[at + 1..];
        match byte {
            b'\r' => behind.starts_with(b"\n\r\n"),
            b'\n' => behind.starts_with(b"\n") || behind.starts_with(b"\r\n"),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::super::super::conditional::Accepts;
    use super::*;

    const LIMIT: usize = 1_024;

    fn hot(head: &str) -> Asked {
        match next(head.as_bytes(), LIMIT) {
            Next::Hot(asked) => asked,
            other => panic!("{other:?} for {head:?}"),
        }
    }

    fn framed(head: &str) -> u64 {
        match next(head.as_bytes(), LIMIT) {
            Next::Framed { bytes } => bytes - head.len() as u64,
            other => panic!("{other:?} for {head:?}"),
        }
    }

    fn with(fields: &str) -> String {
        format!("GET /todos?limit=7 HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    }

    #[test]
    fn plain_list_reads_are_hot() {
        let head = with("Cookie: a\r\nAuthorization: Bearer x\r\nX-Forwarded-For: ::1\r\n");
        let asked = hot(&head);
        assert_eq!(asked.line.limit, Some(7));
        assert!(asked.line.wants_body && !asked.fields.closes);
        let asked = hot("HEAD /todos HTTP/1.1\r\nhost: [::1]:80\r\nConnection: x, Close\r\n\r\n");
        assert_eq!(asked.line.limit, None);
        assert!(!asked.line.wants_body && asked.fields.closes);
        let head = with(
            "If-None-Match: \"a\"\r\nACCEPT-ENCODING: gzip\r\nX-Request-Id: i\r\nX-Request-Id: j\r\n",
        );
        let asked = hot(&head);
        let part = |place: Option<Range<usize>>| {
            let fields = asked.split_off(&mut head.as_bytes());
            String::from_utf8_lossy(&fields[place.unwrap()]).into_owned()
        };
        assert_eq!(part(asked.fields.tags.clone()), "\"a\"");
        assert_eq!(part(asked.fields.request_id.clone()), "i");
        assert_eq!(asked.fields.accepts, Some(Accepts::of(["gzip"])));
        let asked = hot(&with("X-Request-Id: a b\r\nX-Request-Id: j\r\n"));
        assert_eq!(asked.fields.request_id, None);
        let spaced = "\r\n\nGET /todos HTTP/1.1\nHost: h\n\n";
        assert_eq!(
            hot(spaced).split_off(&mut spaced.as_bytes()),
            b"Host: h\n\n"
        );
    }

    #[test]
    fn what_is_not_plain_goes_through_the_gate() {
        for head in [
            "POST /todos HTTP/1.1\r\nHost: h\r\n\r\n",
            "get /todos HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos/1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos? HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos?limit=0 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos?limit=1000001 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos?limit=+1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos?limit=1&limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos?limit=1#x HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET http://h/todos HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos HTTP/1.1\r\n\r\n",
            "GET /todos HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET /todos HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            &with("Consistency-Token: 0-1\r\n"),
            &with("If-None-Match: a\r\nIf-None-Match: b\r\n"),
            &with("Accept-Encoding: a\r\nAccept-Encoding: b\r\n"),
            &with("Accept-Encoding: \u{e9}\r\n"),
            &with("Content-Length: 0\r\n"),
        ] {
            assert_eq!(framed(head), 0, "{head:?}");
        }
        assert_eq!(framed(&with("Content-Length: 12\r\n")), 12);
    }

    #[test]
    fn what_cannot_be_framed_is_hypers() {
        for fields in [
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\n",
            "Upgrade: h2c\r\n",
            "Content-Length: x\r\n",
            "Content-Length: \r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 18446744073709551615\r\n",
            "X : y\r\n",
            "X: a\r\n b\r\n",
            &"X: y\r\n".repeat(FIELDS_MAX),
            &format!("X: {}\r\n", "y".repeat(LIMIT)),
        ] {
            assert_eq!(
                next(with(fields).as_bytes(), LIMIT),
                Next::Unframed,
                "{fields:?}"
            );
        }
        for head in [
            "GET /todos HTTP/1.0\r\nHost: h\r\n\r\n",
            "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /todos HTTP/2.0\r\n",
            "\0",
        ] {
            assert_eq!(next(head.as_bytes(), LIMIT), Next::Unframed, "{head:?}");
        }
        let endless = vec![b'x'; LIMIT];
        assert_eq!(next(&endless[1..], LIMIT), Next::Partial);
        assert_eq!(next(&endless, LIMIT), Next::Unframed);
    }

    #[test]
    fn an_end_is_found_wherever_the_head_was_cut() {
        for head in ["a: b\r\n\r\n", "a: b\n\n", "a: b\n\r\n"] {
            for searched in 0..head.len() {
                assert!(ends(head.as_bytes(), searched), "{head:?} from {searched}");
                assert!(!ends(&head.as_bytes()[..head.len() - 1], searched));
            }
        }
    }
}
