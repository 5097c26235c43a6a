//! Whose requests the streams bring, where the servers trust us to say so.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::streams::one_in;
use crate::harness::Dice;

/// Whom the servers believe.
pub const TRUSTED: &str = "127.0.0.0/8, 10.0.0.0/8";

/// A client that has not asked before and does not ask again.
pub fn stranger() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = u32::from(Ipv4Addr::new(172, 16, 0, 0));
    Ipv4Addr::from(first + NEXT.fetch_add(1, Ordering::Relaxed)).to_string()
}

/// The clients of one stream.
pub struct Clients(u16);

impl Clients {
    /// Such as hardly another stream has.
    pub fn new(dice: &mut Dice) -> Self {
        Self(dice.random())
    }

    /// Lines of a request that say whose it is, or do not, in one way or another.
    pub fn lines(&self, dice: &mut Dice) -> Vec<String> {
        let [high, low] = self.0.to_be_bytes();
        let client = format!("198.{high}.{low}.1");
        let values = [
            client.clone(),
            client.clone(),
            format!("198.{high}.{low}.2"),
            format!("9.9.9.9, {client}, 10.0.0.1"),
            format!("[2001:db8:{:x}::1]:80", self.0),
            format!("2001:db8:{:x}::2", self.0),
            format!("{client},unknown"),
            "\u{e9}".to_owned(),
            String::new(),
        ];
        let count = if one_in(dice, 8) { 2 } else { 1 };
        let count = if one_in(dice, 4) { 0 } else { count };
        let name = if one_in(dice, 8) {
            "X-FORWARDED-FOR:"
        } else {
            "X-Forwarded-For: "
        };
        (0..count)
            .map(|_| format!("{name}{}", values.choose(dice).unwrap()))
            .collect()
    }
}
