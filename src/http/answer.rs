//! What a list read is answered with: which representation, and its head.

use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, LINK, VARY};
use hyper::{Response, StatusCode};

use super::conditional::{Accepts, ListTag};
use super::query::Cursor;
use super::response::{Body, JSON, empty, header, with};
use crate::snapshot::{self, Coding, Pin, Slice};

/// A representation of a part of the list.
pub struct Answer {
    snapshot: Pin,
    slice: Slice,
    coding: Coding,
    tag: HeaderValue,
    /// `Link` to what comes next, while there is more.
    link: Option<HeaderValue>,
}

impl Answer {
    /// `None` where the body is not there in this coding.
    pub fn of(snapshot: &Pin, slice: Slice, limit: Option<usize>, coding: Coding) -> Option<Self> {
        snapshot.body_bytes(&slice, coding)?;
        let tag = ListTag {
            sum: snapshot.tag(&slice),
            items: slice.len(),
            coding,
        };
        Some(Self {
            snapshot: snapshot.clone(),
            slice,
            coding,
            tag: header(&tag.to_string()),
            link: limit.and_then(|limit| next_link(snapshot, slice, limit)),
        })
    }

    /// The answer in the coding that the client likes best of those that are there.
    pub fn negotiated(
        snapshot: &Pin,
        slice: Slice,
        limit: Option<usize>,
        accepts: Option<Accepts>,
    ) -> Self {
        let make = |coding| Self::of(snapshot, slice, limit, coding);
        best(accepts, make, |coding| snapshot.want(&slice, coding))
    }

    pub fn tag(&self) -> &HeaderValue {
        &self.tag
    }

    pub fn body(&self) -> snapshot::Body {
        let body = snapshot::body(&self.snapshot, self.slice, self.coding);
        // A coding is never taken from a snapshot.
        body.expect("what was there once stays")
    }

    /// Whether the body lies in pieces, as many as the slice has pages.
    pub fn is_in_pages(&self) -> bool {
        matches!(self.coding, Coding::Identity | Coding::Gzip)
    }

    /// 304 where the client has it, else 200.
    pub fn response(&self, client_has: bool, cache_control: &HeaderValue) -> Response<Body> {
        let mut response = if client_has {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = with(StatusCode::OK, JSON, Body::List(self.body()));
            let encoding = coding_name(self.coding).map(HeaderValue::from_static);
            response
                .headers_mut()
                .extend(encoding.map(|name| (CONTENT_ENCODING, name)));
            response
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(CACHE_CONTROL, cache_control.clone());
        headers.extend(self.link.clone().map(|link| (LINK, link)));
        response
    }
}

/// What the client likes best of what `find` finds. Better codings are asked for.
pub fn best<T>(
    accepts: Option<Accepts>,
    mut find: impl FnMut(Coding) -> Option<T>,
    want: impl Fn(Coding),
) -> T {
    let accepted = accepts.map(Accepts::in_order);
    let mut codings = accepted.into_iter().flatten().chain([Coding::Identity]);
    let found = codings.find_map(|coding| {
        let found = find(coding);
        if found.is_none() {
            want(coding);
        }
        found
    });
    found.expect("identity is always there and ends the list")
}

fn coding_name(coding: Coding) -> Option<&'static str> {
    match coding {
        Coding::Identity => None,
        Coding::Gzip => Some("gzip"),
        Coding::Brotli => Some("br"),
        Coding::Zstd => Some("zstd"),
    }
}

fn next_link(snapshot: &Pin, slice: Slice, limit: usize) -> Option<HeaderValue> {
    let last = snapshot
        .last_key(&slice)
        .filter(|_| snapshot.has_more(&slice))?;
    let cursor = Cursor::text(last);
    Some(header(&format!(
        "</todos?limit={limit}&after={cursor}>; rel=\"next\""
    )))
}
