//! The environment, read once: every variable and flag, its default, and its bounds.
//!
//! Values become each module's own `Options` in [`Config`]; no module knows this one. Flags win
//! over the environment, the environment over `.env`. A value that cannot work ends the program
//! with [`EXIT_CONFIG`] and a message that names the variable, before anything is opened.

mod fleet;
mod limits;
mod settings;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::http;
use crate::http::auth::{self, CheckingKey, KeyFile};
use crate::runtime::{Cores, LogFormat, Shutdown};
use crate::{feed, limit, log, store};
pub use fleet::{Database, Fleet, Log, Purpose};
pub use settings::Settings;
pub use values::span;

/// Exit status for a bad configuration or command line (`EX_USAGE` of `sysexits.h`).
pub const EXIT_CONFIG: u8 = 64;

/// Time in which who sends requests to a fleet finds out that a server is about to stop.
const FLEET_SHUTDOWN_DELAY: Duration = Duration::from_secs(5);
/// [`Settings`]' `BATCH_LINGER` in a fleet.
const FLEET_BATCH_LINGER: Duration = Duration::from_millis(7);

/// A variable that cannot work. The text names the variable and says what would.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct BadConfig {
    pub variable: &'static str,
    pub problem: String,
}

fn bad(variable: &'static str, problem: impl Into<String>) -> BadConfig {
    BadConfig {
        variable,
        problem: problem.into(),
    }
}

/// Everything the program was told, checked, in the terms of the modules that use it.
#[derive(Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub fleet: Fleet,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    /// Where a worker shows its health and metrics.
    pub worker_metrics: SocketAddr,
    pub cores: Cores,
    pub shutdown: Shutdown,
    pub http: http::Options,
    pub auth: auth::Options,
    pub log: log::Options,
    pub limits: limit::Backing,
    pub store: store::Options,
    pub log_format: LogFormat,
    pub log_filter: String,
}

impl Settings {
    /// Checks every value and the relations between them.
    ///
    /// # Errors
    /// The first variable that cannot work.
    pub fn check(self, purpose: Purpose) -> Result<Config, BadConfig> {
        self.check_limits()?;
        let fleet = self.fleet.clone().check(purpose)?;
        let is_fleet = fleet.log.is_some();
        if is_fleet {
            self.check_feed_records()?;
        }
        let auth = self.auth()?;
        if is_fleet && purpose.wants_key() && matches!(auth.key, auth::Key::Kept) {
            return Err(bad(
                "JWT_SECRET",
                "is missing, or JWT_PUBLIC_KEY or JWT_JWKS_FILE: the servers of a fleet must agree on tokens",
            ));
        }
        let store = store::Options {
            gift_stock: self.gift_code_stock,
            partitions: fleet.log.as_ref().map_or(1, |log| log.partitions),
            ..store::Options::default()
        };
        Ok(Config {
            listen: SocketAddr::new(self.http_host, self.http_port),
            admin: self.admin_address()?,
            cores: self.cores()?,
            worker_metrics: SocketAddr::new(self.http_host, self.fleet.worker_metrics_port),
            shutdown: self.shutdown(is_fleet)?,
            http: self.http()?,
            auth,
            limits: self.limits.backing()?,
            log: log::Options {
                queue_commands_max: self.log_queue_commands,
                queue_bytes_max: self.log_queue_bytes,
                batch_commands_max: self.batch_commands,
                batch_bytes_max: self.batch_bytes,
                linger: self.batch_linger(is_fleet),
            },
            store,
            fleet,
            log_format: self.log_format.unwrap_or_default(),
            log_filter: values::log_filter(self.rust_log)?,
            data_dir: self.data_dir,
        })
    }

    fn check_limits(&self) -> Result<(), BadConfig> {
        // In this order: the limit on a body is good before others are held against it.
        let twice_a_body = self.body_limit_bytes.saturating_mul(2);
        let bounds = [
            (
                "BODY_LIMIT_BYTES",
                self.body_limit_bytes,
                1_024,
                values::BODY_LIMIT_BYTES_MAX,
            ),
            (
                "HEAD_LIMIT_BYTES",
                self.head_limit_bytes,
                1_024,
                values::HEAD_LIMIT_BYTES_MAX,
            ),
            ("LOG_QUEUE_COMMANDS", self.log_queue_commands, 1, usize::MAX),
            (
                "LOG_QUEUE_BYTES",
                self.log_queue_bytes,
                twice_a_body,
                usize::MAX,
            ),
            ("BATCH_COMMANDS", self.batch_commands, 1, usize::MAX),
            ("BATCH_BYTES", self.batch_bytes, twice_a_body, usize::MAX),
            ("TODOS_MAX", self.todos_max, 1, usize::MAX),
        ];
        for (variable, value, least, most) in bounds {
            if value < least {
                return Err(bad(
                    variable,
                    format!("{value} is too small; at least {least}"),
                ));
            }
            if value > most {
                return Err(bad(
                    variable,
                    format!("{value} is too large; at most {most}"),
                ));
            }
        }
        self.check_times()
    }

    fn check_times(&self) -> Result<(), BadConfig> {
        if self.batch_linger > Some(values::LINGER_MAX) {
            return Err(bad(
                "BATCH_LINGER",
                "must be at most 1s: every write waits for it",
            ));
        }
        if self.shutdown_grace < values::SHUTDOWN_GRACE_MIN {
            return Err(bad("SHUTDOWN_GRACE", "must be at least 1s"));
        }
        let timeouts = [
            ("HEAD_TIMEOUT", self.head_timeout),
            ("BODY_TIMEOUT", self.body_timeout),
            ("IDLE_TIMEOUT", self.idle_timeout),
            ("WRITE_TIMEOUT", self.write_timeout),
        ];
        match timeouts.iter().find(|(_, time)| time.is_zero()) {
            Some((variable, _)) => Err(bad(variable, "must be longer than 0s")),
            None => Ok(()),
        }
    }

    /// A whole batch may become one record of the feed, which has to fit into a request.
    fn check_feed_records(&self) -> Result<(), BadConfig> {
        let bytes = feed::record_bytes_max(self.batch_commands, self.batch_bytes);
        if bytes > feed::APPLIED_BYTES_MAX {
            let most = feed::APPLIED_BYTES_MAX;
            let problem = format!(
                "with BATCH_COMMANDS a record of the feed could have {bytes} bytes, which Kafka's \
                 requests do not hold; at most {most}"
            );
            return Err(bad("BATCH_BYTES", problem));
        }
        Ok(())
    }

    /// In a fleet a batch costs more than a sync of the disk: requests to two services, and a record of
    /// the feed that every server takes in.
    fn batch_linger(&self, is_fleet: bool) -> Option<Duration> {
        self.batch_linger.or(is_fleet.then_some(FLEET_BATCH_LINGER))
    }

    fn shutdown(&self, is_fleet: bool) -> Result<Shutdown, BadConfig> {
        let default = if is_fleet {
            FLEET_SHUTDOWN_DELAY
        } else {
            Duration::ZERO
        };
        // A short grace that was asked for does not fail over a delay that was not.
        let usual = default.min(self.shutdown_grace / 2);
        let delay = self.shutdown_delay.unwrap_or(usual);
        if delay >= self.shutdown_grace {
            return Err(bad(
                "SHUTDOWN_DELAY",
                "must be shorter than SHUTDOWN_GRACE, which includes it",
            ));
        }
        Ok(Shutdown {
            delay,
            grace: self.shutdown_grace,
        })
    }

    fn admin_address(&self) -> Result<Option<SocketAddr>, BadConfig> {
        match self.admin_port {
            Some(port) if port != 0 && port == self.http_port => {
                Err(bad("ADMIN_PORT", "must differ from HTTP_PORT"))
            }
            port => Ok(port.map(|port| SocketAddr::new(self.http_host, port))),
        }
    }

    fn cores(&self) -> Result<Cores, BadConfig> {
        let there = available_parallelism().map_or(1, usize::from);
        let count = self.server_cores.unwrap_or(there);
        if !(1..=values::SERVER_CORES_MAX).contains(&count) {
            let most = values::SERVER_CORES_MAX;
            return Err(bad(
                "SERVER_CORES",
                format!("{count} is not between 1 and {most}"),
            ));
        }
        Ok(Cores {
            count,
            pin: self.pin_cores.is_on(),
        })
    }

    fn http(&self) -> Result<http::Options, BadConfig> {
        let cache_control = self.cache_control.parse().map_err(|_| {
            bad(
                "CACHE_CONTROL",
                "must be a header value of visible ASCII characters",
            )
        })?;
        let connections_max = match self.max_connections {
            Some(0) => return Err(bad("MAX_CONNECTIONS", "must be at least 1")),
            Some(count) if count > values::connections_from_file_limit() => {
                let most = values::connections_from_file_limit();
                let problem =
                    format!("{count} is more than the limit on open files allows ({most})");
                return Err(bad("MAX_CONNECTIONS", problem));
            }
            Some(count) => count,
            None => values::connections_from_file_limit(),
        };
        Ok(http::Options {
            head_bytes_max: self.head_limit_bytes,
            body_bytes_max: self.body_limit_bytes,
            connections_max,
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            write_timeout: self.write_timeout,
            gift_code_timeout: self.kafka_gift_code_timeout,
            todos_max: self.todos_max,
            cache_control,
            hot_path: self.hot_path.is_on(),
            admission: self.limits.admission()?,
            metrics_apart: self.admin_port.is_some(),
        })
    }

    fn auth(&self) -> Result<auth::Options, BadConfig> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(auth::Options {
            key: self.key()?,
            audience: named(&self.jwt_audience),
            issuer: named(&self.jwt_issuer),
        })
    }

    /// What tokens are checked with: one of the variables that name it, or what is kept.
    fn key(&self) -> Result<auth::Key, BadConfig> {
        let secret = values::secret(
            ("JWT_SECRET", self.jwt_secret.as_deref()),
            ("JWT_SECRET_FILE", self.jwt_secret_file.as_deref()),
        )?;
        let public_key = values::secret(
            ("JWT_PUBLIC_KEY", self.jwt_public_key.as_deref()),
            ("JWT_PUBLIC_KEY_FILE", self.jwt_public_key_file.as_deref()),
        )?;
        let key_set = values::named(self.jwt_jwks_file.as_deref());
        match (secret, public_key, key_set) {
            (Some(_), Some(_), _) => Err(bad("JWT_PUBLIC_KEY", "set this or JWT_SECRET, not both")),
            (Some(_), _, Some(_)) => Err(bad("JWT_JWKS_FILE", "set this or JWT_SECRET, not both")),
            (_, Some(_), Some(_)) => {
                Err(bad("JWT_JWKS_FILE", "set this or JWT_PUBLIC_KEY, not both"))
            }
            (Some(secret), ..) if secret.len() < values::SECRET_BYTES_MIN => {
                let least = values::SECRET_BYTES_MIN;
                Err(bad(
                    "JWT_SECRET",
                    format!("must have at least {least} bytes"),
                ))
            }
            (Some(secret), ..) => Ok(auth::Key::Secret(secret.into_bytes())),
            (_, Some(pem), _) => match CheckingKey::of_pem(&pem) {
                Ok(key) => Ok(auth::Key::Public(key)),
                Err(problem) => Err(bad("JWT_PUBLIC_KEY", problem.to_string())),
            },
            (_, _, Some(path)) => match KeyFile::open(path) {
                Ok((file, keys)) => Ok(auth::Key::Followed(file, keys)),
                Err(problem) => Err(bad("JWT_JWKS_FILE", problem.to_string())),
            },
            (None, None, None) => Ok(auth::Key::Kept),
        }
    }
}
