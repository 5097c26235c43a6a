//! The floor: a bare epoll loop that answers every request head with given bytes.
//!
//! It parses nothing: each `\r\n\r\n` is a request. It allocates nothing once a connection is
//! there, and copies no response: what a write leaves is resumed from where it stopped. What it
//! costs is what the kernel costs, so no server that uses one thread, epoll, and a read and a write
//! from its own memory per wake-up can be faster here. `sendfile` can, with large bodies: it copies
//! nothing out of the page cache, and so none of this bounds it.
//!
//! Usage: `floor <address> [--spin-ns=N] <response file>...`; several responses are given in turn.
//! A spin makes each answer cost so much more: it is how the bench is tested.

mod connection;
mod heads;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Result;

use connection::{Answers, Connection, Life};

/// The listener's place among the event data; connections have their index.
const LISTENER: u64 = u64::MAX;
/// Events that one look takes.
const EVENTS_MAX: usize = 1_024;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments
        .next()
        .and_then(|address| address.parse().ok())
        .expect("the first argument is an address");
    let mut responses = Vec::new();
    let mut spin = Duration::ZERO;
    for argument in arguments {
        match argument.strip_prefix("--spin-ns=") {
            Some(nanos) => {
                let nanos = nanos.parse().expect("a spin is a number");
                spin = Duration::from_nanos(nanos);
            }
            None => responses.push(std::fs::read(argument)?),
        }
    }
    assert!(!responses.is_empty(), "the others are response files");
    let answers = Answers::new(responses, spin);
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // Beyond the 128 that the library asks for: a thousand clients come at once.
    rustix::net::listen(&listener, 4_096)?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(&listener, &answers)?;
    Ok(())
}

fn serve(listener: &TcpListener, answers: &Answers) -> Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut scratch = vec![0; 64 << 10];
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                accept_all(listener, &poll, &mut connections, &mut free);
                continue;
            }
            let index = usize::try_from(event.data.u64()).expect("an index that was given out");
            let Some(connection) = &mut connections[index] else {
                continue;
            };
            if let Life::Over = connection.progress(&mut scratch, answers) {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: impl AsFd,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) {
    // An error is of one connection, or none is waiting.
    while let Ok((stream, _)) = listener.accept() {
        let index = free.pop().unwrap_or(connections.len());
        let data = EventData::new_u64(index as u64);
        // Edge-triggered for both ways, once: no further call to epoll in a connection's life.
        let both = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let ready = stream.set_nonblocking(true).is_ok()
            && stream.set_nodelay(true).is_ok()
            && epoll::add(&poll, &stream, data, both).is_ok();
        let connection = ready.then(|| Connection::new(stream));
        if index == connections.len() {
            connections.push(connection);
        } else {
            connections[index] = connection;
        }
    }
}
