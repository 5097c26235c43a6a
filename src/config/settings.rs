//! Every variable, as the command line and the environment give it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::fleet::FleetSettings;
use super::limits::LimitSettings;
use super::values::{Switch, seconds, span};
use crate::log;
use crate::runtime::LogFormat;

/// Every variable. The doc comments are the text of `--help`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Configuration (flag or environment variable; `.env` fills gaps)")]
pub struct Settings {
    /// Port to serve on; 0 takes a free one
    #[arg(long, env, global = true, default_value_t = 8080)]
    pub(super) http_port: u16,
    /// Address to serve on
    #[arg(long, env, global = true, default_value = "0.0.0.0")]
    pub(super) http_host: IpAddr,
    /// Port of a listener of its own for health, readiness, metrics and the dashboard; the latter
    /// two then leave the public one [default: none]
    #[arg(long, env, global = true)]
    pub(super) admin_port: Option<u16>,
    /// Number of serving cores [default: all]
    #[arg(long, env, global = true)]
    pub(super) server_cores: Option<usize>,
    /// Pin each serving thread to its core
    #[arg(long, env, global = true, default_value = "off")]
    pub(super) pin_cores: Switch,
    /// Answer list reads, and requests that came whole, without hyper; `off` is for comparison
    #[arg(long, env, global = true, default_value = "on")]
    pub(super) hot_path: Switch,
    /// Where everything is kept when alone
    #[arg(long, env, global = true, default_value = "./data")]
    pub(super) data_dir: PathBuf,

    /// Secret of HS256/384/512 tokens, at least 16 bytes; the servers of a fleet share it [default:
    /// alone, a random one kept in DATA_DIR]
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(super) jwt_secret: Option<String>,
    /// File that holds JWT_SECRET
    #[arg(long, env, global = true)]
    pub(super) jwt_secret_file: Option<PathBuf>,
    /// Public key (PEM) of RS/PS/ES/EdDSA tokens, instead of JWT_SECRET
    #[arg(long, env, global = true)]
    pub(super) jwt_public_key: Option<String>,
    /// File that holds JWT_PUBLIC_KEY
    #[arg(long, env, global = true)]
    pub(super) jwt_public_key_file: Option<PathBuf>,
    /// File of public keys (a JSON Web Key Set) instead of JWT_PUBLIC_KEY; followed while it has good ones
    #[arg(long, env, global = true)]
    pub(super) jwt_jwks_file: Option<PathBuf>,
    /// Audience that a token must name [default: any]
    #[arg(long, env, global = true)]
    pub(super) jwt_audience: Option<String>,
    /// Issuer that a token must name [default: any]
    #[arg(long, env, global = true)]
    pub(super) jwt_issuer: Option<String>,

    /// Gift codes there are in all; 0 is no limit
    #[arg(long, env, global = true, default_value_t = 0)]
    pub(super) gift_code_stock: u64,
    /// How long `POST /gift-codes` waits for its code before it answers 202, in seconds
    #[arg(long, env, global = true, default_value = "10", value_parser = seconds)]
    pub(super) kafka_gift_code_timeout: Duration,
    /// Todos beyond which creates are refused with 507
    #[arg(long, env, global = true, default_value_t = 2_000_000)]
    pub(super) todos_max: usize,
    /// `Cache-Control` of todo reads
    #[arg(long, env, global = true, default_value = "no-cache")]
    pub(super) cache_control: String,

    /// Bytes of a request body, at most; more is 413
    #[arg(long, env, global = true, default_value_t = 65_536)]
    pub(super) body_limit_bytes: usize,
    /// Bytes of a request head, at most; more is 431
    #[arg(long, env, global = true, default_value_t = 16_384)]
    pub(super) head_limit_bytes: usize,
    /// Connections at once; beyond, idle ones make room or the newcomer gets 503 [default: the
    /// limit on open files less 64]
    #[arg(long, env, global = true)]
    pub(super) max_connections: Option<usize>,
    /// Time for a request head to arrive, from its first byte
    #[arg(long, env, global = true, default_value = "10s", value_parser = span)]
    pub(super) head_timeout: Duration,
    /// Time for a request body to arrive
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    pub(super) body_timeout: Duration,
    /// Time that a connection may be idle between requests
    #[arg(long, env, global = true, default_value = "75s", value_parser = span)]
    pub(super) idle_timeout: Duration,
    /// Time that a client may leave a response unread
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    pub(super) write_timeout: Duration,

    /// Commands that may wait for the log; beyond, writes are 503 `not_enqueued`
    #[arg(long, env, global = true, default_value_t = log::Options::DEFAULT.queue_commands_max)]
    pub(super) log_queue_commands: usize,
    /// Bytes of commands that may wait for the log; beyond, writes are 503 `not_enqueued`
    #[arg(long, env, global = true, default_value_t = log::Options::DEFAULT.queue_bytes_max)]
    pub(super) log_queue_bytes: usize,
    /// Commands applied in one transaction, at most
    #[arg(long, env, global = true, default_value_t = log::Options::DEFAULT.batch_commands_max)]
    pub(super) batch_commands: usize,
    /// Bytes of commands applied in one transaction, at most
    #[arg(long, env, global = true, default_value_t = log::Options::DEFAULT.batch_bytes_max)]
    pub(super) batch_bytes: usize,
    /// How long after the batch before it a batch waits for more commands; what piles up during a
    /// commit is taken anyway [default: 7ms in a fleet; alone, up to 5ms while that brings more]
    #[arg(long, env, global = true, value_parser = span)]
    pub(super) batch_linger: Option<Duration>,

    #[command(flatten)]
    pub(super) limits: LimitSettings,

    /// Time between failing readiness and refusing connections at shutdown [default: 0s alone, 5s
    /// in a fleet]
    #[arg(long, env, global = true, value_parser = span)]
    pub(super) shutdown_delay: Option<Duration>,
    /// Time in which a shutdown must be done
    #[arg(long, env, global = true, default_value = "30s", value_parser = span)]
    pub(super) shutdown_grace: Duration,

    /// `text` or `json` [default: text on a terminal, else json]
    #[arg(long, env, global = true)]
    pub(super) log_format: Option<LogFormat>,
    /// Log levels, as in `info` or `millpond=debug`
    #[arg(
        long = "log",
        env = "RUST_LOG",
        global = true,
        default_value = "info,refinery_core=warn"
    )]
    pub(super) rust_log: String,

    #[command(flatten)]
    pub(super) fleet: FleetSettings,
}
