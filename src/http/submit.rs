//! From a command to its receipt, and from there to its outcome.

use std::pin::pin;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LOCATION};
use serde::Serialize;
use tokio::time::timeout;
use tracing::error;
use uuid::Uuid;

use super::headers::{CONSISTENCY_TOKEN, PREFERENCE_APPLIED, Prefer};
use super::response::{Problem, header};
use super::service::Call;
use crate::domain::{Command, Outcome, Position, Recorded, Rejection};
use crate::log::AppendError;
use crate::marks::Passed;
use crate::metrics::{LookUp, Unacknowledged};
use crate::store::Known;

/// Time in which a command becomes durable, or its client is told that nobody knows: a disk that
/// hangs must not hold every connection.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// What a 503 says of a write that was not taken.
pub const NOT_ENQUEUED: &str = "not_enqueued";
/// Seconds after which a refused write may be tried again.
const RETRY_AFTER_S: u32 = 1;

/// Makes a command durable.
///
/// # Errors
/// 503 that says whether the command may have been taken.
///
/// # Cancel safety
/// A command whose client has left may still be applied.
pub async fn append(call: &Call, command: Command) -> Result<Position, Problem> {
    let shared = &call.core.shared;
    let applied_before = shared.marks.positions();
    let appended = pin!(shared.log.append(command));
    let appended = call.core.wakes.together(appended);
    let appended = timeout(APPEND_TIMEOUT, appended).await;
    let mut appended = appended.unwrap_or(Err(AppendError::Unknown));
    if let Ok(position) = appended
        && let Some(applied) = applied_before.get(usize::from(position.partition))
        && position.offset < *applied
    {
        let why = format!(
            "the log took a command at {position}, where another was applied before: it is not the log of the database"
        );
        shared.stage.fail(why);
        appended = Err(AppendError::Unknown);
    }
    let acknowledged = appended.inspect(|_| call.core.metrics.acknowledged());
    acknowledged.map_err(|error| {
        let (counted, detail, outcome) = match error {
            AppendError::NotEnqueued => (
                Unacknowledged::NotEnqueued,
                "the write was not taken; it is safe to send it again",
                NOT_ENQUEUED,
            ),
            AppendError::Unknown => (
                Unacknowledged::Unknown,
                "the write may have been taken; send it again with the same Idempotency-Key",
                "unknown",
            ),
        };
        call.core.metrics.unacknowledged(counted);
        Problem::unavailable(detail, RETRY_AFTER_S).with_extension("outcome", outcome)
    })
}

/// What came of waiting for a position.
pub enum Awaited {
    /// Its outcome; `None` where that is no longer known.
    Passed(Option<Recorded>),
    /// The wait ran out, or the server is about to stop.
    RanOut,
    /// It has passed, and the store cannot be asked what became of it.
    Untold,
}

impl Awaited {
    /// The outcome, if there is one to tell.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Awaited::Passed(recorded) => recorded.map(|recorded| recorded.outcome),
            Awaited::RanOut | Awaited::Untold => None,
        }
    }
}

/// Waits until this server has applied `position`, at most for `limit`.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn wait(call: &Call, position: Position, limit: Duration) -> Awaited {
    let shared = &call.core.shared;
    let told = async {
        let passed = pin!(shared.marks.wait(position));
        let passed = call.core.wakes.together(passed).await;
        told(call, position, passed).await
    };
    tokio::select! {
        biased;
        told = timeout(limit, told) => told.unwrap_or(Awaited::RanOut),
        () = shared.stage.draining() => Awaited::RanOut,
    }
}

/// Waits, at most for `limit`, until this server's snapshot includes `position`; says whether it
/// does.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn reached(call: &Call, position: Position, limit: Duration) -> bool {
    let shared = &call.core.shared;
    let passed = pin!(shared.marks.wait(position));
    let passed = call.core.wakes.together(passed);
    tokio::select! {
        biased;
        passed = timeout(limit, passed) => passed.is_ok(),
        () = shared.stage.draining() => false,
    }
}

/// What memory knows of a position that has passed, or else the store.
pub async fn told(call: &Call, position: Position, passed: Passed) -> Awaited {
    match passed {
        Passed::Applied => Awaited::Passed(Some(plainly_applied(position))),
        Passed::Exceptional(recorded) => Awaited::Passed(Some(recorded)),
        Passed::LookUp => look_up(call, position).await,
    }
}

/// Looks an outcome up where it is stored.
pub async fn look_up(call: &Call, position: Position) -> Awaited {
    // On the heap: it is rare, and would make each request's future several times larger.
    let found = Box::pin(call.core.shared.reader.find(position));
    let (counted, awaited) = match found.await {
        Ok(Known::Applied) => (
            LookUp::Found,
            Awaited::Passed(Some(plainly_applied(position))),
        ),
        Ok(Known::Exceptional(recorded)) => (LookUp::Found, Awaited::Passed(Some(recorded))),
        Ok(Known::Forgotten) => (LookUp::Forgotten, Awaited::Passed(None)),
        Ok(Known::Ahead) => (LookUp::Ahead, Awaited::RanOut),
        Err(error) => {
            error!(%error, %position, "cannot look up an outcome");
            (LookUp::Failed, Awaited::Untold)
        }
    };
    call.core.metrics.look_up(counted);
    awaited
}

fn plainly_applied(position: Position) -> Recorded {
    Recorded {
        position,
        user: String::new(),
        outcome: Outcome::Applied,
    }
}

/// What a rejected or dead command is to its client.
pub fn problem_of(outcome: &Outcome) -> Option<Problem> {
    let (status, detail) = match outcome {
        Outcome::Applied | Outcome::GiftCode(_) => return None,
        Outcome::Dead(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the command could not be applied",
        ),
        Outcome::Rejected(rejection) => match rejection {
            Rejection::NotFound => (StatusCode::NOT_FOUND, "there is no such todo of yours"),
            Rejection::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "If-Match: the todo has another version",
            ),
            Rejection::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency-Key: was used before with another payload",
            ),
            Rejection::IdTaken => (
                StatusCode::CONFLICT,
                "the key has expired, and the todo that it created is still there",
            ),
            Rejection::SoldOut => (StatusCode::GONE, "no gift code is left"),
        },
    };
    Some(Problem::new(status, detail))
}

/// The body of a 202 for a todo.
#[derive(Serialize)]
pub struct Receipt {
    pub id: Uuid,
    pub message: &'static str,
    pub status: &'static str,
    pub operation: String,
}

pub fn operation_path(position: Position) -> String {
    format!("/operations/{position}")
}

pub fn todo_path(id: Uuid) -> String {
    format!("/todos/{id}")
}

/// The headers of a receipt.
pub fn receipt_headers(headers: &mut HeaderMap, position: Position, id: Option<Uuid>) {
    headers.insert(LOCATION, header(&operation_path(position)));
    headers.extend(id.map(|id| (CONTENT_LOCATION, header(&todo_path(id)))));
    headers.insert(CONSISTENCY_TOKEN, header(&position.to_string()));
}

/// Says which preferences were honoured (RFC 7240, 3).
pub fn preference_applied(headers: &mut HeaderMap, prefer: Prefer) {
    if prefer.respond_async {
        headers.append(
            PREFERENCE_APPLIED,
            HeaderValue::from_static("respond-async"),
        );
    }
    if let Some(wait) = prefer.wait {
        headers.append(
            PREFERENCE_APPLIED,
            header(&format!("wait={}", wait.as_secs())),
        );
    }
}
