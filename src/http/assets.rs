//! Files that stand in the program, as a page in a browser loads them.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::conditional::client_has;
use super::response::{Body, empty, header, with};
use crate::domain::Hash128;

/// What every answer to a page says, whatever it is of.
pub const GUARDS: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];
/// A newer version shows at the next look.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// A file and its entity tag.
pub struct Asset {
    content_type: HeaderValue,
    bytes: Bytes,
    tag: HeaderValue,
    /// What a page may load (`Content-Security-Policy`).
    policy: Option<HeaderValue>,
}

impl Asset {
    pub fn new(content_type: &'static str, bytes: Bytes) -> Self {
        Self {
            content_type: HeaderValue::from_static(content_type),
            tag: header(&format!("\"{}\"", Hash128::of(&bytes))),
            bytes,
            policy: None,
        }
    }

    pub fn with_policy(self, policy: &'static str) -> Self {
        Self {
            policy: Some(HeaderValue::from_static(policy)),
            ..self
        }
    }

    /// The file, or that the client has it.
    pub fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let mut response = if client_has(asked, &self.tag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            with(
                StatusCode::OK,
                self.content_type.clone(),
                self.bytes.clone(),
            )
        };
        let headers = response.headers_mut();
        headers.extend(GUARDS);
        headers.insert(ETAG, self.tag.clone());
        headers.insert(CACHE_CONTROL, NO_CACHE);
        headers.extend(
            self.policy
                .clone()
                .map(|policy| (CONTENT_SECURITY_POLICY, policy)),
        );
        response
    }
}
