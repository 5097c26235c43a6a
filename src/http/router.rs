//! From a path to what answers it: one `match`, no allocation.

use hyper::Method;

use super::dashboard::Part;
use super::docs::Page;
use crate::metrics::Handler;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Todos,
    Todo(&'a str),
    GiftCodes,
    Operation(&'a str),
    Health,
    Ready,
    Metrics,
    Index,
    OpenApi,
    Dashboard(Part),
    Docs(Page),
    /// `OPTIONS *`: the server itself.
    Server,
    Unknown,
}

impl<'a> Route<'a> {
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        match path {
            "/todos" => Route::Todos,
            "/gift-codes" => Route::GiftCodes,
            "/health" | "/livez" => Route::Health,
            "/ready" | "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/openapi.json" => Route::OpenApi,
            "/" => Route::Index,
            "*" => Route::Server,
            _ => Self::of_item(path),
        }
    }

    fn of_item(path: &'a str) -> Self {
        let item = |prefix| {
            path.strip_prefix(prefix)
                .filter(|rest: &&str| is_segment(rest))
        };
        if let Some(id) = item("/todos/") {
            return Route::Todo(id);
        }
        if let Some(position) = item("/operations/") {
            return Route::Operation(position);
        }
        if let Some(part) = path.strip_prefix("/dashboard").and_then(Part::of) {
            return Route::Dashboard(part);
        }
        let page = path.strip_prefix("/docs").and_then(Page::of);
        page.map_or(Route::Unknown, Route::Docs)
    }

    /// The methods that the path takes, as `Allow` lists them.
    #[must_use]
    pub fn allow(self) -> &'static str {
        match self {
            Route::Todos => "GET, HEAD, POST, OPTIONS",
            Route::Todo(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
            Route::GiftCodes => "POST, OPTIONS",
            Route::Server => "GET, HEAD, POST, PUT, DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    #[must_use]
    pub fn allows(self, method: &Method) -> bool {
        self.allow()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }

    /// Whether nothing can be answered before the todos are loaded.
    #[must_use]
    pub fn needs_todos(self) -> bool {
        matches!(
            self,
            Route::Todos | Route::Todo(_) | Route::GiftCodes | Route::Operation(_)
        )
    }

    /// Whether the route is for operators: health, readiness, metrics, the dashboard, the index.
    #[must_use]
    pub fn is_operational(self) -> bool {
        matches!(
            self,
            Route::Health | Route::Ready | Route::Metrics | Route::Dashboard(_) | Route::Index
        )
    }
}

impl From<Route<'_>> for Handler {
    fn from(route: Route<'_>) -> Self {
        match route {
            Route::Todos => Handler::Todos,
            Route::Todo(_) => Handler::Todo,
            Route::GiftCodes => Handler::GiftCodes,
            Route::Operation(_) => Handler::Operation,
            Route::Health => Handler::Health,
            Route::Ready => Handler::Ready,
            Route::Metrics => Handler::Metrics,
            Route::Index => Handler::Index,
            Route::OpenApi => Handler::OpenApi,
            Route::Dashboard(_) => Handler::Dashboard,
            Route::Docs(_) => Handler::Docs,
            Route::Server | Route::Unknown => Handler::None,
        }
    }
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_the_contract_lists() {
        assert_eq!(Route::of("/todos"), Route::Todos);
        assert_eq!(Route::of("/todos/7"), Route::Todo("7"));
        assert_eq!(Route::of("/operations/0-1"), Route::Operation("0-1"));
        for path in [
            "",
            "/todos/",
            "/todos/a/b",
            "/todo",
            "/TODOS",
            "//todos",
            "/operations",
            "/dashboard/",
            "/dashboards",
        ] {
            assert_eq!(Route::of(path), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn head_goes_wherever_get_does() {
        for path in [
            "/todos",
            "/todos/1",
            "/gift-codes",
            "/operations/0-1",
            "/health",
            "/metrics",
            "/",
        ] {
            let route = Route::of(path);
            assert_eq!(
                route.allows(&Method::GET),
                route.allows(&Method::HEAD),
                "{path}"
            );
            assert!(!route.allows(&Method::PATCH));
        }
    }
}
