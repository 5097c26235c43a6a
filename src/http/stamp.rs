//! The headers that tell the limits, on admitted and refused responses alike.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

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
    /// Writes the headers. `fixed` are those of the limits as they are configured.
    pub fn write(self, headers: &mut HeaderMap, told: Told, fixed: &Fixed) {
        let made;
        let fixed = match self.rate {
            Some(rate) if rate.rule != fixed.rule => {
                made = Fixed::new(rate.rule, fixed.slots_max);
                &made
            }
            _ => fixed,
        };
        if told.x
            && let Some(Rate { remaining, .. }) = self.rate
        {
            headers.insert(X_CAPACITY, fixed.capacity.clone());
            headers.insert(X_RATE, fixed.rate.clone());
            headers.insert(X_REMAINING, header(&two_decimals(remaining)));
        }
        if told.draft {
            let policy = match (self.rate, self.slot) {
                (Some(_), false) => Some(&fixed.rate_policy),
                (Some(_), true) => Some(&fixed.both_policies),
                (None, true) => Some(&fixed.slot_policy),
                (None, false) => None,
            };
            headers.extend(policy.map(|policy| (POLICY, policy.clone())));
            if let Some(rate) = self.rate {
                headers.insert(STATE, header(&state(rate)));
            }
        }
        let source = match self.by {
            By::Share => Some("local"),
            By::Policy => Some("open"),
            By::Whole => None,
        };
        if told.x || told.draft {
            headers.extend(source.map(|source| (X_SOURCE, HeaderValue::from_static(source))));
        }
    }
}

/// Tokens with two decimals, cut: never more than there are.
fn two_decimals(micro_tokens: u64) -> String {
    let hundredths = micro_tokens / (TOKEN / 100);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `r` whole requests are left, and in `t` seconds there is one more (draft-11, 4).
fn state(Rate { rule, remaining }: Rate) -> String {
    let left = remaining / TOKEN;
    match rule.wait_ms(remaining % TOKEN) {
        Some(wait_ms) => format!("\"rate\";r={left};t={}", seconds(wait_ms)),
        None => format!("\"rate\";r={left}"),
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
        let mut headers = HeaderMap::new();
        Stamp { rate, slot, by }.write(&mut headers, told, &Fixed::new(RULE, 100));
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        lines.collect()
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
