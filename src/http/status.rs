//! What a process without an API shows: that it lives, whether it works, what it counts.
//!
//! A few scrapers and probes ask it. It has the deadlines and bounds of what faces a network, and
//! none of the speed.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json as value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::headers::{X_REQUEST_ID, request_id};
use super::listener;
use super::ops::{METRICS, TEXT, is_verbose, links};
use super::response::{JSON, NO_STORE, Problem, header};
use super::router::Route;
use crate::clock::Stopwatch;
use crate::links::Link;
use crate::metrics::Metrics;
use crate::stage::Stage;

/// Connections at once; others wait in the backlog.
const CONNECTIONS_MAX: usize = 32;
/// Time for a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may last: scrapers come again.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);

/// What there is to show.
pub struct Status {
    pub metrics: Arc<Metrics>,
    pub stage: Stage,
    pub links: Vec<Link>,
}

/// Answers for as long as it is polled.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(status: Arc<Status>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = listener::accept(&listener).await;
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            // It lasts no longer, whatever it does; an error is the client's.
            drop(timeout(CONNECTION_TIMEOUT, converse(status, stream)).await);
            drop(place);
        });
    }
}

async fn converse(status: Arc<Status>, stream: TcpStream) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(status.answer(&request)) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

impl Status {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let watch = Stopwatch::start();
        let route = Route::of(request.uri().path());
        let response = self.respond(route, request);
        self.metrics.core(0).request(
            route.into(),
            request.method(),
            response.status(),
            watch.elapsed(),
        );
        response
    }

    fn respond<B>(&self, route: Route<'_>, request: &Request<B>) -> Response<Full<Bytes>> {
        match self.shown(route, request) {
            Ok(response) => response,
            Err(problem) => {
                let id = request_id(request.headers()).map(str::to_owned);
                let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
                let mut response: Response<_> = problem.into_response(&id);
                response.headers_mut().insert(X_REQUEST_ID, header(&id));
                response
            }
        }
    }

    fn shown<B>(
        &self,
        route: Route<'_>,
        request: &Request<B>,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        if !route.is_operational() {
            return Err(Problem::not_found("there is nothing at this path"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let allow = HeaderValue::from_static("GET, HEAD");
            let problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path takes other methods",
            );
            return Err(problem.with_header(ALLOW, allow));
        }
        match route {
            Route::Health => Ok(with(TEXT, "OK")),
            Route::Metrics => Ok(with(METRICS, self.metrics.text())),
            Route::Ready => self.ready(is_verbose(request.uri())),
            _ => {
                let version = env!("CARGO_PKG_VERSION");
                let paths = ["/health", "/ready", "/metrics"];
                let index =
                    value!({ "service": "millpond-worker", "version": version, "links": paths });
                Ok(with(JSON, index.to_string()))
            }
        }
    }

    fn ready(&self, verbose: bool) -> Result<Response<Full<Bytes>>, Problem> {
        let ready = self.stage.ready();
        ready.map_err(|why| Problem::unavailable(why, 1))?;
        if verbose {
            let details = value!({ "ready": true, "links": links(&self.links) });
            return Ok(with(JSON, details.to_string()));
        }
        Ok(with(TEXT, "OK"))
    }
}

fn with(content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::At;

    fn status() -> Status {
        let metrics = Arc::new(Metrics::new(1));
        Status {
            links: vec![Link::new("postgresql", &metrics)],
            metrics,
            stage: Stage::default(),
        }
    }

    fn ask(status: &Status, method: Method, path: &str) -> StatusCode {
        let request = Request::builder().method(method).uri(path).body(());
        status.answer(&request.unwrap()).status()
    }

    #[test]
    fn it_lives_before_it_is_ready_and_is_not_ready_after_a_fault() {
        let status = status();
        assert_eq!(ask(&status, Method::GET, "/health"), StatusCode::OK);
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(ask(&status, Method::GET, "/ready"), unavailable);
        status.stage.advance(At::Serving);
        assert_eq!(ask(&status, Method::GET, "/ready?verbose"), StatusCode::OK);
        status.stage.fail("on purpose".to_owned());
        assert_eq!(ask(&status, Method::GET, "/ready"), unavailable);
        assert_eq!(ask(&status, Method::HEAD, "/health"), StatusCode::OK);
    }

    #[test]
    fn nothing_else_is_there() {
        let status = status();
        assert_eq!(ask(&status, Method::GET, "/todos"), StatusCode::NOT_FOUND);
        let refused = StatusCode::METHOD_NOT_ALLOWED;
        assert_eq!(ask(&status, Method::POST, "/metrics"), refused);
    }
}
