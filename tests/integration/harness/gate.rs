//! The way to a service, which a test opens and shuts. Until it is opened it is silent: connections
//! are taken, and nobody answers on them.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Silent,
    Open,
    Shut,
}

pub struct Gate {
    address: SocketAddr,
    way: Arc<Mutex<Way>>,
}

struct Way {
    at: At,
    /// Both ends of what goes through, and what is held.
    streams: Vec<TcpStream>,
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
            })),
        };
        let (way, to) = (Arc::clone(&gate.way), to.to_owned());
        // It takes connections for as long as the tests run.
        thread::spawn(move || {
            for client in listener.incoming() {
                drop(client.and_then(|client| way.lock().unwrap().enter(client, &to)));
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

    fn become_one(&self, at: At) {
        let mut way = self.way.lock().unwrap();
        way.at = at;
        for stream in way.streams.drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Way {
    fn enter(&mut self, client: TcpStream, to: &str) -> io::Result<()> {
        match self.at {
            At::Shut => {}
            At::Silent => self.streams.push(client),
            At::Open => {
                let service = TcpStream::connect(to)?;
                carry(client.try_clone()?, service.try_clone()?);
                carry(service.try_clone()?, client.try_clone()?);
                self.streams.extend([client, service]);
            }
        }
        Ok(())
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
}
