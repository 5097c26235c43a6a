//! A server that runs: its address, its signals, its last words, and that it never outlives its
//! test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Client, Connection, Exited, Launch, eventually};

/// From start to ready: a build without optimisation on a busy machine, with some data.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// From a signal to the exit, where the test sets no time of its own.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// What stands before the address on the one line of standard output.
const READY: &str = "listening on http://";

pub struct Server {
    launch: Launch,
    child: Child,
    address: SocketAddr,
    stdout: Captured,
    stderr: Captured,
}

impl Server {
    pub(super) fn start(launch: Launch) -> Result<Self, Exited> {
        let mut child = launch.command(&["serve"]).spawn().unwrap();
        let (line_sender, lines) = mpsc::channel();
        let stdout = Captured::new(child.stdout.take().unwrap(), Some(line_sender));
        let stderr = Captured::new(child.stderr.take().unwrap(), None);
        // From here on `Drop` ends the child, however this function is left.
        let mut server = Self {
            launch,
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            stdout,
            stderr,
        };
        match lines.recv_timeout(START_TIMEOUT) {
            Ok(line) => {
                let address = line.strip_prefix(READY).and_then(|rest| rest.parse().ok());
                server.address =
                    address.unwrap_or_else(|| panic!("unexpected on standard output: {line:?}"));
                Ok(server)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Exited {
                status: server.wait(STOP_TIMEOUT),
                stderr: server.stderr(),
            }),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("not ready within {START_TIMEOUT:?}"),
        }
    }

    /// A server for tests that leave nothing behind that others would mind. It ends with the last
    /// test that holds it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        // Short deadlines, since some of this abuse leaves requests unfinished.
        let launch = Launch::new()
            .env("HEAD_TIMEOUT", "5s")
            .env("BODY_TIMEOUT", "5s");
        let server = Arc::new(launch.start());
        *shared = Arc::downgrade(&server);
        server
    }

    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// A client without a token.
    pub fn anyone(&self) -> Client {
        Client::new(self.address, None)
    }

    /// A client with a good token.
    pub fn user(&self, name: &str) -> Client {
        Client::new(self.address, Some(self.launch.token(name)))
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}");
    }

    /// What stands on standard output, which is a contract: one line.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the process to end by itself; all its output is captured then.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the process ends", within, || child.try_wait().unwrap());
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// SIGKILL: what was acknowledged must be on disk.
    pub fn kill(self) -> Launch {
        self.launch.clone()
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(mut self) -> Launch {
        self.signal("TERM");
        let status = self.wait(STOP_TIMEOUT);
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        self.launch.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the server's standard error:\n{}", self.stderr());
        }
    }
}

/// A stream of the child, read as it comes so that the child never waits for us.
struct Captured {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn new(stream: impl Read + Send + 'static, lines: Option<mpsc::Sender<String>>) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let captured = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut bytes = vec![];
            while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
                let line = String::from_utf8_lossy(&bytes);
                captured.lock().unwrap().push_str(&line);
                if let Some(lines) = &lines {
                    drop(lines.send(line.trim_end().to_owned()));
                }
                bytes.clear();
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits until all is read; the child has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
