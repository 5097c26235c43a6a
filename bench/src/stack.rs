//! The services that a fleet stands on: named by a file of `DATABASE_URL`, `KAFKA_BROKERS` and
//! `REDIS_URL`, as `make up` writes it.
//!
//! Whoever listens on their ports is found through `/proc`, so that their CPU time counts as well; a
//! service on another machine is not counted, and the report says which were.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::deployment::Member;
use crate::product::Setting;

/// Partitions of the topic of commands.
pub const PARTITIONS: u32 = 8;

/// A database that goes with whoever asked for it.
pub struct Database {
    server: String,
    name: String,
}

/// The services of a stack.
pub struct Stack {
    pub database_url: String,
    kafka_brokers: String,
    redis_url: String,
}

impl Stack {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("no stack at {}: see make up", path.display()))?;
        let setting = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let value = value.map(|value| value.trim_matches('"').to_owned());
            value.with_context(|| format!("{} has no {name}", path.display()))
        };
        Ok(Self {
            database_url: setting("DATABASE_URL")?,
            kafka_brokers: setting("KAFKA_BROKERS")?,
            redis_url: setting("REDIS_URL")?,
        })
    }

    /// The services, with topics that the product will make.
    pub fn settings(&self, name: &str, database: &Database) -> Vec<Setting> {
        let pairs = [
            ("DATABASE_URL", database.url()),
            ("KAFKA_BROKERS", self.kafka_brokers.clone()),
            ("REDIS_URL", self.redis_url.clone()),
            ("KAFKA_PARTITIONS", PARTITIONS.to_string()),
            ("KAFKA_TODO_TOPIC", format!("{name}-commands")),
            ("RESULTS_TOPIC", format!("{name}-results")),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    pub fn brokers(&self) -> usize {
        self.kafka_brokers.split(',').count()
    }

    /// Those services that run on this machine.
    pub fn members(&self) -> Result<Vec<Member>> {
        let urls = [
            ("kafka", &self.kafka_brokers),
            ("postgres", &self.database_url),
            ("redis", &self.redis_url),
        ];
        let mut members = Vec::new();
        for (name, url) in urls {
            let pids = listeners(&ports(url)?)?;
            if !pids.is_empty() {
                let name = name.to_owned();
                members.push(Member { name, pids });
            }
        }
        Ok(members)
    }
}

impl Database {
    pub fn create(server: &str, name: &str) -> Result<Self> {
        psql(server, &format!("CREATE DATABASE {name}"))?;
        Ok(Self {
            server: server.to_owned(),
            name: name.to_owned(),
        })
    }

    pub fn url(&self) -> String {
        let server = self.server.rsplit_once('/');
        let server = server.map_or(self.server.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = &self.name;
        let dropped = psql(&self.server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        if let Err(error) = dropped {
            eprintln!("the database {name} stays behind: {error:#}");
        }
    }
}

fn psql(server: &str, statement: &str) -> Result<()> {
    let output = Command::new("psql")
        .args([server, "-qc", statement])
        .output()
        .context("psql is needed for the fleet's database (apt-get install postgresql-client)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{statement}: {said}");
    Ok(())
}

/// The ports in a URL or in a list of brokers.
fn ports(urls: &str) -> Result<BTreeSet<u16>> {
    let ports = urls.split(',').map(|url| {
        let host = url.rsplit('@').next().unwrap_or(url);
        let port = host.rsplit_once(':').map(|(_, rest)| rest);
        let digits = port.and_then(|rest| rest.split('/').next());
        let port = digits.and_then(|digits| digits.parse().ok());
        port.with_context(|| format!("no port in {host}"))
    });
    ports.collect()
}

/// The processes that listen on `ports`, without the children of one another: a tree is counted
/// from its root.
fn listeners(ports: &BTreeSet<u16>) -> Result<Vec<u32>> {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // Without IPv6 there is no such table.
        let text = fs::read_to_string(table).unwrap_or_default();
        let listening = text.lines().filter_map(listening);
        inodes.extend(
            listening
                .filter(|(port, _)| ports.contains(port))
                .map(|(_, inode)| inode),
        );
    }
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid.filter(|pid| has_socket(*pid, &inodes)) {
            pids.push(pid);
        }
    }
    crate::proc::roots(&pids)
}

/// The port and the inode of a line of `/proc/net/tcp` that is of a listener.
fn listening(line: &str) -> Option<(u16, String)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((port, format!("socket:[{}]", fields.get(9)?)))
}

/// Whether a process holds one of the sockets. Of others' processes nothing can be read.
fn has_socket(pid: u32, inodes: &BTreeSet<String>) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut names = links.filter_map(|link| link.to_str().map(str::to_owned));
    names.any(|name| inodes.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_urls_and_lists() {
        let of = |text: &str| ports(text).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(of("postgres://a:b@127.0.0.1:5432/x"), [5432]);
        assert_eq!(of("redis://127.0.0.1:6379"), [6379]);
        assert_eq!(of("127.0.0.1:9092,127.0.0.1:9093"), [9092, 9093]);
        assert!(ports("localhost").is_err());
    }

    #[test]
    fn whoever_listens_on_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners(&[port].into()).unwrap();
        assert_eq!(found, [std::process::id()]);
    }
}
