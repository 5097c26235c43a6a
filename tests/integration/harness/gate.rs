//! The way to a service, which a test opens and shuts, makes long, and has lose what is answered.
//! Until it is opened it is silent: connections are taken, and nobody answers on them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::passes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Silent,
    Open,
    /// Answers take so much longer, each for itself: they do not queue up.
    Long(Duration),
    /// What is asked arrives, what is answered does not, and connections stay: a network that drops
    /// packets, as a client sees it.
    Losing,
    Shut,
}

/// Bytes of an answer that are carried at once.
const CHUNK_BYTES: usize = 64 << 10;

pub struct Gate {
    address: SocketAddr,
    way: Arc<Mutex<Way>>,
}

struct Way {
    at: At,
    /// Both ends of what goes through, and what is held.
    streams: Vec<TcpStream>,
    /// Connections that were let in, and how many of the first are dead: nothing comes back on them.
    entered: usize,
    dead: usize,
}

impl Gate {
    /// `to` is `host:port`.
    pub fn silent_before(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            way: Arc::new(Mutex::new(Way {
                at: At::Silent,
                streams: vec![],
                entered: 0,
                dead: 0,
            })),
        };
        let (way, to) = (Arc::clone(&gate.way), to.to_owned());
        // It takes connections for as long as the tests run.
        thread::spawn(move || {
            for client in listener.incoming() {
                drop(client.and_then(|client| enter(&way, client, &to)));
            }
        });
        gate
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn open(&self) {
        self.become_one(At::Open);
    }

    /// Cuts what goes through, and lets nothing in.
    pub fn shut(&self) {
        self.become_one(At::Shut);
    }

    /// From the next answer on, also on connections that are there.
    pub fn lengthen(&self, by: Duration) {
        self.way.lock().unwrap().at = At::Long(by);
    }

    /// From the next answer on, also on connections that are there.
    pub fn lose_answers(&self) {
        self.way.lock().unwrap().at = At::Losing;
    }

    /// Connections that are there are dead from now on, though neither end is told; new ones are not.
    pub fn strand(&self) {
        let mut way = self.way.lock().unwrap();
        way.dead = way.entered;
    }

    fn become_one(&self, at: At) {
        let mut way = self.way.lock().unwrap();
        way.at = at;
        for stream in way.streams.drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn enter(gate: &Arc<Mutex<Way>>, client: TcpStream, to: &str) -> io::Result<()> {
    let mut way = gate.lock().unwrap();
    match way.at {
        At::Shut => {}
        At::Silent => way.streams.push(client),
        At::Open | At::Long(_) | At::Losing => {
            let service = TcpStream::connect(to)?;
            for stream in [&client, &service] {
                stream.set_nodelay(true)?;
            }
            carry_questions(client.try_clone()?, service.try_clone()?);
            let nth = way.entered;
            way.entered += 1;
            carry_answers((service.try_clone()?, client.try_clone()?), gate, nth);
            way.streams.extend([client, service]);
        }
    }
    Ok(())
}

fn carry_questions(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
}

fn carry_answers((mut from, mut to): (TcpStream, TcpStream), gate: &Arc<Mutex<Way>>, nth: usize) {
    let (sender, answers) = mpsc::channel::<(Instant, Vec<u8>)>();
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        let mut bytes = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let way = gate.lock().unwrap();
            let longer = match way.at {
                _ if nth < way.dead => continue,
                At::Losing => continue,
                At::Long(by) => by,
                At::Silent | At::Open | At::Shut => Duration::ZERO,
            };
            drop(way);
            let answer = (Instant::now() + longer, bytes[..read].to_vec());
            drop(sender.send(answer));
        }
    });
    thread::spawn(move || {
        for (due, answer) in answers {
            passes(due.saturating_duration_since(Instant::now()));
            if to.write_all(&answer).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    });
}
