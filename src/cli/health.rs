//! `healthcheck`: the question that a container asks of its process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Failed, reachable};

/// A health check answers in far less, or the server is not alive.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether who listens at `address` says that it is alive.
pub fn check(address: SocketAddr) -> Result<(), Failed> {
    let address = reachable(address);
    let answer =
        ask_health(address).map_err(|error| Failed::Io("no answer from /health", error))?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(Failed::Other(format!("/health on {address} is not 200")))
}

fn ask_health(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer)?;
    Ok(answer)
}
