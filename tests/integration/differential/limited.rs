//! The same where reads pay: what is left and who is refused is told alike. Buckets never refill, so
//! nothing of it depends on the time.

use super::clients::TRUSTED;
use super::{Pair, compare_any, compare_damaged, compare_kept, streams_asked};

/// Two servers that limit reads by address.
fn limited(capacity: &str, settings: &[(&str, &str)]) -> Pair {
    let all = [
        ("RATE_LIMIT_SCOPE", "all"),
        ("TB_RATE", "0"),
        ("TB_CAPACITY", capacity),
        ("TRUSTED_PROXIES", TRUSTED),
    ];
    Pair::with(&[&all, settings].concat())
}

#[test]
fn limited_reads_that_pass_are_answered_alike() {
    let mut pair = limited("1000000", &[]);
    compare_kept(&mut pair);
    compare_any(&mut pair, streams_asked() / 2);
    compare_damaged(&mut pair, streams_asked() / 2);
}

#[test]
fn reads_over_the_limit_are_answered_alike() {
    let mut pair = limited("2", &[]);
    compare_any(&mut pair, streams_asked());
    compare_damaged(&mut pair, streams_asked());
    compare_kept(&mut pair);
}

#[test]
fn limits_are_told_alike_in_whatever_form() {
    for form in ["x", "draft-11", "off"] {
        let mut pair = limited("2", &[("RATE_LIMIT_HEADERS", form)]);
        compare_any(&mut pair, streams_asked() / 8);
    }
    let mut pair = limited("2", &[("SHADOW", "on")]);
    compare_any(&mut pair, streams_asked() / 8);
}

#[test]
fn without_redis_each_policy_answers_alike() {
    for policy in ["local", "open"] {
        // A port that nobody listens to.
        let away = [
            ("REDIS_URL", "redis://127.0.0.1:9"),
            ("LIMITER_ON_FAILURE", policy),
        ];
        let mut pair = limited("2", &away);
        compare_any(&mut pair, streams_asked() / 8);
    }
}
