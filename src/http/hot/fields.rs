//! What the fields of a request's head say, as far as it matters to a list read.

use std::ops::Range;

use httparse::Header;

use super::super::conditional::Accepts;
use super::super::headers::{is_host, is_request_id};
use super::super::peer::X_FORWARDED_FOR;

/// What the fields say. Places count from the first field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub accepts: Option<Accepts>,
    /// Where the value of `If-None-Match` stands. It is text.
    pub tags: Option<Range<usize>>,
    /// Where a request id stands that may be echoed.
    pub request_id: Option<Range<usize>>,
    /// Where the lines of `X-Forwarded-For` begin and end; others may stand between them.
    pub forwarded: Option<Range<usize>>,
    /// Whether the client wants the connection closed.
    pub closes: bool,
    /// The fields and the empty line behind them.
    pub bytes: usize,
}

impl Fields {
    /// The values of `X-Forwarded-For` in `fields`, which are those of the head.
    pub fn forwarded<'a>(&self, fields: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let lines = self.forwarded.clone().map_or(&[][..], |at| &fields[at]);
        lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let is_it = name.eq_ignore_ascii_case(X_FORWARDED_FOR.as_str().as_bytes());
            is_it.then_some(&value[1..])
        })
    }
}

/// What a head's fields say, as far as it matters here.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own, and the answers are independent"
)]
pub struct Said<'a> {
    hosts: usize,
    has_good_host: bool,
    closes: bool,
    pub body_bytes: Option<u64>,
    codings: Option<&'a str>,
    tags: Option<&'a str>,
    request_id: Option<&'a str>,
    /// The name of the first `X-Forwarded-For` and the value of the last.
    forwarded: Option<(&'a [u8], &'a [u8])>,
    /// Only hyper can tell where the request ends.
    pub is_unframed: bool,
    /// Something that is not spoken here.
    is_odd: bool,
}

impl<'a> Said<'a> {
    pub fn of(fields: &[Header<'a>]) -> Self {
        let mut said = Self::default();
        for field in fields {
            said.take(field.name, field.value);
        }
        said
    }

    fn take(&mut self, name: &'a str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // By length first: most fields of a head are of no interest here.
        match name.len() {
            4 if is("host") => {
                self.hosts += 1;
                self.has_good_host = is_host(value);
            }
            10 if is("connection") => self.closes |= lists_close(value),
            12 if is("x-request-id") => {
                // The first one counts.
                self.request_id = self.request_id.or(Some(text(value).unwrap_or("")));
            }
            13 if is("if-none-match") => keep(&mut self.tags, value, &mut self.is_odd),
            15 if is("accept-encoding") => keep(&mut self.codings, value, &mut self.is_odd),
            15 if is("x-forwarded-for") => {
                let first = self.forwarded.map_or(name.as_bytes(), |(first, _)| first);
                self.forwarded = Some((first, value));
            }
            17 if is("consistency-token") => self.is_odd = true,
            14 if is("content-length") => {
                let length = length(value).filter(|_| self.body_bytes.is_none());
                self.is_unframed |= length.is_none();
                self.body_bytes = length;
            }
            17 if is("transfer-encoding") => self.is_unframed = true,
            6 if is("expect") => self.is_unframed = true,
            7 if is("upgrade") => self.is_unframed = true,
            _ => {}
        }
    }

    /// The fields as they are kept: `fields` is where they were found.
    pub fn in_places(&self, fields: &[u8]) -> Fields {
        Fields {
            accepts: self.codings.map(|codings| Accepts::of([codings])),
            tags: self.tags.map(|tags| place(fields, tags.as_bytes())),
            request_id: self
                .request_id
                .filter(|id| is_request_id(id))
                .map(|id| place(fields, id.as_bytes())),
            forwarded: self
                .forwarded
                .map(|(first, last)| place(fields, first).start..place(fields, last).end),
            closes: self.closes,
            bytes: fields.len(),
        }
    }

    pub fn is_plain(&self) -> bool {
        self.hosts == 1 && self.has_good_host && self.body_bytes.is_none() && !self.is_odd
    }
}

/// Keeps the value of a field that is known here only once and as text.
fn keep<'a>(known: &mut Option<&'a str>, value: &'a [u8], is_odd: &mut bool) {
    let value = text(value);
    *is_odd |= value.is_none() || known.is_some();
    *known = value;
}

/// The value as text, on hyper's terms (`HeaderValue::to_str`).
fn text(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    std::str::from_utf8(value)
        .ok()
        .filter(|_| value.iter().all(is_visible))
}

/// Whether `Connection` names `close`.
fn lists_close(value: &[u8]) -> bool {
    let mut options = text(value).unwrap_or("").split(',');
    options.any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// Digits only. What no body can have is hyper's to refuse.
fn length(value: &[u8]) -> Option<u64> {
    let digits = text(value).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let length = digits.parse().ok()?;
    i64::try_from(length).is_ok().then_some(length)
}

/// Where in `bytes` the part stands that was found there.
pub fn place(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let begin = part.as_ptr() as usize - bytes.as_ptr() as usize;
    begin..begin + part.len()
}

#[cfg(test)]
mod tests {
    use super::super::head::{Next, next};

    #[test]
    fn lines_of_forwarded_addresses_are_found_among_others() {
        let values = |fields: &str| {
            let head = format!("GET /todos HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let Next::Hot(asked) = next(head.as_bytes(), 1_024) else {
                panic!("{head:?} is a plain read");
            };
            let fields = asked.split_off(&mut head.as_bytes());
            let values = asked.fields.forwarded(fields);
            let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
            values.map(text).collect::<Vec<_>>()
        };
        assert!(values("X-Forwarded: a\r\n").is_empty());
        assert_eq!(values("X-Forwarded-For: a, b\r\n"), ["a, b"]);
        assert_eq!(values("x-forwarded-for:\r\n"), [""]);
        let three = "X-Forwarded-For: a\r\nX-A: x-forwarded-for: b\nX-FORWARDED-FOR:c \r\n\
                     X-Forwarded-For: d\r\nX-B: e\r\n";
        assert_eq!(values(three), ["a", "c", "d"]);
    }
}
