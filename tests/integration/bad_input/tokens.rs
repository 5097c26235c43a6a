//! Tokens of every wrong kind: all the same 401.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::token::{self, now};
use crate::harness::{Connection, Request, Response, Server, get, post};
use crate::shared;

/// What every refused request asks for: something only users may see.
fn read() -> Request {
    get("/operations/0-999999999")
}

/// Whose writes must never appear.
fn write() -> Request {
    post("/todos", &json!({ "title": "written without a right" }))
}

/// The one 401 that all others are compared with, request id apart.
fn reference(server: &Server) -> Value {
    anonymous(&server.anyone().ask(&read()))
}

fn anonymous(response: &Response) -> Value {
    let mut problem = response.problem(401);
    problem["request_id"] = Value::Null;
    problem
}

/// Every one of the authorizations is refused alike, for reads and for writes.
#[track_caller]
fn all_refused(server: &Server, authorizations: &[String]) {
    let expected = reference(server);
    let mut anyone = server.anyone();
    for authorization in authorizations {
        let shown: String = authorization.chars().take(200).collect();
        for request in [read(), write(), post("/gift-codes", &json!({}))] {
            let response = anyone.ask(&request.with("Authorization", authorization));
            assert_eq!(response.status, 401, "{shown:?}");
            assert_eq!(anonymous(&response), expected, "{shown:?}");
            let challenge = response.must("WWW-Authenticate");
            assert!(challenge.starts_with("Bearer"), "{challenge}");
        }
    }
    let todos = anyone.todos();
    assert!(
        todos
            .iter()
            .all(|todo| todo["title"] != "written without a right")
    );
}

fn bearers(tokens: impl IntoIterator<Item = String>) -> Vec<String> {
    tokens
        .into_iter()
        .map(|token| format!("Bearer {token}"))
        .collect()
}

#[test]
fn no_token_is_a_challenge_and_a_bad_one_an_invalid_token() {
    let server = shared();
    let mut anyone = server.anyone();
    let without = anyone.ask(&read());
    without.problem(401);
    let challenge = without.must("WWW-Authenticate");
    assert!(
        challenge.starts_with("Bearer") && !challenge.contains("error"),
        "{challenge}"
    );
    let with = anyone.ask(&read().with("Authorization", "Bearer x.y.z"));
    with.problem(401);
    let challenge = with.must("WWW-Authenticate");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
}

#[test]
fn what_is_no_bearer_token_is_refused() {
    let server = shared();
    let good = server.launch().token("mallory");
    let parts: Vec<&str> = good.split('.').collect();
    all_refused(
        &server,
        &[
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            good.clone(),
            format!("Basic {good}"),
            format!("Token {good}"),
            format!("Bearer: {good}"),
            format!("Bearer={good}"),
            format!("Bearer,{good}"),
            format!("Bearer \"{good}\""),
            format!("Bearer {good} {good}"),
            format!("Bearer {good},{good}"),
            format!("Bearer {good}, Bearer {good}"),
            format!("Bearer {good}."),
            format!("Bearer .{good}"),
            format!("Bearer {good}.{}", parts[2]),
            format!("Bearer {}", parts[0]),
            format!("Bearer {}.{}", parts[0], parts[1]),
            format!("Bearer {}.{}.", parts[0], parts[1]),
            format!("Bearer {}..{}", parts[0], parts[2]),
            format!("Bearer .{}.{}", parts[1], parts[2]),
            "Bearer ..".to_owned(),
            "Bearer ...".to_owned(),
            format!("Bearer {good}=="),
            "Bearer \u{e9}\u{e9}\u{e9}".to_owned(),
            format!("Bearer {}", "A".repeat(100)),
            "Basic bWFsbG9yeTpzZWNyZXQ=".to_owned(),
        ],
    );
}

#[test]
fn another_algorithm_is_refused_whatever_the_signature() {
    let server = shared();
    let secret = server.launch().secret();
    let unsigned = ["none", "None", "NONE", "nOnE"].map(|none| token::unsigned("mallory", none));
    let claimed = [
        "none", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "HS1", "", "HS256 ",
    ]
    .map(|alg| token::with_header(&json!({ "alg": alg, "typ": "JWT" }), "mallory", secret));
    let odd_headers = [
        json!({ "typ": "JWT" }),
        json!({ "alg": null }),
        json!({ "alg": ["HS256"] }),
        json!({ "alg": 1 }),
        json!([]),
        json!("HS256"),
        json!(null),
    ]
    .map(|header| token::with_header(&header, "mallory", secret));
    let all = unsigned.into_iter().chain(claimed).chain(odd_headers);
    all_refused(&server, &bearers(all));
}

#[test]
fn an_extension_that_must_be_understood_is_not() {
    let server = shared();
    let tokens = [json!(["exp"]), json!(["b64"]), json!([]), json!("exp")].map(|crit| {
        let header = json!({ "alg": "HS256", "typ": "JWT", "crit": crit });
        token::with_header(&header, "mallory", server.launch().secret())
    });
    all_refused(&server, &bearers(tokens));
}

#[test]
fn another_secret_is_refused() {
    let server = shared();
    let secret = server.launch().secret();
    let others = [
        String::new(),
        "secret".to_owned(),
        secret[1..].to_owned(),
        format!("{secret}x"),
        format!("{secret}\n"),
        secret.to_uppercase() + "x",
    ];
    all_refused(
        &server,
        &bearers(others.map(|other| token::of("mallory", &other))),
    );
    let other = EncodingKey::from_secret(b"another secret of some thirty bytes or more");
    let claims = json!({ "sub": "mallory", "exp": now() + 600 });
    let families = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    all_refused(
        &server,
        &bearers(families.map(|alg| token::signed(alg, &claims, &other))),
    );
}

#[test]
fn claims_that_are_missing_wrong_or_out_of_time_are_refused() {
    let server = shared();
    let (past, soon) = (now() - 60, now() + 600);
    let claims = [
        json!({ "sub": "mallory" }),
        json!({ "sub": "mallory", "exp": past }),
        json!({ "sub": "mallory", "exp": 0 }),
        json!({ "sub": "mallory", "exp": -1 }),
        json!({ "sub": "mallory", "exp": null }),
        json!({ "sub": "mallory", "exp": soon.to_string() }),
        json!({ "sub": "mallory", "exp": [soon] }),
        json!({ "sub": "mallory", "exp": true }),
        json!({ "sub": "mallory", "exp": soon, "nbf": now() + 60 }),
        json!({ "sub": "mallory", "exp": soon, "nbf": "soon" }),
        json!({ "exp": soon }),
        json!({ "sub": null, "exp": soon }),
        json!({ "sub": "", "exp": soon }),
        json!({ "sub": 1, "exp": soon }),
        json!({ "sub": ["mallory"], "exp": soon }),
        json!({ "sub": { "name": "mallory" }, "exp": soon }),
        json!({ "sub": "u".repeat(129), "exp": soon }),
        json!({ "sub": "\u{e9}".repeat(129), "exp": soon }),
        json!({ "sub": "nul\0", "exp": soon }),
        json!({ "SUB": "mallory", "exp": soon }),
        json!({}),
        json!([]),
        json!("mallory"),
        json!(null),
    ];
    let secret = server.launch().secret();
    all_refused(
        &server,
        &bearers(claims.map(|claims| token::with_claims(&claims, secret))),
    );
}

#[test]
fn a_token_tampered_with_at_any_place_is_refused() {
    let server = shared();
    let good = server.launch().token("mallory").into_bytes();
    let expected = reference(&server);
    let mut anyone = server.anyone();
    for at in 0..good.len() {
        let mut bad = good.clone();
        // The neighbouring digit: in the last place of a part only unused bits may change.
        let digit = token::DIGITS.iter().position(|digit| *digit == good[at]);
        bad[at] = digit.map_or(b'A', |digit| token::DIGITS[digit ^ 1]);
        let bearer = format!("Bearer {}", String::from_utf8(bad).unwrap());
        let response = anyone.ask(&read().with("Authorization", &bearer));
        assert_eq!(response.status, 401, "place {at} of {}", good.len());
        assert_eq!(anonymous(&response), expected);
    }
    for cut in 0..good.len() {
        let short = String::from_utf8(good[..cut].to_vec()).unwrap();
        let response = anyone.ask(&read().with("Authorization", &format!("Bearer {short}")));
        assert_eq!(response.status, 401, "{cut} of {} bytes", good.len());
    }
}

#[test]
fn two_authorizations_are_refused_even_if_both_are_good() {
    let server = shared();
    let expected = reference(&server);
    let good = format!("Bearer {}", server.launch().token("mallory"));
    for (first, second) in [
        (&good, &good),
        (&good, &"x".to_owned()),
        (&String::new(), &good),
    ] {
        let request = read()
            .with("Authorization", first)
            .with("authorization", second);
        assert_eq!(anonymous(&server.anyone().ask(&request)), expected);
    }
}

#[test]
fn a_long_token_is_refused() {
    let server = shared();
    let secret = server.launch().secret();
    let long = |bytes: usize| {
        let claims = json!({ "sub": "mallory", "exp": now() + 600, "x": "x".repeat(bytes) });
        token::with_claims(&claims, secret)
    };
    assert!(long(4_000).len() < 8_192 && long(6_500).len() > 8_192);
    let fits = format!("Bearer {}", long(4_000));
    server
        .anyone()
        .ask(&read().with("Authorization", &fits))
        .expect(200);
    all_refused(&server, &bearers([long(6_500), long(9_000)]));
    let endless = read().with("Authorization", &format!("Bearer {}", "x".repeat(100_000)));
    let mut connection: Connection = server.connect();
    connection.ask(&endless).unwrap().problem(431);
}

#[test]
fn a_bad_token_on_a_public_read_gives_nothing_away() {
    let server = shared();
    let mut anyone = server.anyone();
    for target in ["/todos?limit=1", "/health"] {
        let response = anyone.ask(&get(target).with("Authorization", "Bearer x.y.z"));
        assert!(
            matches!(response.status, 200 | 401),
            "{target}: {}",
            response.status
        );
    }
}
