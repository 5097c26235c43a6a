//! `millpond-worker`: from a configuration to a process that has ended.

use std::sync::Arc;

use tracing::{error, info};

use super::Failed;
use crate::app::{fleet, worker};
use crate::config::Config;
use crate::http::status::{self, Status};
use crate::http::{self, Sharing};
use crate::{fault, runtime};

pub fn work(config: &Config, fleet: fleet::Options) -> Result<(), Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    fault::arm();
    runtime::raise_file_limit();
    let cannot_start = |error| Failed::Io("cannot start", error);
    let (runtime, signals) = runtime::with_signals().map_err(cannot_start)?;
    let mut listeners = http::bind(config.worker_metrics, 1, Sharing::Alone)
        .map_err(|error| Failed::Listen("WORKER_METRICS_PORT", config.worker_metrics, error))?;
    let address = http::local_address(&listeners).map_err(cannot_start)?;
    let running = worker::start(fleet).map_err(cannot_start)?;
    let status = Arc::new(Status {
        metrics: running.metrics,
        stage: running.stage.clone(),
        links: running.links,
    });
    let worked = runtime.block_on(async {
        if let Some(listener) = listeners.pop() {
            tokio::spawn(async move {
                if let Err(error) = status::serve(status, listener).await {
                    error!(%error, "health and metrics cannot be served");
                }
            });
        }
        runtime::announce(address)?;
        let (stage, stop) = (&running.stage, &running.stop);
        let grace = config.shutdown.grace;
        Ok(runtime::until_worked(running.thread, signals, stage, stop, grace).await)
    });
    // A worker that did not end in time is left as it is.
    runtime.shutdown_background();
    match worked.map_err(cannot_start)? {
        Some(Ok(())) => {
            info!("stopped");
            Ok(())
        }
        Some(Err(error)) => Err(error.into()),
        None => Err(Failed::Stopped),
    }
}
