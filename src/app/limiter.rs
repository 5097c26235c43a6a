//! The limits of a process: those of the fleet where there is a Redis, else its own.

use std::sync::Arc;

use super::OpenError;
use crate::limit::{self, Figures, Limiter};
use crate::metrics::Metrics;

/// What a gauge of the limits shows.
type Figure = fn(&Figures) -> u32;

const FIGURES: [(&str, &str, Figure); 3] = [
    (
        "limiter_in_flight",
        "In-flight slots in use by this server",
        |figures| figures.in_flight,
    ),
    (
        "limiter_servers",
        "Servers that share the limits, as far as this one knows",
        |figures| figures.servers,
    ),
    (
        "limiter_cores_without_redis",
        "Serving cores that take Redis for away",
        |figures| figures.cores_without_redis,
    ),
];

/// Makes the limiter and shows its figures.
///
/// # Errors
/// A URL that cannot be one of Redis; whether Redis is there shows later.
pub fn limiter(options: &limit::Backing, metrics: &Metrics) -> Result<Limiter, OpenError> {
    let limits = options.limits.clone();
    let limiter = match &options.redis_url {
        Some(url) => Limiter::Redis(limit::Redis::new(url, limits)?),
        None => Limiter::Local(Arc::new(limit::Local::new(limits))),
    };
    for (name, help, figure) in FIGURES {
        let limiter = limiter.clone();
        metrics.gauge(name, help, move || figure(&limiter.figures()).into());
    }
    Ok(limiter)
}
