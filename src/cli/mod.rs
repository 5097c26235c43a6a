//! The command line: from arguments and the environment to what is done.

mod database;
mod dead_letters;
mod health;
mod limiter;
mod places;
mod seed;
mod serve;
mod work;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::Result as Parsed;
use clap::{Parser, Subcommand};

use crate::app::fleet::{self, Wanted};
use crate::app::redrive::RedriveError;
use crate::app::worker::WorkError;
use crate::app::{self, OpenError};
use crate::clock;
use crate::config::{BadConfig, Config, EXIT_CONFIG, Purpose, Settings, span};
use crate::domain::Position;
use crate::http::auth::{self, Key};
use crate::limit::Unfit;
use crate::runtime;
use crate::seed::TODOS_MAX;

/// A to-do and gift-code API: reads from pre-serialised bytes, writes through a log.
///
/// With nothing configured it serves alone, on port 8080, and keeps everything in ./data. With
/// DATABASE_URL and KAFKA_BROKERS it is a server of a fleet.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
    /// Check the configuration and exit
    #[arg(long, global = true)]
    check_config: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Serve the API (the default)
    Serve,
    /// Create todos to try things with; repeatable, and fine while a server runs on DATA_DIR
    Seed {
        /// How many there shall be
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=TODOS_MAX))]
        todos: u64,
    },
    /// Print a bearer token
    Token {
        /// The user it is for (1 to 128 characters)
        #[arg(long, value_parser = user)]
        sub: String,
        /// How long it is good for
        #[arg(long, default_value = "1h", value_parser = span)]
        ttl: Duration,
    },
    /// Bring the database's schema up to date (serving alone does so by itself)
    Migrate,
    /// List the commands that could not be applied, and why
    DeadLetters {
        /// Show this one whole, as in 3-1207
        #[arg(long)]
        position: Option<Position>,
    },
    /// Send dead letters to the log again, once what was wrong is mended; safe to repeat
    ///
    /// A command goes behind all others of its todo, and has one effect however often it is sent
    /// within a day: a run that breaks off is to be repeated by then. Alone, no server may run
    /// meanwhile; in a fleet a worker must. Status 1 says that a letter is left or is dead again.
    #[command(
        override_usage = "millpond redrive [OPTIONS] <POSITIONS>...\n       millpond redrive [OPTIONS] --all"
    )]
    Redrive {
        /// Those to send, as in 3-1207 3-1300
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        positions: Vec<Position>,
        /// Send all there are
        #[arg(long)]
        all: bool,
    },
    /// Load the limits' script at `REDIS_URL` and exercise it
    LimiterCheck {
        /// Measure decisions a second as well, for some seconds
        #[arg(long)]
        bench: bool,
    },
    /// Ask the server on HTTP_PORT whether it is alive; for container health checks
    Healthcheck,
}

impl Command {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Serve => Purpose::Serve,
            Self::Seed { .. } | Self::Redrive { .. } => Purpose::Write,
            Self::Token { .. } => Purpose::Sign,
            Self::Migrate | Self::DeadLetters { .. } => Purpose::Database,
            Self::LimiterCheck { .. } | Self::Healthcheck => Purpose::Ask,
        }
    }
}

/// The worker of a fleet: applies to PostgreSQL what servers append to Kafka.
///
/// Any number of them share the work. It needs DATABASE_URL and KAFKA_BROKERS.
#[derive(Parser)]
#[command(name = "millpond-worker", version)]
struct WorkerCli {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    #[command(flatten)]
    settings: Settings,
    /// Check the configuration and exit
    #[arg(long, global = true)]
    check_config: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum WorkerCommand {
    /// Work (the default)
    Work,
    /// Ask the worker on WORKER_METRICS_PORT whether it is alive; for container health checks
    Healthcheck,
}

fn user(text: &str) -> Result<String, String> {
    auth::is_user(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "not a user's name".into())
}

/// Why a command failed; each is one line on stderr and an exit status.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Config(#[from] BadConfig),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Redrive(#[from] RedriveError),
    #[error(transparent)]
    Limiter(#[from] Unfit),
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
    #[error("{0}: cannot listen on {1}: {2}")]
    Listen(&'static str, SocketAddr, io::Error),
    #[error("{0}")]
    Other(String),
    #[error("stopped before its time; the log says why")]
    Stopped,
}

impl Failed {
    /// Whether something has to be configured otherwise before a new start has any use.
    fn is_config(&self) -> bool {
        let open = match self {
            Self::Config(_) => return true,
            Self::Open(open)
            | Self::Work(WorkError::Open(open))
            | Self::Redrive(RedriveError::Open(open)) => open,
            _ => return false,
        };
        matches!(open, OpenError::Config { .. })
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    with("millpond", Cli::try_parse, run)
}

/// Runs the worker of a fleet.
#[must_use]
pub fn worker_main() -> ExitCode {
    with("millpond-worker", WorkerCli::try_parse, run_worker)
}

fn with<T>(
    program: &str,
    parse: impl FnOnce() -> Parsed<T>,
    run: impl FnOnce(T) -> Result<(), Failed>,
) -> ExitCode {
    match dotenvy::from_path(Path::new(".env")) {
        Err(error) if !error.not_found() => {
            eprintln!("{program}: .env: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
        _ => {}
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, complaints to stderr; a closed pipe is nobody's loss.
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{program}: {failed}");
            if failed.is_config() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(cli: Cli) -> Result<(), Failed> {
    let command = cli.command.unwrap_or(Command::Serve);
    let config = cli.settings.check(command.purpose())?;
    let fleet = fleet(&config)?;
    if cli.check_config {
        println!("the configuration is good");
        return Ok(());
    }
    // One that serves has an end of its own to come to.
    if !matches!(command, Command::Serve) {
        runtime::end_by_signal().map_err(|error| Failed::Io("cannot start", error))?;
    }
    match command {
        Command::Serve => serve::serve(&config, fleet.as_ref()),
        Command::Seed { todos } => seed::seed(&config, fleet.as_ref(), todos),
        Command::Token { sub, ttl } => token(&config, &sub, ttl),
        Command::Migrate => database::migrate(&config),
        Command::DeadLetters { position } => dead_letters::dead_letters(&config, position),
        // Named or all: one of them was asked for.
        Command::Redrive { positions, .. } => {
            dead_letters::redrive(&config, fleet.as_ref(), positions)
        }
        Command::LimiterCheck { bench } => limiter::check(&config.limits, bench),
        Command::Healthcheck => health::check(config.listen),
    }
}

fn run_worker(cli: WorkerCli) -> Result<(), Failed> {
    let command = cli.command.unwrap_or(WorkerCommand::Work);
    let purpose = match command {
        WorkerCommand::Work => Purpose::Work,
        WorkerCommand::Healthcheck => Purpose::Ask,
    };
    let config = cli.settings.check(purpose)?;
    let fleet = fleet(&config)?;
    if cli.check_config {
        println!("the configuration is good");
        return Ok(());
    }
    match (command, fleet) {
        (WorkerCommand::Work, Some(fleet)) => work::work(&config, fleet),
        (WorkerCommand::Work, None) => Err(Failed::Stopped),
        (WorkerCommand::Healthcheck, _) => health::check(config.worker_metrics),
    }
}

/// What a process alone is opened with.
fn alone(config: &Config, serving_threads: usize) -> app::Options {
    app::Options {
        store: config.store.clone(),
        log: config.log.clone(),
        serving_threads,
    }
}

/// What the parts of a fleet are opened with, where one is configured.
fn fleet(config: &Config) -> Result<Option<fleet::Options>, Failed> {
    let (Some(database), Some(log)) = (&config.fleet.database, &config.fleet.log) else {
        return Ok(None);
    };
    let wanted = Wanted {
        database_url: database.url.clone(),
        pool_size: database.pool_size,
        brokers: log.brokers.clone(),
        todo_topic: log.todo_topic.clone(),
        partitions: log.partitions,
        results_topic: log.results_topic.clone(),
        replication: log.replication,
        min_insync: log.min_insync,
        linger: log.linger,
        store: config.store.clone(),
        log: config.log.clone(),
    };
    Ok(Some(fleet::Options::new(wanted)?))
}

fn kept_secret(data_dir: &Path) -> Result<Vec<u8>, Failed> {
    app::kept_secret(data_dir).map_err(|error| Failed::Io("DATA_DIR: jwt-secret", error))
}

/// An address that a client on this machine can use for one that is listened to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn token(config: &Config, user: &str, ttl: Duration) -> Result<(), Failed> {
    let secret = match &config.auth.key {
        Key::Secret(secret) => secret.clone(),
        Key::Kept => {
            let data_dir = &config.data_dir;
            std::fs::create_dir_all(data_dir).map_err(|error| Failed::Io("DATA_DIR", error))?;
            eprintln!("signed with the secret kept in {}", data_dir.display());
            kept_secret(data_dir)?
        }
        Key::Public(_) | Key::Followed(..) => {
            let problem = "is not set: public keys check tokens and cannot sign one";
            return Err(BadConfig {
                variable: "JWT_SECRET",
                problem: problem.into(),
            }
            .into());
        }
    };
    let now_s = u64::try_from(clock::now().as_micros() / 1_000_000).unwrap_or(0);
    let token = auth::sign(
        &secret,
        user,
        now_s.saturating_add(ttl.as_secs()),
        &config.auth,
    )
    .map_err(|error| Failed::Other(format!("cannot sign: {error}")))?;
    println!("{token}");
    Ok(())
}
