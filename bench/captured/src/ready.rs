//! An answer in the types of the crate `http`, for the peers that are built on them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::Answer;

/// A response but for its type, which cannot be cloned.
#[derive(Debug)]
pub struct Ready {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Ready {
    /// # Panics
    /// Where the answer is none that a server could have sent.
    #[must_use]
    pub fn new(answer: &Answer) -> Self {
        let headers = answer.headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name that was sent");
            let value = HeaderValue::from_str(value).expect("a value that was sent");
            (name, value)
        });
        Self {
            status: StatusCode::from_u16(answer.status).expect("a status that was sent"),
            headers: headers.collect(),
            body: answer.body.clone(),
        }
    }

    pub fn response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }

    /// Where no answer is kept.
    #[must_use]
    pub fn not_found<B: Default>() -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}
