//! One connection of the floor: heads that came, answers that are owed.

use std::io::IoSlice;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::heads::Heads;

/// Answers that one `writev` takes at most.
const SLICES_MAX: usize = 64;

/// Bytes of an only response up to which it stands repeated in one piece, for one `send` of all that
/// is owed instead of a `writev` of as many slices.
const JOINED_MAX: usize = 1 << 10;

/// What is answered.
pub struct Answers {
    /// Given in turn.
    responses: Vec<Vec<u8>>,
    /// The only response, where it is small, [`SLICES_MAX`] times.
    joined: Vec<u8>,
    /// Time that each takes beside its bytes.
    spin: Duration,
}

pub enum Life {
    GoesOn,
    Over,
}

pub struct Connection {
    stream: TcpStream,
    heads: Heads,
    /// Answers that are owed.
    owed: usize,
    /// Which response is next.
    next: usize,
    /// Bytes of it that were written already.
    written: usize,
}

impl Answers {
    pub fn new(responses: Vec<Vec<u8>>, spin: Duration) -> Self {
        let joined = match &*responses {
            [only] if only.len() <= JOINED_MAX => only.repeat(SLICES_MAX),
            _ => Vec::new(),
        };
        Self {
            responses,
            joined,
            spin,
        }
    }

    fn spin(&self, times: usize) {
        if self.spin.is_zero() {
            return;
        }
        for _ in 0..times {
            let start = Instant::now();
            while start.elapsed() < self.spin {
                std::hint::spin_loop();
            }
        }
    }
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            heads: Heads::default(),
            owed: 0,
            next: 0,
            written: 0,
        }
    }

    /// Reads and writes what can be. Edge-triggered: each goes on until the kernel has no more.
    pub fn progress(&mut self, scratch: &mut [u8], answers: &Answers) -> Life {
        loop {
            // `recv` and `send` have a shorter way through the kernel than `read` and `writev`.
            let read = match recv(&self.stream, &mut *scratch, RecvFlags::empty()) {
                Ok((_, 0)) => return Life::Over,
                Ok((_, read)) => read,
                Err(Errno::AGAIN) => 0,
                Err(Errno::INTR) => continue,
                Err(_) => return Life::Over,
            };
            let asked = self.heads.count(&scratch[..read]);
            answers.spin(asked);
            self.owed += asked;
            if self.write(answers).is_err() {
                return Life::Over;
            }
            // A short read has emptied the socket (epoll(7), on edge-triggered streams).
            if read < scratch.len() {
                return Life::GoesOn;
            }
        }
    }

    fn write(&mut self, answers: &Answers) -> Result<(), Errno> {
        while self.owed > 0 {
            let sent = match self.owed {
                1 => self.send_one(&answers.responses[self.next]),
                owed if !answers.joined.is_empty() => {
                    let bytes = owed.min(SLICES_MAX) * answers.responses[0].len();
                    self.send_one(&answers.joined[..bytes])
                }
                _ => self.send_some(&answers.responses),
            };
            match sent {
                Ok((written, offered)) => {
                    self.advance(written, &answers.responses);
                    // A short write has filled the socket; its drain is an event.
                    if written < offered {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The bytes that were written, and those that were offered; likewise of several.
    fn send_one(&self, response: &[u8]) -> Result<(usize, usize), Errno> {
        let rest = &response[self.written..];
        let written = send(&self.stream, rest, SendFlags::NOSIGNAL)?;
        Ok((written, rest.len()))
    }

    fn send_some(&self, responses: &[Vec<u8>]) -> Result<(usize, usize), Errno> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.owed.min(SLICES_MAX);
        let mut offered = 0;
        for (nth, slice) in slices[..count].iter_mut().enumerate() {
            let response = &responses[(self.next + nth) % responses.len()];
            let from = if nth == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&response[from..]);
            offered += response.len() - from;
        }
        let written = writev(&self.stream, &slices[..count])?;
        Ok((written, offered))
    }

    fn advance(&mut self, mut written: usize, responses: &[Vec<u8>]) {
        while written > 0 {
            let left = responses[self.next].len() - self.written;
            if written < left {
                self.written += written;
                return;
            }
            written -= left;
            self.written = 0;
            self.next = (self.next + 1) % responses.len();
            self.owed -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Asks so often, and compares what comes; the socket's buffer is smaller than that.
    fn all_arrive(responses: Vec<Vec<u8>>, requests: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(stream);
        let in_turn = responses.iter().cycle().take(requests);
        let expected: Vec<u8> = in_turn.flatten().copied().collect();
        let answers = Answers::new(responses, Duration::ZERO);
        let bytes = expected.len();
        let reader = std::thread::spawn(move || {
            let heads = b"GET / HTTP/1.1\r\n\r\n".repeat(requests);
            client.write_all(&heads).unwrap();
            let mut got = vec![0; bytes];
            client.read_exact(&mut got).unwrap();
            // Kept open: its end would be the connection's, before this thread's.
            (got, client)
        });
        let mut scratch = vec![0; 16 << 10];
        while !reader.is_finished() {
            let life = connection.progress(&mut scratch, &answers);
            assert!(matches!(life, Life::GoesOn));
            std::thread::yield_now();
        }
        let (got, _client) = reader.join().unwrap();
        assert!(got == expected);
    }

    #[test]
    fn partial_writes_are_resumed_where_they_stopped() {
        all_arrive(vec![vec![b'a'; 3_000_000], vec![b'b'; 2_000_000]], 3);
        let small = (0..).take(JOINED_MAX).map(|nth: u32| nth.to_le_bytes()[0]);
        all_arrive(vec![small.skip(1).collect()], 20_000);
    }
}
