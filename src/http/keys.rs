//! Keys that tokens are checked with: a shared secret, a public key in PEM, or those of a set
//! (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Keys of a set, at most: a token that names none of them is held against each.
const KEYS_MAX: usize = 64;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key, and what it is good for: algorithms of one family, so that a public key never passes for a
/// shared secret.
#[derive(Clone, Debug)]
pub struct CheckingKey {
    /// By which tokens name it; one without a name fits whatever they name.
    pub id: Option<String>,
    pub key: DecodingKey,
    /// At least one.
    pub algorithms: Vec<Algorithm>,
}

/// The text was not a public key in PEM.
#[derive(Debug, thiserror::Error)]
#[error("not an RSA, EC (P-256 or P-384) or Ed25519 public key in PEM")]
pub struct NotAPublicKey;

/// Why a set of keys is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NotAKeySet {
    #[error("not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("key {0}: {1}")]
    Key(String, jsonwebtoken::errors::Error),
    #[error("key {0}: is a shared secret, and this is a file of public keys")]
    Secret(String),
    #[error("key {0}: is there twice")]
    Twice(String),
    #[error(
        "holds no key that RS, PS, ES (P-256 or P-384) or EdDSA (Ed25519) signatures are checked with"
    )]
    Nothing,
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
}

impl CheckingKey {
    #[must_use]
    pub fn secret(secret: &[u8]) -> Self {
        Self {
            id: None,
            key: DecodingKey::from_secret(secret),
            algorithms: vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        }
    }

    /// Reads a public key in PEM, of any kind that a token may be signed with.
    ///
    /// # Errors
    /// [`NotAPublicKey`].
    pub fn of_pem(pem: &str) -> Result<Self, NotAPublicKey> {
        let pem = pem.as_bytes();
        let kinds = [
            (DecodingKey::from_rsa_pem(pem), RSA.to_vec()),
            (
                DecodingKey::from_ec_pem(pem),
                vec![Algorithm::ES256, Algorithm::ES384],
            ),
            (DecodingKey::from_ed_pem(pem), vec![Algorithm::EdDSA]),
        ];
        let mut fitting = kinds
            .into_iter()
            .filter_map(|(key, algorithms)| Some((key.ok()?, algorithms)));
        let (key, algorithms) = fitting.next().ok_or(NotAPublicKey)?;
        Ok(Self {
            id: None,
            key,
            algorithms,
        })
    }

    /// Reads a JSON Web Key Set. Keys of kinds that are not known here, and those that are for
    /// something else than signatures, are passed over (RFC 7517, 5).
    ///
    /// # Errors
    /// [`NotAKeySet`]
    pub fn set_of(json: &str) -> Result<Vec<Self>, NotAKeySet> {
        let set: JwkSet = serde_json::from_str(json)?;
        if set.keys.len() > KEYS_MAX {
            return Err(NotAKeySet::TooMany);
        }
        let mut keys: Vec<Self> = Vec::new();
        for (nth, jwk) in set.keys.iter().enumerate() {
            let name = || match &jwk.common.key_id {
                Some(id) => format!("{id:?}"),
                None => format!("number {}", nth + 1),
            };
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err(NotAKeySet::Secret(name()));
            }
            let algorithms = algorithms(jwk);
            if algorithms.is_empty() || !is_for_signatures(jwk) {
                continue;
            }
            let id = jwk.common.key_id.clone();
            if id.is_some() && keys.iter().any(|key| key.id == id) {
                return Err(NotAKeySet::Twice(name()));
            }
            let key = DecodingKey::from_jwk(jwk).map_err(|error| NotAKeySet::Key(name(), error))?;
            keys.push(Self {
                id,
                key,
                algorithms,
            });
        }
        if keys.is_empty() {
            return Err(NotAKeySet::Nothing);
        }
        Ok(keys)
    }

    /// Whether a token that names `id`, or no key, may be signed with this one.
    #[must_use]
    pub fn answers_to(&self, id: Option<&str>) -> bool {
        id.is_none() || self.id.is_none() || self.id.as_deref() == id
    }
}

/// What tokens may be signed with, if the key is of a kind that is known here: the algorithm that it
/// is for, or else all of its kind.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    let of_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.to_vec(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => vec![],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => vec![],
    };
    let is_meant = |algorithm: &Algorithm| match jwk.common.key_algorithm {
        Some(only) => only == KeyAlgorithm::from(*algorithm),
        None => true,
    };
    of_kind.into_iter().filter(is_meant).collect()
}

fn is_for_signatures(jwk: &Jwk) -> bool {
    let is_use = |purpose: &PublicKeyUse| *purpose == PublicKeyUse::Signature;
    let may_verify = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    jwk.common.public_key_use.as_ref().is_none_or(is_use)
        && jwk.common.key_operations.as_ref().is_none_or(may_verify)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The P-256 key of RFC 7517, appendix A.1.
    fn ec() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        })
    }

    /// The key with more members.
    fn with(mut key: Value, more: &Value) -> Value {
        let members = key.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        key
    }

    fn set_of(keys: &[Value]) -> Result<Vec<CheckingKey>, String> {
        CheckingKey::set_of(&json!({ "keys": keys }).to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_for_its_algorithm_or_for_those_of_its_kind() {
        for (more, expected) in [
            (json!({}), vec![Algorithm::ES256]),
            (
                json!({ "alg": "ES256", "use": "sig" }),
                vec![Algorithm::ES256],
            ),
            (json!({ "key_ops": ["verify"] }), vec![Algorithm::ES256]),
        ] {
            let keys = set_of(&[with(ec(), &more)]).unwrap();
            assert_eq!(keys[0].algorithms, expected);
        }
        for other in [
            json!({ "alg": "ES384" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "ECDH-ES" }),
            json!({ "use": "enc" }),
            json!({ "key_ops": ["deriveKey"] }),
        ] {
            let refused = set_of(&[with(ec(), &other)]).unwrap_err();
            assert!(refused.contains("holds no key"), "{other}: {refused}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_what_is_wrong_is_named() {
        let named = with(ec(), &json!({ "kid": "a" }));
        let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "x" });
        let keys = set_of(&[unknown, named.clone()]).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].answers_to(Some("a")) && keys[0].answers_to(None));
        assert!(!keys[0].answers_to(Some("b")));

        let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" });
        let broken = with(named.clone(), &json!({ "x": "?" }));
        for (keys, named) in [
            (vec![], "holds no key"),
            (vec![secret], "\"s\": is a shared secret"),
            (vec![named.clone(), named], "\"a\": is there twice"),
            (vec![broken], "\"a\""),
            (vec![ec(); KEYS_MAX + 1], "more than 64"),
        ] {
            let refused = set_of(&keys).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
        assert!(CheckingKey::set_of("{}").is_err());
    }
}
