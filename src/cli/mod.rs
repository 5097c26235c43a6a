//! The command line: from arguments and the environment to what is done.

mod limiter;
mod serve;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::{self, App, DataDir, OpenError};
use crate::config::{BadConfig, Config, EXIT_CONFIG, Settings, span};
use crate::http::auth::{self, Key};
use crate::limit::Unfit;
use crate::runtime;
use crate::seed::{self, Seeded};
use crate::{clock, control};

/// A to-do and gift-code API: reads from pre-serialised bytes, writes through a log.
///
/// With nothing configured it serves alone, on port 8080, and keeps everything in ./data.
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
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=seed::TODOS_MAX))]
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
    /// Load the limits' script at `REDIS_URL` and exercise it
    LimiterCheck {
        /// Measure decisions a second as well, for some seconds
        #[arg(long)]
        bench: bool,
    },
    /// Ask the server on HTTP_PORT whether it is alive; for container health checks
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

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match dotenvy::from_path(Path::new(".env")) {
        Err(error) if !error.not_found() => {
            eprintln!("millpond: .env: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
        _ => {}
    }
    let cli = match Cli::try_parse() {
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
            eprintln!("millpond: {failed}");
            let is_config = matches!(failed, Failed::Config(_));
            if is_config {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The worker of a fleet, which this version does not have.
#[must_use]
pub fn worker_main() -> ExitCode {
    eprintln!(
        "millpond-worker: this version has no fleet: `millpond serve` works alone and applies its \
         writes itself"
    );
    ExitCode::from(EXIT_CONFIG)
}

fn run(cli: Cli) -> Result<(), Failed> {
    let config = cli.settings.check()?;
    if cli.check_config {
        println!("the configuration is good");
        return Ok(());
    }
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config),
        Command::Seed { todos } => seed(config, todos),
        Command::Token { sub, ttl } => token(&config, &sub, ttl),
        Command::Migrate => migrate(config),
        Command::LimiterCheck { bench } => limiter::check(&config.limits, bench),
        Command::Healthcheck => healthcheck(config.listen),
    }
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

fn seed(config: Config, todos: u64) -> Result<(), Failed> {
    let bar = ProgressBar::new(todos);
    let style = "{bar:40} {human_pos}/{human_len} todos, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    let watch = clock::Stopwatch::start();
    let seeded = match DataDir::open(&config.data_dir) {
        Ok(data_dir) => seed_alone(config, data_dir, todos, &bar),
        Err(OpenError::Taken(_)) => seed_through_server(&config.data_dir, todos, &bar),
        Err(error) => Err(error.into()),
    }?;
    bar.finish_and_clear();
    let Seeded { created, kept } = seeded;
    println!(
        "{created} todos created, {kept} were there already, in {:.1?}",
        watch.elapsed()
    );
    Ok(())
}

fn seed_alone(
    config: Config,
    data_dir: DataDir,
    todos: u64,
    bar: &ProgressBar,
) -> Result<Seeded, Failed> {
    let options = app::Options {
        store: config.store,
        log: config.log,
        serving_threads: 0,
    };
    let app = App::open(data_dir, options)?;
    let seeded = runtime::single_threaded()
        .map_err(|error| Failed::Io("cannot start", error))?
        .block_on(app.seeder().seed(todos, |done| bar.set_position(done)));
    app.close();
    seeded.map_err(|refused| Failed::Other(refused.to_string()))
}

fn seed_through_server(data_dir: &Path, todos: u64, bar: &ProgressBar) -> Result<Seeded, Failed> {
    let path = app::control_socket(data_dir);
    runtime::single_threaded()
        .and_then(|runtime| {
            runtime.block_on(control::seed(&path, todos, |done| bar.set_position(done)))
        })
        .map_err(|error| Failed::Io("the server on DATA_DIR does not seed", error))
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
        Key::Public { .. } => {
            let problem = "checks tokens and cannot sign one; sign it with the private key";
            return Err(BadConfig {
                variable: "JWT_PUBLIC_KEY",
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

/// Alone, opening the store migrates it.
fn migrate(config: Config) -> Result<(), Failed> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let options = app::Options {
        store: config.store,
        log: config.log,
        serving_threads: 0,
    };
    App::open(data_dir, options)?.close();
    println!("the schema in {} is up to date", config.data_dir.display());
    Ok(())
}

/// A health check answers in far less, or the server is not alive.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

fn healthcheck(address: SocketAddr) -> Result<(), Failed> {
    let address = reachable(address);
    let answer =
        ask_health(address).map_err(|error| Failed::Io("no answer from /health", error))?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(Failed::Other(format!("/health on {address} is not 200")))
}

fn ask_health(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer)?;
    Ok(answer)
}
