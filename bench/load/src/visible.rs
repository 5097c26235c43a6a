//! From write to visible: one write at a time on the first server, then a read that its token makes
//! wait, in turn on each server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::http::Incoming;
use crate::latency::Tally;
use crate::request::{Author, read};

/// Between two writes: a page of people, not a loop.
const PAUSE: Duration = Duration::from_millis(2);
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(35);

struct Line {
    stream: TcpStream,
    incoming: Incoming,
}

/// Tallies in the order: acknowledged, visible on the first server, visible on the others.
pub fn probe(servers: &[SocketAddr], secret: &str, stop: &AtomicBool) -> Result<Vec<Tally>> {
    let mut lines = servers.iter().map(Line::open).collect::<Result<Vec<_>>>()?;
    let author = Author::new("prober".to_owned(), secret);
    let mut tallies = ["acknowledged", "visible here", "visible elsewhere"].map(Tally::new);
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut request = Vec::new();
        author.create(&mut request, "Look here", false);
        let sent = Instant::now();
        lines[0].exchange(&request)?;
        let answer = lines[0].incoming.answer();
        tallies[0].count(&answer, sent.elapsed());
        let token = answer.header("consistency-token").map(str::to_owned);
        ensure!(token.is_some(), "a probe got {}", answer.status);
        request.clear();
        read(&mut request, "/todos?limit=1", token.as_deref());
        turn = (turn + 1) % lines.len();
        lines[turn].exchange(&request)?;
        let tally = &mut tallies[if turn == 0 { 1 } else { 2 }];
        tally.count(&lines[turn].incoming.answer(), sent.elapsed());
        std::thread::sleep(PAUSE);
    }
    let used = if servers.len() > 1 { 3 } else { 2 };
    Ok(tallies.into_iter().take(used).collect())
}

impl Line {
    fn open(server: &SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            incoming: Incoming::default(),
        })
    }

    fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.incoming.clear();
        self.stream.write_all(request)?;
        let mut chunk = vec![0; 16 << 10];
        loop {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the server closed the prober's connection");
            if self.incoming.take(&chunk[..read])? {
                return Ok(());
            }
        }
    }
}
