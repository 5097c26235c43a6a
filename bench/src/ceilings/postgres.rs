//! `PostgreSQL` under pgbench: a server of its own with its default settings, on a socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{DESCRIPTION, TITLE, USER};
use crate::process::{Server, free_port, pinned};
use crate::session::Session;

/// Where Debian and Fedora put programs that are not in the path.
const PLACES: [&str; 2] = ["/usr/lib/postgresql", "/usr/pgsql"];
/// Who runs it where the bench is run by root, whom it refuses.
const USER_OF_ROOT: &str = "postgres";
const AS_USER: [&str; 6] = [
    "setpriv",
    "--reuid",
    USER_OF_ROOT,
    "--regid",
    USER_OF_ROOT,
    "--clear-groups",
];

/// Time for it to start.
const READY_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const TABLE: &str = "CREATE TABLE todos (
    id uuid PRIMARY KEY,
    title text NOT NULL,
    description text NOT NULL,
    completed boolean NOT NULL,
    user_id text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL)";

pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    _server: Server,
}

/// Starts a server; `None` where there is none installed.
pub fn start(session: &Session) -> Result<Option<Postgres>> {
    let Some(programs) = programs() else {
        return Ok(None);
    };
    let directory = session.fresh("postgres")?;
    let is_root = fs::metadata(&directory)?.uid() == 0;
    if is_root {
        done(Command::new("chown").arg(USER_OF_ROOT).arg(&directory))?;
    }
    let port = free_port()?;
    let data = directory.join("data");
    let mut make = as_user(is_root, &programs.join("initdb"));
    make.args(["--auth=trust", "--username=bench", "--no-sync", "-D"]);
    done(make.arg(&data))?;
    let mut command = pinned(&[session.server_core], Path::new("env"));
    if is_root {
        command.args(AS_USER);
    }
    command.arg(programs.join("postgres")).arg("-D").arg(&data);
    command.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]);
    command.arg("-k").arg(&directory);
    let server = Server::start(command, port, &session.log("postgres"))?;
    let started = Postgres {
        programs,
        directory,
        port,
        _server: server,
    };
    started.wait()?;
    started.run(TABLE)?;
    Ok(Some(started))
}

impl Postgres {
    /// Rows a second by `clients`, with `rows` in each transaction.
    pub fn insert(&self, session: &Session, clients: u32, rows: u32, seconds: u32) -> Result<f64> {
        let script = session.path("pgbench.sql");
        fs::write(&script, insert(rows))?;
        let output = pinned(&session.client_cores, &self.programs.join("pgbench"))
            .args(self.connection())
            .args(["--no-vacuum", "--protocol=prepared", "-f"])
            .arg(&script)
            .args([
                "-c",
                &clients.to_string(),
                "-T",
                &seconds.to_string(),
                "postgres",
            ])
            .output()
            .context("cannot run pgbench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let per_second = transactions(&said).with_context(|| {
            let complained = String::from_utf8_lossy(&output.stderr);
            format!("pgbench reported nothing:\n{said}{complained}")
        })?;
        Ok(per_second * f64::from(rows))
    }

    /// Waits until it takes statements: it listens before it is ready.
    fn wait(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(self.connection())
                .args(["-q", "-d", "postgres"])
                .status()?;
            if asked.success() {
                return Ok(());
            }
            ensure!(start.elapsed() < READY_MAX, "PostgreSQL does not get ready");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn run(&self, statement: &str) -> Result<()> {
        done(
            Command::new(self.programs.join("psql"))
                .args(self.connection())
                .args(["-q", "-c", statement, "postgres"]),
        )
    }

    fn connection(&self) -> [String; 6] {
        let [host, port, user] = ["-h", "-p", "-U"].map(str::to_owned);
        let directory = self.directory.display().to_string();
        [
            host,
            directory,
            port,
            self.port.to_string(),
            user,
            "bench".to_owned(),
        ]
    }
}

fn insert(rows: u32) -> String {
    let values =
        format!("gen_random_uuid(), '{TITLE}', '{DESCRIPTION}', false, '{USER}', now(), now()");
    if rows == 1 {
        format!("INSERT INTO todos VALUES ({values});\n")
    } else {
        format!("INSERT INTO todos SELECT {values} FROM generate_series(1, {rows});\n")
    }
}

/// Transactions a second, from what pgbench prints.
fn transactions(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// The newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = PLACES.iter().filter_map(|place| fs::read_dir(place).ok());
    let directories = versions.flatten().filter_map(Result::ok);
    let mut programs: Vec<PathBuf> = directories
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").exists() && path.join("pgbench").exists())
        .collect();
    programs.sort();
    programs.pop()
}

fn as_user(is_root: bool, program: &Path) -> Command {
    let mut command = Command::new("env");
    if is_root {
        command.args(AS_USER);
    }
    command.arg(program);
    command
}

fn done(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_pgbench_is_found() {
        let said = "latency average = 1.2 ms\ntps = 812.25 (without initial connection time)\n";
        assert_eq!(transactions(said), Some(812.25));
        assert_eq!(transactions("tps"), None);
    }
}
