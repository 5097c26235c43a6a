//! What the figures depend on: the machine, the kernel, the versions and what else was going on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proc::{Machine, Ticks};

/// Share of the machine's time that others may use; above it figures are not worth keeping.
pub const QUIET_SHARE: f64 = 0.1;
/// How long the machine is looked at for that. A load average would still tell of the run before.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    pub started: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    pub congestion_control: String,
    pub file_system: String,
    /// Over one minute, before anything was started.
    pub load_average: f64,
    /// Share of all cores' time that was used, in the two seconds before anything was started.
    pub busy: f64,
    /// Of the working tree; `+` where it differs from it.
    pub commit: String,
    /// Tools and their versions.
    pub tools: Vec<(String, String)>,
    pub command: String,
}

impl Environment {
    pub fn look(data: &Path) -> Self {
        Self {
            started: jiff::Timestamp::now().to_string(),
            cpu: cpu().unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib().unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease"),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            file_system: said("stat", &["-f", "-c", "%T", &data.to_string_lossy()]),
            load_average: load_average(),
            busy: busy(),
            commit: commit(),
            tools: tools(),
            command: command(),
        }
    }

    /// `2026-01-31-intel-xeon-2c`: what results are kept under.
    pub fn slug(&self) -> String {
        let date = self.started.get(..10).unwrap_or("undated");
        let words = self.cpu.split(|char: char| !char.is_ascii_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !matches!(*word, "" | "R" | "TM" | "CPU" | "Processor"))
            .map(str::to_ascii_lowercase)
            .collect();
        format!("{date}-{}-{}c", words.join("-"), self.cores)
    }

    pub fn is_quiet(&self) -> bool {
        self.busy < QUIET_SHARE
    }
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = read("/proc/loadavg");
    let first = text.split_ascii_whitespace().next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Share of all cores' time that is used, and that the hypervisor takes, while one looks.
fn busy() -> f64 {
    let before = Machine::look();
    std::thread::sleep(LOOK);
    Machine::look().others_since(before, Ticks::default())
}

fn cpu() -> Option<String> {
    field("/proc/cpuinfo", "model name")
}

fn memory_mib() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal")?;
    let kib: u64 = total.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    if commit.len() != 12 {
        // Not a working tree: git has complained instead.
        return unknown();
    }
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_empty() { "" } else { "+" };
    format!("{commit}{mark}")
}

fn tools() -> Vec<(String, String)> {
    let ask: [(&str, &[&str]); 6] = [
        ("wrk", &["-v"]),
        ("nginx", &["-v"]),
        ("haproxy", &["-v"]),
        ("redis-server", &["-v"]),
        ("oha", &["--version"]),
        ("rustc", &["--version"]),
    ];
    let versions = ask.map(|(tool, arguments)| (tool.to_owned(), said(tool, arguments)));
    versions
        .into_iter()
        .filter(|(_, version)| !version.is_empty())
        .collect()
}

/// How this program was called, without the directories of this machine.
fn command() -> String {
    let arguments = std::env::args().map(|argument| {
        let path = Path::new(&argument);
        match path.file_name() {
            Some(name) if path.is_absolute() => name.to_string_lossy().into_owned(),
            _ => argument,
        }
    });
    arguments.collect::<Vec<_>>().join(" ")
}

/// The first line that a program prints, on either way; empty where there is none.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return String::new();
    };
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept_by_date_and_machine() {
        let mut environment = Environment::look(Path::new("/"));
        environment.started = "2026-01-31T10:00:00Z".to_owned();
        environment.cpu = "Intel(R) Xeon(R) Processor @ 2.70GHz".to_owned();
        environment.cores = 2;
        assert_eq!(environment.slug(), "2026-01-31-intel-xeon-2-70ghz-2c");
    }
}
