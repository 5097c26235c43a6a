//! For operators: health, readiness, metrics, and what is where.

use hyper::header::HeaderValue;
use hyper::{Method, Response, StatusCode, Uri};
use serde_json::{Value, json as value};

use super::core::Surface;
use super::openapi;
use super::response::{Body, Problem, json, with};
use super::service::Call;
use super::submit::NOT_ENQUEUED;
use crate::links::Link;

pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The Prometheus text format.
pub const METRICS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Alive, whatever else may be wrong
///
/// `GET /health`, `GET /livez`
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "`OK`", body = String)))]
pub fn health() -> Response<Body> {
    with(StatusCode::OK, TEXT, "OK")
}

/// Whether to send requests here
///
/// `GET /ready[?verbose]`, `GET /readyz`
#[utoipa::path(
    get, path = "/ready", tag = "service",
    params(("verbose" = Option<String>, Query, description = "Details, as JSON")),
    responses(
        (status = 200, description = "`OK`", body = String),
        (status = 503, description = "Starting, about to stop, or failed", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub fn ready(call: &Call) -> Result<Response<Body>, Problem> {
    let shared = &call.core.shared;
    shared
        .stage
        .ready()
        .map_err(|why| Problem::unavailable(why, 1))?;
    if !is_verbose(&call.parts.uri) {
        return Ok(with(StatusCode::OK, TEXT, "OK"));
    }
    let snapshot = call.core.snapshot();
    let (commands, bytes) = shared.log.queued();
    let limits = shared.limiter.figures();
    Ok(json(
        StatusCode::OK,
        &value!({
            "ready": true,
            "todos": snapshot.len(),
            "positions": snapshot.positions(),
            "log": { "queued_commands": commands, "queued_bytes": bytes },
            "links": links(&shared.links),
            "limits": {
                "in_flight": limits.in_flight,
                "servers": limits.servers,
                "cores_without_redis": limits.cores_without_redis,
            },
        }),
    ))
}

/// The answer to what needs the todos before they are loaded. A write was not taken.
pub fn starting(call: &Call) -> Problem {
    let why = call.core.shared.stage.ready().err();
    let problem = Problem::unavailable(why.unwrap_or("the process has just started"), 1);
    match call.parts.method {
        Method::GET | Method::HEAD => problem,
        _ => problem.with_extension("outcome", NOT_ENQUEUED),
    }
}

pub fn is_verbose(uri: &Uri) -> bool {
    let mut names = uri.query().unwrap_or_default().split('&');
    names.any(|name| name == "verbose")
}

/// What the process leans on, by name. Reads go on without any of it.
pub fn links(links: &[Link]) -> Value {
    let state = |link: &Link| {
        let state = if link.is_up() { "ok" } else { "away" };
        (link.name().to_owned(), state.into())
    };
    Value::Object(links.iter().map(state).collect())
}

/// Metrics in the Prometheus text format
///
/// `GET /metrics`
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "The Prometheus text format", body = String)))]
pub fn metrics(call: &Call) -> Response<Body> {
    with(StatusCode::OK, METRICS, call.core.shared.metrics.text())
}

/// What is where
///
/// `GET /`
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, description = "The service, its version and links", body = serde_json::Value)))]
pub fn index(call: &Call) -> Response<Body> {
    let mut links = vec!["/health", "/ready"];
    let options = &call.core.shared.options;
    if call.core.surface == Surface::Admin || !options.metrics_apart {
        links.extend(["/metrics", "/dashboard"]);
    }
    if call.core.surface == Surface::Public {
        links.extend(["/todos?limit=10", "/docs/", "/openapi.json"]);
    }
    let version = env!("CARGO_PKG_VERSION");
    json(
        StatusCode::OK,
        &value!({ "service": "millpond", "version": version, "links": links }),
    )
}
