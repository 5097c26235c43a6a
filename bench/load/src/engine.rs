//! The loop: many connections on one thread, each with an agent that says what to send next.
//!
//! Edge-triggered epoll and one timer. A request is written when its agent says so and is small
//! enough for the socket; an answer is read as it comes. The loop takes the time once a round, so
//! an agent sees it a little late when many answers came at once: that is the client's share of a
//! latency, and it is as small as the client is idle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::http::{Answer, Incoming};

/// The timer's place among the event data; connections have their index.
const TIMER: u64 = u64::MAX;
const EVENTS_MAX: usize = 1_024;
/// Time for the last answers, once nothing new is sent.
const PATIENCE: Duration = Duration::from_secs(35);
/// Connections that may be lost before the run is given up: something is wrong then.
const LOST_MAX: u64 = 10_000;

/// What an agent wants.
pub enum Step {
    /// Send what was put into the buffer.
    Send,
    /// Ask again then.
    At(Instant),
    Over,
}

/// Who stands behind a connection.
pub trait Agent {
    /// What to do on the idle connection; a request is put into the empty `request`.
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step;

    /// The answer to the request. No step follows it but `next`.
    fn answered(&mut self, now: Instant, answer: &Answer<'_>);
}

/// What the loop itself saw.
#[derive(Debug, Default)]
pub struct Lost {
    pub count: u64,
    pub because: Option<String>,
}

struct Connection {
    stream: TcpStream,
    server: SocketAddr,
    request: Vec<u8>,
    written: usize,
    incoming: Incoming,
    /// Whether an answer is owed.
    asked: bool,
}

pub struct Engine<'a, A> {
    poll: OwnedFd,
    timer: OwnedFd,
    /// When the timer goes off.
    set_for: Option<Instant>,
    connections: Vec<Connection>,
    agents: &'a mut [A],
    /// Who wants to be asked again, and when.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Agents that are not over.
    left: usize,
    until: Instant,
    lost: Lost,
}

/// Runs every agent on a connection of its own, until each is over. After `until` none is asked
/// any more, and what is under way is waited for.
pub fn run<A: Agent>(agents: &mut [A], servers: &[SocketAddr], until: Instant) -> Result<Lost> {
    let mut engine = Engine::connect(agents, servers, until)?;
    engine.drive()?;
    Ok(engine.lost)
}

impl<'a, A: Agent> Engine<'a, A> {
    fn connect(agents: &'a mut [A], servers: &[SocketAddr], until: Instant) -> Result<Self> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        epoll::add(&poll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let mut connections = Vec::with_capacity(agents.len());
        for index in 0..agents.len() {
            let server = servers[index % servers.len()];
            connections.push(Connection::open(server, index, &poll)?);
        }
        Ok(Self {
            poll,
            timer,
            set_for: None,
            connections,
            left: agents.len(),
            agents,
            waiting: BinaryHeap::new(),
            until,
            lost: Lost::default(),
        })
    }

    fn drive(&mut self) -> Result<()> {
        let now = Instant::now();
        for index in 0..self.agents.len() {
            self.step(index, now);
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut scratch = vec![0; 64 << 10];
        while self.left > 0 {
            self.set_timer()?;
            events.clear();
            match epoll::wait(&self.poll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            if now > self.until + PATIENCE {
                bail!("{} answers never came", self.left);
            }
            for event in &events {
                self.event(*event, now, &mut scratch)?;
            }
            self.wake(now);
        }
        Ok(())
    }

    fn event(&mut self, event: Event, now: Instant, scratch: &mut [u8]) -> Result<()> {
        if event.data.u64() == TIMER {
            let mut expirations = [0; 8];
            match rustix::io::read(&self.timer, &mut expirations) {
                // It may have been set anew meanwhile; then there is nothing to read.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.set_for = None;
            return Ok(());
        }
        let index = usize::try_from(event.data.u64())?;
        let connection = &mut self.connections[index];
        let progress = connection.write().and_then(|()| connection.read(scratch));
        match progress {
            Ok(false) => {}
            Ok(true) => {
                self.agents[index].answered(now, &connection.incoming.answer());
                connection.incoming.clear();
                connection.asked = false;
                self.step(index, now);
            }
            Err(error) => self.lose(index, &error, now)?,
        }
        Ok(())
    }

    /// Opens a connection anew. What was asked on the old one is not known to have happened.
    fn lose(&mut self, index: usize, error: &anyhow::Error, now: Instant) -> Result<()> {
        let old = &self.connections[index];
        let (asked, server) = (old.asked, old.server);
        if asked {
            self.lost.count += 1;
            let first = || format!("{error:#}");
            self.lost.because.get_or_insert_with(first);
            ensure!(self.lost.count <= LOST_MAX, "too many are lost: {error:#}");
        }
        self.connections[index] = Connection::open(server, index, &self.poll)?;
        if asked {
            self.step(index, now);
        }
        Ok(())
    }

    fn step(&mut self, index: usize, now: Instant) {
        let connection = &mut self.connections[index];
        connection.request.clear();
        connection.written = 0;
        let step = if now >= self.until {
            Step::Over
        } else {
            self.agents[index].next(now, &mut connection.request)
        };
        match step {
            Step::Send => {
                connection.asked = true;
                // A connection that fails here fails at its next event, too, and is lost there.
                drop(connection.write());
            }
            Step::At(then) => self.waiting.push(Reverse((then.min(self.until), index))),
            Step::Over => self.left -= 1,
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((then, index))) = self.waiting.peek().copied() {
            if then > now {
                return;
            }
            self.waiting.pop();
            self.step(index, now);
        }
    }

    /// For whoever waits the least, or for the end of all patience.
    fn set_timer(&mut self) -> Result<()> {
        let next = self.waiting.peek().map(|Reverse((then, _))| *then);
        let then = next.unwrap_or(self.until + PATIENCE);
        if self.set_for == Some(then) {
            return Ok(());
        }
        // Zero would disarm it.
        let left = then.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_nanos(1));
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let setting = Itimerspec {
            it_interval: never,
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs())?,
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        self.set_for = Some(then);
        Ok(())
    }
}

impl Connection {
    fn open(server: SocketAddr, index: usize, poll: &OwnedFd) -> Result<Self> {
        let stream =
            TcpStream::connect(server).with_context(|| format!("no server at {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let both = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(poll, &stream, EventData::new_u64(index as u64), both)?;
        Ok(Self {
            stream,
            server,
            request: Vec::new(),
            written: 0,
            incoming: Incoming::default(),
            asked: false,
        })
    }

    fn write(&mut self) -> Result<()> {
        while self.written < self.request.len() {
            match rustix::io::write(&self.stream, &self.request[self.written..]) {
                Ok(written) => self.written += written,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; true once an answer is whole.
    fn read(&mut self, scratch: &mut [u8]) -> Result<bool> {
        loop {
            match rustix::io::read(&self.stream, &mut *scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(_) if !self.asked => bail!("an answer that nobody asked for"),
                Ok(read) => {
                    let whole = self.incoming.take(&scratch[..read])?;
                    // A short read has emptied the socket (epoll(7), on edge-triggered streams).
                    if whole || read < scratch.len() {
                        return Ok(whole);
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    struct Counting {
        left: u32,
        wait: Duration,
        due: Option<Instant>,
        statuses: Vec<u16>,
    }

    impl Agent for Counting {
        fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
            if self.left == 0 {
                return Step::Over;
            }
            match self.due {
                Some(due) if due > now => return Step::At(due),
                Some(_) => self.due = None,
                None => {
                    self.due = Some(now + self.wait);
                    return Step::At(now + self.wait);
                }
            }
            self.left -= 1;
            request.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            Step::Send
        }

        fn answered(&mut self, _: Instant, answer: &Answer<'_>) {
            self.statuses.push(answer.status);
        }
    }

    fn counting(left: u32) -> Counting {
        Counting {
            left,
            wait: Duration::from_millis(2),
            due: None,
            statuses: Vec::new(),
        }
    }

    /// Answers every head; closes each connection after `per_connection` answers.
    fn server(per_connection: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let heads = lines.map_while(Result::ok).filter(String::is_empty);
                    for _ in heads.take(per_connection) {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(answer).unwrap();
                    }
                    stream.shutdown(std::net::Shutdown::Both).unwrap();
                });
            }
        });
        address
    }

    #[test]
    fn every_agent_gets_its_answers() {
        let mut agents: Vec<_> = (0..20).map(|_| counting(10)).collect();
        let until = Instant::now() + Duration::from_secs(20);
        let lost = run(&mut agents, &[server(1_000)], until).unwrap();
        assert_eq!(lost.count, 0);
        for agent in agents {
            assert_eq!(agent.statuses, vec![200; 10]);
        }
    }

    #[test]
    fn a_closed_connection_is_opened_anew() {
        let mut agents = [counting(10)];
        let until = Instant::now() + Duration::from_secs(20);
        run(&mut agents, &[server(3)], until).unwrap();
        assert_eq!(agents[0].left, 0);
        assert!(agents[0].statuses.len() >= 8, "{:?}", agents[0].statuses);
    }

    #[test]
    fn none_is_asked_after_the_end() {
        let mut agents = [counting(u32::MAX)];
        let start = Instant::now();
        run(
            &mut agents,
            &[server(1_000_000)],
            start + Duration::from_millis(200),
        )
        .unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(!agents[0].statuses.is_empty());
    }
}
