//! Listening sockets: one per serving core on one port, and an accept loop that does not end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

/// Connections that the kernel keeps for a core until it accepts them (capped by `somaxconn`).
/// A full backlog delays newcomers; they are not refused.
const BACKLOG: i32 = 4_096;
/// Bytes of a response that the kernel holds for a connection before they are on their way, at
/// most. A megabit link takes four seconds for as much. With a quarter of it, 2.3 MB cost three
/// quarters more to send, in seven parts; with more, nothing is won.
const UNSENT_BYTES_MAX: u32 = 512 << 10;
/// Pause after an accept error that will not go away by itself at once (no file left).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Time in which a listener of this machine takes a connection, unless its backlog is full.
const KNOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// With whom a port may be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With nobody: two processes on one port would each answer for half of the data.
    Alone,
    /// With other servers of the same fleet, run by the same user: a new process takes connections
    /// before the one that it replaces has closed.
    Fleet,
}

/// Whether one may listen at an address; port 0 is made a free one.
///
/// `SO_REUSEPORT` would let a second server of the same user share the port unnoticed: a plain bind
/// finds it out.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] where a socket listens there with which the port is not shared.
pub fn probe(address: SocketAddr, sharing: Sharing) -> io::Result<SocketAddr> {
    let probe = socket(address)?;
    // A free port is nobody else's.
    probe.set_reuse_port(sharing == Sharing::Fleet && address.port() != 0)?;
    probe.bind(&address.into())?;
    let bound = probe.local_addr()?.as_socket();
    Ok(bound.ok_or(io::ErrorKind::AddrNotAvailable)?)
}

/// Whether somebody listens at an address of this machine. Who is too busy to answer does.
#[must_use]
pub fn is_listened_to(address: SocketAddr) -> bool {
    match StdStream::connect_timeout(&address, KNOCK_TIMEOUT) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::TimedOut,
    }
}

/// Binds `count` listeners to one address; port 0 takes a free port for all of them.
///
/// # Errors
/// Those of [`probe`].
pub fn bind(address: SocketAddr, count: usize, sharing: Sharing) -> io::Result<Vec<StdListener>> {
    let bound = probe(address, sharing)?;
    (0..count).map(|_| listen(bound)).collect()
}

/// Where listeners listen.
///
/// # Errors
/// Those of `getsockname`.
pub fn local_address(listeners: &[StdListener]) -> io::Result<SocketAddr> {
    listeners
        .first()
        .ok_or(io::ErrorKind::NotFound)?
        .local_addr()
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a response is never held back for one more byte.
    socket.set_tcp_nodelay(true)?;
    // A response is taken from us no faster than its client reads: what a slow reader pins is this
    // and not the megabytes to which the kernel's buffer grows, and its progress shows.
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a former server in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// The next connection. Errors are of one connection (it was reset before we came) or pass (no
/// file left): none ends the server.
///
/// # Cancel safety
/// No connection is lost.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections, trying again");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A connection that the kernel has accepted already, if there is one.
pub fn accept_waiting(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        // Not through the runtime's readiness, which may not know yet what has just come.
        match accept_now(listener) {
            Ok(stream) => return Some(stream),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return None,
        }
    }
}

fn accept_now(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = socket2::SockRef::from(listener).accept()?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream.into())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_another_server_shares_is_refused() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2, Sharing::Alone).unwrap();
        let address = local_address(&first).unwrap();
        assert_eq!(
            bind(address, 1, Sharing::Alone).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        assert!(bind(address, 1, Sharing::Alone).is_ok());
    }

    #[test]
    fn servers_of_a_fleet_share_a_port_and_others_do_not() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2, Sharing::Fleet).unwrap();
        let address = local_address(&first).unwrap();
        let second = bind(address, 2, Sharing::Fleet);
        assert!(second.is_ok(), "{second:?}");
        assert!(is_listened_to(address));
        drop((first, second));
        assert!(!is_listened_to(address));
        let stranger = std::net::TcpListener::bind(address).unwrap();
        assert!(bind(address, 1, Sharing::Fleet).is_err());
        drop(stranger);
    }
}
