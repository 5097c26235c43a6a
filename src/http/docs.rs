//! `GET /docs/`: the API as a page to try it with. It is Swagger UI (Apache-2.0), which stands in the
//! program: the page works without a network.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use utoipa_swagger_ui::{Config, serve};

use super::assets::Asset;
use super::response::{Body, empty};
use super::service::Call;

/// What a path below `/docs` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Without the slash that what the page loads is found below.
    Door,
    /// One of [`FILES`].
    File(usize),
}

/// What the page loads, and the page itself.
const FILES: [(&str, &str); 8] = [
    ("index.html", "text/html; charset=utf-8"),
    ("index.css", "text/css; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    (
        "swagger-ui-standalone-preset.js",
        "text/javascript; charset=utf-8",
    ),
    ("swagger-initializer.js", "text/javascript; charset=utf-8"),
    ("favicon-16x16.png", "image/png"),
    ("favicon-32x32.png", "image/png"),
];

/// The page loads nothing from elsewhere, and stands in nobody's frame. Its styles are partly its
/// script's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

impl Page {
    /// By what follows `/docs`.
    #[must_use]
    pub fn of(rest: &str) -> Option<Self> {
        let name = match rest {
            "" => return Some(Page::Door),
            "/" => "index.html",
            _ => rest.strip_prefix('/')?,
        };
        let at = FILES.iter().position(|(known, _)| *known == name)?;
        Some(Page::File(at))
    }
}

/// The API as a page to try it with
///
/// `GET /docs` leads to `/docs/`.
#[utoipa::path(get, path = "/docs/", tag = "service", responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub fn get(call: &Call, page: Page) -> Response<Body> {
    static ASSETS: LazyLock<[Asset; FILES.len()]> = LazyLock::new(|| {
        let config = Config::new(["../openapi.json"])
            .validator_url("none")
            .try_it_out_enabled(true)
            .default_models_expand_depth(0);
        let config = Arc::new(config);
        FILES.map(|(name, content_type)| {
            let file = serve(name, Arc::clone(&config)).ok().flatten();
            let file = file.expect("the library has the files of its page");
            let asset = Asset::new(content_type, Bytes::from(file.bytes.into_owned()));
            match name {
                "index.html" => asset.with_policy(POLICY),
                _ => asset,
            }
        })
    });
    match page {
        Page::File(at) => ASSETS[at].answer(call.headers()),
        Page::Door => {
            let mut response = empty(StatusCode::PERMANENT_REDIRECT);
            let inside = HeaderValue::from_static("docs/");
            response.headers_mut().insert(LOCATION, inside);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_below_its_path() {
        assert_eq!(Page::of(""), Some(Page::Door));
        assert_eq!(Page::of("/"), Page::of("/index.html"));
        for (at, (name, _)) in FILES.iter().enumerate() {
            assert_eq!(Page::of(&format!("/{name}")), Some(Page::File(at)));
        }
        for rest in ["s", "/none", "//", "/../openapi.json"] {
            assert_eq!(Page::of(rest), None, "{rest}");
        }
    }
}
