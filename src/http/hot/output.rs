//! What is to be sent on a connection, in pieces that lie elsewhere.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use hyper::{Response, StatusCode};

use super::super::response::{Body, head_to_wire};
use super::super::socket::Socket;
use super::super::stamp::Lines;
use super::ready::{Behind, DATE, Ready};
use crate::snapshot::{Chunk, Parts};

/// Pieces that wait and that one write takes, at most.
const PIECES_MAX: usize = 64;
/// Pieces that an answer takes, at most, without a body's pages.
const PIECES_OF_ANSWER: usize = 2;
/// Bytes of an answer up to which it is copied, and so goes out in one piece with its neighbours.
const COPIED_MAX: usize = 1 << 10;
/// Copied bytes beyond which they are sent before more is answered.
const COPIES_MAX: usize = 16 << 10;

/// Answers on their way. A core has one that its connections use in turn; a connection has one of
/// its own only while its client is slower than the kernel's buffers are deep. Small answers and
/// header fields are copied together, and no larger body is: what it holds is some pieces, some
/// 20 kB of copies and, through the pieces, an old snapshot or what a core kept of one.
#[derive(Default)]
pub struct Output {
    pieces: Vec<Piece>,
    /// Pieces that are sent.
    sent: usize,
    /// Small answers, and header fields that belong to one answer only.
    copies: Vec<u8>,
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
    fn is_empty(&self) -> bool {
        self.request_id.is_none() && self.limits.is_none() && !self.closes
    }

    fn put(self, to: &mut Vec<u8>) {
        if let Some(id) = self.request_id {
            for part in [b"x-request-id: ", id, b"\r\n"] {
                to.extend_from_slice(part);
            }
        }
        if let Some(limits) = self.limits {
            limits.write(to);
        }
        if self.closes {
            to.extend_from_slice(b"connection: close\r\n");
        }
    }

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
    Copied(Range<usize>),
    Page(Chunk),
}

impl Output {
    /// Whether there is room for one more answer.
    pub fn has_room(&self) -> bool {
        self.pieces.len() + PIECES_OF_ANSWER <= PIECES_MAX
            && self.copies.len() < COPIES_MAX
            && self.rest.is_none()
    }

    /// Puts a 304 behind what is there.
    pub fn put_not_modified(&mut self, ready: &Ready, own: Own<'_>) {
        let head = ready.not_modified();
        self.copy(|copies| {
            copies.extend_from_slice(ready.bytes(head.begin..head.fields_end));
            own.put(copies);
            copies.extend_from_slice(ready.bytes(head.fields_end..head.end));
        });
    }

    /// Puts a 200 behind what is there.
    pub fn put_found(&mut self, ready: &Rc<Ready>, own: Own<'_>) {
        let head = ready.found();
        let (mut begin, end) = (head.begin, ready.end());
        if !own.is_empty() || end - begin <= COPIED_MAX {
            self.copy(|copies| {
                copies.extend_from_slice(ready.bytes(begin..head.fields_end));
                own.put(copies);
            });
            begin = head.fields_end;
        }
        if end - begin <= COPIED_MAX {
            self.copy(|copies| copies.extend_from_slice(ready.bytes(begin..end)));
        } else {
            self.pieces.push(Piece::Ready(Rc::clone(ready), begin..end));
        }
        match ready.behind() {
            Behind::Nothing => {}
            Behind::Pages(pages) => {
                self.rest = Some(pages);
                self.fill();
            }
            Behind::Joined(body) => self.pieces.push(Piece::Page(body)),
        }
    }

    /// Puts the head of a 200 behind what is there. To HEAD, the length is among the answer's own
    /// fields, and stands before the last of them.
    pub fn put_head(&mut self, ready: &Ready, own: Own<'_>) {
        let head = ready.found();
        let (own, last) = own.split_off_last();
        self.copy(|copies| {
            copies.extend_from_slice(ready.bytes(head.begin..head.fields_end));
            own.put(copies);
            copies.extend_from_slice(ready.bytes(head.fields_end..head.length_end));
            last.put(copies);
            copies.extend_from_slice(ready.bytes(head.length_end..head.end));
        });
    }

    /// Puts an answer that does not stand ready behind what is there, as hyper would send it; to
    /// HEAD, without its body.
    pub fn put_made(
        &mut self,
        response: Response<Body>,
        own: Own<'_>,
        wants_body: bool,
        date: &str,
    ) {
        let bytes = response.body().remaining_bytes();
        let length = match response.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
                debug_assert_eq!(bytes, 0, "a body that nobody expects");
                String::new()
            }
            _ => format!("content-length: {bytes}\r\n"),
        };
        let (own, last) = own.split_off_last();
        self.copy(|copies| {
            copies.extend(head_to_wire(&response));
            own.put(copies);
            if wants_body {
                last.put(copies);
                copies.extend_from_slice(length.as_bytes());
            } else {
                copies.extend_from_slice(length.as_bytes());
                last.put(copies);
            }
            for part in [DATE, date.as_bytes(), b"\r\n\r\n"] {
                copies.extend_from_slice(part);
            }
        });
        match response.into_body() {
            Body::Full(None) => {}
            _ if !wants_body => {}
            Body::Full(Some(bytes)) if bytes.len() <= COPIED_MAX => {
                self.copy(|copies| copies.extend_from_slice(&bytes));
            }
            Body::Full(Some(bytes)) => self.pieces.push(Piece::Page(Chunk::from(bytes))),
            Body::List(todos) => {
                self.rest = Some(todos.into_parts());
                self.fill();
            }
        }
    }

    /// Where the next copy will stand.
    pub fn copies_end(&self) -> usize {
        self.copies.len()
    }

    /// The answer that was put last, whose copies begin there, if it is nothing but copies.
    pub fn copied_since(&self, begin: usize) -> Option<Range<usize>> {
        let is_copied = matches!(self.pieces.last(), Some(Piece::Copied(_)));
        is_copied.then_some(begin..self.copies.len())
    }

    /// Puts copies that are there already behind what is there.
    pub fn put_again(&mut self, copied: Range<usize>) {
        self.copy(|copies| copies.extend_from_within(copied));
    }

    /// Puts what `write` appends behind what is there; what is copied in a row is one piece.
    fn copy(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.copies.len();
        write(&mut self.copies);
        let end = self.copies.len();
        match self.pieces.last_mut() {
            Some(Piece::Copied(range)) => range.end = end,
            _ => self.pieces.push(Piece::Copied(begin..end)),
        }
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
            return socket.poll_write(cx, only.bytes(&self.copies));
        }
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        for (slice, piece) in slices.iter_mut().zip(unsent) {
            *slice = IoSlice::new(piece.bytes(&self.copies));
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
        self.copies.clear();
        self.fill();
    }

    /// Takes what is there, and leaves nothing.
    pub fn take(&mut self) -> Self {
        let mut taken = mem::take(self);
        taken.copies.shrink_to_fit();
        taken
    }

    /// Forgets what is there.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.sent = 0;
        self.copies.clear();
        self.rest = None;
    }
}

impl Piece {
    fn bytes<'a>(&'a self, copies: &'a [u8]) -> &'a [u8] {
        match self {
            Piece::Ready(ready, range) => ready.bytes(range.clone()),
            Piece::Copied(range) => &copies[range.clone()],
            Piece::Page(chunk) => chunk.chunk(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Piece::Ready(_, range) | Piece::Copied(range) => range.len(),
            Piece::Page(chunk) => chunk.remaining(),
        }
    }

    /// Leaves out the first `bytes`, which must not be more than there are.
    fn advance(&mut self, bytes: usize) {
        match self {
            Piece::Ready(_, range) | Piece::Copied(range) => range.start += bytes,
            Piece::Page(chunk) => chunk.advance(bytes),
        }
    }
}
