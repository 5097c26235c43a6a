//! The headers that tell the limits, on admitted and refused responses alike.

use std::fmt;
use std::io::Write as _;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::Shared;
use super::response::header;
use crate::limit::{By, Rate, Rule, TOKEN};

const X_CAPACITY: HeaderName = HeaderName::from_static("x-ratelimit-capacity");
const X_RATE: HeaderName = HeaderName::from_static("x-ratelimit-rate");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Says so where Redis did not decide: `local` or `open`.
const X_SOURCE: HeaderName = HeaderName::from_static("x-ratelimit-source");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Which headers tell the limits.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// `X-RateLimit-…`
    pub x: bool,
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
    pub draft: bool,
}

/// What a limited response says about the limits.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub rate: Option<Rate>,
    pub slot: bool,
    pub by: By,
}

impl Stamp {
    /// The stamp as the server is configured to tell it.
    pub fn told(self, shared: &Shared) -> Lines<'_> {
        Lines {
            stamp: self,
            told: shared.options.admission.told,
            slots_max: match self.by {
                By::Share => shared.limiter.slots_alone(),
                By::Whole | By::Policy => shared.limit_headers.slots_max,
            },
            fixed: &shared.limit_headers,
        }
    }
}

/// The headers of a stamp.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    stamp: Stamp,
    told: Told,
    /// Slots in force.
    slots_max: u32,
    /// Those of the limits as they are configured.
    fixed: &'a Fixed,
}

/// A header's value: one that stands ready, or one to be written.
enum Value<'a> {
    Ready(&'a HeaderValue),
    Text(fmt::Arguments<'a>),
}

impl Lines<'_> {
    /// Puts them among the headers of a response.
    pub fn insert(self, headers: &mut HeaderMap) {
        self.each(|name, value| {
            let value = match value {
                Value::Ready(value) => value.clone(),
                Value::Text(text) => header(&text.to_string()),
            };
            headers.insert(name, value);
        });
    }

    /// Writes them as they are sent. Allocates nothing where the limits are as configured.
    pub fn write(self, wire: &mut Vec<u8>) {
        self.each(|name, value| {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            match value {
                Value::Ready(value) => wire.extend_from_slice(value.as_bytes()),
                Value::Text(text) => wire.write_fmt(text).expect("memory takes what is written"),
            }
            wire.extend_from_slice(b"\r\n");
        });
    }

    fn each(self, mut put: impl FnMut(HeaderName, Value<'_>)) {
        let Lines {
            stamp,
            told,
            slots_max,
            fixed,
        } = self;
        let rule = stamp.rate.map_or(fixed.rule, |rate| rate.rule);
        let made;
        let fixed = if (rule, slots_max) == (fixed.rule, fixed.slots_max) {
            fixed
        } else {
            made = Fixed::new(rule, slots_max);
            &made
        };
        if told.x
            && let Some(Rate { remaining, .. }) = stamp.rate
        {
            put(X_CAPACITY, Value::Ready(&fixed.capacity));
            put(X_RATE, Value::Ready(&fixed.rate));
            // Cut: never more than there are.
            let hundredths = remaining / (TOKEN / 100);
            let (whole, part) = (hundredths / 100, hundredths % 100);
            put(X_REMAINING, Value::Text(format_args!("{whole}.{part:02}")));
        }
        if told.draft {
            let policy = match (stamp.rate, stamp.slot) {
                // Nothing is counted.
                _ if stamp.by == By::Policy => None,
                (Some(_), false) => Some(&fixed.rate_policy),
                (Some(_), true) => Some(&fixed.both_policies),
                (None, true) => Some(&fixed.slot_policy),
                (None, false) => None,
            };
            if let Some(policy) = policy {
                put(POLICY, Value::Ready(policy));
            }
            if let Some(rate) = stamp.rate {
                put(STATE, Value::Text(format_args!("{}", State(rate))));
            }
        }
        let source = match stamp.by {
            By::Share => Some("local"),
            By::Policy => Some("open"),
            By::Whole => None,
        };
        if (told.x || told.draft)
            && let Some(source) = source
        {
            put(X_SOURCE, Value::Text(format_args!("{source}")));
        }
    }
}

/// `r` whole requests are left, and in `t` seconds there is one more (draft-11, 4).
struct State(Rate);

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { rule, remaining } = self.0;
        write!(f, "\"rate\";r={}", remaining / TOKEN)?;
        match rule.wait_ms(remaining % TOKEN) {
            Some(wait_ms) => write!(f, ";t={}", seconds(wait_ms)),
            None => Ok(()),
        }
    }
}

/// Header values that follow from the limits alone.
#[derive(Clone, Debug)]
pub struct Fixed {
    rule: Rule,
    slots_max: u32,
    capacity: HeaderValue,
    rate: HeaderValue,
    rate_policy: HeaderValue,
    slot_policy: HeaderValue,
    both_policies: HeaderValue,
}

impl Fixed {
    #[must_use]
    pub fn new(rule: Rule, slots_max: u32) -> Self {
        let Rule { capacity, rate } = rule;
        // The window is the time in which the quota comes back; there is none where it does not.
        let rate_policy = match rate {
            0 => format!("\"rate\";q={capacity}"),
            _ => format!("\"rate\";q={capacity};w={}", capacity.div_ceil(rate).max(1)),
        };
        let slot_policy = format!("\"inflight\";q={slots_max};qu=\"concurrent-requests\"");
        Self {
            rule,
            slots_max,
            capacity: HeaderValue::from(capacity),
            rate: HeaderValue::from(rate),
            both_policies: header(&format!("{rate_policy}, {slot_policy}")),
            rate_policy: header(&rate_policy),
            slot_policy: header(&slot_policy),
        }
    }
}

/// Whole seconds, never fewer than the milliseconds and at least one.
pub fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        capacity: 20,
        rate: 20,
    };

    const TOLD: Told = Told {
        x: true,
        draft: true,
    };

    fn stamped(rate: Option<Rate>, slot: bool, by: By, told: Told) -> Vec<String> {
        let (mut headers, mut wire) = (HeaderMap::new(), vec![]);
        let lines = Lines {
            stamp: Stamp { rate, slot, by },
            told,
            slots_max: if by == By::Share { 50 } else { 100 },
            fixed: &Fixed::new(RULE, 100),
        };
        lines.insert(&mut headers);
        lines.write(&mut wire);
        let inserted: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let written: Vec<&str> = std::str::from_utf8(&wire).unwrap().lines().collect();
        assert_eq!(inserted, written);
        inserted
    }

    fn left(remaining: u64, rule: Rule) -> Rate {
        Rate { rule, remaining }
    }

    #[test]
    fn a_limited_response_says_what_is_left() {
        assert_eq!(
            stamped(Some(left(19_009_999, RULE)), true, By::Whole, TOLD),
            [
                "x-ratelimit-capacity: 20",
                "x-ratelimit-rate: 20",
                "x-ratelimit-remaining: 19.00",
                r#"ratelimit-policy: "rate";q=20;w=1, "inflight";q=100;qu="concurrent-requests""#,
                r#"ratelimit: "rate";r=19;t=1"#,
            ]
        );
        let slot_alone = stamped(None, true, By::Whole, TOLD);
        assert_eq!(
            slot_alone,
            [r#"ratelimit-policy: "inflight";q=100;qu="concurrent-requests""#]
        );
    }

    #[test]
    fn a_share_is_told_as_what_it_is() {
        let share = stamped(Some(left(500_000, RULE.share(3))), false, By::Share, TOLD);
        assert_eq!(share[0], "x-ratelimit-capacity: 6");
        assert_eq!(share[2], "x-ratelimit-remaining: 0.50");
        assert_eq!(share[5], "x-ratelimit-source: local");
        let slot = stamped(None, true, By::Share, TOLD);
        let policy = r#"ratelimit-policy: "inflight";q=50;qu="concurrent-requests""#;
        assert_eq!(slot[0], policy);
    }

    #[test]
    fn where_nothing_is_counted_nothing_is_told_but_that() {
        assert_eq!(
            stamped(None, true, By::Policy, TOLD),
            ["x-ratelimit-source: open"]
        );
    }

    #[test]
    fn where_waiting_does_not_help_no_time_is_told() {
        let never = Rule {
            capacity: 5,
            rate: 0,
        };
        let headers = stamped(Some(left(0, never)), false, By::Whole, TOLD);
        assert_eq!(
            headers[3..],
            [
                r#"ratelimit-policy: "rate";q=5"#,
                r#"ratelimit: "rate";r=0"#
            ]
        );
    }

    #[test]
    fn headers_can_be_turned_off() {
        let off = Told {
            x: false,
            draft: false,
        };
        assert!(stamped(Some(left(0, RULE)), true, By::Share, off).is_empty());
    }
}
