//! The environment, read once: every variable and flag, its default, and its bounds.
//!
//! Values become each module's own `Options` in [`Config`]; no module knows this one. Flags win
//! over the environment, the environment over `.env`. A value that cannot work ends the program
//! with [`EXIT_CONFIG`] and a message that names the variable, before anything is opened.

mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;

use crate::http;
use crate::http::auth;
use crate::runtime::{Cores, LogFormat, Shutdown};
use crate::{log, store};
pub use values::{Switch, seconds, span};

/// Exit status for a bad configuration or command line (`EX_USAGE` of `sysexits.h`).
pub const EXIT_CONFIG: u8 = 64;

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

/// Every variable. The doc comments are the text of `--help`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Configuration (flag or environment variable; `.env` fills gaps)")]
pub struct Settings {
    /// Port to serve on; 0 takes a free one
    #[arg(long, env, global = true, default_value_t = 8080)]
    http_port: u16,
    /// Address to serve on
    #[arg(long, env, global = true, default_value = "0.0.0.0")]
    http_host: IpAddr,
    /// Port of a listener of its own for health, readiness and metrics; `/metrics` then leaves
    /// the public one [default: none]
    #[arg(long, env, global = true)]
    admin_port: Option<u16>,
    /// Number of serving cores [default: all]
    #[arg(long, env, global = true)]
    server_cores: Option<usize>,
    /// Pin each serving thread to its core
    #[arg(long, env, global = true, default_value = "off")]
    pin_cores: Switch,
    /// Where everything is kept when alone
    #[arg(long, env, global = true, default_value = "./data")]
    data_dir: PathBuf,

    /// Secret of HS256/384/512 tokens, at least 16 bytes [default: alone, a random one kept in
    /// DATA_DIR]
    #[arg(long, env, global = true, hide_env_values = true)]
    jwt_secret: Option<String>,
    /// File that holds JWT_SECRET
    #[arg(long, env, global = true)]
    jwt_secret_file: Option<PathBuf>,
    /// Public key (PEM) of RS/PS/ES/EdDSA tokens, instead of JWT_SECRET
    #[arg(long, env, global = true)]
    jwt_public_key: Option<String>,
    /// File that holds JWT_PUBLIC_KEY
    #[arg(long, env, global = true)]
    jwt_public_key_file: Option<PathBuf>,
    /// Audience that a token must name [default: any]
    #[arg(long, env, global = true)]
    jwt_audience: Option<String>,
    /// Issuer that a token must name [default: any]
    #[arg(long, env, global = true)]
    jwt_issuer: Option<String>,

    /// Gift codes there are in all; 0 is no limit
    #[arg(long, env, global = true, default_value_t = 0)]
    gift_code_stock: u64,
    /// How long `POST /gift-codes` waits for its code before it answers 202, in seconds
    #[arg(long, env, global = true, default_value = "10", value_parser = seconds)]
    kafka_gift_code_timeout: Duration,
    /// Todos beyond which creates are refused with 507
    #[arg(long, env, global = true, default_value_t = 2_000_000)]
    todos_max: usize,
    /// `Cache-Control` of todo reads
    #[arg(long, env, global = true, default_value = "no-cache")]
    cache_control: String,

    /// Bytes of a request body, at most; more is 413
    #[arg(long, env, global = true, default_value_t = 65_536)]
    body_limit_bytes: usize,
    /// Bytes of a request head, at most; more is 431
    #[arg(long, env, global = true, default_value_t = 16_384)]
    head_limit_bytes: usize,
    /// Connections at once; beyond, idle ones make room or the newcomer gets 503 [default: the
    /// limit on open files less 64]
    #[arg(long, env, global = true)]
    max_connections: Option<usize>,
    /// Time for a request head to arrive, from its first byte
    #[arg(long, env, global = true, default_value = "10s", value_parser = span)]
    head_timeout: Duration,
    /// Time for a request body to arrive
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    body_timeout: Duration,
    /// Time that a connection may be idle between requests
    #[arg(long, env, global = true, default_value = "75s", value_parser = span)]
    idle_timeout: Duration,
    /// Time that a client may leave a response unread
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    write_timeout: Duration,

    /// Commands that may wait for the log; beyond, writes are 503 `not_enqueued`
    #[arg(long, env, global = true, default_value_t = 16_384)]
    log_queue_commands: usize,
    /// Bytes of commands that may wait for the log; beyond, writes are 503 `not_enqueued`
    #[arg(long, env, global = true, default_value_t = 64 << 20)]
    log_queue_bytes: usize,
    /// Commands applied in one transaction, at most
    #[arg(long, env, global = true, default_value_t = 4_096)]
    batch_commands: usize,
    /// Bytes of commands applied in one transaction, at most
    #[arg(long, env, global = true, default_value_t = 8 << 20)]
    batch_bytes: usize,
    /// How long a batch waits for more commands; what piles up during a commit is taken anyway
    #[arg(long, env, global = true, default_value = "0s", value_parser = span)]
    batch_linger: Duration,

    /// Time between failing readiness and refusing connections at shutdown
    #[arg(long, env, global = true, default_value = "0s", value_parser = span)]
    shutdown_delay: Duration,
    /// Time in which a shutdown must be done
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    shutdown_grace: Duration,

    /// `text` or `json` [default: text on a terminal, else json]
    #[arg(long, env, global = true)]
    log_format: Option<LogFormat>,
    /// Log levels, as in `info` or `millpond=debug`
    #[arg(
        long = "log",
        env = "RUST_LOG",
        global = true,
        default_value = "info,refinery_core=warn"
    )]
    rust_log: String,

    /// PostgreSQL of a fleet (not in this version: must be unset)
    #[arg(long, env, global = true, hide_env_values = true)]
    database_url: Option<String>,
    /// Kafka brokers of a fleet (not in this version: must be unset)
    #[arg(long, env, global = true)]
    kafka_brokers: Option<String>,
    /// Another name of KAFKA_BROKERS (not in this version: must be unset)
    #[arg(long, env, global = true)]
    kafka_bootstrap_servers: Option<String>,
    /// File of keys (JWKS) to check tokens with (not in this version: must be unset)
    #[arg(long, env, global = true)]
    jwt_jwks_file: Option<String>,
    /// Redis of a fleet (not in this version: must be unset)
    #[arg(long, env, global = true, hide_env_values = true)]
    redis_url: Option<String>,
}

/// Everything the program was told, checked, in the terms of the modules that use it.
#[derive(Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub cores: Cores,
    pub shutdown: Shutdown,
    pub http: http::Options,
    pub auth: auth::Options,
    pub log: log::Options,
    pub store: store::Options,
    pub log_format: LogFormat,
    pub log_filter: String,
}

impl Settings {
    /// Checks every value and the relations between them.
    ///
    /// # Errors
    /// The first variable that cannot work.
    pub fn check(self) -> Result<Config, BadConfig> {
        self.nothing_to_come()?;
        self.check_limits()?;
        Ok(Config {
            listen: SocketAddr::new(self.http_host, self.http_port),
            admin: self.admin_address()?,
            cores: self.cores()?,
            shutdown: Shutdown {
                delay: self.shutdown_delay,
                grace: self.shutdown_grace,
            },
            http: self.http()?,
            auth: self.auth()?,
            log: log::Options {
                queue_commands_max: self.log_queue_commands,
                queue_bytes_max: self.log_queue_bytes,
                batch_commands_max: self.batch_commands,
                batch_bytes_max: self.batch_bytes,
                linger: self.batch_linger,
            },
            store: store::Options {
                gift_stock: self.gift_code_stock,
                ..store::Options::default()
            },
            log_format: self.log_format.unwrap_or_default(),
            log_filter: values::log_filter(self.rust_log)?,
            data_dir: self.data_dir,
        })
    }

    fn nothing_to_come(&self) -> Result<(), BadConfig> {
        let fleet = [
            ("DATABASE_URL", &self.database_url),
            ("KAFKA_BROKERS", &self.kafka_brokers),
            ("KAFKA_BOOTSTRAP_SERVERS", &self.kafka_bootstrap_servers),
            ("JWT_JWKS_FILE", &self.jwt_jwks_file),
            ("REDIS_URL", &self.redis_url),
        ];
        let is_set = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
        match fleet.iter().find(|(_, value)| is_set(value)) {
            Some((variable, _)) => Err(bad(
                variable,
                "is not in this version, which serves alone over SQLite; unset it",
            )),
            None => Ok(()),
        }
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
        if self.batch_linger > values::BATCH_LINGER_MAX {
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
            None if self.shutdown_delay >= self.shutdown_grace => Err(bad(
                "SHUTDOWN_DELAY",
                "must be shorter than SHUTDOWN_GRACE, which includes it",
            )),
            None => Ok(()),
        }
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
            metrics_apart: self.admin_port.is_some(),
        })
    }

    fn auth(&self) -> Result<auth::Options, BadConfig> {
        let secret = values::secret(
            ("JWT_SECRET", self.jwt_secret.as_deref()),
            ("JWT_SECRET_FILE", self.jwt_secret_file.as_deref()),
        )?;
        let public_key = values::secret(
            ("JWT_PUBLIC_KEY", self.jwt_public_key.as_deref()),
            ("JWT_PUBLIC_KEY_FILE", self.jwt_public_key_file.as_deref()),
        )?;
        let key = match (secret, public_key) {
            (Some(_), Some(_)) => {
                return Err(bad("JWT_PUBLIC_KEY", "set this or JWT_SECRET, not both"));
            }
            (Some(secret), None) if secret.len() < values::SECRET_BYTES_MIN => {
                let least = values::SECRET_BYTES_MIN;
                return Err(bad(
                    "JWT_SECRET",
                    format!("must have at least {least} bytes"),
                ));
            }
            (Some(secret), None) => auth::Key::Secret(secret.into_bytes()),
            (None, Some(pem)) => auth::Key::public(&pem)
                .map_err(|problem| bad("JWT_PUBLIC_KEY", problem.to_string()))?,
            (None, None) => auth::Key::Kept,
        };
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(auth::Options {
            key,
            audience: named(&self.jwt_audience),
            issuer: named(&self.jwt_issuer),
        })
    }
}
