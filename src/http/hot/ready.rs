//! Answers to plain list reads as the bytes that are sent, made once per snapshot and core.
//!
//! Most reads ask for the same few prefixes. Their heads and, where they are small, their bodies
//! stand here as hyper would write them, so that a repeated read formats and searches
//! nothing. The heads are made of the very response that hyper is given. A core's answers are its
//! own: nothing is shared or locked.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::super::answer::{Answer, best};
use super::super::conditional::{Accepts, names};
use super::super::response::head_to_wire;
use crate::domain::Timestamp;
use crate::snapshot::{Body, Chunk, Coding, Parts, Pin, Slice};

/// Limits that a core keeps apart in each coding. Larger ones displace one another.
const LIMITS: usize = 128;
const CODINGS: usize = 4;
/// Bytes of a body that is kept whole; larger ones are sent from the snapshot's pages.
const BODY_BYTES_MAX: usize = 32 << 10;
/// Bytes of all of these that a core keeps; beyond, they are sent from the pages as well.
const BODIES_BYTES_MAX: usize = 4 << 20;
/// A larger body in one piece is a fifth cheaper to send than one in pages. After so many from one
/// snapshot, that has cost about as much as copying the pages together does, once.
const SENT_TO_JOIN: u32 = 4;
/// Bytes of all such pieces of a core, with those of earlier snapshots that slow clients have not
/// taken yet: they are copies, where pages are shared from one snapshot to the next. (Tests have a
/// small one, for lists that do not fit.)
const JOINED_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 4 << 20 };

/// An answer as it is sent: the head of its 304, that of its 200 and, where it is small, the body, in
/// one piece.
#[derive(Clone)]
pub struct Ready {
    wire: Vec<u8>,
    not_modified: Head,
    found: Head,
    body: Place,
    tag: HeaderValue,
    /// The second that both heads' `Date` names.
    second: i64,
}

/// Where the body of a 200 is.
#[derive(Clone)]
enum Place {
    /// Behind the head.
    Wire,
    /// In the snapshot's pages, from where it was sent so often.
    Pages(Rc<Answer>, Cell<u32>),
    Joined(Bytes),
}

/// What is to be sent behind what stands ready.
pub enum Behind {
    Nothing,
    Pages(Parts),
    Joined(Chunk),
}

/// Where a head stands in the wire's bytes, and where more fields may be put into it: hyper writes
/// those of a request behind those of the answer, and its own at the end.
#[derive(Clone, Copy)]
pub struct Head {
    pub begin: usize,
    /// Behind the answer's fields; `Content-Length` follows, if there is one.
    pub fields_end: usize,
    /// Behind `Content-Length`; `Date` follows.
    pub length_end: usize,
    pub end: usize,
}

impl Ready {
    fn new(answer: Answer, cache_control: &HeaderValue, date: &Date, room: usize) -> Self {
        let mut wire = Vec::new();
        let not_modified = answer.response(true, cache_control);
        let not_modified = Head::write(&mut wire, &head_to_wire(&not_modified), None, date);
        let found = head_to_wire(&answer.response(false, cache_control));
        let body_bytes = answer.body().remaining_bytes();
        let found = Head::write(&mut wire, &found, Some(body_bytes), date);
        let is_small = usize::try_from(body_bytes).is_ok_and(|bytes| bytes <= room);
        if is_small {
            answer.body().copy_to(&mut wire);
        }
        wire.shrink_to_fit();
        let tag = answer.tag().clone();
        Self {
            wire,
            not_modified,
            found,
            body: if is_small {
                Place::Wire
            } else {
                Place::Pages(Rc::new(answer), Cell::new(0))
            },
            tag,
            second: date.second,
        }
    }

    /// The body in one piece, if it is sent from pages, has been often enough, and there is room.
    fn join(&self, joined: &mut Joined) -> Option<Bytes> {
        let Place::Pages(answer, sent) = &self.body else {
            return None;
        };
        if sent.get() < SENT_TO_JOIN || !answer.is_in_pages() {
            return None;
        }
        joined.join(answer.body())
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.wire[range]
    }

    pub fn not_modified(&self) -> Head {
        self.not_modified
    }

    pub fn found(&self) -> Head {
        self.found
    }

    /// Where the 200 with its body ends, as far as it stands here.
    pub fn end(&self) -> usize {
        self.wire.len()
    }

    /// What is sent of the body behind that.
    pub fn behind(&self) -> Behind {
        match &self.body {
            Place::Wire => Behind::Nothing,
            Place::Pages(answer, sent) => {
                sent.set(sent.get().saturating_add(1));
                Behind::Pages(answer.body().into_parts())
            }
            Place::Joined(bytes) => Behind::Joined(Chunk::from(bytes.clone())),
        }
    }

    /// Whether a client with this `If-None-Match` has it.
    pub fn is_named_by(&self, tags: &[u8]) -> bool {
        let tag = self.tag.as_bytes();
        tags == tag || std::str::from_utf8(tags).is_ok_and(|tags| names(tags, tag))
    }

    /// Bytes of the body that stand behind the head.
    fn body_bytes(&self) -> usize {
        self.wire.len() - self.found.end
    }

    fn set_date(&mut self, date: &Date) {
        for head in [self.not_modified, self.found] {
            let value = head.length_end + DATE.len();
            self.wire[value..value + date.text.len()].copy_from_slice(date.text.as_bytes());
        }
        self.second = date.second;
    }
}

pub const DATE: &[u8] = b"date: ";

impl Head {
    fn write(wire: &mut Vec<u8>, fields: &[u8], length: Option<u64>, date: &Date) -> Self {
        let begin = wire.len();
        wire.extend_from_slice(fields);
        let fields_end = wire.len();
        if let Some(length) = length {
            wire.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        let length_end = wire.len();
        for part in [DATE, date.text.as_bytes(), b"\r\n\r\n"] {
            wire.extend_from_slice(part);
        }
        let end = wire.len();
        Self {
            begin,
            fields_end,
            length_end,
            end,
        }
    }
}

/// The time as `Date` gives it. It changes its digits only, never its length.
#[derive(Default)]
struct Date {
    second: i64,
    text: String,
}

impl Date {
    fn set(&mut self, now: Timestamp) {
        let second = now.as_micros().div_euclid(1_000_000);
        if second == self.second && !self.text.is_empty() {
            return;
        }
        self.second = second;
        self.text.clear();
        let time = jiff::Timestamp::from_second(second).unwrap_or_default();
        DateTimePrinter::new()
            .print_timestamp_rfc9110(&time, &mut self.text)
            .expect("the years of a timestamp can be written");
    }
}

/// The bodies in one piece of a core.
#[derive(Default)]
struct Joined(Vec<Bytes>);

impl Joined {
    /// The body in one piece, if there is room for it.
    fn join(&mut self, body: Body) -> Option<Bytes> {
        self.let_go();
        let taken: usize = self.0.iter().map(Bytes::len).sum();
        let bytes = usize::try_from(body.remaining_bytes()).ok()?;
        if bytes > JOINED_BYTES_MAX.saturating_sub(taken) {
            return None;
        }
        let mut whole = Vec::with_capacity(bytes);
        body.copy_to(&mut whole);
        let whole = Bytes::from(whole);
        self.0.push(whole.clone());
        Some(whole)
    }

    /// Of what is neither kept nor being sent any more.
    fn let_go(&mut self) {
        self.0.retain(|body| !body.is_unique());
    }
}

/// The answers that a core keeps.
pub struct Answers {
    cache_control: HeaderValue,
    date: Date,
    /// What all of them are made from.
    snapshot: Option<Pin>,
    /// By coding and limit; what falls into one place displaces what was there.
    kept: Vec<Option<Kept>>,
    bodies_bytes: usize,
    joined: Joined,
}

struct Kept {
    limit: Option<usize>,
    ready: Rc<Ready>,
}

impl Answers {
    pub fn new(cache_control: HeaderValue, now: Timestamp) -> Self {
        let mut date = Date::default();
        date.set(now);
        Self {
            cache_control,
            date,
            snapshot: None,
            kept: Vec::new(),
            bodies_bytes: 0,
            joined: Joined::default(),
        }
    }

    /// Looks at the clock and at what is published. To be called several times a second: `Date` is
    /// as old as the last call, and an idle core lets go of an old snapshot.
    pub fn tick(&mut self, now: Timestamp, snapshot: &Pin) {
        self.date.set(now);
        self.follow(snapshot);
    }

    /// The time as `Date` gives it now.
    pub fn date(&self) -> &str {
        &self.date.text
    }

    /// Lets go of all that was made from another snapshot.
    pub fn follow(&mut self, snapshot: &Pin) {
        let known = self.snapshot.as_ref();
        if !known.is_some_and(|known| known.is(snapshot)) {
            self.snapshot = Some(snapshot.clone());
            self.kept.clear();
            self.kept.resize_with(LIMITS * CODINGS, || None);
            self.bodies_bytes = 0;
            self.joined.let_go();
        }
    }

    /// The answer to `GET /todos[?limit=…]` from the snapshot last followed.
    pub fn to(&mut self, limit: Option<usize>, accepts: Option<Accepts>) -> &Rc<Ready> {
        let snapshot = self.snapshot.clone().expect("a snapshot is followed first");
        let slice = snapshot.first(limit.unwrap_or(usize::MAX));
        let find = |coding| self.find(&snapshot, slice, limit, coding);
        let place = best(accepts, find, |coding| snapshot.want(&slice, coding));
        let kept = self.kept[place].as_mut();
        let ready = &mut kept.expect("a place that was found is taken").ready;
        if ready.second != self.date.second {
            // A copy where an answer is still being sent.
            Rc::make_mut(ready).set_date(&self.date);
        }
        ready
    }

    /// The place of the answer, made if it is not there; `None` where that cannot be in the coding.
    fn find(
        &mut self,
        snapshot: &Pin,
        slice: Slice,
        limit: Option<usize>,
        coding: Coding,
    ) -> Option<usize> {
        let place = coding as usize * LIMITS + limit.unwrap_or(0) % LIMITS;
        let kept = &mut self.kept[place];
        if let Some(kept) = kept
            && kept.limit == limit
        {
            if let Some(whole) = kept.ready.join(&mut self.joined) {
                Rc::make_mut(&mut kept.ready).body = Place::Joined(whole);
            }
            return Some(place);
        }
        let answer = Answer::of(snapshot, slice, limit, coding)?;
        if let Some(old) = kept.take() {
            self.bodies_bytes -= old.ready.body_bytes();
        }
        let room = BODY_BYTES_MAX.min(BODIES_BYTES_MAX - self.bodies_bytes);
        let ready = Ready::new(answer, &self.cache_control, &self.date, room);
        self.bodies_bytes += ready.body_bytes();
        let ready = Rc::new(ready);
        *kept = Some(Kept { limit, ready });
        Some(place)
    }
}
