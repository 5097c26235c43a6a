//! What is to be sent on a connection, in pieces that lie elsewhere.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use hyper::Response;

use super::super::response::{Body, head_to_wire};
use super::super::socket::Socket;
use super::super::stamp::Lines;
use super::ready::{DATE, Ready};
use crate::snapshot::{Chunk, Parts};

/// Pieces that wait and that one write takes, at most.
const PIECES_MAX: usize = 64;
/// Pieces that an answer takes, at most, without a body's pages.
const PIECES_OF_ANSWER: usize = 5;

/// Answers on their way. A core has one that its connections use in turn; a connection has one of
/// its own only while its client is slower than the kernel's buffers are deep. No body is copied:
/// what it holds is some pieces, some header fields and, through them, an old snapshot.
#[derive(Default)]
pub struct Output {
    pieces: Vec<Piece>,
    /// Pieces that are sent.
    sent: usize,
    /// Header fields that belong to one answer only.
    fields: Vec<u8>,
    /// What of a body is not among the pieces yet. Nothing may be put behind it.
    rest: Option<Parts>,
}

/// Header fields that belong to one answer only, in their order.
#[derive(Clone, Copy, Default)]
pub struct Own<'a> {
    pub request_id: Option<&'a [u8]>,
    /// Where reads are limited.
    pub limits: Option<&'a Lines<'a>>,
    pub closes: bool,
}

impl Own<'_> {
    /// All but what hyper writes at the end, and that.
    fn split_off_last(self) -> (Self, Self) {
        let last = Self {
            closes: self.closes,
            ..Self::default()
        };
        let first = Self {
            closes: false,
            ..self
        };
        (first, last)
    }
}

/// Bytes to send, never none.
enum Piece {
    Ready(Rc<Ready>, Range<usize>),
    Fields(Range<usize>),
    Page(Chunk),
}

impl Output {
    /// Whether there is room for one more answer.
    pub fn has_room(&self) -> bool {
        self.pieces.len() + PIECES_OF_ANSWER <= PIECES_MAX && self.rest.is_none()
    }

    /// Puts a 304 behind what is there.
    pub fn put_not_modified(&mut self, ready: &Rc<Ready>, own: Own<'_>) {
        let head = ready.not_modified();
        let fields = self.put_fields(own);
        self.put(ready, head.begin..head.fields_end, fields, head.end);
    }

    /// Puts a 200 behind what is there.
    pub fn put_found(&mut self, ready: &Rc<Ready>, own: Own<'_>) {
        let head = ready.found();
        let fields = self.put_fields(own);
        self.put(ready, head.begin..head.fields_end, fields, ready.end());
        self.rest = ready.pages();
        self.fill();
    }

    /// Puts the head of a 200 behind what is there. To HEAD, the length is among the answer's own
    /// fields, and stands before the last of them.
    pub fn put_head(&mut self, ready: &Rc<Ready>, own: Own<'_>) {
        let head = ready.found();
        let (own, last) = own.split_off_last();
        let fields = self.put_fields(own);
        if !last.closes {
            self.put(ready, head.begin..head.fields_end, fields, head.end);
            return;
        }
        self.put(ready, head.begin..head.fields_end, fields, head.length_end);
        let fields = self.put_fields(last);
        self.put(ready, head.length_end..head.length_end, fields, head.end);
    }

    /// Puts an answer that does not stand ready behind what is there; to HEAD, without its body.
    pub fn put_made(
        &mut self,
        response: Response<Body>,
        own: Own<'_>,
        wants_body: bool,
        date: &str,
    ) {
        let begin = self.fields.len();
        self.fields.extend(head_to_wire(&response));
        let length = response.body().remaining_bytes();
        let length = format!("content-length: {length}\r\n");
        let (own, last) = own.split_off_last();
        self.put_fields(own);
        if wants_body {
            self.put_fields(last);
            self.fields.extend_from_slice(length.as_bytes());
        } else {
            self.fields.extend_from_slice(length.as_bytes());
            self.put_fields(last);
        }
        for part in [DATE, date.as_bytes(), b"\r\n\r\n"] {
            self.fields.extend_from_slice(part);
        }
        if wants_body && let Body::Full(Some(bytes)) = response.into_body() {
            self.fields.extend_from_slice(&bytes);
        }
        let made = begin..self.fields.len();
        self.pieces.push(Piece::Fields(made));
    }

    /// Puts `begin`, `fields` and what follows `begin` up to `end`, in as few pieces as can be.
    fn put(&mut self, ready: &Rc<Ready>, begin: Range<usize>, fields: Range<usize>, end: usize) {
        let mut rest = begin.start..end;
        if !fields.is_empty() {
            rest.start = begin.end;
            if !begin.is_empty() {
                self.pieces.push(Piece::Ready(Rc::clone(ready), begin));
            }
            self.pieces.push(Piece::Fields(fields));
        }
        self.pieces.push(Piece::Ready(Rc::clone(ready), rest));
    }

    fn put_fields(&mut self, own: Own<'_>) -> Range<usize> {
        let begin = self.fields.len();
        if let Some(id) = own.request_id {
            for part in [b"x-request-id: ", id, b"\r\n"] {
                self.fields.extend_from_slice(part);
            }
        }
        if let Some(limits) = own.limits {
            limits.write(&mut self.fields);
        }
        if own.closes {
            self.fields.extend_from_slice(b"connection: close\r\n");
        }
        begin..self.fields.len()
    }

    /// Takes pages of the body into what is sent next.
    fn fill(&mut self) {
        let Some(rest) = &mut self.rest else {
            return;
        };
        while self.pieces.len() < PIECES_MAX {
            let Some(page) = rest.next() else {
                self.rest = None;
                return;
            };
            self.pieces.push(Piece::Page(page));
        }
    }

    /// Sends all that is there. What a write leaves is sent from where it stopped.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, socket: &Socket) -> Poll<io::Result<()>> {
        while !self.pieces.is_empty() {
            let written = ready!(self.poll_write(cx, socket))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, socket: &Socket) -> Poll<io::Result<usize>> {
        let unsent = &self.pieces[self.sent..];
        if let [only] = unsent {
            return socket.poll_write(cx, only.bytes(&self.fields));
        }
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        for (slice, piece) in slices.iter_mut().zip(unsent) {
            *slice = IoSlice::new(piece.bytes(&self.fields));
        }
        socket.poll_write_vectored(cx, &slices[..unsent.len()])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.get_mut(self.sent) {
            let some = written.min(piece.len());
            if some < piece.len() {
                piece.advance(some);
                return;
            }
            written -= some;
            self.sent += 1;
        }
        self.pieces.clear();
        self.sent = 0;
        self.fields.clear();
        self.fill();
    }

    /// Takes what is there, and leaves nothing.
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }
}

impl Piece {
    fn bytes<'a>(&'a self, fields: &'a [u8]) -> &'a [u8] {
        match self {
            Piece::Ready(ready, range) => ready.bytes(range.clone()),
            Piece::Fields(range) => &fields[range.clone()],
            Piece::Page(chunk) => chunk.chunk(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Piece::Ready(_, range) | Piece::Fields(range) => range.len(),
            Piece::Page(chunk) => chunk.remaining(),
        }
    }

    /// Leaves out the first `bytes`, which must not be more than there are.
    fn advance(&mut self, bytes: usize) {
        match self {
            Piece::Ready(_, range) | Piece::Fields(range) => range.start += bytes,
            Piece::Page(chunk) => chunk.advance(bytes),
        }
    }
}
