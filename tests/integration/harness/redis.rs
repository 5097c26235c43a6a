//! A Redis of a test's own: to be killed, stopped and flushed as the test likes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From its start until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server on a free port, that keeps nothing on disk and ends with its test.
pub struct RedisServer {
    address: SocketAddr,
    child: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        let mut server = Self {
            address: free_address(),
            child: None,
        };
        server.start_again();
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it on the same port, with nothing in it.
    pub fn start_again(&mut self) {
        let port = self.address.port().to_string();
        let child = Command::new("redis-server")
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("redis-server: {error}")));
        let deadline = Instant::now() + START_TIMEOUT;
        while self.try_command(&["PING"]).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let kill = format!("kill -{name} {id}");
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}");
    }

    /// Sends one command and returns its answer as it came: lines without their ends.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        self.try_command(words).unwrap()
    }

    fn try_command(&self, words: &[&str]) -> std::io::Result<Vec<String>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += "$";
            text += &word.len().to_string();
            text += "\r\n";
            text += word;
            text += "\r\n";
        }
        stream.write_all(text.as_bytes())?;
        read_answer(&mut BufReader::new(stream))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // One that is stopped is not killed by anything but this.
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// RESP2: every element of nested arrays, one a line.
fn read_answer(stream: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "*" => {
            let count: i64 = rest.parse().unwrap();
            let mut all = vec![];
            for _ in 0..count {
                all.extend(read_answer(stream)?);
            }
            Ok(all)
        }
        "$" if rest != "-1" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(vec![String::from_utf8_lossy(&bytes).into_owned()])
        }
        _ => Ok(vec![rest.to_owned()]),
    }
}
