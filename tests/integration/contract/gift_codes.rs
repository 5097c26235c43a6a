//! `POST /gift-codes`: one per user, waited for.

use serde_json::{Value, json};

use super::{launch, shared};
use crate::harness::{Client, Request, post};

fn claim() -> Request {
    Request::of("POST", "/gift-codes")
}

fn code(client: &mut Client) -> Value {
    client.ask(&claim()).expect(200).json()["gift_code"].clone()
}

#[test]
fn a_claim_waits_and_names_its_request() {
    let server = shared();
    let mut alice = server.user("gift");
    let response = alice
        .ask(&claim().with("X-Request-Id", "my-claim"))
        .expect(200);
    assert_eq!(response.must("Content-Type"), "application/json");
    let body = response.json();
    assert!(
        body["gift_code"].as_str().unwrap().starts_with("GIFT-"),
        "{body}"
    );
    assert_eq!(body["request_id"], "my-claim");
    assert_eq!(response.must("X-Request-Id"), "my-claim");
}

#[test]
fn a_user_has_one_code_and_no_two_users_the_same() {
    let server = shared();
    let (mut alice, mut bob) = (server.user("gift a"), server.user("gift b"));
    let (first, second) = (code(&mut alice), code(&mut bob));
    assert_ne!(first, second);
    assert_eq!(code(&mut alice), first);
    assert_eq!(code(&mut bob), second);
}

#[test]
fn a_code_survives_a_crash() {
    let server = launch().start();
    let first = code(&mut server.user("alice"));
    let server = server.kill().start();
    assert_eq!(code(&mut server.user("alice")), first);
    assert_ne!(code(&mut server.user("bob")), first);
}

#[test]
fn respond_async_gives_the_operation_at_once() {
    let server = shared();
    let mut alice = server.user("gift async");
    let response = alice
        .ask(&claim().with("Prefer", "respond-async"))
        .expect(202);
    assert_eq!(response.must("Preference-Applied"), "respond-async");
    let body = response.json();
    assert_eq!(body["status"], "queued");
    assert_eq!(body["operation"], response.must("Location"));
    assert_eq!(response.header("Content-Location"), None);
    let position = response.must("Consistency-Token");
    assert_eq!(response.must("Location"), format!("/operations/{position}"));
    assert_eq!(alice.outcome(&response)["status"], "applied");
}

#[test]
fn a_keyed_claim_sent_again_is_the_same_claim() {
    let server = shared();
    let mut alice = server.user("gift keyed");
    let keyed = claim().with("Idempotency-Key", "once");
    let first = alice.ask(&keyed).expect(200).json();
    let again = alice.ask(&keyed).expect(200).json();
    assert_eq!(again["gift_code"], first["gift_code"]);
}

#[test]
fn a_used_up_stock_is_410_and_spares_those_who_have_theirs() {
    let server = launch().env("GIFT_CODE_STOCK", "1").start();
    let (mut alice, mut bob) = (server.user("alice"), server.user("bob"));
    let first = code(&mut alice);
    bob.ask(&claim()).problem(410);
    assert_eq!(code(&mut alice), first);
    let late = bob
        .ask(&claim().with("Prefer", "respond-async"))
        .expect(202);
    let operation = bob.outcome(&late);
    assert_eq!(operation["status"], "rejected");
    assert_eq!(operation["problem"]["status"], 410);
}

#[test]
fn claims_are_for_users() {
    let server = shared();
    server.anyone().ask(&claim()).problem(401);
    let with_body = post("/gift-codes", &json!({}));
    server.user("gift body").ask(&with_body).expect(200);
}

#[test]
fn a_wait_that_is_asked_for_outweighs_respond_async() {
    let server = shared();
    let mut alice = server.user("gift async and wait");
    let request = claim().with("Prefer", "respond-async, wait=5");
    let body = alice.ask(&request).expect(200).json();
    assert!(body["gift_code"].is_string(), "{body}");
}
