//! `GET /dashboard`: the last half hour of this server, live, in a browser.
//!
//! The page and all that it loads stand in the program: it works without a network. The charts are
//! uPlot's (MIT, `uplot/LICENSE`), as its package has it.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::header::CACHE_CONTROL;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::assets::{Asset, GUARDS};
use super::response::{Body, NO_STORE, Problem, json};
use super::service::Call;
use crate::clock::{self, Stopwatch};
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

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The page loads nothing from elsewhere, and stands in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
    /// In their order.
    const ALL: [Self; 5] = [
        File::Page,
        File::Script,
        File::Style,
        File::Charts,
        File::ChartsStyle,
    ];

    fn content(self) -> (&'static str, &'static str) {
        match self {
            File::Page => (HTML, include_str!("dashboard.html")),
            File::Script => (JAVASCRIPT, include_str!("dashboard.js")),
            File::Style => (CSS, include_str!("dashboard.css")),
            File::Charts => (JAVASCRIPT, include_str!("uplot/uPlot.iife.min.js")),
            File::ChartsStyle => (CSS, include_str!("uplot/uPlot.min.css")),
        }
    }

    fn asset(self) -> &'static Asset {
        static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
            File::ALL.map(|file| {
                let (content_type, text) = file.content();
                let asset = Asset::new(content_type, Bytes::from_static(text.as_bytes()));
                match file {
                    File::Page => asset.with_policy(POLICY),
                    _ => asset,
                }
            })
        });
        &ASSETS[self as usize]
    }
}

/// This process, among those that a proxy may send the dashboard's questions to.
static SERVER: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

#[derive(Serialize)]
struct Points {
    version: &'static str,
    server: Uuid,
    /// Milliseconds since 1970.
    now: i64,
    #[serde(flatten)]
    columns: Columns,
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
    file.asset().answer(call.headers())
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
    let points = Points {
        version: env!("CARGO_PKG_VERSION"),
        server: *SERVER,
        now: clock::now().as_micros() / 1_000,
        columns: call.core.shared.metrics.after(after.unwrap_or(0)),
    };
    let mut response = json(StatusCode::OK, &points);
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
    fn files_stand_at_their_own_index() {
        for (nth, file) in File::ALL.iter().enumerate() {
            assert_eq!(*file as usize, nth);
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
