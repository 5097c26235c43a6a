//! One TCP connection, byte by byte: any bytes in any cuts go out, responses are taken apart as
//! they come in, and how the connection ends can be told.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Request, Response};

/// How long a test waits for bytes: longer than any answer takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Received and not yet taken as part of a response.
    received: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order, between two responses.
    Closed,
    /// Reset, or closed within a response.
    Reset,
    /// Nothing came within the time given.
    TimedOut,
    Garbled(String),
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Self::of(stream, address)
    }

    /// Takes over a socket that was set up in a way of its own.
    pub fn of(stream: TcpStream, address: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            address,
            received: vec![],
        })
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Sends as far as the server lets; what it makes of that shows in what comes back.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends no more: the server reads the end of the stream.
    pub fn finish(&self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    pub fn patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    pub fn ask(&mut self, request: &Request) -> Result<Response, Ended> {
        let bytes = request.bytes(&self.authority());
        // A server that refuses early may be gone before all is written; its answer counts.
        let sent = self.send(bytes);
        self.response(request.method).map_err(|ended| match sent {
            Ok(()) => ended,
            Err(_) => Ended::Reset,
        })
    }

    /// Takes the next response; `method` is that of the request it answers.
    pub fn response(&mut self, method: &str) -> Result<Response, Ended> {
        let head_bytes = self.fill_until(|received| {
            let end = received.windows(4).position(|four| four == b"\r\n\r\n");
            end.map(|end| end + 4)
        })?;
        let head: Vec<u8> = self.received.drain(..head_bytes).collect();
        let mut response = parse_head(&head)?;
        response.body = self.body(method, &response).map_err(within_a_response)?;
        Ok(response)
    }

    fn body(&mut self, method: &str, response: &Response) -> Result<Vec<u8>, Ended> {
        if method == "HEAD" || matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(vec![]);
        }
        if response.lists("Transfer-Encoding", "chunked") {
            return self.chunks();
        }
        let Some(length) = response.header("Content-Length") else {
            return Ok(self.rest());
        };
        let Ok(length) = length.parse() else {
            return Err(Ended::Garbled(format!("Content-Length: {length}")));
        };
        self.take(length)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Ended> {
        let mut body = vec![];
        loop {
            let line_bytes = self.fill_until(|received| {
                let end = received.windows(2).position(|two| two == b"\r\n");
                end.map(|end| end + 2)
            })?;
            let line: Vec<u8> = self.received.drain(..line_bytes).collect();
            let line = String::from_utf8_lossy(&line);
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else {
                return Err(Ended::Garbled(format!("chunk of size {line:?}")));
            };
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, Ended> {
        self.fill_until(|received| (received.len() >= bytes).then_some(bytes))?;
        Ok(self.received.drain(..bytes).collect())
    }

    /// Everything until the server closes.
    fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        std::mem::take(&mut self.received)
    }

    fn fill_until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Result<usize, Ended> {
        loop {
            if let Some(end) = found(&self.received) {
                return Ok(end);
            }
            let nothing_yet = self.received.is_empty();
            self.fill().map_err(|ended| match ended {
                Ended::Closed if !nothing_yet => Ended::Reset,
                other => other,
            })?;
        }
    }

    fn fill(&mut self) -> Result<(), Ended> {
        let mut bytes = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut bytes) {
                Ok(0) => Err(Ended::Closed),
                Ok(length) => {
                    self.received.extend(&bytes[..length]);
                    Ok(())
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Ended::TimedOut),
                    _ => Err(Ended::Reset),
                },
            };
        }
    }

    /// Waits for as long as given, in which the server neither says a byte nor closes.
    #[track_caller]
    pub fn stays_silent(&mut self, time: Duration) {
        self.patience(time);
        let heard = self.fill();
        let received = String::from_utf8_lossy(&self.received);
        assert_eq!(heard, Err(Ended::TimedOut), "{received}");
        self.patience(PATIENCE);
    }

    /// How the connection ends when nothing more is asked; bytes that still come are dropped.
    pub fn end(&mut self) -> Ended {
        loop {
            self.received.clear();
            if let Err(ended) = self.fill() {
                return ended;
            }
        }
    }
}

/// Once a head is there, an end of the stream cuts its body short.
fn within_a_response(ended: Ended) -> Ended {
    match ended {
        Ended::Closed => Ended::Reset,
        other => other,
    }
}

fn parse_head(head: &[u8]) -> Result<Response, Ended> {
    let garbled = || Ended::Garbled(String::from_utf8_lossy(head).into_owned());
    let text = std::str::from_utf8(head).map_err(|_| garbled())?;
    let mut lines = text.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let (version, rest) = status_line.split_once(' ').ok_or_else(garbled)?;
    let status = rest.split(' ').next().and_then(|code| code.parse().ok());
    let headers: Option<Vec<_>> = lines
        .map(|line| line.split_once(':'))
        .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
        .collect();
    match (version, status, headers) {
        ("HTTP/1.1" | "HTTP/1.0", Some(status), Some(headers)) => Ok(Response {
            status,
            headers,
            body: vec![],
        }),
        _ => Err(garbled()),
    }
}
