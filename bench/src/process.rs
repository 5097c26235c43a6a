//! Servers as child processes, pinned to cores and ended when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Time for a server to listen.
const START_MAX: Duration = Duration::from_secs(20);
/// Time for a server to end on SIGTERM.
const END_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub port: u16,
}

/// A command that runs on `cores` only. `taskset` replaces itself by the program, so the child is
/// the program.
pub fn pinned(cores: &[usize], program: &Path) -> Command {
    let list: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let mut command = Command::new("taskset");
    command.arg("-c").arg(list.join(",")).arg(program);
    command.stdin(Stdio::null());
    command
}

/// The arguments of a command, without its environment: that has secrets in it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

impl Server {
    /// Starts `command` and waits until it listens on `port`; what it prints goes to `log`.
    pub fn start(mut command: Command, port: u16, log: &Path) -> Result<Self> {
        let out = File::create(log)?;
        command.stdout(out.try_clone()?).stderr(out);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", shown(&command)))?;
        let mut server = Self { child, port };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if server.child.try_wait()?.is_some() || start.elapsed() > START_MAX {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{} does not listen; it said:\n{said}", shown(&command));
            }
            sleep(LOOK_AGAIN);
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // A SIGTERM first: nginx's workers end only if their master tells them to.
        let pid = self.child.id().to_string();
        let told = Command::new("kill").arg(&pid).status().is_ok();
        let start = Instant::now();
        while told && start.elapsed() < END_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(LOOK_AGAIN);
        }
        // It would not, or could not be told: what else there is to do has failed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
