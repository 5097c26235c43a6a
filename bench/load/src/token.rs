//! Bearer tokens, signed here: a thousand users would be a thousand calls of the product's `token`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// In the year 2100: no run outlives it, and runs need no clock.
const EXPIRES: u64 = 4_102_444_800;

/// A token of `user`, as RFC 7519 has it.
#[must_use]
pub fn token(user: &str, secret: &str) -> String {
    let claims = serde_json::json!({ "sub": user, "exp": EXPIRES });
    let head = BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", BASE64.encode(claims.to_string()));
    let signature = hmac_sha256::HMAC::mac(signed.as_bytes(), secret.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_as_others_sign_it() {
        // Made with Python's hmac and base64.
        assert_eq!(token("alice", "0123456789abcdef"), EXPECTED);
    }

    const EXPECTED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInN1YiI6ImFsaWNlIn0.QAJTdvPM9W08Wo3C6_t6mqBQIiJbCt2nOdZHY9vCyxo";
}
