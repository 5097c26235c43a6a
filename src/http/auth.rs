//! Who is asking: bearer tokens (RFC 6750, RFC 7519).
//!
//! Every failure is the same 401: a client that guesses learns nothing from the answer.

use arc_swap::ArcSwap;
use hyper::header::{AUTHORIZATION, HeaderMap};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, TokenData, Validation, decode, decode_header, encode,
};
use serde::{Deserialize, Serialize};

pub use super::key_file::KeyFile;
pub use super::keys::CheckingKey;
use super::response::Problem;
use super::tokens::{Good, Tokens};
use crate::domain::{Timestamp, USER_CHARS_MAX};

/// Bytes of a token, at most; a longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Seconds by which clocks may differ.
const LEEWAY_S: u64 = 5;

/// What tokens are checked against.
#[derive(Clone, Debug)]
pub struct Options {
    pub key: Key,
    pub audience: Option<String>,
    pub issuer: Option<String>,
}

/// One family of algorithms, never both: a public key must not pass for a shared secret.
#[derive(Clone, Debug)]
pub enum Key {
    Secret(Vec<u8>),
    Public(CheckingKey),
    /// At least one, and where others may come from.
    Followed(KeyFile, Vec<CheckingKey>),
    /// A random secret that is made at the first start and kept.
    Kept,
}

/// What a token is read for here; the library has checked the rest.
#[derive(Deserialize)]
struct Subject {
    sub: String,
    /// Seconds since the Unix epoch; any number will do (RFC 7519, 2).
    exp: f64,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
}

/// Checks bearer tokens.
pub struct Authenticator {
    keys: ArcSwap<Keys>,
    /// What every token is held to.
    rules: Validation,
}

struct Keys {
    /// With what each of them is held to.
    keys: Vec<(CheckingKey, Validation)>,
    /// Which keys these are: what was found good with others is to be checked again.
    generation: u64,
}

impl Authenticator {
    /// `kept` is the secret that stands in for [`Key::Kept`].
    #[must_use]
    pub fn new(options: Options, kept: &[u8]) -> Self {
        let keys = match options.key {
            Key::Secret(secret) => vec![CheckingKey::secret(&secret)],
            Key::Kept => vec![CheckingKey::secret(kept)],
            Key::Public(key) => vec![key],
            Key::Followed(_, keys) => keys,
        };
        let mut rules = Validation {
            leeway: LEEWAY_S,
            validate_nbf: true,
            validate_aud: options.audience.is_some(),
            ..Validation::default()
        };
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = options.audience {
            rules.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = options.issuer {
            rules.set_issuer(&[issuer]);
            required.push("iss");
        }
        rules.set_required_spec_claims(&required);
        Self {
            keys: ArcSwap::from_pointee(Keys::new(keys, &rules, 0)),
            rules,
        }
    }

    /// From now on tokens are checked with these keys, those too that were found good before.
    pub fn renew(&self, keys: &[CheckingKey]) {
        self.keys
            .rcu(|old| Keys::new(keys.to_vec(), &self.rules, old.generation + 1));
    }

    /// The user of a request; `tokens` are those that the core has checked.
    ///
    /// # Errors
    /// 401, the same for every cause but that of no `Authorization` at all, whose challenge names
    /// no error (RFC 6750, 3.1).
    pub fn user(
        &self,
        headers: &HeaderMap,
        tokens: &mut Tokens,
        now: Timestamp,
    ) -> Result<String, Problem> {
        if !headers.contains_key(AUTHORIZATION) {
            return Err(Problem::unauthorized(false));
        }
        let token = bearer(headers).filter(|token| token.len() <= TOKEN_BYTES_MAX);
        let now_s = now.as_micros().div_euclid(1_000_000);
        let keys = self.keys.load();
        tokens.keep_those_of(keys.generation);
        token
            .and_then(|token| tokens.user(token, now_s, |token| keys.check(token)))
            .ok_or_else(|| Problem::unauthorized(true))
    }
}

impl Keys {
    fn new(keys: Vec<CheckingKey>, rules: &Validation, generation: u64) -> Self {
        let with_rules = |key: CheckingKey| {
            let algorithms = key.algorithms.clone();
            let validation = Validation {
                algorithms,
                ..rules.clone()
            };
            (key, validation)
        };
        Self {
            keys: keys.into_iter().map(with_rules).collect(),
            generation,
        }
    }

    /// The token as the first key that it may be signed with has it, if that is good.
    fn decode(&self, token: &str) -> Option<TokenData<Subject>> {
        let header = decode_header(token).ok()?;
        let id = header.kid.as_deref();
        let mut fitting = self.keys.iter().filter(|(key, _)| key.answers_to(id));
        fitting.find_map(|(key, validation)| decode(token, &key.key, validation).ok())
    }

    fn check(&self, token: &str) -> Option<Good> {
        let TokenData { header, claims } = self.decode(token)?;
        // An extension that the token calls critical is none that is known here (RFC 7515, 4.1.11).
        let is_good = header.crit.is_none() && is_user(&claims.sub);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, which will do"
        )]
        let ends_s = claims.exp.floor() as i64;
        is_good.then(|| Good {
            user: claims.sub,
            until_s: ends_s.saturating_add_unsigned(LEEWAY_S),
        })
    }
}

/// Whether a text can be a user's name.
#[must_use]
pub fn is_user(text: &str) -> bool {
    (1..=USER_CHARS_MAX).contains(&text.chars().count()) && !text.contains('\0')
}

/// The token of the one `Authorization` header, whose scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start_matches(' '))
}

/// Signs a token for `user` that ends at `expires_s`, seconds since the Unix epoch.
///
/// # Errors
/// Those of the signing library, none of which a valid secret brings about.
pub fn sign(
    secret: &[u8],
    user: &str,
    expires_s: u64,
    options: &Options,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Claims {
        sub: user,
        exp: expires_s,
        aud: options.audience.as_deref(),
        iss: options.issuer.as_deref(),
    };
    encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock;

    const SECRET: &[u8] = b"a secret of thirty-two bytes, or";

    /// Up to when a token with this `exp` is good.
    fn until_s(exp: &Value) -> Option<i64> {
        let claims = json!({ "sub": "alice", "exp": exp });
        let key = EncodingKey::from_secret(SECRET);
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let options = Options {
            key: Key::Secret(SECRET.to_vec()),
            audience: None,
            issuer: None,
        };
        let good = Authenticator::new(options, &[]).keys.load().check(&token)?;
        assert_eq!(good.user, "alice");
        Some(good.until_s)
    }

    #[test]
    fn a_token_is_good_until_it_ends_give_or_take_what_clocks_differ() {
        let now_s = clock::now().as_micros() / 1_000_000;
        assert_eq!(until_s(&json!(now_s + 600)), Some(now_s + 605));
        #[expect(clippy::cast_precision_loss, reason = "it is far below 2^52")]
        let half = now_s as f64 + 600.5;
        assert_eq!(until_s(&json!(half)), Some(now_s + 605));
        assert_eq!(until_s(&json!(now_s - 2)), Some(now_s + 3));
        assert_eq!(until_s(&json!(now_s - 60)), None);
        assert_eq!(until_s(&json!(u64::MAX)), Some(i64::MAX));
        assert_eq!(until_s(&json!("tomorrow")), None);
    }
}
