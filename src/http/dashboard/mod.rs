//! `GET /dashboard`: the last half hour of this server, live, in a browser.
//!
//! The page and all that it loads stand in the program: it works without a network. The charts are
//! uPlot's (MIT, `uplot/LICENSE`), as its package has it.

use std::sync::{Arc, LazyLock};

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json as value};
use tokio::time::{MissedTickBehavior, interval};

use super::conditional::client_has;
use super::response::{Body, NO_STORE, Problem, empty, header, json, with};
use super::service::Call;
use crate::clock::{self, Stopwatch};
use crate::domain::Hash128;
use crate::metrics::{Columns, LOOK_EVERY, Metrics};

/// What a path below `/dashboard` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    File(File),
    Points,
}

/// What stands in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Page,
    Script,
    Style,
    Charts,
    ChartsStyle,
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");

/// The page loads nothing from elsewhere, and stands in nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const GUARDS: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];
/// A newer version shows at the next look.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

impl Part {
    /// By what follows `/dashboard`.
    #[must_use]
    pub fn of(rest: &str) -> Option<Self> {
        Some(match rest {
            "" => Part::File(File::Page),
            "/dashboard.js" => Part::File(File::Script),
            "/dashboard.css" => Part::File(File::Style),
            "/uplot.js" => Part::File(File::Charts),
            "/uplot.css" => Part::File(File::ChartsStyle),
            "/points" => Part::Points,
            _ => return None,
        })
    }
}

impl File {
    fn content(self) -> (HeaderValue, &'static str) {
        match self {
            File::Page => (HTML, include_str!("dashboard.html")),
            File::Script => (JAVASCRIPT, include_str!("dashboard.js")),
            File::Style => (CSS, include_str!("dashboard.css")),
            File::Charts => (JAVASCRIPT, include_str!("uplot/uPlot.iife.min.js")),
            File::ChartsStyle => (CSS, include_str!("uplot/uPlot.min.css")),
        }
    }

    fn tag(self) -> HeaderValue {
        static TAGS: LazyLock<[HeaderValue; 5]> = LazyLock::new(|| {
            let files = [
                File::Page,
                File::Script,
                File::Style,
                File::Charts,
                File::ChartsStyle,
            ];
            files.map(|file| {
                let (_, text) = file.content();
                header(&format!("\"{}\"", Hash128::of(text.as_bytes())))
            })
        });
        TAGS[self as usize].clone()
    }
}

pub fn get(call: &Call, part: Part) -> Result<Response<Body>, Problem> {
    match part {
        Part::File(file) => Ok(page(call, file)),
        Part::Points => points(call),
    }
}

/// Live charts of this server
///
/// `GET /dashboard`: requests, latencies, limits and writes of the last half hour. What it loads
/// lies below it; nothing comes from elsewhere.
#[utoipa::path(get, path = "/dashboard", tag = "service", responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
fn page(call: &Call, file: File) -> Response<Body> {
    let (content_type, text) = file.content();
    let tag = file.tag();
    let mut response = if client_has(call.headers(), &tag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        with(StatusCode::OK, content_type, text)
    };
    let headers = response.headers_mut();
    headers.extend(GUARDS);
    headers.insert(ETAG, tag);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    if file == File::Page {
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    }
    response
}

/// What the dashboard draws
///
/// `GET /dashboard/points[?after=T]`: a point a second, of the last half hour, as columns.
#[utoipa::path(
    get, path = "/dashboard/points", tag = "service",
    params(("after" = Option<i64>, Query, description = "Milliseconds since 1970: only points after it")),
    responses(
        (status = 200, description = "`at`: times in milliseconds since 1970; `series`: by name a value for each of them, or null", body = serde_json::Value),
        (status = 400, description = "Malformed", body = super::openapi::Problem, content_type = "application/problem+json"),
    ),
)]
fn points(call: &Call) -> Result<Response<Body>, Problem> {
    let query = call.parts.uri.query().unwrap_or_default();
    let after = query.split('&').find_map(|it| it.strip_prefix("after="));
    let after = after
        .map(str::parse)
        .transpose()
        .map_err(|_| Problem::bad_request("after: must be a time in milliseconds since 1970"))?;
    let Columns { at, series } = call.core.shared.metrics.after(after.unwrap_or(0));
    let series = series.into_iter();
    let series: Map<_, _> = series
        .map(|(name, values)| (name.to_owned(), value!(values)))
        .collect();
    let now = clock::now().as_micros() / 1_000;
    let mut response = json(
        StatusCode::OK,
        &value!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": now,
            "at": at,
            "series": Value::Object(series),
        }),
    );
    let headers = response.headers_mut();
    headers.extend(GUARDS);
    headers.insert(CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// Looks at the metrics once a second, for as long as it is polled.
pub async fn keep_points(metrics: Arc<Metrics>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = Stopwatch::start();
    loop {
        ticks.tick().await;
        let took = since.elapsed();
        since = Stopwatch::start();
        metrics.look(clock::now().as_micros() / 1_000, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_what_is_there_and_nothing_else() {
        let (_, page) = File::Page.content();
        let links = page
            .split(['"', '\''])
            .filter(|it| it.contains('/') && !it.contains(' '));
        let local = links.filter_map(|link| link.strip_prefix("dashboard"));
        assert_eq!(local.filter_map(Part::of).count(), 4, "{page}");
        for file in [File::Page, File::Script, File::Style] {
            let (_, text) = file.content();
            assert!(!text.contains("://"), "{file:?} names another host");
        }
    }

    #[test]
    fn files_have_tags_of_their_own() {
        let files = [
            File::Page,
            File::Script,
            File::Style,
            File::Charts,
            File::ChartsStyle,
        ];
        for (nth, file) in files.iter().enumerate() {
            assert_eq!(*file as usize, nth);
            let tag = Hash128::of(file.content().1.as_bytes());
            assert_eq!(file.tag(), header(&format!("\"{tag}\"")));
        }
    }

    #[test]
    fn only_its_parts_are_there() {
        assert_eq!(Part::of(""), Some(Part::File(File::Page)));
        for rest in ["/", "s", "/points/", "/../points", "/uplot/LICENSE"] {
            assert_eq!(Part::of(rest), None, "{rest}");
        }
    }
}
