//! Tokens, good ones and such as only an attacker would make.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};
use serde_json::{Value, json};

/// Seconds since 1970, as `exp` and `nbf` count.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// A good token of `user` for an hour.
pub fn of(user: &str, secret: &str) -> String {
    with_claims(&json!({ "sub": user, "exp": now() + 3600 }), secret)
}

/// Any claims at all, signed with HS256.
pub fn with_claims(claims: &Value, secret: &str) -> String {
    signed(
        Algorithm::HS256,
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
}

pub fn signed(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

/// The same, with the key named in the header.
pub fn signed_by(id: &str, algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    let header = Header {
        kid: Some(id.to_owned()),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

/// A good token's claims under a header of one's own, signed with HS256 whatever the header says.
pub fn with_header(header: &Value, user: &str, secret: &str) -> String {
    let good = of(user, secret);
    let claims = good.split('.').nth(1).unwrap();
    let message = format!("{}.{claims}", base64url(header.to_string().as_bytes()));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// Claims with `"alg":"none"` and no signature.
pub fn unsigned(user: &str, spelling: &str) -> String {
    let claims = json!({ "sub": user, "exp": now() + 3600 });
    let header = json!({ "alg": spelling, "typ": "JWT" });
    let part = |value: Value| base64url(value.to_string().as_bytes());
    format!("{}.{}.", part(header), part(claims))
}

/// The digits of base64url (RFC 4648, 5).
pub const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648, 5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(*group.get(index).unwrap_or(&0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..=group.len() {
            let sextet = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[sextet as usize]));
        }
    }
    text
}

#[test]
fn base64url_is_as_the_rfc_says() {
    assert_eq!(base64url(b""), "");
    assert_eq!(base64url(b"f"), "Zg");
    assert_eq!(base64url(b"fo"), "Zm8");
    assert_eq!(base64url(b"foobar"), "Zm9vYmFy");
    assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
}
