//! How single values are written, and the bounds that are not a variable of their own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use super::{BadConfig, bad};

/// Serving cores, at most: each has a listener and a set of metric cells of its own.
pub const SERVER_CORES_MAX: usize = 1_024;
/// Bytes of a request body that can be allowed, at most: every connection may hold one.
pub const BODY_LIMIT_BYTES_MAX: usize = 16 << 20;
/// A linger, at most: every write waits for it.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// A grace, at least: less would cut off what is being answered.
pub const SHUTDOWN_GRACE_MIN: Duration = Duration::from_secs(1);
/// Bytes of a request head that can be allowed, at most: hyper gives up at about 400 KB.
pub const HEAD_LIMIT_BYTES_MAX: usize = 256 << 10;
/// Bytes of a shared secret, at least. RFC 7518 (3.2) asks for 32 with HS256; fewer are warned of.
pub const SECRET_BYTES_MIN: usize = 16;
/// Open files kept back from connections: the database, logs, sockets of its own.
const FILES_KEPT_BACK: u64 = 64;
/// Connections where the file limit would allow more: about 10 GB of memory when busy.
const CONNECTIONS_MAX: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl Switch {
    #[must_use]
    pub fn is_on(self) -> bool {
        matches!(self, Switch::On)
    }
}

/// Reads a time such as `500ms`, `10s`, `1m 30s` or `2h`; a bare number is seconds.
///
/// # Errors
/// A text for the user.
pub fn span(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return seconds(text);
    }
    let span = text
        .parse::<SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok());
    span.ok_or_else(|| "not a time such as 500ms, 10s or 2m".to_owned())
}

/// Reads a whole number of seconds.
///
/// # Errors
/// A text for the user.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<u32>()
        .map(|seconds| Duration::from_secs(seconds.into()))
        .map_err(|_| "not a whole number of seconds".to_owned())
}

/// A secret from its variable or from the file that the `_FILE` variable names, trimmed.
pub fn secret(
    (variable, value): (&'static str, Option<&str>),
    (file_variable, file): (&'static str, Option<&Path>),
) -> Result<Option<String>, BadConfig> {
    let value = value.filter(|text| !text.is_empty());
    match (value, named(file)) {
        (Some(_), Some(_)) => Err(bad(
            file_variable,
            format!("set this or {variable}, not both"),
        )),
        (Some(value), None) => Ok(Some(value.to_owned())),
        (None, file) => file_text(file_variable, file),
    }
}

/// The text of the file that a variable names, trimmed.
pub fn file_text(variable: &'static str, file: Option<&Path>) -> Result<Option<String>, BadConfig> {
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => Err(bad(variable, format!("{}: {error}", path.display()))),
    };
    named(file).map(read).transpose()
}

/// An empty variable is one that is not set.
pub fn named(file: Option<&Path>) -> Option<&Path> {
    file.filter(|path| !path.as_os_str().is_empty())
}

pub fn log_filter(text: String) -> Result<String, BadConfig> {
    match EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(bad("RUST_LOG", error.to_string())),
    }
}

/// What the hard limit on open files leaves for connections; `runtime` raises the soft limit.
pub fn connections_from_file_limit() -> usize {
    let files = rlimit::Resource::NOFILE.get_hard().unwrap_or(1_024);
    let connections = files
        .saturating_sub(FILES_KEPT_BACK)
        .clamp(1, CONNECTIONS_MAX);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(span("5"), Ok(Duration::from_secs(5)));
        for wrong in ["", "-1s", "soon", "1 parsec"] {
            assert!(span(wrong).is_err(), "{wrong:?}");
        }
    }
}
