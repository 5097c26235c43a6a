//! Where the secret of tokens comes from: a variable, a file, or one made here and kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{USAGE, stderr, stdout};
use crate::harness::{Launch, PATIENCE, Response, Server, eventually, get, token};

const SECRET: &str = "a secret of more than thirty-two bytes, for tests";

fn ask(server: &Server, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let request = get("/operations/0-999999999").with("Authorization", &bearer);
    server.anyone().ask(&request)
}

fn printed(launch: &Launch) -> String {
    let output = launch.run(&["token", "--sub", "alice"]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().to_owned()
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let launch = Launch::new().without("JWT_SECRET");
    let file = launch.home().join("secret");
    // With the line feed that editors and `echo` leave.
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let launch = launch.env("JWT_SECRET_FILE", &file.display().to_string());
    let server = launch.start();
    ask(&server, &token::of("alice", SECRET)).expect(200);
    ask(&server, &printed(&launch)).expect(200);
    ask(
        &server,
        &token::of("alice", "another secret of more than thirty-two bytes"),
    )
    .problem(401);
}

#[test]
fn a_secret_file_that_is_not_there_is_named() {
    let launch = Launch::new()
        .without("JWT_SECRET")
        .env("JWT_SECRET_FILE", "/nowhere/secret");
    let output = launch.run(&["serve"]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(
        stderr(&output).contains("JWT_SECRET_FILE"),
        "{}",
        stderr(&output)
    );
    assert!(!launch.data().exists());
}

#[test]
fn a_random_secret_is_kept_for_its_owner_only() {
    let launch = Launch::new().without("JWT_SECRET");
    let server = launch.start();
    let file = launch.data().join("jwt-secret");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    assert!(secret.trim().len() >= 32);
    assert!(
        !server.stderr().contains(secret.trim()),
        "the secret is in the log"
    );

    let token = printed(&launch);
    ask(&server, &token).expect(200);
    let server = server.kill().start();
    ask(&server, &token).expect(200);
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
}

#[test]
fn two_fresh_servers_have_secrets_of_their_own() {
    let launches = [(); 2].map(|()| Launch::new().without("JWT_SECRET"));
    let [first, second] = launches.each_ref().map(Launch::start);
    let token = printed(&launches[0]);
    ask(&first, &token).expect(200);
    ask(&second, &token).problem(401);
}

#[test]
fn a_first_start_shows_the_first_curl_lines() {
    let server = Launch::new().without("JWT_SECRET").start();
    let port = server.address().port().to_string();
    // They may come after the line on standard output.
    eventually("a curl line with the port", PATIENCE, || {
        let stderr = server.stderr();
        let mut lines = stderr.lines();
        lines
            .any(|line| line.contains("curl") && line.contains(&port))
            .then_some(())
    });
}

#[test]
fn a_token_needs_a_secret_to_be_signed_with() {
    let launch = Launch::new().without("JWT_SECRET");
    let output = launch.run(&["token", "--sub", "alice"]);
    // Made without a server, the token must still be good for the one to come.
    if output.status.success() {
        let server = launch.start();
        ask(&server, stdout(&output).trim()).expect(200);
    } else {
        assert!(
            stderr(&output).contains("JWT_SECRET"),
            "{}",
            stderr(&output)
        );
    }
}
