//! `millpond serve`: from a configuration to a process that has ended.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::net::UnixListener;
use tracing::{info, warn};

use super::{Failed, kept_secret, reachable};
use crate::app::{self, App, DataDir, OpenError, fleet};
use crate::config::Config;
use crate::control;
use crate::http::auth::{Authenticator, Key};
use crate::http::{self, LimitHeaders, Shared, Sharing};
use crate::limit::Limiter;
use crate::runtime::{self, Servers};
use crate::stage::At;

/// Bytes that the secret of HS256 should have at least (RFC 7518, 3.2); fewer are warned of.
const HS256_SECRET_BYTES: usize = 32;

pub fn serve(config: Config, fleet: Option<&fleet::Options>) -> Result<(), Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    runtime::raise_file_limit();
    runtime::keep_pages_small();
    let deployment = Deployment::of(&config, fleet)?;
    let (is_alone, sharing) = (fleet.is_none(), deployment.sharing());
    // Known before the todos are loaded; listened to after, so that nobody is left waiting.
    let public = listenable("HTTP_PORT", config.listen, sharing)?;
    let admin = config
        .admin
        .map(|address| listenable("ADMIN_PORT", address, sharing))
        .transpose()?;
    let (key_is_kept, auth) = authenticator(&config)?;
    let serving_threads = config.cores.count + usize::from(admin.is_some());
    let app = deployment.open(&config, serving_threads)?;
    let public = listen("HTTP_PORT", public, config.cores.count, sharing)?;
    let address =
        http::local_address(&public).map_err(|error| Failed::Io("cannot start", error))?;
    let admin = match admin {
        Some(address) => listen("ADMIN_PORT", address, 1, sharing)?.pop(),
        None => None,
    };
    let limiter = app::limiter(&config.limits, &app.metrics)?;
    let shared = shared(config.http, auth, limiter, &app);
    let runtime = runtime::single_threaded().map_err(|error| Failed::Io("cannot start", error))?;
    let ended = runtime.block_on(async {
        let servers = Servers::start(shared, public, admin, config.cores)?;
        let control = is_alone.then(|| listen_for_orders(&config.data_dir));
        app.stage.advance(At::Serving);
        if key_is_kept {
            greet(address, &config.data_dir);
        }
        runtime::announce(address)?;
        let ended = tokio::select! {
            ended = servers.until_stopped(config.shutdown) => ended,
            () = take_orders(control.flatten(), &app) => true,
        };
        Ok(ended)
    });
    // After a second signal the serving threads are left as they are.
    runtime.shutdown_background();
    app.close();
    info!("stopped");
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failed::Stopped),
        Err(error) => Err(Failed::Io("cannot serve", error)),
    }
}

/// How this server works: for itself, or with others.
enum Deployment<'a> {
    Alone(DataDir),
    Fleet(&'a fleet::Options),
}

impl<'a> Deployment<'a> {
    fn of(config: &Config, fleet: Option<&'a fleet::Options>) -> Result<Self, Failed> {
        Ok(match fleet {
            Some(fleet) => Self::Fleet(fleet),
            None => Self::Alone(DataDir::open(&config.data_dir)?),
        })
    }

    fn sharing(&self) -> Sharing {
        match self {
            Self::Alone(_) => Sharing::Alone,
            Self::Fleet(_) => Sharing::Fleet,
        }
    }

    fn open(self, config: &Config, serving_threads: usize) -> Result<App, OpenError> {
        match self {
            Self::Fleet(options) => fleet::open(options, serving_threads),
            Self::Alone(data_dir) => {
                let options = app::Options {
                    store: config.store.clone(),
                    log: config.log.clone(),
                    serving_threads,
                };
                app::open(data_dir, options)
            }
        }
    }
}

fn shared(options: http::Options, auth: Authenticator, limiter: Limiter, app: &App) -> Arc<Shared> {
    Arc::new(Shared {
        limit_headers: LimitHeaders::new(limiter.options().rate, limiter.options().slots_max),
        limiter,
        options,
        auth,
        published: Arc::clone(&app.published),
        marks: Arc::clone(&app.marks),
        log: app.log.clone(),
        reader: app.reader.clone(),
        links: app.links.clone(),
        metrics: Arc::clone(&app.metrics),
        stage: app.stage.clone(),
        connections: AtomicUsize::new(0),
        crowded: AtomicBool::new(false),
    })
}

fn listenable(
    variable: &'static str,
    address: SocketAddr,
    sharing: Sharing,
) -> Result<SocketAddr, Failed> {
    http::probe(address, sharing).map_err(|error| Failed::Listen(variable, address, error))
}

fn listen(
    variable: &'static str,
    address: SocketAddr,
    count: usize,
    sharing: Sharing,
) -> Result<Vec<TcpListener>, Failed> {
    http::bind(address, count, sharing).map_err(|error| Failed::Listen(variable, address, error))
}

/// Without the socket the server goes on, and says what it cannot do.
fn listen_for_orders(data_dir: &Path) -> Option<UnixListener> {
    control::bind(&app::control_socket(data_dir))
        .inspect_err(|error| {
            warn!(%error, "no control socket: `millpond seed` has to wait until the server stops");
        })
        .ok()
}

async fn take_orders(control: Option<UnixListener>, app: &App) {
    match control {
        Some(listener) => control::serve(listener, app.seeder()).await,
        None => std::future::pending().await,
    }
}

fn authenticator(config: &Config) -> Result<(bool, Authenticator), Failed> {
    let is_kept = matches!(config.auth.key, Key::Kept);
    let kept = if is_kept {
        kept_secret(&config.data_dir)?
    } else {
        Vec::new()
    };
    if let Key::Secret(secret) = &config.auth.key
        && secret.len() < HS256_SECRET_BYTES
    {
        warn!("JWT_SECRET has fewer than the 32 bytes that RFC 7518 asks for");
    }
    Ok((is_kept, Authenticator::new(config.auth.clone(), &kept)))
}

/// What to try first, for who has configured nothing.
fn greet(address: SocketAddr, data_dir: &Path) {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "millpond".to_owned());
    let data_dir = data_dir.display();
    let base = format!("http://{}", reachable(address));
    eprintln!(
        "
Try it:
  TOKEN=$({program} token --data-dir {data_dir} --sub alice)
  curl -i {base}/todos -H \"Authorization: Bearer $TOKEN\" \\
       -H 'Content-Type: application/json' -H 'Prefer: wait=5' -d '{{\"title\":\"Buy milk\"}}'
  curl -i '{base}/todos?limit=10'
"
    );
}
