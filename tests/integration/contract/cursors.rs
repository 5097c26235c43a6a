//! Walking the list page by page: `Link`, `after`, and what holds a place.

use serde_json::Value;
use uuid::Uuid;

use super::{launch, shared};
use crate::harness::{Client, Response, delete, get, id};

/// The target of `rel="next"`, if there is more.
fn next(page: &Response) -> Option<String> {
    let link = page.header("Link")?;
    let (target, parameters) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert!(parameters.contains(r#"rel="next""#), "{link}");
    // A target may be absolute; this client asks the server it already speaks with.
    let path = target.find("/todos").unwrap();
    Some(target[path..].to_owned())
}

fn page(client: &mut Client, target: &str) -> (Vec<Value>, Option<String>) {
    let page = client.ask(&get(target)).expect(200);
    (page.list(), next(&page))
}

fn walk(client: &mut Client, from: &str) -> Vec<Value> {
    let mut target = Some(from.to_owned());
    let mut all = vec![];
    while let Some(here) = target {
        let (items, then) = page(client, &here);
        assert!(!items.is_empty(), "an empty page was promised more: {here}");
        all.extend(items);
        target = then;
    }
    all
}

#[test]
fn walking_the_links_meets_every_todo_once() {
    let launch = launch();
    launch.seed(100);
    let server = launch.start();
    let mut anyone = server.anyone();
    let all = anyone.todos();
    assert_eq!(all.len(), 100);
    for limit in [1, 3, 7, 33, 50, 99, 100, 101] {
        assert_eq!(
            walk(&mut anyone, &format!("/todos?limit={limit}")),
            all,
            "{limit}"
        );
    }
}

#[test]
fn a_cursor_holds_its_place_when_todos_before_it_are_deleted() {
    let server = launch().start();
    let mut alice = server.user("alice");
    for n in 0..10 {
        alice.create(&format!("t{n}"));
    }
    let all = alice.todos();
    let (first, then) = page(&mut alice, "/todos?limit=4");
    // The one that the cursor was made of goes too.
    for todo in &first {
        alice
            .ask(&delete(&format!("/todos/{}", id(todo))).waiting())
            .expect(204);
    }
    assert_eq!(walk(&mut alice, &then.unwrap()), all[4..]);
}

#[test]
fn a_cursor_does_not_see_what_was_added_on_top() {
    let server = launch().start();
    let mut alice = server.user("alice");
    for n in 0..6 {
        alice.create(&format!("t{n}"));
    }
    let all = alice.todos();
    let (_, then) = page(&mut alice, "/todos?limit=2");
    alice.create("on top");
    assert_eq!(walk(&mut alice, &then.unwrap()), all[2..]);
}

#[test]
fn the_id_of_a_living_todo_is_a_cursor_and_that_of_a_dead_one_is_not() {
    let server = launch().start();
    let mut alice = server.user("alice");
    for n in 0..5 {
        alice.create(&format!("t{n}"));
    }
    let all = alice.todos();
    let after = format!("/todos?limit=2&after={}", id(&all[1]));
    let (items, then) = page(&mut alice, &after);
    assert_eq!(items, all[2..4]);
    assert!(then.is_some());
    let reversed = format!("/todos?after={}&limit=10", id(&all[1]));
    assert_eq!(page(&mut alice, &reversed), (all[2..].to_vec(), None));
    let last = format!("/todos?limit=2&after={}", id(&all[4]));
    assert_eq!(page(&mut alice, &last), (vec![], None));

    alice
        .ask(&delete(&format!("/todos/{}", id(&all[1]))).waiting())
        .expect(204);
    alice.ask(&get(&after)).problem(404);
}

#[test]
fn an_unknown_cursor_is_404_and_a_malformed_one_400() {
    let server = shared();
    let mut anyone = server.anyone();
    let unknown = format!("/todos?limit=1&after={}", Uuid::now_v7());
    anyone.ask(&get(&unknown)).problem(404);
    for malformed in [
        "",
        "x",
        "%00",
        "1234",
        "%ff%fe",
        "../..",
        "'%20OR%201=1",
        "-",
        "1-2",
    ] {
        let response = anyone.ask(&get(&format!("/todos?limit=1&after={malformed}")));
        response.problem_about(400, "after");
    }
    let long = "a".repeat(5_000);
    anyone
        .ask(&get(&format!("/todos?limit=1&after={long}")))
        .problem(400);
    let twice = format!("/todos?limit=1&after={0}&after={0}", Uuid::now_v7());
    anyone.ask(&get(&twice)).problem(400);
}
