//! The contract, row by row: what a client may rely on, in answers and headers.
//!
//! It is the same alone and in a fleet: whoever includes this module says how its servers are
//! launched.

mod conventions;
mod cursors;
mod dashboard;
mod docs;
mod encodings;
mod gift_codes;
mod idempotency;
mod methods;
mod operations;
mod ops;
mod preconditions;
mod prefer;
mod reads;
mod tokens;
mod validators;
mod writes;

use super::{launch, shared};
use crate::harness::{Client, Response, get};

/// A page for people, which loads nothing from elsewhere.
#[track_caller]
fn opens(client: &mut Client, target: &str) -> Response {
    let page = client.ask(&get(target)).expect(200);
    assert_eq!(page.must("Content-Type"), "text/html; charset=utf-8");
    let policy = page.must("Content-Security-Policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    page
}

/// A file that a page loads, once and then not again.
#[track_caller]
fn loads(client: &mut Client, target: &str) -> Response {
    let file = client.ask(&get(target)).expect(200);
    let again = get(target).with("If-None-Match", file.must("ETag"));
    assert!(client.ask(&again).expect(304).body.is_empty(), "{target}");
    file
}
