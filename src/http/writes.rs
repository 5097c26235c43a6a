//! Writes of todos: checked, made into commands, acknowledged with their position.

use hyper::header::{CONTENT_LOCATION, LOCATION};
use hyper::{Response, StatusCode};
use uuid::Uuid;

use super::body::{Shape, check_is_json, draft};
use super::conditional::if_match;
use super::headers::{CONSISTENCY_TOKEN, Prefer};
use super::query::todo_id;
use super::response::{Body, Problem, empty, header, json};
use super::service::Call;
use super::submit::{
    Awaited, Receipt, append, operation_path, preference_applied, problem_of, receipt_headers,
    todo_path, wait,
};
use super::todos::representation;
use super::writer::Writer;
use super::{admission, openapi};
use crate::domain::{Action, Command, Draft, Hash128, IfMatch, Position};

/// Create a todo
///
/// `POST /todos`
#[utoipa::path(
    post, path = "/todos", tag = "todos", request_body = openapi::NewTodo,
    security(("bearer" = [])),
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N ≤ 30 s for the outcome"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; the same key and payload has one effect"),
    ),
    responses(
        (status = 201, description = "Created, with `Prefer: wait`", body = openapi::Todo),
        (status = 202, description = "Durable; `Location` names the operation, `Consistency-Token` the position", body = openapi::Receipt),
        openapi::RefusedWrite,
        (status = 409, description = "The key has expired and its todo lives", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value out of bounds, or the key was used with another payload", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 507, description = "No room for more todos", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(call: &Call) -> Result<Response<Body>, Problem> {
    let writer = Writer::of(call, admission::Kind::Write).await?;
    check_is_json(call.headers())?;
    let draft = draft(&call.read_body().await?, Shape::Create)?;
    let id = writer.new_todo_id(&call.core.shared.log);
    check_room(call, id)?;
    let fingerprint = fingerprint(&draft, None);
    let Draft {
        title, description, ..
    } = draft;
    let action = Action::Create {
        id,
        title,
        description,
    };
    let command = writer.command("/todos", fingerprint, action);
    submit(call, id, command, Kind::Create).await
}

/// Replace a todo
///
/// `PUT /todos/{id}`
#[utoipa::path(
    put, path = "/todos/{id}", tag = "todos", request_body = openapi::Replacement,
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N ≤ 30 s for the outcome"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; the same key and payload has one effect"),
        ("If-Match" = Option<String>, Header, description = "Judged when the write is applied"),
    ),
    responses(
        (status = 200, description = "Replaced, with `Prefer: wait`", body = openapi::Todo),
        (status = 202, description = "Durable; `Location` names the operation, `Consistency-Token` the position", body = openapi::Receipt),
        openapi::RefusedWrite,
        (status = 404, description = "There is no such todo of yours (with `Prefer: wait`)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 412, description = "`If-Match` names another version (with `Prefer: wait`)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value out of bounds, or the key was used with another payload", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn replace(call: &Call, id: &str) -> Result<Response<Body>, Problem> {
    let writer = Writer::of(call, admission::Kind::Write).await?;
    let if_match = if_match(call.headers())?;
    check_is_json(call.headers())?;
    let draft = draft(&call.read_body().await?, Shape::Replace)?;
    let id = known_id(id)?;
    let fingerprint = fingerprint(&draft, if_match.as_ref());
    let Draft {
        title,
        description,
        completed,
    } = draft;
    let action = Action::Update {
        id,
        title,
        description,
        completed,
        if_match,
    };
    let command = writer.command(&todo_path(id), fingerprint, action);
    submit(call, id, command, Kind::Replace).await
}

/// Delete a todo
///
/// `DELETE /todos/{id}`
#[utoipa::path(
    delete, path = "/todos/{id}", tag = "todos",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N ≤ 30 s for the outcome"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; the same key and payload has one effect"),
        ("If-Match" = Option<String>, Header, description = "Judged when the write is applied"),
    ),
    responses(
        (status = 202, description = "Durable; `Location` names the operation, `Consistency-Token` the position", body = openapi::Receipt),
        (status = 204, description = "Deleted, with `Prefer: wait`"),
        openapi::RefusedWrite,
        (status = 404, description = "There is no such todo of yours (with `Prefer: wait`)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 412, description = "`If-Match` names another version (with `Prefer: wait`)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was used with another payload", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(call: &Call, id: &str) -> Result<Response<Body>, Problem> {
    let writer = Writer::of(call, admission::Kind::Write).await?;
    let if_match = if_match(call.headers())?;
    // Nothing in it counts, but it stands before the next request.
    drop(call.read_body().await?);
    let id = known_id(id)?;
    let fingerprint = Hash128::of_fields(&[&conditions(if_match.as_ref())]);
    let command = writer.command(&todo_path(id), fingerprint, Action::Delete { id, if_match });
    submit(call, id, command, Kind::Delete).await
}

/// A create sent again has the room that it took the first time.
fn check_room(call: &Call, id: Uuid) -> Result<(), Problem> {
    let todos_max = call.core.shared.options.todos_max;
    let snapshot = call.core.snapshot();
    if snapshot.len() < todos_max || snapshot.find(id).is_some() {
        return Ok(());
    }
    let detail = format!("there are {todos_max} todos, and no room for more");
    Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail))
}

/// A path that cannot be a todo's is not worth a command.
fn known_id(id: &str) -> Result<Uuid, Problem> {
    todo_id(id).ok_or_else(|| Problem::not_found("there is no such todo"))
}

/// The canonical body and `If-Match` of a write.
fn fingerprint(draft: &Draft, if_match: Option<&IfMatch>) -> Hash128 {
    Hash128::of_fields(&[
        draft.title.as_bytes(),
        draft.description.as_bytes(),
        &[draft.completed.into()],
        &conditions(if_match),
    ])
}

fn conditions(if_match: Option<&IfMatch>) -> Vec<u8> {
    match if_match {
        None => Vec::new(),
        Some(IfMatch::Any) => b"*".to_vec(),
        // In one order, so that a list means the same however it is written.
        Some(IfMatch::Tags(tags)) => {
            let mut tags = tags.clone();
            tags.sort_unstable();
            tags.iter()
                .flat_map(|tag| tag.to_bytes())
                .chain(*b"-")
                .collect()
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Create,
    Replace,
    Delete,
}

/// Appends a command and answers it: with its outcome if the client waits and it comes in time,
/// else with its receipt.
async fn submit(
    call: &Call,
    id: Uuid,
    command: Command,
    kind: Kind,
) -> Result<Response<Body>, Problem> {
    let prefer = Prefer {
        respond_async: false,
        ..Prefer::of(call.headers())
    };
    let position = append(call, command).await?;
    let outcome = match prefer.wait {
        Some(limit) if !limit.is_zero() => wait(call, position, limit).await,
        _ => Awaited::RanOut,
    };
    let mut response = match outcome.outcome() {
        None => receipt(id, position, kind),
        Some(outcome) => match problem_of(&outcome) {
            None => done(call, id, position, kind),
            Some(problem) => problem
                .with_extension("operation", operation_path(position))
                .into_response(call.request_id()),
        },
    };
    response
        .headers_mut()
        .insert(CONSISTENCY_TOKEN, header(&position.to_string()));
    preference_applied(response.headers_mut(), prefer);
    Ok(response)
}

/// 202: durable, and to be applied.
fn receipt(id: Uuid, position: Position, kind: Kind) -> Response<Body> {
    let message = match kind {
        Kind::Create => "Todo creation queued",
        Kind::Replace => "Todo update queued",
        Kind::Delete => "Todo deletion queued",
    };
    let operation = operation_path(position);
    let receipt = Receipt {
        id,
        message,
        status: "queued",
        operation,
    };
    let mut response = json(StatusCode::ACCEPTED, &receipt);
    receipt_headers(response.headers_mut(), position, Some(id));
    response
}

/// The answer to a write that is applied: the todo as it is now. Where another write has deleted
/// it since, its receipt takes the place of the todo.
fn done(call: &Call, id: Uuid, position: Position, kind: Kind) -> Response<Body> {
    let (status, message) = match kind {
        Kind::Delete => return empty(StatusCode::NO_CONTENT),
        Kind::Create => (StatusCode::CREATED, "Todo created, and deleted since"),
        Kind::Replace => (StatusCode::OK, "Todo updated, and deleted since"),
    };
    let mut response = representation(call, id, status).unwrap_or_else(|| {
        let operation = operation_path(position);
        json(
            status,
            &Receipt {
                id,
                message,
                status: "applied",
                operation,
            },
        )
    });
    let path = header(&todo_path(id));
    if matches!(kind, Kind::Create) {
        response.headers_mut().insert(LOCATION, path.clone());
    }
    response.headers_mut().insert(CONTENT_LOCATION, path);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_anything_has_another_fingerprint() {
        let draft = |title: &str, completed| Draft {
            title: title.into(),
            description: String::new(),
            completed,
        };
        let one = Hash128(1);
        let all = [
            fingerprint(&draft("a", false), None),
            fingerprint(&draft("b", false), None),
            fingerprint(&draft("a", true), None),
            fingerprint(&draft("a", false), Some(&IfMatch::Any)),
            fingerprint(&draft("a", false), Some(&IfMatch::Tags(vec![]))),
            fingerprint(&draft("a", false), Some(&IfMatch::Tags(vec![one]))),
        ];
        for (nth, hash) in all.iter().enumerate() {
            assert!(!all[..nth].contains(hash), "{nth}");
        }
    }
}
