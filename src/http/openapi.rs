//! `GET /openapi.json`: the contract, put together from what stands at the handlers.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};
use uuid::Uuid;

use super::response::{Body, JSON, with};

/// A todo.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct Todo {
    id: Uuid,
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(max_length = 10_000)]
    description: String,
    completed: bool,
    user_id: String,
    /// RFC 3339 in UTC with six fractional digits
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A todo to be created. Unknown and repeated members are refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct NewTodo {
    /// Trimmed; 1 to 200 characters then
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(max_length = 10_000, default = "")]
    description: Option<String>,
}

/// What a todo becomes. Absent members take their defaults.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct Replacement {
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(max_length = 10_000, default = "")]
    description: Option<String>,
    #[schema(default = false)]
    completed: Option<bool>,
}

/// A write that is durable and will be applied.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct Receipt {
    /// The todo's id; absent from a claim's receipt
    id: Option<Uuid>,
    message: String,
    /// `queued`; `applied` where the todo was deleted again before the answer
    status: String,
    /// Where the outcome is told
    operation: String,
}

/// What became of a write.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
#[expect(
    clippy::struct_field_names,
    reason = "the member's name is the contract's"
)]
pub struct Operation {
    operation: String,
    status: Status,
    /// A gift code; shown only to its user
    result: Option<Value>,
    /// Why a write was rejected or is dead; shown only to its user
    problem: Option<Problem>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub enum Status {
    Queued,
    Applied,
    Rejected,
    Dead,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct GiftCode {
    gift_code: String,
    request_id: String,
}

/// What every write may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub enum RefusedWrite {
    /// Malformed
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// No valid token
    #[response(status = 401, content_type = "application/problem+json")]
    Nobody(Problem),
    /// Over a limit; `Retry-After` says when to come again, where that can help
    #[response(status = 429, content_type = "application/problem+json")]
    OverALimit(Problem),
    /// Cannot be made durable now; `outcome` says whether sending it again is safe
    #[response(status = 503, content_type = "application/problem+json")]
    NotDurable(Problem),
}

/// RFC 9457
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of a document, not a value")]
pub struct Problem {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    request_id: Option<String>,
    /// With 429: whole seconds after which to come again; -1 where waiting does not help
    retry_after: Option<i64>,
    /// The same in milliseconds
    retry_after_ms: Option<i64>,
    /// With 429: `rate` (a token bucket) or `inflight` (requests at once)
    #[schema(rename = "violated-policies")]
    violated_policies: Option<Vec<String>>,
    /// With 503 to a write: `not_enqueued` (safe to send again) or `unknown` (send again with the
    /// same Idempotency-Key)
    outcome: Option<String>,
    /// Where a write that ended badly stands
    operation: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Millpond", description = "To-dos and gift codes. Every error is a problem document; every write is answered with its position in the log.", license(name = "MIT", identifier = "MIT")),
    paths(
        super::todos::list,
        super::todos::get,
        super::writes::create,
        super::writes::replace,
        super::writes::delete,
        super::gifts::claim,
        super::operations::get,
        super::ops::health,
        super::ops::ready,
        super::ops::metrics,
        super::ops::index,
        super::dashboard::page,
        super::dashboard::points,
        super::docs::get,
        document,
    ),
    components(schemas(Todo, NewTodo, Replacement, Receipt, Operation, GiftCode, Problem)),
    modifiers(&Bearer, &Aliases, &Limits),
    tags(
        (name = "todos", description = "Reads need no token and are cacheable"),
        (name = "gift codes", description = "One per user"),
        (name = "operations", description = "What became of a write"),
        (name = "service", description = "For operators"),
    ),
)]
struct Contract;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        let components = contract.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The headers that tell the limits: they stand at each 429, and come with every limited response.
struct Limits;

const LIMIT_HEADERS: [(&str, &str); 7] = [
    (
        "Retry-After",
        "Whole seconds after which to come again; left out where waiting does not help",
    ),
    (
        "RateLimit-Policy",
        "The limits, by name (draft-ietf-httpapi-ratelimit-headers-11)",
    ),
    (
        "RateLimit",
        "`r`: requests that are left; `t`: seconds until there is one more",
    ),
    ("X-RateLimit-Capacity", "Tokens of a full bucket"),
    ("X-RateLimit-Rate", "Tokens a second that come back"),
    (
        "X-RateLimit-Remaining",
        "Tokens that are left, with two decimals",
    ),
    (
        "X-RateLimit-Source",
        "Where Redis is away: `local`, and the limits are this server's share; or `open`",
    ),
];

impl Modify for Limits {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        for item in contract.paths.paths.values_mut() {
            let methods = [
                &mut item.get,
                &mut item.post,
                &mut item.put,
                &mut item.delete,
            ];
            for operation in methods.into_iter().flatten() {
                let refused = operation.responses.responses.get_mut("429");
                if let Some(RefOr::T(refused)) = refused {
                    let header = |(name, text): (&str, &str)| {
                        let header = HeaderBuilder::new().description(Some(text));
                        (name.to_owned(), RefOr::T(header.build()))
                    };
                    refused.headers.extend(LIMIT_HEADERS.map(header));
                }
            }
        }
    }
}

/// Paths that answer like others.
struct Aliases;

impl Modify for Aliases {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let paths = &mut contract.paths.paths;
        for (alias, path) in [("/livez", "/health"), ("/readyz", "/ready")] {
            let mut item = paths[path].clone();
            if let Some(get) = &mut item.get {
                // An operation's id is its own.
                get.operation_id = Some(alias[1..].to_owned());
            }
            paths.insert(alias.to_owned(), item);
        }
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", body = Value)))]
pub fn document() -> Response<Body> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = Contract::openapi()
            .to_json()
            .expect("the contract serialises");
        Bytes::from(text)
    });
    with(StatusCode::OK, JSON, DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;
    use crate::http::router::Route;
    use hyper::Method;

    fn contract() -> Value {
        serde_json::to_value(Contract::openapi()).unwrap()
    }

    #[test]
    fn what_is_documented_is_what_is_routed() {
        for (path, item) in contract()["paths"].as_object().unwrap() {
            let route = Route::of(path);
            assert_ne!(route, Route::Unknown, "{path}");
            for method in [
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::DELETE,
                Method::PATCH,
            ] {
                let documented = item.get(method.as_str().to_lowercase()).is_some();
                assert_eq!(documented, route.allows(&method), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_refusal_is_documented_with_its_headers() {
        let contract = contract();
        for (path, method) in [
            ("/todos", "get"),
            ("/todos", "post"),
            ("/gift-codes", "post"),
        ] {
            let refused = &contract["paths"][path][method]["responses"]["429"];
            let headers = refused["headers"].as_object().unwrap();
            assert_eq!(headers.len(), LIMIT_HEADERS.len(), "{method} {path}");
        }
    }

    #[test]
    fn a_todo_has_the_documented_members() {
        let todo = domain::Todo {
            id: Uuid::nil(),
            title: String::new(),
            description: String::new(),
            completed: false,
            user_id: String::new(),
            created_at: domain::Timestamp::default(),
            updated_at: domain::Timestamp::default(),
        };
        let real = serde_json::to_value(todo).unwrap();
        let documented = &contract()["components"]["schemas"]["Todo"]["properties"];
        let names = |value: &Value| {
            let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(&real), names(documented));
    }
}
