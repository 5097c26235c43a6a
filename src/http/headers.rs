//! Request headers that are read here, each with its one grammar.

use std::time::Duration;

use hyper::Version;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::response::Problem;
use super::service::Call;
use crate::domain::Position;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Characters of a client's request id, at most; a longer one is replaced.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// Characters of an idempotency key, at most; a longer one is 400.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// A client's wait is cut to this.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The client's request id, if it may be echoed.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    is_request_id(id).then_some(id)
}

/// Whether a client's request id may be echoed.
pub fn is_request_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// The value of a header that may come once; `Err` where it is repeated.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
    }
}

/// Requires one well-formed `Host` (RFC 9112, 3.2). hyper does not look at it.
pub fn check_host(call: &Call) -> Result<(), Problem> {
    let malformed = || Problem::bad_request("exactly one valid Host header is required").closing();
    match single(call.headers(), &HOST) {
        Ok(Some(host)) if is_host(host) => Ok(()),
        // HTTP/1.0 knows no Host.
        Ok(None) if call.parts.version == Version::HTTP_10 => Ok(()),
        _ => Err(malformed()),
    }
}

/// `uri-host [ ":" port ]` of RFC 3986, 3.2.2.
pub fn is_host(host: &[u8]) -> bool {
    let literal_end = host.first().filter(|&&byte| byte == b'[').and_then(|_| {
        host.iter()
            .position(|&byte| byte == b']')
            .map(|end| end + 1)
    });
    let name_end = match literal_end {
        Some(end) => end,
        None => host
            .iter()
            .position(|&byte| byte == b':')
            .unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name_end);
    let port_is_good = match port.split_first() {
        None => true,
        Some((b':', digits)) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    let name_is_good = match literal_end {
        Some(end) => std::str::from_utf8(&name[1..end - 1])
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_reg_name(name),
    };
    name_is_good && port_is_good
}

fn is_reg_name(name: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            _ if is_plain(byte) => behind,
            _ => return false,
        };
    }
    !name.is_empty()
}

/// `Consistency-Token`: a position that a read must include.
pub fn consistency_token(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let malformed = || Problem::bad_request("Consistency-Token: must be one <partition>-<offset>");
    match single(headers, &CONSISTENCY_TOKEN) {
        Ok(None) => Ok(None),
        Ok(Some(token)) => {
            let token = std::str::from_utf8(token).map_err(|_| malformed())?;
            token.trim().parse().map(Some).map_err(|_| malformed())
        }
        Err(()) => Err(malformed()),
    }
}

/// `Idempotency-Key`, quoted (a structured-field string, RFC 8941) or bare.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let malformed = || {
        Problem::bad_request(format!(
            "Idempotency-Key: must be one key of 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable \
             ASCII characters"
        ))
    };
    let Some(value) = single(headers, &IDEMPOTENCY_KEY).map_err(|()| malformed())? else {
        return Ok(None);
    };
    let key = match value.strip_prefix(b"\"") {
        Some(rest) => unquote(rest).ok_or_else(malformed)?,
        None => value.to_vec(),
    };
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len());
    match String::from_utf8(key) {
        Ok(key) if fits && key.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(Some(key)),
        _ => Err(malformed()),
    }
}

/// The inside of a quoted string whose opening quote is gone.
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(&escaped @ (b'"' | b'\\')) => out.push(escaped),
                _ => return None,
            },
            b'"' => return None,
            _ => out.push(byte),
        }
    }
    Some(out)
}

/// What `Prefer` (RFC 7240) asks of a write. Preferences that are not known are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `wait=N`, cut to 30 s.
    pub wait: Option<Duration>,
    pub respond_async: bool,
}

impl Prefer {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            // Parameters behind `;` are for preferences that have some; these have none.
            let token = preference.split(';').next().unwrap_or("").trim();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let name = name.trim();
            // The first of a repeated preference counts (RFC 7240, 2).
            if name.eq_ignore_ascii_case("wait") && prefer.wait.is_none() {
                let seconds = value.trim().trim_matches('"').parse::<u32>().ok();
                prefer.wait = seconds.map(|s| Duration::from_secs(s.into()).min(WAIT_MAX));
            } else if name.eq_ignore_ascii_case("respond-async") {
                prefer.respond_async = true;
            }
        }
        prefer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in [
            "a",
            "localhost:8080",
            "1.2.3.4",
            "[::1]:80",
            "[::1]",
            "x.example:",
            "%41",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a/b", "u@h", "a:b", "a:123456", "%zz", "[::1", "[x]", "[::1]x",
            "a:1:2", "é",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_quoted_key_and_a_bare_one_are_the_same() {
        let key = |values: &[&str]| idempotency_key(&headers(&IDEMPOTENCY_KEY, values));
        assert_eq!(key(&["abc"]).unwrap(), key(&["\"abc\""]).unwrap());
        assert_eq!(key(&[r#""a\"b""#]).unwrap().as_deref(), Some("a\"b"));
        assert_eq!(key(&[]).unwrap(), None);
        for bad in [
            &["\"\""][..],
            &["\"open"],
            &["\"a\"b\""],
            &["a", "b"],
            &[&"k".repeat(256)],
        ] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn preferences_are_found_among_others() {
        let prefer = |values: &[&str]| Prefer::of(&headers(&PREFER, values));
        let wait = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(prefer(&["wait=5"]).wait, wait(5));
        assert_eq!(prefer(&["handling=lenient, Wait = 7; x=y"]).wait, wait(7));
        assert_eq!(prefer(&["foo", "wait=100"]).wait, wait(30));
        assert_eq!(prefer(&["wait=1, wait=2"]).wait, wait(1));
        assert_eq!(
            prefer(&["wait=soon, respond-async"]),
            Prefer {
                wait: None,
                respond_async: true
            }
        );
    }
}
