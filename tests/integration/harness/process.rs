//! A child process: its output as it comes, its signals, its end, and that it never outlives its
//! test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Exited, eventually};

/// From start to ready: a build without optimisation on a busy machine, with some data.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// From a signal to the exit, where the test sets no time of its own.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

pub struct Process {
    name: &'static str,
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Process {
    /// Starts a program, and waits for its first line on standard output.
    pub fn start(name: &'static str, mut command: Command) -> Result<(Self, String), Exited> {
        let mut child = command.spawn().unwrap();
        let (line_sender, lines) = mpsc::channel();
        let stdout = Captured::new(child.stdout.take().unwrap(), Some(line_sender));
        let stderr = Captured::new(child.stderr.take().unwrap(), None);
        // From here on `Drop` ends the child, however this function is left.
        let mut process = Self {
            name,
            child,
            stdout,
            stderr,
        };
        match lines.recv_timeout(START_TIMEOUT) {
            Ok(line) => Ok((process, line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Exited {
                status: process.wait(STOP_TIMEOUT),
                stderr: process.stderr(),
            }),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("not ready within {START_TIMEOUT:?}"),
        }
    }

    /// Starts a program that may never say that it is ready.
    pub fn start_unready(name: &'static str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        Self {
            name,
            stdout: Captured::new(child.stdout.take().unwrap(), None),
            stderr: Captured::new(child.stderr.take().unwrap(), None),
            child,
        }
    }

    pub fn signal(&self, name: &str) {
        signal(name, &self.child.id().to_string());
    }

    /// Signals those that it has started.
    pub fn signal_children(&self, name: &str) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        signal(name, &children.unwrap());
    }

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
        let what = format!("the {} ends", self.name);
        let status = eventually(&what, within, || child.try_wait().unwrap());
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait(STOP_TIMEOUT);
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
    }
}

fn signal(name: &str, ids: &str) {
    let kill = format!("kill -{name} {ids}");
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success(), "{kill}");
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the {}'s standard error:\n{}", self.name, self.stderr());
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
