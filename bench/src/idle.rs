//! Idle connections: the memory of a server that keeps many, each of which has made one request.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, getrlimit};

use crate::http::exchange_on;
use crate::proc;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::scenario::Scenario;
use crate::session::Session;
use crate::sides::{self, Running, Side};

/// How many there are to be.
pub const CONNECTIONS: usize = 50_000;
/// Files of a process, beside those of its connections.
const FILES_KEPT_BACK: u64 = 200;
/// Connections of one address: a pair of addresses has some 28,000 ports.
const AN_ADDRESS: usize = 10_000;
/// How long they are idle before memory is looked at: servers let go of buffers after a while.
const IDLE: Duration = Duration::from_secs(5);
/// Of these, one is asked again in the end.
const ASKED_AGAIN: usize = 100;
/// About what a side takes, for the plan.
pub const SECONDS: u32 = 12;

/// Has every side keep idle connections that have asked for `scenario`.
pub fn run(
    session: &Session,
    (scenario, sides): (&Scenario, &[Side]),
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    let count = allowed(getrlimit(Resource::Nofile).current);
    ensure!(
        count > 0,
        "the limit on open files allows no idle connections"
    );
    if count < CONNECTIONS {
        progress.note(&format!(
            "the limit on open files allows {count} idle connections, not {CONNECTIONS}"
        ));
    }
    for (side, started) in sides::start_all(session, scenario, sides)? {
        progress.say(&format!("{count} idle connections: {}", side.name()));
        let side = started?;
        let kept = keep(scenario, &side, count);
        put(&side, count, kept.with_context(|| side.name.clone())?, raw)?;
        progress.advance(SECONDS);
    }
    Ok(())
}

/// Both ends have as many files, each end in a process of its own.
fn allowed(files_max: Option<u64>) -> usize {
    let left = files_max.map(|most| most.saturating_sub(FILES_KEPT_BACK));
    let left = left.and_then(|left| usize::try_from(left).ok());
    left.map_or(CONNECTIONS, |left| left.min(CONNECTIONS))
}

/// Resident bytes before any is there, and with all of them idle.
fn keep(scenario: &Scenario, side: &Running, count: usize) -> Result<[u64; 2]> {
    let resident = || proc::trees(&side.pids()).map(|usage| usage.resident_bytes);
    let before = resident()?;
    let request = scenario.request(side.port, scenario.limit, None);
    let mut connections = Vec::with_capacity(count);
    for nth in 0..count {
        let mut connection =
            open(nth, side.port).with_context(|| format!("cannot open connection {}", nth + 1))?;
        exchange_on(&mut connection, &request)?;
        connections.push(connection);
    }
    sleep(IDLE);
    let with = resident()?;
    let closed = connections.iter().filter(|it| !is_open(it)).count();
    ensure!(closed == 0, "{closed} of {count} connections were closed");
    for connection in connections.iter_mut().step_by(ASKED_AGAIN) {
        exchange_on(connection, &request)?;
    }
    Ok([before, with])
}

/// From 127.0.0.2 or one of the addresses behind it.
fn open(nth: usize, port: u16) -> Result<TcpStream> {
    let host = u8::try_from(2 + nth / AN_ADDRESS)?;
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0);
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // Closed with a reset, so that no port is kept from the next side for a minute.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// Whether the other end has neither closed the connection nor sent what nobody asked for.
fn is_open(connection: &TcpStream) -> bool {
    let peeked = connection.set_nonblocking(true);
    let peeked = peeked.and_then(|()| connection.peek(&mut [0]));
    let is_silent = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    is_silent && connection.set_nonblocking(false).is_ok()
}

fn put(side: &Running, count: usize, [before, with]: [u64; 2], raw: &mut Writer) -> Result<()> {
    let (before, with) = (before as f64, with as f64);
    let each = (with - before).max(0.0) / count as f64;
    let wanted = before + each * CONNECTIONS as f64;
    let at = format!("MB at {CONNECTIONS}");
    let figures = [
        ("connections", count as f64),
        ("MB before", before / 1e6),
        ("MB with them", with / 1e6),
        ("bytes a connection", each),
        (at.as_str(), wanted / 1e6),
    ];
    for (column, value) in figures {
        let figure = Figure::of(Table::Idle, &side.name, column, value);
        raw.put(Line::Figure(figure))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_low_limit_on_files_makes_fewer_connections() {
        assert_eq!(allowed(None), CONNECTIONS);
        assert_eq!(allowed(Some(1 << 20)), CONNECTIONS);
        assert_eq!(allowed(Some(20_000)), 19_800);
        assert_eq!(allowed(Some(100)), 0);
    }

    #[test]
    fn connections_come_from_several_addresses_and_their_end_is_seen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let from = |nth| {
            let connection = open(nth, port).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            (connection, accepted, peer.ip())
        };
        let (first, accepted, address) = from(AN_ADDRESS - 1);
        assert_eq!(address, Ipv4Addr::new(127, 0, 0, 2));
        let (second, _accepted, address) = from(AN_ADDRESS);
        assert_eq!(address, Ipv4Addr::new(127, 0, 0, 3));
        assert!(is_open(&first) && is_open(&second));
        accepted.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(!is_open(&first));
    }
}
