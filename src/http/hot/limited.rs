//! Reads that pay: what one read of a connection brought is decided together and answered together.
//!
//! Consecutive requests of one client are one question with a count, and all questions are asked
//! before the first answer is waited for: over Redis they go out in one call. In the process'
//! memory they are decided at once, and nothing waits or is allocated. A connection that waits
//! takes its [`Round`] along, holds nothing else of the core, and reads no more.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use ipnet::IpNet;
use uuid::Uuid;

use super::super::admission::{self, Judged};
use super::super::core::Core;
use super::super::peer;
use super::super::response::Problem;
use super::super::socket::Socket;
use super::counts::{Counts, Kind};
use super::head::Asked;
use super::output::Own;
use super::{Desk, Stop};
use crate::clock::Stopwatch;
use crate::limit::{Asking, Decision, Key, network};

/// Requests that are decided together, at most: some 40 kB of a connection that waits. More are
/// decided when these have been answered.
const REQUESTS_MAX: usize = 256;

/// Requests that were asked about and not answered yet. A core has one that its connections use in
/// turn; a connection has one of its own only while it waits.
pub struct Round {
    /// What is unread begins with these.
    requests: VecDeque<Request>,
    questions: Vec<Asking>,
    /// What was found behind them.
    behind: Option<Stop>,
    watch: Stopwatch,
}

struct Request {
    asked: Asked,
    /// The question it is part of, and which part.
    question: usize,
    nth: u32,
}

impl Round {
    pub fn new() -> Self {
        Self {
            requests: VecDeque::new(),
            questions: Vec::new(),
            behind: None,
            watch: Stopwatch::start(),
        }
    }

    /// Waits until all is decided.
    pub fn poll_decided(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for question in &mut self.questions {
            ready!(std::pin::Pin::new(question).poll(cx));
        }
        Poll::Ready(())
    }

    pub fn is_answered(&self) -> bool {
        self.requests.is_empty()
    }

    /// Forgets what is not answered.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.questions.clear();
        self.behind = None;
    }

    fn is_decided(&self) -> bool {
        let mut questions = self.questions.iter();
        questions.all(|question| question.decided().is_some())
    }

    /// What was decided about a request of the round.
    fn decision(&self, request: &Request) -> Decision {
        let decided = self.questions[request.question].decided();
        decided
            .expect("a round is decided before it is answered")
            .nth(request.nth)
    }
}

impl Desk {
    /// As [`Desk::answer`], where reads pay.
    pub(super) fn answer_limited(
        &mut self,
        core: &Core,
        socket: &Socket,
        rest: &mut &[u8],
    ) -> Stop {
        loop {
            if self.round.is_answered() {
                if rest.is_empty() {
                    return Stop::Dry;
                }
                // There is no list yet, and hyper's way says so and closes.
                if core.shared.stage.is_starting() {
                    return Stop::Unframed;
                }
                self.ask(core, socket, rest);
            }
            if !self.round.is_decided() {
                return Stop::Undecided;
            }
            if let Some(stop) = self.answer_round(core, rest) {
                return stop;
            }
            if let Some(stop) = self.round.behind.take() {
                return stop;
            }
        }
    }

    /// Asks about the list reads that `bytes` begin with.
    fn ask(&mut self, core: &Core, socket: &Socket, bytes: &[u8]) {
        self.round.clear();
        self.round.watch = Stopwatch::start();
        let head_bytes_max = core.shared.options.head_bytes_max;
        let (peer, trusted) = (peer::of(socket), peer::trusted(core, socket));
        let mut rest = bytes;
        let mut together: Option<(Key, u32)> = None;
        while !rest.is_empty() && self.round.requests.len() < REQUESTS_MAX {
            let asked = match self.next(rest, head_bytes_max) {
                Ok(asked) => asked,
                Err(stop) => {
                    self.round.behind = Some(stop);
                    break;
                }
            };
            let fields = asked.split_off(&mut rest);
            let key = payer(peer, trusted, &asked, fields);
            let count = match &mut together {
                Some((same, count)) if *same == key => {
                    *count += 1;
                    *count
                }
                _ => {
                    self.put_question(core, together.replace((key, 1)));
                    1
                }
            };
            let closes = asked.fields.closes || core.shared.stage.is_draining();
            self.round.requests.push_back(Request {
                asked,
                question: self.round.questions.len(),
                nth: count - 1,
            });
            // What follows is not answered, and shall not pay.
            if closes {
                break;
            }
        }
        self.put_question(core, together);
    }

    fn put_question(&mut self, core: &Core, together: Option<(Key, u32)>) {
        let asking = together.map(|(key, count)| core.limits.ask_many(key, count));
        self.round.questions.extend(asking);
    }

    /// Puts the answers of a round that is decided into the output, as far as there is room.
    fn answer_round(&mut self, core: &Core, rest: &mut &[u8]) -> Option<Stop> {
        let draining = core.shared.stage.is_draining();
        self.answers.follow(&core.snapshot());
        let mut counts = Counts::default();
        let stop = loop {
            if !self.output.has_room() {
                break Some(Stop::Full);
            }
            let Some(request) = self.round.requests.pop_front() else {
                break None;
            };
            let decision = self.round.decision(&request);
            let asked = &request.asked;
            let fields = asked.split_off(rest);
            let closes = asked.fields.closes || draining;
            counts.count(self.put_decided(core, fields, asked, decision, closes));
            if closes {
                self.round.clear();
                break Some(Stop::Closing);
            }
        };
        counts.flush(core, self.round.watch);
        stop
    }

    fn put_decided(
        &mut self,
        core: &Core,
        fields: &[u8],
        asked: &Asked,
        decision: Decision,
        closes: bool,
    ) -> Kind {
        let Judged { stamp, permit } =
            admission::judge(core, admission::Kind::Read, false, decision);
        let limits = stamp.map(|stamp| stamp.told(&core.shared));
        let own = Own {
            request_id: asked.request_id(fields),
            limits: limits.as_ref(),
            closes,
        };
        match permit {
            Ok(_) => self.put_answer(fields, asked, own),
            Err(problem) => self.put_problem(problem, own, asked.line.wants_body),
        }
    }

    fn put_problem(&mut self, problem: Problem, own: Own<'_>, wants_body: bool) -> Kind {
        // A client's id is ASCII.
        let id = match own.request_id {
            Some(id) => String::from_utf8_lossy(id),
            None => Cow::Owned(Uuid::new_v4().to_string()),
        };
        let own = Own {
            request_id: Some(id.as_bytes()),
            ..own
        };
        let is_unknown = problem.status == StatusCode::SERVICE_UNAVAILABLE;
        let response = problem.into_response(&id);
        let date = self.answers.date();
        self.output.put_made(response, own, wants_body, date);
        match (wants_body, is_unknown) {
            (true, false) => Kind::GetOver,
            (true, true) => Kind::GetUnknown,
            (false, false) => Kind::HeadOver,
            (false, true) => Kind::HeadUnknown,
        }
    }

    /// Takes the round along, if it is not answered.
    pub fn take_round(&mut self) -> Option<Box<Round>> {
        let is_under_way = !self.round.is_answered();
        is_under_way.then(|| mem::replace(&mut self.round, Box::new(Round::new())))
    }
}

/// Whose bucket pays for a read: that of its client's address.
fn payer(peer: IpAddr, trusted: &[IpNet], asked: &Asked, fields: &[u8]) -> Key {
    let lines = asked.fields.forwarded(fields);
    Key::Address(network(peer::forwarded(peer, lines, trusted)))
}
