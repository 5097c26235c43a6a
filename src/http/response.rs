//! What goes back to a client: bodies, problem documents and their headers.

use std::borrow::Cow;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::socket::Socket;
use crate::limit::Permit;
use crate::snapshot::{self, Chunk};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A response body. Concrete, so that a list is sent without a box or a virtual call.
pub enum Body {
    Full(Option<Bytes>),
    List(snapshot::Body),
}

impl Body {
    pub const EMPTY: Body = Body::Full(None);

    fn next(&mut self) -> Option<Chunk> {
        match self {
            Body::Full(bytes) => bytes.take().map(Chunk::from),
            Body::List(chunks) => chunks.next(),
        }
    }

    pub fn remaining_bytes(&self) -> u64 {
        match self {
            Body::Full(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Body::List(chunks) => chunks.remaining_bytes(),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Body::Full(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
}

/// A body on its way: tells the connection when it is complete or dropped.
pub struct Sent {
    body: Body,
    socket: Rc<Socket>,
    /// The request is in flight for as long as its response is.
    _permit: Option<Permit>,
}

impl Sent {
    pub fn new(body: Body, socket: Rc<Socket>, permit: Option<Permit>) -> Self {
        Self {
            body,
            socket,
            _permit: permit,
        }
    }

    /// The body, for who sends it in another way than hyper.
    pub fn into_body(mut self) -> Body {
        mem::replace(&mut self.body, Body::EMPTY)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.socket.response_ends();
    }
}

impl HttpBody for Sent {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        Poll::Ready(self.body.next().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.remaining_bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.remaining_bytes())
    }
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::EMPTY);
    *response.status_mut() = status;
    response
}

/// A response with a body of type `content_type`.
pub fn with(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A response whose body is `value` as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).expect("responses serialise");
    with(status, JSON, body)
}

/// The status line and the headers as hyper writes them, up to where it adds its own.
pub fn head_to_wire(response: &Response<Body>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or("");
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            wire.extend_from_slice(part);
        }
    }
    wire
}

/// Text that is a header's value, made here and therefore printable ASCII.
pub fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("header values made here are printable ASCII")
}

/// An error as clients see it (RFC 9457). It holds nothing internal.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    kind: &'static str,
    detail: Cow<'static, str>,
    extensions: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with this answer.
    closes: bool,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind: "about:blank",
            detail: detail.into(),
            extensions: Vec::new(),
            headers: Vec::new(),
            closes: false,
        }
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503, and when to come again, in seconds.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(RETRY_AFTER, HeaderValue::from(retry_after_s))
    }

    /// The one answer to every token that does not count (RFC 6750, 3.1), or to its absence.
    pub fn unauthorized(token_was_sent: bool) -> Self {
        let challenge = if token_was_sent {
            "Bearer error=\"invalid_token\""
        } else {
            "Bearer"
        };
        Self::new(StatusCode::UNAUTHORIZED, "a valid bearer token is required")
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// An answer to a connection whose request could not be read.
    pub fn refusal(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the request head is too large",
            StatusCode::URI_TOO_LONG => "the request target is too long",
            StatusCode::REQUEST_TIMEOUT => "the request head did not arrive in time",
            StatusCode::SERVICE_UNAVAILABLE => "too many connections",
            _ => "the request is malformed",
        };
        let mut problem = Self::new(status, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem = problem.with_header(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        problem
    }

    /// A problem of a registered type, instead of one that its status says all about.
    pub fn of_type(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub fn with_extension(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Ends the connection with this answer: what follows on it cannot be trusted.
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The document, as it also stands in the outcome of an operation.
    pub fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("type".into(), self.kind.into());
        document.insert(
            "title".into(),
            self.status.canonical_reason().unwrap_or("Error").into(),
        );
        document.insert("status".into(), self.status.as_u16().into());
        document.insert("detail".into(), self.detail.as_ref().into());
        for (name, value) in &self.extensions {
            document.insert((*name).into(), value.clone());
        }
        document
    }

    pub fn into_response<B: From<Vec<u8>>>(self, request_id: &str) -> Response<B> {
        let mut document = self.document();
        document.insert("request_id".into(), request_id.into());
        let body = serde_json::to_vec(&document).expect("a problem serialises");
        let mut response = Response::new(B::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        // What is refused now may be right later (RFC 9111, 4.2.2).
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        response.headers_mut().extend(self.headers);
        if self.closes {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The whole response as bytes, for a connection that hyper no longer has.
    pub fn to_wire(&self) -> Vec<u8> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let response = self.clone().closing().into_response(&request_id);
        let mut wire = head_to_wire(&response);
        let mut body = response.into_body();
        let length = body.remaining_bytes();
        wire.extend(
            format!("x-request-id: {request_id}\r\ncontent-length: {length}\r\n\r\n").bytes(),
        );
        if let Body::Full(Some(bytes)) = &mut body {
            wire.extend_from_slice(bytes);
        }
        wire
    }
}
