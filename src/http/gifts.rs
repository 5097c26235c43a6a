//! Gift codes: a request that waits for its answer from the log.

use std::time::Duration;

use hyper::{Response, StatusCode};
use rand::distr::slice::Choose;
use rand::{Rng, RngExt};
use serde::Serialize;

use super::admission::Kind;
use super::headers::{CONSISTENCY_TOKEN, Prefer};
use super::openapi;
use super::response::{Body, Problem, header, json};
use super::service::Call;
use super::submit::{
    Awaited, append, operation_path, preference_applied, problem_of, receipt_headers, wait,
};
use super::writer::Writer;
use crate::domain::{Action, Hash128, Outcome, Position};

/// Crockford's base 32: no letter that is mistaken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random characters of a code: 80 bits, so that codes are not guessed and do not meet.
const CODE_CHARS: usize = 16;

#[derive(Serialize)]
struct Claimed<'a> {
    gift_code: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Receipt {
    message: &'static str,
    status: &'static str,
    operation: String,
}

/// Claim the gift code of the user; the same one every time
///
/// `POST /gift-codes`
#[utoipa::path(
    post, path = "/gift-codes", tag = "gift codes",
    security(("bearer" = [])),
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N ≤ 30 s; `respond-async`: do not wait"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters"),
    ),
    responses(
        (status = 200, description = "The user's code", body = openapi::GiftCode),
        (status = 202, description = "Durable; the operation will have the code", body = openapi::Receipt),
        openapi::RefusedWrite,
        (status = 410, description = "No code is left", body = openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn claim(call: &Call) -> Result<Response<Body>, Problem> {
    let writer = Writer::of(call, Kind::Claim).await?;
    // A claim says nothing in its body; what is there only stands before the next request.
    drop(call.read_body().await?);
    let code = new_code(&mut rand::rng());
    let action = Action::ClaimGiftCode { code };
    let command = writer.command("/gift-codes", Hash128::of(b""), action);
    let prefer = Prefer::of(call.headers());
    let position = append(call, command).await?;
    // Together they ask for an answer within the wait, and else for a receipt (RFC 7240, 4.3).
    let unasked = if prefer.respond_async {
        Duration::ZERO
    } else {
        call.core.shared.options.gift_code_timeout
    };
    let limit = prefer.wait.unwrap_or(unasked);
    let outcome = if limit.is_zero() {
        Awaited::RanOut
    } else {
        wait(call, position, limit).await
    };
    let mut response = respond(call, position, outcome.outcome().as_ref());
    response
        .headers_mut()
        .insert(CONSISTENCY_TOKEN, header(&position.to_string()));
    preference_applied(response.headers_mut(), prefer);
    Ok(response)
}

fn respond(call: &Call, position: Position, outcome: Option<&Outcome>) -> Response<Body> {
    let operation = operation_path(position);
    if let Some(problem) = outcome.and_then(problem_of) {
        return problem
            .with_extension("operation", operation)
            .into_response(call.request_id());
    }
    if let Some(Outcome::GiftCode(code)) = outcome {
        let request_id = call.request_id();
        return json(
            StatusCode::OK,
            &Claimed {
                gift_code: code,
                request_id,
            },
        );
    }
    let receipt = Receipt {
        message: "Gift code claim queued",
        status: "queued",
        operation,
    };
    let mut response = json(StatusCode::ACCEPTED, &receipt);
    receipt_headers(response.headers_mut(), position, None);
    response
}

/// `GIFT-XXXX-XXXX-XXXX-XXXX`
fn new_code(random: &mut impl Rng) -> String {
    let letters = Choose::new(ALPHABET).expect("the alphabet is not empty");
    let mut code = String::from("GIFT");
    for (nth, letter) in random.sample_iter(letters).take(CODE_CHARS).enumerate() {
        if nth % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(*letter));
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_shape_and_differ() {
        let codes: Vec<String> = (0..100).map(|_| new_code(&mut rand::rng())).collect();
        for (nth, code) in codes.iter().enumerate() {
            assert_eq!(code.len(), "GIFT-XXXX-XXXX-XXXX-XXXX".len());
            assert!(code.split('-').skip(1).all(|four| four.len() == 4));
            assert!(!codes[..nth].contains(code));
        }
    }
}
