//! Request bodies: reading them within their limits, and the JSON of a todo.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue,
};
use serde_json::value::RawValue;
use simd_json::{Node, StaticNode};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::Options;
use super::response::Problem;
use super::socket::Socket;
use crate::domain::{Draft, Invalid};

/// A body that nobody has read.
pub enum Unread {
    /// It comes, with hyper.
    Coming(Incoming),
    Whole(Bytes),
}

impl Unread {
    pub fn is_empty(&self) -> bool {
        match self {
            Unread::Coming(body) => body.is_end_stream(),
            Unread::Whole(bytes) => bytes.is_empty(),
        }
    }

    /// Bytes that it has at least.
    fn bytes_min(&self) -> u64 {
        match self {
            Unread::Coming(body) => body.size_hint().lower(),
            Unread::Whole(bytes) => bytes.len() as u64,
        }
    }

    /// Bytes that it has at most, where that is known.
    fn bytes_max(&self) -> Option<u64> {
        match self {
            Unread::Coming(body) => body.size_hint().upper(),
            Unread::Whole(bytes) => Some(bytes.len() as u64),
        }
    }
}

/// Requires a JSON media type, uncoded.
pub fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: must be application/json",
        )
    };
    let is_coded = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(is_coded) {
        let problem = Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding: bodies are taken uncoded",
        );
        return Err(problem.with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.map(|value| value.split(';').next().unwrap_or("").trim());
    essence
        .filter(|essence| essence.eq_ignore_ascii_case("application/json"))
        .map(drop)
        .ok_or_else(refused)
}

/// Reads a whole body.
///
/// # Errors
/// 413 over the limit (at once, if its length says so), 408 when it does not arrive in time, 400
/// when it breaks off or its framing is broken.
///
/// # Cancel safety
/// What was read is lost; the connection closes.
pub async fn read(body: Unread, options: &Options) -> Result<Bytes, Problem> {
    let most = options.body_bytes_max;
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is over {most} bytes"),
        )
        .closing()
    };
    if body.bytes_min() > most as u64 {
        return Err(too_large());
    }
    let body = match body {
        Unread::Coming(body) => body,
        Unread::Whole(bytes) => return Ok(bytes),
    };
    match timeout(options.body_timeout, Limited::new(body, most).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_request("the body is malformed or incomplete").closing()),
        Err(_) => Err(late(options.body_timeout)),
    }
}

/// Reads past a body that nobody wants, beside the answer, so that the connection's next request can
/// be told from it. Says whether that is done: one that is long, or of no known length, or whose
/// client asks whether to send it, is left, and then the connection has to end.
///
/// What does not come in time, or breaks off, ends the connection as well.
pub fn pass_over(
    body: Unread,
    headers: &HeaderMap,
    socket: &Rc<Socket>,
    options: &Options,
) -> bool {
    let most = options.body_bytes_max as u64;
    let is_short = body.bytes_max().is_some_and(|bytes| bytes <= most);
    if !is_short || headers.contains_key(EXPECT) {
        return false;
    }
    let Unread::Coming(mut body) = body else {
        return true;
    };
    socket.passes_over();
    // Who ends a connection needs its socket for himself.
    let (socket, limit) = (Rc::downgrade(socket), options.body_timeout);
    spawn_local(async move {
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        drop(timeout(limit, rest).await);
        if let Some(socket) = socket.upgrade() {
            socket.has_passed_over();
        }
    });
    true
}

fn late(limit: Duration) -> Problem {
    let detail = format!("the body did not arrive within {} s", limit.as_secs_f32());
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail).closing()
}

/// Which members a body may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `title`, `description`
    Create,
    /// `title`, `description`, `completed`
    Replace,
}

/// Reads the JSON of a todo: what is missing takes its default, what is not known is refused.
///
/// # Errors
/// 400 for what is no such document, 422 for a value out of bounds.
pub fn draft(body: &[u8], shape: Shape) -> Result<Draft, Problem> {
    // The parser unescapes in place.
    let mut json = body.to_vec();
    let tape = simd_json::to_tape(&mut json).map_err(|_| malformed(body))?;
    let members = Members::of(&tape.0, shape)?;
    let title = members
        .title
        .ok_or_else(|| Problem::bad_request("title: is required"))?;
    let description = members.description.unwrap_or("");
    for (name, text) in [("title", title), ("description", description)] {
        if text.contains('\0') {
            return Err(Problem::bad_request(format!(
                "{name}: must not contain NUL"
            )));
        }
    }
    Draft::new(title, description, members.completed.unwrap_or(false)).map_err(|invalid| {
        let status = match invalid {
            Invalid::Nul => StatusCode::BAD_REQUEST,
            Invalid::Title | Invalid::Description => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Problem::new(status, invalid.to_string())
    })
}

#[derive(Default)]
struct Members<'a> {
    title: Option<&'a str>,
    description: Option<&'a str>,
    completed: Option<bool>,
}

impl<'a> Members<'a> {
    /// Walks the parser's tape: an object's members follow it as key, value, key, value.
    fn of(tape: &[Node<'a>], shape: Shape) -> Result<Self, Problem> {
        let mut members = Self::default();
        let Some((Node::Object { len, .. }, mut rest)) = tape.split_first() else {
            return Err(Problem::bad_request("the body must be a JSON object"));
        };
        for _ in 0..*len {
            let [Node::String(name), value, ..] = rest else {
                break;
            };
            members.take(name, *value, shape)?;
            rest = &rest[2..];
        }
        Ok(members)
    }

    fn take(&mut self, name: &str, value: Node<'a>, shape: Shape) -> Result<(), Problem> {
        let repeated = match (name, shape) {
            ("title", _) => self.title.replace(text(name, value)?).is_some(),
            ("description", _) => self.description.replace(text(name, value)?).is_some(),
            ("completed", Shape::Replace) => {
                self.completed.replace(boolean(name, value)?).is_some()
            }
            _ => {
                return Err(Problem::bad_request(format!(
                    "{}: is not known here",
                    shown(name)
                )));
            }
        };
        if repeated {
            return Err(Problem::bad_request(format!(
                "{name}: must not be repeated"
            )));
        }
        Ok(())
    }
}

fn text<'a>(name: &str, value: Node<'a>) -> Result<&'a str, Problem> {
    match value {
        Node::String(text) => Ok(text),
        _ => Err(Problem::bad_request(format!("{name}: must be a string"))),
    }
}

fn boolean(name: &str, value: Node<'_>) -> Result<bool, Problem> {
    match value {
        Node::Static(StaticNode::Bool(value)) => Ok(value),
        _ => Err(Problem::bad_request(format!(
            "{name}: must be true or false"
        ))),
    }
}

/// A client's text, cut to what belongs in a message.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    text.chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Says what is wrong with a body that is no JSON, naming the member if it is one's text. Cold, and
/// therefore a second look with a parser that can skip values.
fn malformed(body: &[u8]) -> Problem {
    let members = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body);
    let is_broken =
        |value: &RawValue| serde_json::from_str::<serde_json::Value>(value.get()).is_err();
    match members
        .ok()
        .and_then(|all| all.into_iter().find(|(_, value)| is_broken(value)))
    {
        Some((name, _)) => {
            Problem::bad_request(format!("{}: is not valid JSON text", shown(&name)))
        }
        None => Problem::bad_request("the body is not valid JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (u16, String) {
        let problem = draft(body.as_bytes(), Shape::Replace).unwrap_err();
        let detail = problem.document()["detail"].as_str().unwrap().to_owned();
        (problem.status.as_u16(), detail)
    }

    #[test]
    fn absent_members_take_their_defaults() {
        let draft = draft(br#"{"title":" a "}"#, Shape::Create).unwrap();
        assert_eq!(
            draft,
            Draft {
                title: "a".into(),
                description: String::new(),
                completed: false
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, member) in [
            (r#"{"title":1}"#, "title"),
            (r#"{"title":null}"#, "title"),
            (r#"{"title":{"a":[1,2]}}"#, "title"),
            (r#"{"title":"a","title":"b"}"#, "title"),
            (r#"{"title":"a","description":[]}"#, "description"),
            (r#"{"title":"a","completed":"true"}"#, "completed"),
            (
                r#"{"title":"a","completed":true,"completed":true}"#,
                "completed",
            ),
            (r#"{"title":"a","extra":{"deep":[1]}}"#, "extra"),
            (r#"{"title":"a\u0000b"}"#, "title"),
            (r#"{"title":"\ud800"}"#, "title"),
            (r#"{"title":"a","description":"\udc00x"}"#, "description"),
            ("{}", "title"),
        ] {
            let (status, detail) = refused(body);
            assert_eq!(status, 400, "{body}");
            assert!(detail.starts_with(member), "{body}: {detail}");
        }
        for body in [
            "",
            "[]",
            "1",
            "\"title\"",
            "{",
            r#"{"title":"a"} x"#,
            "\u{feff}{}",
            r#"{"title":"a",}"#,
        ] {
            assert_eq!(refused(body).0, 400, "{body}");
        }
        assert_eq!(refused(r#"{"title":""}"#).0, 422);
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash() {
        let deep = "[".repeat(60_000);
        assert_eq!(refused(&deep).0, 400);
        let body = format!(
            r#"{{"title":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert_eq!(refused(&body).0, 400);
    }

    #[test]
    fn a_member_of_replacement_is_unknown_to_creation() {
        let body = br#"{"title":"a","completed":true}"#;
        assert!(draft(body, Shape::Create).is_err());
        assert!(draft(body, Shape::Replace).unwrap().completed);
    }
}
