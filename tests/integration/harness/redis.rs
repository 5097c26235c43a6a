//! A Redis of a test's own: to be killed, stopped and flushed as the test likes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::eventually;

/// What a sentinel calls whom it watches over.
pub const PRIMARY: &str = "limits";
/// From its start until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server on a free port, that keeps nothing on disk and ends with its test.
pub struct RedisServer {
    address: SocketAddr,
    /// Beside its address.
    arguments: Vec<String>,
    /// Where a sentinel writes what it finds out.
    _home: Option<TempDir>,
    child: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(Self::in_memory(), None)
    }

    /// Whoever copies it gets the copy straight away, and no file is written on either side.
    fn in_memory() -> Vec<String> {
        let arguments = ["--save", "", "--repl-diskless-load", "swapdb"];
        arguments.map(str::to_owned).into()
    }

    /// A copy of `primary`, once it is one.
    pub fn replica_of(primary: &Self) -> Self {
        let (host, port) = (primary.address.ip(), primary.address.port());
        let mut arguments = Self::in_memory();
        arguments.extend(["--replicaof".into(), host.to_string(), port.to_string()]);
        let replica = Self::with(arguments, None);
        replica.is_a_copy_within(START_TIMEOUT);
        replica
    }

    /// Waits until it is a replica that has all.
    #[track_caller]
    pub fn is_a_copy_within(&self, time: Duration) {
        eventually("the replica is a copy", time, || {
            let state = self.try_command(&["INFO", "replication"]).ok()?.concat();
            state.contains("master_link_status:up").then_some(())
        });
    }

    /// Whether it takes writes; `None` where it does not say.
    pub fn is_primary(&self) -> Option<bool> {
        let role = self.try_command(&["ROLE"]).ok()?;
        Some(role.first()? == "master")
    }

    /// Who watches over `primary` and what copies it, alone, and takes it for dead after three seconds.
    pub fn sentinel_of(primary: &Self) -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("sentinel.conf");
        let (host, port) = (primary.address.ip(), primary.address.port());
        let watch = format!(
            "sentinel monitor {PRIMARY} {host} {port} 1\n\
             sentinel down-after-milliseconds {PRIMARY} 3000\n\
             sentinel failover-timeout {PRIMARY} 3000\n"
        );
        fs::write(&file, watch).unwrap();
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        Self::with(arguments, Some(home))
    }

    fn with(arguments: Vec<String>, home: Option<TempDir>) -> Self {
        let mut server = Self {
            address: free_address(),
            arguments,
            _home: home,
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

    /// Of a sentinel: where it says that the primary is.
    pub fn sentinel_url(&self) -> String {
        let address = self.address;
        format!("redis-sentinel://{address}?sentinelServiceName={PRIMARY}")
    }

    /// Starts it on the same port, with nothing in it.
    pub fn start_again(&mut self) {
        let port = self.address.port().to_string();
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .args(["--port", &port, "--bind", "127.0.0.1"])
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
