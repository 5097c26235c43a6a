//! The gift-code scenarios by name: so many users at once, each gets a code, no two the same.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

use crate::harness::{Client, Launch, Request, Response, Server};

/// Claims of `users` users, each on a connection of its own, all sent at one moment.
fn claims_at_once(server: &Server, users: usize) -> Vec<Response> {
    let start = Barrier::new(users);
    let claim = |n: usize| {
        let mut client: Client = server.user(&format!("user {n}"));
        start.wait();
        client.ask(&Request::of("POST", "/gift-codes"))
    };
    thread::scope(|scope| {
        let claim = &claim;
        let threads: Vec<_> = (0..users).map(|n| scope.spawn(move || claim(n))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn codes(responses: Vec<Response>) -> Vec<String> {
    let code = |response: Response| {
        let body = response.expect(200).json();
        body["gift_code"].as_str().unwrap().to_owned()
    };
    responses.into_iter().map(code).collect()
}

fn everyone_gets_a_code_of_their_own(users: usize) {
    // A socket per user on top of what a test process has open anyway.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let server = Launch::new().env("INFLIGHT_SCOPE", "none").start();
    let first = codes(claims_at_once(&server, users));
    let distinct: HashSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), users);
    assert!(first.iter().all(|code| code.starts_with("GIFT-")));
    let second = codes(claims_at_once(&server, users));
    assert_eq!(second, first, "a user's code changed");
}

#[test]
fn ten_users_at_once_get_ten_codes() {
    everyone_gets_a_code_of_their_own(10);
}

#[test]
fn two_hundred_users_at_once_get_two_hundred_codes() {
    everyone_gets_a_code_of_their_own(200);
}

#[test]
fn a_thousand_users_at_once_get_a_thousand_codes() {
    everyone_gets_a_code_of_their_own(1_000);
}

#[test]
fn a_stock_of_five_serves_five_users() {
    let launch = Launch::new()
        .env("INFLIGHT_SCOPE", "none")
        .env("GIFT_CODE_STOCK", "5");
    let server = launch.start();
    let responses = claims_at_once(&server, 40);
    let (got, refused): (Vec<_>, Vec<_>) = responses
        .into_iter()
        .partition(|response| response.status == 200);
    let distinct: HashSet<String> = codes(got).into_iter().collect();
    assert_eq!(distinct.len(), 5);
    assert_eq!(refused.len(), 35);
    for response in refused {
        response.problem(410);
    }
    // Nor do a crash and new users find more.
    let server = server.kill().start();
    let again = claims_at_once(&server, 45);
    let still: Vec<_> = again
        .into_iter()
        .filter(|response| response.status == 200)
        .collect();
    assert_eq!(codes(still).into_iter().collect::<HashSet<_>>(), distinct);
}

#[test]
fn one_user_claiming_everywhere_at_once_gets_one_code() {
    let server = Launch::new().env("INFLIGHT_SCOPE", "none").start();
    let claim = || {
        server
            .user("alice")
            .ask(&Request::of("POST", "/gift-codes"))
    };
    let responses: Vec<Response> = thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(claim)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let distinct: HashSet<String> = codes(responses).into_iter().collect();
    assert_eq!(distinct.len(), 1);
}
