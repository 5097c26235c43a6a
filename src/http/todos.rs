//! Reads of todos: a list from the pages of the snapshot, one todo by its id.

use std::time::Duration;

use hyper::header::{CACHE_CONTROL, ETAG};
use hyper::{Response, StatusCode};

use super::admission::{Kind, admit};
use super::answer::Answer;
use super::conditional::{Accepts, client_has, item_tag};
use super::headers;
use super::openapi;
use super::query::{Cursor, ListQuery, todo_id};
use super::response::{Body, JSON, Problem, empty, header, with};
use super::service::Call;
use super::submit;
use crate::snapshot::{Pin, Slice};

/// How long a read waits for the position of its `Consistency-Token`.
const TOKEN_WAIT: Duration = Duration::from_secs(2);

/// List todos, newest first
///
/// `GET /todos[?limit=N[&after=C]]`
#[utoipa::path(
    get, path = "/todos", tag = "todos",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "The first N; all without it"),
        ("after" = Option<String>, Query, description = "The cursor of a `Link`, or the id of a living todo"),
        ("Consistency-Token" = Option<String>, Header, description = "Waits up to 2 s until the answer includes this position"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of what the client has"),
    ),
    responses(
        (status = 200, description = "An array; `Link` names what comes next, if there is more", body = [openapi::Todo]),
        (status = 304, description = "The client has it"),
        (status = 400, description = "A malformed or repeated parameter, or token", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No living todo has the id given as cursor", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Over a limit, where reads are limited", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "Starting, not caught up with the token yet, or the limits cannot be checked", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(call: &Call) -> Result<Response<Body>, Problem> {
    admit(call, Kind::Read, None).await?;
    let query = ListQuery::of(call.parts.uri.query().unwrap_or(""))?;
    let snapshot = snapshot_with_token(call).await?;
    let limit = query.limit.unwrap_or(usize::MAX);
    let slice = match query.after {
        None => snapshot.first(limit),
        Some(cursor) => after(&snapshot, cursor, limit)?,
    };
    let accepts = Accepts::of_headers(call.headers());
    let answer = Answer::negotiated(&snapshot, slice, query.limit, accepts);
    let client_has = client_has(call.headers(), answer.tag());
    Ok(answer.response(client_has, &call.core.shared.options.cache_control))
}

/// Read one todo
///
/// `GET /todos/{id}`; never coded, so that its entity tag serves `If-Match`.
#[utoipa::path(
    get, path = "/todos/{id}", tag = "todos",
    params(
        ("id" = uuid::Uuid, Path),
        ("Consistency-Token" = Option<String>, Header, description = "Waits up to 2 s until the answer includes this position"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of what the client has"),
    ),
    responses(
        (status = 200, description = "The todo; its `ETag` serves `If-Match`", body = openapi::Todo),
        (status = 304, description = "The client has it"),
        (status = 400, description = "A malformed token", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Over a limit, where reads are limited", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "Starting, not caught up with the token yet, or the limits cannot be checked", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(call: &Call, id: &str) -> Result<Response<Body>, Problem> {
    admit(call, Kind::Read, None).await?;
    let snapshot = snapshot_with_token(call).await?;
    let item = todo_id(id).and_then(|id| snapshot.find(id));
    let item = item.ok_or_else(|| Problem::not_found("there is no such todo"))?;
    let tag = header(&item_tag(item.tag));
    let mut response = if client_has(call.headers(), &tag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        with(StatusCode::OK, JSON, item.json.to_vec())
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    headers.insert(
        CACHE_CONTROL,
        call.core.shared.options.cache_control.clone(),
    );
    Ok(response)
}

/// The newest snapshot, which includes the position of the request's `Consistency-Token`.
async fn snapshot_with_token(call: &Call) -> Result<Pin, Problem> {
    let Some(position) = headers::consistency_token(call.headers())? else {
        return Ok(call.core.snapshot());
    };
    let marks = &call.core.shared.marks;
    match marks.passed(position) {
        None => Err(Problem::bad_request(
            "Consistency-Token: names no partition of the log",
        )),
        Some(true) => Ok(call.core.snapshot()),
        Some(false) if submit::reached(call, position, TOKEN_WAIT).await => {
            Ok(call.core.snapshot())
        }
        Some(false) => Err(Problem::unavailable(
            "this server has not caught up with the token yet",
            1,
        )),
    }
}

fn after(snapshot: &Pin, cursor: &str, limit: usize) -> Result<Slice, Problem> {
    let key = match Cursor::parse(cursor) {
        Some(Cursor::Key(key)) => key,
        Some(Cursor::Todo(id)) => match snapshot.find(id) {
            Some(item) => item.key,
            None => return Err(Problem::not_found("after: there is no such todo")),
        },
        None => {
            return Err(Problem::bad_request(
                "after: is not a cursor or the id of a todo",
            ));
        }
    };
    Ok(snapshot.after(key, limit))
}

/// The present representation of a todo, for a write that was waited for.
pub fn representation(call: &Call, id: uuid::Uuid, status: StatusCode) -> Option<Response<Body>> {
    let snapshot = call.core.snapshot();
    let item = snapshot.find(id)?;
    let mut response = with(status, JSON, item.json.to_vec());
    let headers = response.headers_mut();
    headers.insert(ETAG, header(&item_tag(item.tag)));
    Some(response)
}
