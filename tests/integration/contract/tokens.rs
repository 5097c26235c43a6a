//! Tokens that are accepted. Those that are not stand in `bad_input`.

use std::path::PathBuf;
use std::{fs, slice};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{launch, shared};
use crate::harness::keys::Pair;
use crate::harness::token::{self, now};
use crate::harness::{Launch, PATIENCE, Response, Server, eventually, get};

/// An authenticated read.
fn ask(server: &Server, authorization: &str) -> Response {
    let request = get("/operations/0-999999999").with("Authorization", authorization);
    server.anyone().ask(&request)
}

#[track_caller]
fn accepts(server: &Server, token: &str) {
    ask(server, &format!("Bearer {token}")).expect(200);
}

#[track_caller]
fn refuses(server: &Server, token: &str) {
    ask(server, &format!("Bearer {token}")).problem(401);
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": now() + 600 })
}

#[test]
fn the_scheme_is_spelled_in_any_case() {
    let server = shared();
    let token = server.launch().token("alice");
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        ask(&server, &format!("{scheme} {token}")).expect(200);
    }
}

#[test]
fn the_hmac_family_is_accepted_with_the_secret() {
    let server = shared();
    let key = EncodingKey::from_secret(server.launch().secret().as_bytes());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        accepts(&server, &token::signed(algorithm, &claims(), &key));
    }
}

#[test]
fn a_user_has_up_to_128_characters() {
    let server = shared();
    for user in [
        "x",
        &"u".repeat(128),
        &"\u{e9}".repeat(128),
        "a user, \"quoted\" <b>",
    ] {
        accepts(&server, &server.launch().token(user));
        let title = format!("of {user}");
        assert_eq!(server.user(user).create(&title)["user_id"], user);
    }
}

#[test]
fn clocks_may_differ_by_five_seconds() {
    let server = shared();
    let secret = server.launch().secret();
    let expired = json!({ "sub": "alice", "exp": now() - 1 });
    accepts(&server, &token::with_claims(&expired, secret));
    let early = json!({ "sub": "alice", "exp": now() + 600, "nbf": now() + 4 });
    accepts(&server, &token::with_claims(&early, secret));
}

#[test]
fn a_token_may_expire_within_a_second() {
    let server = shared();
    let claims = format!(r#"{{"sub":"alice","exp":{}.5}}"#, now() + 600);
    let claims: Value = serde_json::from_str(&claims).unwrap();
    accepts(
        &server,
        &token::with_claims(&claims, server.launch().secret()),
    );
}

#[test]
fn unknown_claims_are_nobodys_business() {
    let server = shared();
    let mut claims = claims();
    claims["aud"] = json!("anyone");
    claims["iss"] = json!("someone");
    claims["nested"] = json!({ "deep": [1, 2, { "x": null }] });
    accepts(
        &server,
        &token::with_claims(&claims, server.launch().secret()),
    );
}

#[test]
fn audience_and_issuer_are_checked_where_configured() {
    let launch = launch()
        .env("JWT_AUDIENCE", "todos")
        .env("JWT_ISSUER", "door");
    let server = launch.start();
    let token = |aud: Value, iss: Value| {
        let mut claims = claims();
        claims["aud"] = aud;
        claims["iss"] = iss;
        token::with_claims(&claims, server.launch().secret())
    };
    accepts(&server, &token(json!("todos"), json!("door")));
    accepts(&server, &token(json!(["other", "todos"]), json!("door")));
    refuses(&server, &token(json!("other"), json!("door")));
    refuses(&server, &token(json!("todos"), json!("window")));
    refuses(&server, &token(json!([]), json!("door")));
    refuses(&server, &token(Value::Null, json!("door")));
    refuses(
        &server,
        &token::with_claims(&claims(), server.launch().secret()),
    );
}

/// A key of a set, as its public half stands there.
fn public(id: &str, algorithm: Algorithm, key: &EncodingKey) -> Value {
    let mut public = Jwk::from_encoding_key(key, algorithm).unwrap();
    public.common.key_id = Some(id.to_owned());
    serde_json::to_value(public).unwrap()
}

fn ec() -> EncodingKey {
    EncodingKey::from_ec_pem(Pair::ec().private.as_bytes()).unwrap()
}

/// A file of keys, and a launch of servers that check by it.
fn with_key_file(keys: &[Value]) -> (PathBuf, Launch) {
    let launch = launch().without("JWT_SECRET");
    let file = launch.home().join("keys.json");
    fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    let launch = launch.env("JWT_JWKS_FILE", &file.display().to_string());
    (file, launch)
}

#[test]
fn of_a_set_of_keys_a_token_names_its_own_or_none() {
    let rsa = EncodingKey::from_rsa_pem(Pair::rsa().private.as_bytes()).unwrap();
    let (old, new, stranger) = (ec(), ec(), ec());
    let keys = [
        public("old", Algorithm::ES256, &old),
        public("new", Algorithm::ES256, &new),
        public("other", Algorithm::RS256, &rsa),
    ];
    let (file, launch) = with_key_file(&keys);
    let server = launch.start();
    let by = |id, algorithm, key| token::signed_by(id, algorithm, &claims(), key);
    accepts(&server, &by("old", Algorithm::ES256, &old));
    accepts(&server, &by("new", Algorithm::ES256, &new));
    accepts(&server, &by("other", Algorithm::RS256, &rsa));
    // Who names none is held against each.
    for key in [&old, &new] {
        accepts(&server, &token::signed(Algorithm::ES256, &claims(), key));
    }
    refuses(&server, &by("old", Algorithm::ES256, &new));
    refuses(&server, &by("gone", Algorithm::ES256, &old));
    // The set says that this key is for RS256.
    refuses(&server, &by("other", Algorithm::PS256, &rsa));
    refuses(
        &server,
        &token::signed(Algorithm::ES256, &claims(), &stranger),
    );
    let known_to_all = EncodingKey::from_secret(&fs::read(file).unwrap());
    refuses(&server, &by("old", Algorithm::HS256, &known_to_all));
}

#[test]
fn keys_of_a_file_are_changed_under_a_server() {
    let (old, new) = (ec(), ec());
    let [in_old, in_new] =
        [("old", &old), ("new", &new)].map(|(id, key)| public(id, Algorithm::ES256, key));
    let [of_old, of_new] = [("old", &old), ("new", &new)]
        .map(|(id, key)| token::signed_by(id, Algorithm::ES256, &claims(), key));
    let (file, launch) = with_key_file(slice::from_ref(&in_old));
    let server = launch.start();
    accepts(&server, &of_old);
    refuses(&server, &of_new);
    let status = |token: &String| ask(&server, &format!("Bearer {token}")).status;
    let become_good = |old, new| {
        eventually("the keys are those of the file", PATIENCE, || {
            (status(&of_old) == old && status(&of_new) == new).then_some(())
        });
    };
    // Whole, or a look in between would find half of it.
    let replace = |text: &str| {
        let written = file.with_extension("new");
        fs::write(&written, text).unwrap();
        fs::rename(written, &file).unwrap();
    };
    let write = |keys: &[&Value]| replace(&json!({ "keys": keys }).to_string());
    write(&[&in_old, &in_new]);
    become_good(200, 200);
    // A token that was found good is not, once its key is gone.
    write(&[&in_new]);
    become_good(401, 200);
    let stays = || server.stderr().matches("the keys from before stay").count();
    replace("{");
    eventually("half a file is told", PATIENCE, || {
        (stays() == 1).then_some(())
    });
    become_good(401, 200);
    fs::remove_file(&file).unwrap();
    eventually("no file is told", PATIENCE, || (stays() == 2).then_some(()));
    become_good(401, 200);
    write(&[&in_old]);
    become_good(200, 401);
}

#[test]
fn a_public_key_accepts_its_own_family_only() {
    use Algorithm::{ES256, EdDSA, PS256, RS256, RS512};
    let pairs = [Pair::rsa(), Pair::ec(), Pair::ed()];
    let rsa = EncodingKey::from_rsa_pem(pairs[0].private.as_bytes()).unwrap();
    let ec = EncodingKey::from_ec_pem(pairs[1].private.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(pairs[2].private.as_bytes()).unwrap();
    let signed: Vec<(Algorithm, String)> = [
        (RS256, &rsa),
        (RS512, &rsa),
        (PS256, &rsa),
        (ES256, &ec),
        (EdDSA, &ed),
    ]
    .map(|(algorithm, key)| (algorithm, token::signed(algorithm, &claims(), key)))
    .into();
    for (public, family) in [
        (&pairs[0].public, &[RS256, RS512, PS256][..]),
        (&pairs[1].public, &[ES256]),
        (&pairs[2].public, &[EdDSA]),
    ] {
        let launch = launch().without("JWT_SECRET").env("JWT_PUBLIC_KEY", public);
        let server = launch.start();
        for (algorithm, token) in &signed {
            let expected = if family.contains(algorithm) { 200 } else { 401 };
            let response = ask(&server, &format!("Bearer {token}"));
            assert_eq!(response.status, expected, "{algorithm:?} with\n{public}");
        }
        // The oldest trick: the public key, known to all, taken as the secret of an HMAC.
        refuses(&server, &token::of("alice", public));
        refuses(&server, &token::of("alice", public.trim_end()));
    }
}
