//! The client: wrk, told by a script what to ask and how to report.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::proc;
use crate::process::pinned;
use crate::scenario::{ADDRESSES, Clients, Limit, Scenario};

/// What the script prints before its figures.
const MARK: &str = "millpond-bench ";

/// Random requests that are made before the run; they are sent round and round.
const BATCHES: u32 = 1_024;

const REPORT: &str = r#"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'millpond-bench {"micros":%d,"requests":%d,"bytes":%d,"refused":%d,"errors":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.duration, summary.requests, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#;

/// What wrk saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    micros: f64,
    pub requests: u64,
    pub bytes: u64,
    /// Responses with a status of 400 or more.
    pub refused: u64,
    pub errors: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Share of its cores that wrk used.
    #[serde(default)]
    pub use_share: f64,
}

/// How wrk is called.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub cores: &'a [usize],
    pub script: &'a Path,
    pub connections: u32,
    pub port: u16,
    pub seconds: u32,
    /// A command that counts while the one behind it runs; none is empty.
    pub counter: &'a [PathBuf],
}

impl Seen {
    pub fn seconds(&self) -> f64 {
        self.micros / 1e6
    }
}

/// A script of reads, and of a create by the bearer of `token` for every ninth of them.
pub fn mixed(scenario: &Scenario, port: u16, token: &str) -> String {
    let read = quoted(&scenario.request(port, scenario.limit, None));
    let body = r#"{"title":"Water the garden","description":"Before the weekend, and not later than that."}"#;
    let bytes = body.len();
    let create = quoted(&format!(
        "POST /todos HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{body}"
    ));
    format!(
        "local read, create, at = {read}, {create}, 0
request = function()
  at = at % 10 + 1
  return at == 10 and create or read
end
{REPORT}"
    )
}

/// The script that makes `scenario` on `port`.
pub fn script(scenario: &Scenario, port: u16, tag: Option<&str>) -> String {
    let limits = scenario.limits();
    if scenario.clients == Clients::Forwarded {
        return forwarded(&scenario.request(port, scenario.limit, tag));
    }
    match limits[..] {
        [limit] if scenario.depth == 1 => plain(scenario, limit, tag),
        [limit] => batched(&[scenario.request(port, limit, tag)], scenario.depth, 1),
        _ => {
            let requests: Vec<_> = limits
                .iter()
                .map(|limit| scenario.request(port, *limit, tag))
                .collect();
            batched(&requests, scenario.depth, BATCHES)
        }
    }
}

/// One request that never changes: wrk sends it without calling Lua.
fn plain(scenario: &Scenario, limit: Limit, tag: Option<&str>) -> String {
    let mut script = format!("wrk.path = {}\n", quoted(&limit.path()));
    for (name, value) in scenario.headers(tag) {
        let (name, value) = (quoted(name), quoted(value));
        writeln!(script, "wrk.headers[{name}] = {value}").expect("a string takes all");
    }
    script + REPORT
}

/// Batches of `depth` requests, drawn from `requests` with a fixed seed.
fn batched(requests: &[String], depth: u32, batches: u32) -> String {
    let requests: Vec<_> = requests.iter().map(|request| quoted(request)).collect();
    let requests = requests.join(",\n");
    format!(
        "local requests = {{ {requests} }}
local batches, at = {{}}, 0
math.randomseed(42)
for i = 1, {batches} do
  local batch = {{}}
  for j = 1, {depth} do batch[j] = requests[math.random(#requests)] end
  batches[i] = table.concat(batch)
end
request = function()
  at = at % {batches} + 1
  return batches[at]
end
{REPORT}"
    )
}

/// `request`, of one address after the other.
fn forwarded(request: &str) -> String {
    let head = quoted(request.trim_end());
    format!(
        r#"local requests, at = {{}}, 0
for i = 1, {ADDRESSES} do
  local address = string.format("10.0.%d.%d", i / 256, i % 256)
  requests[i] = {head} .. "\r\nX-Forwarded-For: " .. address .. "\r\n\r\n"
end
request = function()
  at = at % {ADDRESSES} + 1
  return requests[at]
end
{REPORT}"#
    )
}

fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\r', "\\r")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn client(call: Call<'_>) -> Command {
    let wrk = pinned(call.cores, Path::new("wrk"));
    let [counter, arguments @ ..] = call.counter else {
        return wrk;
    };
    let mut command = Command::new(counter);
    command.args(arguments).arg(wrk.get_program());
    command.args(wrk.get_args()).stdin(Stdio::null());
    command
}

/// Runs wrk to its end.
pub fn run(call: Call<'_>) -> Result<Seen> {
    let threads = call.cores.len().to_string();
    let before = proc::reaped()?;
    let output = client(call)
        .args(["-t", &threads, "-c", &call.connections.to_string()])
        .args([
            "-d",
            &format!("{}s", call.seconds),
            "--timeout",
            "10s",
            "-s",
        ])
        .arg(call.script)
        .arg(format!("http://127.0.0.1:{}", call.port))
        .output()
        .context("cannot run wrk")?;
    let used = proc::reaped()? - before;
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().find_map(|line| line.strip_prefix(MARK));
    let figures = figures.with_context(|| {
        let complained = String::from_utf8_lossy(&output.stderr);
        format!("wrk reported nothing:\n{said}{complained}")
    })?;
    let mut seen: Seen = serde_json::from_str(figures)?;
    ensure!(seen.requests > 0, "wrk got no answer:\n{said}");
    seen.use_share = used.seconds() / (seen.seconds() * call.cores.len() as f64);
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::READS;

    fn named(name: &str) -> &'static Scenario {
        let mut reads = READS.iter();
        reads.find(|scenario| scenario.name == name).unwrap()
    }

    #[test]
    fn a_request_that_never_changes_costs_the_client_no_lua() {
        let script = script(named("304"), 80, Some("\"x\""));
        assert!(!script.contains("request = function"));
        assert!(script.contains(r#"wrk.headers["If-None-Match"] = "\"x\"""#));
    }

    #[test]
    fn a_batch_has_the_depth_of_the_scenario() {
        let script = script(named("limit-1-depth-16"), 80, None);
        assert!(script.contains("for j = 1, 16"));
        assert!(script.contains(r"limit=1 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"));
    }
}
