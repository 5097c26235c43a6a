//! Key pairs for tokens, made anew for every run: none is worth keeping.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A key pair in PEM.
pub struct Pair {
    pub private: String,
    pub public: String,
}

impl Pair {
    pub fn rsa() -> Self {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Self::of(private.as_ref(), pair.public_key())
    }

    pub fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::of(pair.to_pkcs8v1().unwrap().as_ref(), pair.public_key())
    }

    pub fn ed() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        Self::of(pair.to_pkcs8v1().unwrap().as_ref(), pair.public_key())
    }

    fn of(private: &[u8], public: &impl AsDer<PublicKeyX509Der<'static>>) -> Self {
        Self {
            private: pem("PRIVATE KEY", private),
            public: pem("PUBLIC KEY", public.as_der().unwrap().as_ref()),
        }
    }
}

/// Textual encoding of DER (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap());
    let body = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
