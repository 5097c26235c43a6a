//! `millpond serve`: from a configuration to a process that has ended.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::UnixListener;
use tracing::{info, warn};

use super::places::Place;
use super::{Failed, kept_secret, reachable};
use crate::app::{self, App, DataDir, OpenError, fleet};
use crate::config::Config;
use crate::control;
use crate::http::auth::{Authenticator, Key};
use crate::http::{self, LimitHeaders, Shared, Sharing};
use crate::limit::Limiter;
use crate::runtime::{self, Ended, Servers};

/// Bytes that the secret of HS256 should have at least (RFC 7518, 3.2); fewer are warned of.
const HS256_SECRET_BYTES: usize = 32;

pub fn serve(config: &Config, fleet: Option<&fleet::Options>) -> Result<(), Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    let (runtime, signals) =
        runtime::with_signals().map_err(|error| Failed::Io("cannot start", error))?;
    runtime::raise_file_limit();
    runtime::keep_pages_small();
    let deployment = Deployment::of(config, fleet)?;
    let places = Place::all(config, deployment.sharing())?;
    let auth = Arc::new(authenticator(config)?);
    if let Key::Followed(file, _) = &config.auth.key {
        runtime.spawn(http::follow_keys(file.clone(), Arc::clone(&auth)));
    }
    let serving_threads = config.cores.count + usize::from(config.admin.is_some());
    let app = deployment.open(config, serving_threads)?;
    let limiter = app::limiter(&config.limits, &app.metrics)?;
    let shared = shared(config.http.clone(), auth, limiter, &app);
    let servers = Servers::new(shared, signals, config.cores);
    let ended = runtime.block_on(run(servers, places, &app, config, fleet.is_none()));
    // After a second signal the serving threads are left as they are.
    runtime.shutdown_background();
    let left = ended.as_ref().map_or(Duration::ZERO, |ended| ended.left);
    let closed = runtime::within(left, move || app.close(left));
    closed
        .map_err(|error| Failed::Io("cannot end", error))?
        .transpose()?;
    info!("stopped");
    if ended?.well {
        Ok(())
    } else {
        Err(Failed::Stopped)
    }
}

/// From the first answer to the last one.
async fn run(
    mut servers: Servers,
    mut places: Vec<Place>,
    app: &App,
    config: &Config,
    is_alone: bool,
) -> Result<Ended, Failed> {
    // It ends with the runtime.
    tokio::spawn(http::keep_points(Arc::clone(&app.metrics)));
    for place in &mut places {
        place.serve(&mut servers)?;
    }
    if let Err(stop) = servers.started().await {
        return Ok(servers.drain(stop, config.shutdown).await);
    }
    for place in &mut places {
        place.join(&mut servers)?;
    }
    let control = is_alone.then(|| listen_for_orders(&config.data_dir));
    let address = places
        .first()
        .map_or(config.listen, |public| public.address);
    if matches!(config.auth.key, Key::Kept) {
        greet(address, &config.data_dir);
    }
    runtime::announce(address).map_err(|error| Failed::Io("cannot start", error))?;
    let stop = tokio::select! {
        stop = servers.stopped() => stop,
        never = take_orders(control.flatten(), app) => match never {},
    };
    Ok(servers.drain(stop, config.shutdown).await)
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
            Self::Alone(data_dir) => app::open(data_dir, super::alone(config, serving_threads)),
        }
    }
}

fn shared(
    options: http::Options,
    auth: Arc<Authenticator>,
    limiter: Limiter,
    app: &App,
) -> Arc<Shared> {
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
        crowded: AtomicBool::new(false),
    })
}

/// Without the socket the server goes on, and says what it cannot do.
fn listen_for_orders(data_dir: &Path) -> Option<UnixListener> {
    control::bind(&app::control_socket(data_dir))
        .inspect_err(|error| {
            warn!(%error, "no control socket: `millpond seed` has to wait until the server stops");
        })
        .ok()
}

async fn take_orders(control: Option<UnixListener>, app: &App) -> Infallible {
    match control {
        Some(listener) => control::serve(listener, app.seeder()).await,
        None => std::future::pending().await,
    }
}

fn authenticator(config: &Config) -> Result<Authenticator, Failed> {
    let kept = match &config.auth.key {
        Key::Kept => kept_secret(&config.data_dir)?,
        Key::Secret(secret) => {
            if secret.len() < HS256_SECRET_BYTES {
                warn!("JWT_SECRET has fewer than the 32 bytes that RFC 7518 asks for");
            }
            Vec::new()
        }
        Key::Public(_) | Key::Followed(..) => Vec::new(),
    };
    Ok(Authenticator::new(config.auth.clone(), &kept))
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
