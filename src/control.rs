//! A process alone takes orders over a socket in its `DATA_DIR`: so far, to seed.
//!
//! One order and its answers are lines of JSON. Whoever may open the directory may give orders.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::seed::{self, Seeded, Seeder};

/// Bytes of an order, at most.
const ORDER_BYTES_MAX: u64 = 1_024;
/// Time in which an order is given, or a report is read: others wait for their turn.
const TALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after an accept error: no file left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Todos between two reports of progress.
const REPORT_EVERY: u64 = 1_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Seed { todos: u64 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    /// Todos created so far.
    Progress(u64),
    Done(Seeded),
    Failed(String),
}

/// Binds the socket. One that a killed process left behind gives way: the caller has the directory.
///
/// # Errors
/// Those of the file system; the path of a socket has at most 107 bytes.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes orders, one at a time, for ever.
///
/// # Cancel safety
/// An order under way ends where it is; its sender sees the connection close.
pub async fn serve(listener: UnixListener, seeder: Seeder) -> Infallible {
    loop {
        let done = match listener.accept().await {
            Ok((stream, _)) => obey(stream, &seeder).await,
            Err(error) => {
                sleep(ACCEPT_RETRY).await;
                Err(error)
            }
        };
        if let Err(error) = done {
            warn!(%error, "an order over the control socket broke off");
        }
    }
}

async fn obey(stream: UnixStream, seeder: &Seeder) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = BufReader::new(from.take(ORDER_BYTES_MAX));
    timeout(TALK_TIMEOUT, from.read_line(&mut line)).await??;
    let report = match serde_json::from_str(&line) {
        Ok(Order::Seed { todos }) if todos <= seed::TODOS_MAX => {
            let (reports, mut progress) = tokio::sync::watch::channel(0);
            let seeding = seeder.seed(todos, |done| {
                if done % REPORT_EVERY == 0 {
                    reports.send_replace(done);
                }
            });
            let mut seeding = std::pin::pin!(seeding);
            loop {
                tokio::select! {
                    done = &mut seeding => break match done {
                        Ok(done) => Report::Done(done),
                        Err(refused) => Report::Failed(refused.to_string()),
                    },
                    Ok(()) = progress.changed() => {
                        let done = *progress.borrow_and_update();
                        write(&mut to, &Report::Progress(done)).await?;
                    }
                }
            }
        }
        Ok(Order::Seed { .. }) => Report::Failed(format!("at most {} todos", seed::TODOS_MAX)),
        Err(error) => Report::Failed(error.to_string()),
    };
    write(&mut to, &report).await
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    timeout(TALK_TIMEOUT, to.write_all(&line)).await?
}

/// Has the process that listens at `path` seed.
///
/// # Errors
/// Where nobody listens, the process stops, or it refuses: with its reason.
pub async fn seed(path: &Path, todos: u64, mut progress: impl FnMut(u64)) -> io::Result<Seeded> {
    let mut stream = UnixStream::connect(path).await?;
    let mut order = serde_json::to_vec(&Order::Seed { todos })?;
    order.push(b'\n');
    stream.write_all(&order).await?;
    let mut reports = BufReader::new(stream).lines();
    while let Some(line) = reports.next_line().await? {
        match serde_json::from_str(&line)? {
            Report::Progress(done) => progress(done),
            Report::Done(seeded) => return Ok(seeded),
            Report::Failed(why) => return Err(io::Error::other(why)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server stopped",
    ))
}
