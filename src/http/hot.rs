//! The loop that owns a connection: list reads are answered here, all else goes to its handler,
//! through [`whole`] or the gate.
//!
//! What one read brings is answered with one write. The requests are told apart in [`head`], with
//! the help of [`last`]; their answers stand ready in [`ready`], and [`output`] sends them, the large
//! ones without copying. Nothing is allocated for a list read; a connection that waits for one holds
//! its socket and nothing else. Where reads pay, [`limited`] asks for them first.
//!
//! The loop must not answer differently from hyper's way: a request is answered here only if all
//! that it says is understood here. An integration test holds the two together.

mod counts;
mod fields;
mod head;
mod last;
mod limited;
mod output;
mod ready;
#[cfg(feature = "instructions")]
mod rehearsal;
#[cfg(test)]
mod tests;
mod whole;

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::StatusCode;

pub use output::Output;
pub use ready::Answers;

use super::admission;
use super::core::Core;
use super::gate::{self, Passed};
use super::socket::{Phase, Socket};
use crate::clock::Stopwatch;
use counts::{Counts, Kind};
use head::{Asked, Next};
use last::Last;
use limited::Round;
use output::Own;

/// What one core's connections use in turn, and no two at once.
pub struct Desk {
    pub answers: Answers,
    last: Last,
    output: Output,
    round: Box<Round>,
}

impl Desk {
    pub fn new(answers: Answers) -> RefCell<Self> {
        RefCell::new(Self {
            answers,
            last: Last::default(),
            output: Output::default(),
            round: Box::new(Round::new()),
        })
    }
}

/// Serves the connection until it is over or ended from outside.
///
/// # Cancel safety
/// The connection is lost.
pub async fn serve(core: &Rc<Core>, socket: &Rc<Socket>) -> Passed {
    let mut hot = Hot::default();
    loop {
        let (begun, missing) = match poll_fn(|cx| hot.poll(cx, core, socket)).await {
            Leave::Done(passed) => return passed,
            Leave::Unframed(begun) => {
                return Box::pin(gate::give(core, socket, begun)).await;
            }
            Leave::Framed(begun, missing) => (begun, missing),
        };
        if missing == 0
            && let Some(request) = whole::request(&begun)
        {
            match hot.answer_whole(core, socket, request).await {
                None => continue,
                Some(passed) => return passed,
            }
        }
        // On the heap: an idle connection's task would be this much larger otherwise.
        match Box::pin(gate::pass(core, socket, begun, missing)).await {
            Passed::Answered => hot.searched = 0,
            passed => return passed,
        }
    }
}

/// Why the loop lets go of a connection.
enum Leave {
    Done(Passed),
    /// For hyper alone: the bytes of a request that have come, and how many have not.
    Framed(Bytes, u64),
    /// For hyper from here on.
    Unframed(Bytes),
}

/// Why no more requests are answered for now.
enum Stop {
    /// No whole head is left.
    Dry,
    /// The output must be sent first.
    Full,
    /// Whether the next ones may pass is not known yet.
    Undecided,
    /// The last answer closes the connection.
    Closing,
    /// A request of so many bytes for hyper.
    Framed {
        bytes: u64,
    },
    Unframed,
}

/// A connection's own state.
#[derive(Default)]
struct Hot {
    /// Bytes of `Socket::unread` in which no head ends.
    searched: usize,
    /// What the client has not taken yet.
    waiting: Option<Box<Output>>,
    /// Whether the connection ends once it has.
    closing: bool,
    /// Requests that wait for a decision, or for what waits before them.
    round: Option<Box<Round>>,
}

impl Hot {
    fn poll(&mut self, cx: &mut Context<'_>, core: &Rc<Core>, socket: &Socket) -> Poll<Leave> {
        if let Poll::Ready(why) = socket.poll_end(cx) {
            return Poll::Ready(Leave::Done(Passed::Ended(why)));
        }
        loop {
            // Nothing more is read from a client that does not read.
            if let Some(output) = &mut self.waiting {
                if ready!(output.poll_send(cx, socket)).is_err() || self.closing {
                    return Poll::Ready(Leave::Done(Passed::Over(None)));
                }
                self.waiting = None;
                socket.enter(Phase::Idle);
                socket.note_head(&socket.unread.borrow());
            }
            if let Some(round) = &mut self.round {
                if round.poll_decided(cx).is_pending() {
                    socket.enter(Phase::Serving);
                    return Poll::Pending;
                }
                socket.enter(Phase::Idle);
            }
            let mut unread = socket.unread.take();
            let input = &mut *core.input.borrow_mut();
            let mut fresh = 0;
            if self.searched == unread.len() {
                fresh = match socket.poll_read(cx, input) {
                    Poll::Ready(Ok(read @ 1..)) => read,
                    Poll::Ready(_) => return Poll::Ready(Leave::Done(Passed::Over(None))),
                    Poll::Pending => {
                        socket.unread.replace(unread);
                        return Poll::Pending;
                    }
                };
            }
            // Most of the time nothing is left of an earlier read, and nothing is copied.
            let mut bytes = &input[..fresh];
            if !unread.is_empty() {
                socket.note_head(bytes);
                unread.extend_from_slice(bytes);
                if self.searched > 0 && !head::ends(&unread, self.searched) {
                    if unread.len() >= core.shared.options.head_bytes_max {
                        // As hyper says of a head that came in parts, whatever is in it.
                        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                        return Poll::Ready(Leave::Done(Passed::Over(Some(status))));
                    }
                    self.searched = unread.len();
                    socket.unread.replace(unread);
                    continue;
                }
                bytes = &unread;
            }
            if let Some(leave) = self.converse(cx, core, socket, bytes) {
                return Poll::Ready(leave);
            }
        }
    }

    /// Answers what can be answered of `bytes` and keeps what is left, if it stays with the loop.
    fn converse(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        socket: &Socket,
        bytes: &[u8],
    ) -> Option<Leave> {
        let mut desk = core.desk.borrow_mut();
        desk.clear();
        if let Some(round) = self.round.take() {
            desk.round = round;
        }
        let is_limited = core.shared.options.admission.pays(admission::Kind::Read);
        let mut rest = bytes;
        loop {
            let stop = if is_limited {
                desk.answer_limited(core, socket, &mut rest)
            } else {
                desk.answer(core, &mut rest)
            };
            match desk.output.poll_send(cx, socket) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    desk.clear();
                    return Some(Leave::Done(Passed::Over(None)));
                }
                Poll::Pending => {
                    socket.enter(Phase::Flushing);
                    self.waiting = Some(Box::new(desk.output.take()));
                    self.round = desk.take_round();
                    self.closing = matches!(stop, Stop::Closing);
                    self.keep(socket, rest, matches!(stop, Stop::Dry));
                    return None;
                }
            }
            match stop {
                Stop::Full => {}
                Stop::Undecided => {
                    self.round = desk.take_round();
                    self.keep(socket, rest, false);
                    return None;
                }
                Stop::Closing => return Some(Leave::Done(Passed::Over(None))),
                Stop::Dry => {
                    if rest.len() < bytes.len() {
                        socket.enter(Phase::Idle);
                    }
                    socket.note_head(rest);
                    self.keep(socket, rest, true);
                    return None;
                }
                Stop::Framed { bytes: framed } => {
                    let here = usize::try_from(framed).unwrap_or(usize::MAX);
                    let (begun, behind) = rest.split_at(here.min(rest.len()));
                    self.keep(socket, behind, false);
                    let missing = framed - begun.len() as u64;
                    return Some(Leave::Framed(Bytes::copy_from_slice(begun), missing));
                }
                Stop::Unframed => return Some(Leave::Unframed(Bytes::copy_from_slice(rest))),
            }
        }
    }

    fn keep(&mut self, socket: &Socket, rest: &[u8], is_searched: bool) {
        self.searched = if is_searched { rest.len() } else { 0 };
        if !rest.is_empty() {
            socket.unread.replace(rest.to_vec());
        }
    }
}

impl Desk {
    /// Forgets what is not sent or not answered. There is such a thing where a connection has failed
    /// or, which ends its task and no other, panicked on the way.
    fn clear(&mut self) {
        self.output.clear();
        self.round.clear();
    }

    /// Puts the answers to the list reads that `rest` begins with into the output, and leaves what
    /// comes behind them.
    fn answer(&mut self, core: &Core, rest: &mut &[u8]) -> Stop {
        let watch = Stopwatch::start();
        let stage = &core.shared.stage;
        // There is no list yet, and hyper's way says so and closes.
        if stage.is_starting() && !rest.is_empty() {
            return Stop::Unframed;
        }
        self.answers.follow(&core.snapshot());
        let mut counts = Counts::default();
        let head_bytes_max = core.shared.options.head_bytes_max;
        let stop = self.answer_all(rest, head_bytes_max, stage.is_draining(), &mut counts);
        counts.flush(core, watch);
        stop
    }

    fn answer_all(
        &mut self,
        rest: &mut &[u8],
        head_bytes_max: usize,
        draining: bool,
        counts: &mut Counts,
    ) -> Stop {
        // The request before this one, and its answer if that was copied.
        let mut before: (&[u8], Option<(Kind, Range<usize>)>) = (&[], None);
        loop {
            if rest.is_empty() {
                return Stop::Dry;
            }
            if !self.output.has_room() {
                return Stop::Full;
            }
            #[cfg(feature = "spin")]
            crate::clock::spin(std::time::Duration::from_micros(1));
            let here = *rest;
            // Who pipelines mostly sends the same again: limit=1 at depth 16 is so 1.11 times the
            // floor (bench/results/2026-11-30-intel-xeon-2c-3), and was 1.26 (…-2c-2).
            if let (head, Some((kind, answer))) = &before
                && let Some(behind) = here.strip_prefix(*head)
            {
                *rest = behind;
                self.output.put_again(answer.clone());
                counts.count(*kind);
                continue;
            }
            let asked = match self.next(here, head_bytes_max) {
                Ok(asked) => asked,
                Err(stop) => return stop,
            };
            let fields = asked.split_off(rest);
            let closes = asked.fields.closes || draining;
            let own = Own {
                request_id: asked.request_id(fields),
                limits: None,
                closes,
            };
            let copies_begin = self.output.copies_end();
            let kind = self.put_answer(fields, &asked, own);
            counts.count(kind);
            if closes {
                return Stop::Closing;
            }
            let answer = self.output.copied_since(copies_begin);
            let head = &here[..here.len() - rest.len()];
            before = (head, answer.map(|answer| (kind, answer)));
        }
    }

    /// The list read that `bytes` begin with, or why there is none.
    fn next(&mut self, bytes: &[u8], head_bytes_max: usize) -> Result<Asked, Stop> {
        match self.last.next(bytes, head_bytes_max) {
            Next::Hot(asked) => Ok(asked),
            Next::Framed { bytes } => Err(Stop::Framed { bytes }),
            Next::Partial => Err(Stop::Dry),
            Next::Unframed => Err(Stop::Unframed),
        }
    }

    fn put_answer(&mut self, fields: &[u8], asked: &Asked, own: Own<'_>) -> Kind {
        let Asked { line, fields: said } = asked;
        let tags = said.tags.as_ref().map(|place| &fields[place.clone()]);
        let ready = self.answers.to(line.limit, said.accepts);
        let has_it = tags.is_some_and(|tags| ready.is_named_by(tags));
        if has_it {
            self.output.put_not_modified(ready, own);
        } else if line.wants_body {
            self.output.put_found(ready, own);
        } else {
            self.output.put_head(ready, own);
        }
        match (line.wants_body, has_it) {
            (true, false) => Kind::Get,
            (true, true) => Kind::GetHad,
            (false, false) => Kind::Head,
            (false, true) => Kind::HeadHad,
        }
    }
}
