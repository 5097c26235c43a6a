//! What became of a write, by its position.

use hyper::header::{CACHE_CONTROL, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json as value};

use super::admission::{Kind, admit};
use super::headers::Prefer;
use super::openapi;
use super::response::{Body, NO_STORE, Problem, header, json};
use super::service::Call;
use super::submit::{self, Awaited, operation_path, preference_applied, problem_of};
use crate::domain::{Outcome, Position, Recorded};

/// What became of a write
///
/// `GET /operations/{P-O}`
#[utoipa::path(
    get, path = "/operations/{position}", tag = "operations",
    security(("bearer" = [])),
    params(
        ("position" = String, Path, description = "`<partition>-<offset>`, as in the write's `Location`"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N ≤ 30 s while it is queued"),
    ),
    responses(
        (status = 200, description = "Its status", body = openapi::Operation),
        (status = 401, description = "No valid token", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Over a limit, where reads are limited", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No position, or its outcome is forgotten (after 7 days)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "Starting, or the outcome cannot be looked up, or the limits not be checked, now", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(call: &Call, position: &str) -> Result<Response<Body>, Problem> {
    let user = call.core.user(call.headers())?;
    admit(call, Kind::Read, Some(&user)).await?;
    let unknown = || Problem::not_found("there is no such operation, or its outcome is forgotten");
    let position: Position = position.parse().map_err(|_| unknown())?;
    let prefer = Prefer {
        respond_async: false,
        ..Prefer::of(call.headers())
    };
    let awaited = match call.core.shared.marks.passed(position) {
        None => return Err(unknown()),
        Some(false) => match prefer.wait {
            Some(limit) => submit::wait(call, position, limit).await,
            None => Awaited::RanOut,
        },
        Some(true) => match call.core.shared.marks.recent(position) {
            Some(passed) => submit::told(call, position, passed).await,
            None => submit::look_up(call, position).await,
        },
    };
    let mut response = match awaited {
        Awaited::RanOut => queued(position),
        Awaited::Untold => {
            let problem = "the outcome cannot be looked up now";
            return Err(Problem::unavailable(problem, 1));
        }
        Awaited::Passed(None) => return Err(unknown()),
        Awaited::Passed(Some(recorded)) => json(StatusCode::OK, &ended(position, &recorded, &user)),
    };
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    preference_applied(response.headers_mut(), prefer);
    Ok(response)
}

fn queued(position: Position) -> Response<Body> {
    let mut response = json(StatusCode::OK, &status(position, "queued"));
    response.headers_mut().insert(RETRY_AFTER, header("1"));
    response
}

/// What is stored of an operation is its user's alone; that it has ended is not.
fn ended(position: Position, recorded: &Recorded, user: &str) -> Map<String, Value> {
    let (word, member) = match &recorded.outcome {
        Outcome::Applied => ("applied", None),
        Outcome::GiftCode(code) => ("applied", Some(("result", value!({ "gift_code": code })))),
        outcome @ (Outcome::Rejected(_) | Outcome::Dead(_)) => {
            let word = if matches!(outcome, Outcome::Dead(_)) {
                "dead"
            } else {
                "rejected"
            };
            (
                word,
                problem_of(outcome).map(|problem| ("problem", problem.document().into())),
            )
        }
    };
    let mut operation = status(position, word);
    if recorded.user == user {
        operation.extend(member.map(|(name, value)| (name.to_owned(), value)));
    }
    operation
}

fn status(position: Position, word: &str) -> Map<String, Value> {
    let mut operation = Map::new();
    operation.insert("operation".into(), operation_path(position).into());
    operation.insert("status".into(), word.into());
    operation
}
