//! Answers to list reads, put together once per snapshot and core and then given again.
//!
//! Most reads ask for the same few prefixes. Their entity tag, their `Link` and, where it is small,
//! their body are kept until the snapshot changes, so that a repeated read formats, searches and
//! copies nothing. A core's answers are its own: nothing here is shared or locked.

use std::cell::RefCell;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, LINK, VARY,
};
use hyper::{Response, StatusCode};

use super::conditional::{Accepts, ListTag, client_has};
use super::query::Cursor;
use super::response::{Body, JSON, empty, header, with};
use crate::snapshot::{self, Coding, Pin, Slice};

/// Answers that a core keeps: the limits and codings that its clients use, and some to spare. The
/// oldest gives way.
const ANSWERS_MAX: usize = 16;
/// Bytes of a body that is kept whole; larger ones are sent from the snapshot's pages.
const BODY_BYTES_MAX: u64 = 32 << 10;

/// The head of an answer to a list read, and its body.
#[derive(Clone)]
pub struct Answer {
    coding: Coding,
    tag: HeaderValue,
    link: Option<HeaderValue>,
    body: Kept,
}

#[derive(Clone)]
enum Kept {
    Whole(Bytes),
    /// Sent from this snapshot's pages.
    Pages(Pin, Slice),
}

impl Answer {
    /// `None` where the body is not there in this coding.
    fn of(snapshot: &Pin, slice: Slice, limit: Option<usize>, coding: Coding) -> Option<Self> {
        let bytes = snapshot.body_bytes(&slice, coding)?;
        let tag = ListTag {
            sum: snapshot.tag(&slice),
            items: slice.len(),
            coding,
        };
        let body = if bytes <= BODY_BYTES_MAX {
            let mut whole = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
            snapshot::body(snapshot, slice, coding)?.copy_to(&mut whole);
            Kept::Whole(whole.into())
        } else {
            Kept::Pages(snapshot.clone(), slice)
        };
        let link = limit.and_then(|limit| next_link(snapshot, slice, limit));
        Some(Self {
            coding,
            tag: header(&tag.to_string()),
            link,
            body,
        })
    }

    /// The answer in the coding that the client likes best of those that are there.
    pub fn negotiated(
        snapshot: &Pin,
        slice: Slice,
        limit: Option<usize>,
        headers: &HeaderMap,
    ) -> Self {
        let make = |coding| Self::of(snapshot, slice, limit, coding);
        best(headers, make, |coding| snapshot.want(&slice, coding))
    }

    /// As a response to a request with these headers: 304 where the client has it.
    pub fn response(self, headers: &HeaderMap, cache_control: &HeaderValue) -> Response<Body> {
        let mut response = if client_has(headers, &self.tag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = with(StatusCode::OK, JSON, self.body.send(self.coding));
            let encoding = coding_name(self.coding).map(HeaderValue::from_static);
            response
                .headers_mut()
                .extend(encoding.map(|name| (CONTENT_ENCODING, name)));
            response
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag);
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(CACHE_CONTROL, cache_control.clone());
        if let Some(link) = self.link {
            headers.insert(LINK, link);
        }
        response
    }
}

impl Kept {
    fn send(self, coding: Coding) -> Body {
        match self {
            Kept::Whole(bytes) => bytes.into(),
            Kept::Pages(snapshot, slice) => {
                let body = snapshot::body(&snapshot, slice, coding);
                // A coding is never taken from a snapshot.
                Body::List(body.expect("what was there once stays"))
            }
        }
    }
}

/// The answers to reads without cursor that a core keeps.
#[derive(Default)]
pub struct Answers(RefCell<Inner>);

#[derive(Default)]
struct Inner {
    /// What all of them are made from.
    snapshot: Option<Pin>,
    answers: Vec<(Option<usize>, Answer)>,
    /// Which one gives way next.
    oldest: usize,
}

impl Answers {
    /// The answer to `GET /todos[?limit=…]`, as [`Answer::negotiated`] would make it.
    pub fn plain(&self, snapshot: &Pin, limit: Option<usize>, headers: &HeaderMap) -> Answer {
        let mut inner = self.0.borrow_mut();
        inner.follow(snapshot);
        let slice = snapshot.first(limit.unwrap_or(usize::MAX));
        let find_or_make = |coding| {
            inner.find(limit, coding).or_else(|| {
                let answer = Answer::of(snapshot, slice, limit, coding)?;
                inner.keep(limit, answer.clone());
                Some(answer)
            })
        };
        best(headers, find_or_make, |coding| {
            snapshot.want(&slice, coding);
        })
    }

    /// Lets go of an old snapshot.
    pub fn forget_old(&self, snapshot: &Pin) {
        self.0.borrow_mut().follow(snapshot);
    }
}

impl Inner {
    fn follow(&mut self, snapshot: &Pin) {
        if !self
            .snapshot
            .as_ref()
            .is_some_and(|known| known.is(snapshot))
        {
            self.snapshot = Some(snapshot.clone());
            self.answers.clear();
            self.oldest = 0;
        }
    }

    fn find(&self, limit: Option<usize>, coding: Coding) -> Option<Answer> {
        let mut answers = self.answers.iter();
        let (_, answer) = answers.find(|(its, answer)| *its == limit && answer.coding == coding)?;
        Some(answer.clone())
    }

    fn keep(&mut self, limit: Option<usize>, answer: Answer) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push((limit, answer));
        } else {
            self.answers[self.oldest] = (limit, answer);
            self.oldest = (self.oldest + 1) % ANSWERS_MAX;
        }
    }
}

/// The answer in the coding that the client likes best of those that `make` can make. Better ones
/// are asked for.
fn best(
    headers: &HeaderMap,
    mut make: impl FnMut(Coding) -> Option<Answer>,
    want: impl Fn(Coding),
) -> Answer {
    let mut answers = codings(headers).filter_map(|coding| {
        let answer = make(coding);
        if answer.is_none() {
            want(coding);
        }
        answer
    });
    answers
        .next()
        .expect("identity is always there and ends the list")
}

/// What the client takes, best first; identity ends the list.
fn codings(headers: &HeaderMap) -> impl Iterator<Item = Coding> {
    let named = headers.contains_key(ACCEPT_ENCODING);
    let accepted = named.then(|| Accepts::of(headers).in_order());
    accepted.into_iter().flatten().chain([Coding::Identity])
}

fn coding_name(coding: Coding) -> Option<&'static str> {
    match coding {
        Coding::Identity => None,
        Coding::Gzip => Some("gzip"),
        Coding::Brotli => Some("br"),
        Coding::Zstd => Some("zstd"),
    }
}

/// `Link` to what comes next, while there is more.
fn next_link(snapshot: &Pin, slice: Slice, limit: usize) -> Option<HeaderValue> {
    let last = snapshot
        .last_key(&slice)
        .filter(|_| snapshot.has_more(&slice))?;
    let cursor = Cursor::text(last);
    Some(header(&format!(
        "</todos?limit={limit}&after={cursor}>; rel=\"next\""
    )))
}
