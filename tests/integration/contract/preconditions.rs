//! `If-Match`: judged when the command is applied.

use serde_json::json;
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{Client, delete, get, id, put};

/// The path of a new todo and its tag.
fn tagged(client: &mut Client) -> (String, String) {
    let path = format!("/todos/{}", id(&client.create("t")));
    let response = client.ask(&get(&path)).expect(200);
    (path, response.must("ETag").to_owned())
}

#[test]
fn the_version_that_was_read_may_be_changed_once() {
    let server = shared();
    let mut alice = server.user("if-match");
    let (path, tag) = tagged(&mut alice);
    let update = put(&path, &json!({ "title": "new" })).with("If-Match", &tag);
    alice.ask(&update.clone().waiting()).expect(200);
    alice.ask(&update.waiting()).problem(412);
    alice
        .ask(&delete(&path).with("If-Match", &tag).waiting())
        .problem(412);
    let tag = alice.ask(&get(&path)).must("ETag").to_owned();
    alice
        .ask(&delete(&path).with("If-Match", &tag).waiting())
        .expect(204);
}

#[test]
fn a_mismatch_without_waiting_is_the_outcome_412() {
    let server = shared();
    let mut alice = server.user("if-match queued");
    let (path, _) = tagged(&mut alice);
    let receipt = alice
        .ask(&delete(&path).with("If-Match", "\"other\""))
        .expect(202);
    let operation = alice.outcome(&receipt);
    assert_eq!(operation["status"], "rejected");
    assert_eq!(operation["problem"]["status"], 412);
    alice.ask(&get(&path)).expect(200);
}

#[test]
fn lists_and_the_star_match_and_weak_tags_do_not() {
    let server = shared();
    let mut alice = server.user("if-match forms");
    let (path, tag) = tagged(&mut alice);
    let draft = json!({ "title": "t" });
    for none in [
        format!("W/{tag}"),
        "\"other\"".to_owned(),
        format!("\"other\", W/{tag}"),
    ] {
        alice
            .ask(&put(&path, &draft).with("If-Match", &none).waiting())
            .problem(412);
    }
    alice
        .ask(&put(&path, &draft).with("If-Match", "*").waiting())
        .expect(200);
    let tag = alice.ask(&get(&path)).must("ETag").to_owned();
    let list = format!("\"other\" , {tag}");
    alice
        .ask(&put(&path, &draft).with("If-Match", &list).waiting())
        .expect(200);
}

#[test]
fn nothing_has_no_version_at_all() {
    let server = shared();
    let mut alice = server.user("if-match nothing");
    let path = format!("/todos/{}", Uuid::now_v7());
    for condition in ["*", "\"other\""] {
        alice
            .ask(&delete(&path).with("If-Match", condition).waiting())
            .problem(404);
    }
}

#[test]
fn a_malformed_condition_changes_nothing() {
    let server = shared();
    let mut alice = server.user("if-match malformed");
    let (path, tag) = tagged(&mut alice);
    for malformed in ["", "x", "\"open", tag.trim_matches('"'), "*, \"a\"", "W/"] {
        let request = put(&path, &json!({ "title": "new" })).with("If-Match", malformed);
        let response = alice.ask(&request.waiting());
        assert!(
            matches!(response.status, 400 | 412),
            "{malformed:?}: {}",
            response.status
        );
    }
    assert_eq!(alice.ask(&get(&path)).must("ETag"), tag);
}

#[test]
fn a_tag_serves_after_a_restart() {
    let server = launch().start();
    let (path, tag) = tagged(&mut server.user("alice"));
    let server = server.kill().start();
    let update = put(&path, &json!({ "title": "new" })).with("If-Match", &tag);
    server.user("alice").ask(&update.waiting()).expect(200);
}

#[test]
fn what_follows_a_tag_without_a_comma_is_400() {
    let server = shared();
    let mut alice = server.user("if-match junk");
    let (path, tag) = tagged(&mut alice);
    for junk in [r#""x" junk"#.to_owned(), format!("{tag} junk")] {
        alice
            .ask(&delete(&path).with("If-Match", &junk).waiting())
            .problem(400);
    }
    alice.ask(&get(&path)).expect(200);
}
