//! Admission: between who a request is from and what it says, whether it may pass now.
//!
//! The answer goes into the headers of every limited response, admitted or refused. A slot lies with
//! the request and then with its response, until the last byte is handed over or the client is gone.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use ipnet::IpNet;
use serde_json::json as value;

use super::peer;
use super::response::{Problem, header};
use super::service::Call;
use crate::limit::{Ask, By, Decision, Key, Rate, Refusal, Rule, TOKEN, Verdict, network};
use crate::metrics::Admission;

const X_CAPACITY: HeaderName = HeaderName::from_static("x-ratelimit-capacity");
const X_RATE: HeaderName = HeaderName::from_static("x-ratelimit-rate");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Says so where Redis did not decide: `local` or `open`.
const X_SOURCE: HeaderName = HeaderName::from_static("x-ratelimit-source");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The IANA registry of problem types, which the draft on rate limit headers adds this one to.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// Seconds after which to come again when nobody could tell.
const UNKNOWN_RETRY_S: u32 = 1;

/// What is limited, by whose address, and how it is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub rate: RateScope,
    pub slots: SlotScope,
    /// Counts what would be refused, and refuses nothing.
    pub shadow: bool,
    pub told: Told,
    /// Peers whose word on a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether these begin a connection with a PROXY header.
    pub proxy_protocol: bool,
}

/// Which headers tell the limits.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// `X-RateLimit-…`
    pub x: bool,
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
    pub draft: bool,
}

/// Requests that pay a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateScope {
    None,
    Writes,
    All,
}

/// Requests that need a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotScope {
    None,
    GiftCodes,
    Writes,
}

/// What a request is to admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Claim,
}

impl Options {
    /// Whether anything is limited at all.
    #[must_use]
    pub fn limits_anything(&self) -> bool {
        self.rate != RateScope::None || self.slots != SlotScope::None
    }

    fn pays(&self, kind: Kind) -> bool {
        match self.rate {
            RateScope::None => false,
            RateScope::Writes => kind != Kind::Read,
            RateScope::All => true,
        }
    }

    fn needs_slot(&self, kind: Kind) -> bool {
        match self.slots {
            SlotScope::None => false,
            SlotScope::GiftCodes => kind == Kind::Claim,
            SlotScope::Writes => kind != Kind::Read,
        }
    }
}

/// Asks whether a request may pass: for its user, or else for its client's address.
///
/// # Errors
/// 429, or 503 where nobody can tell and the policy is to refuse then.
///
/// # Cancel safety
/// A slot that was granted is given back.
pub async fn admit(call: &Call, kind: Kind, user: Option<&str>) -> Result<(), Problem> {
    let options = &call.core.shared.options.admission;
    let slot = options.needs_slot(kind);
    let key = options.pays(kind).then(|| match user {
        Some(user) => Key::User(user.into()),
        None => Key::Address(network(peer::client(call))),
    });
    if key.is_none() && !slot {
        return Ok(());
    }
    let Decision { verdict, rate, by } = call.core.limits.ask(Ask { key, slot }).await;
    let stamp = Stamp { rate, slot, by };
    let metrics = &call.core.metrics;
    if let Some(rate) = rate {
        metrics.tokens(rate.remaining / TOKEN);
    }
    if by != By::Whole {
        metrics.admission(Admission::WithoutRedis);
    }
    match verdict {
        Verdict::Admitted(permit) => {
            metrics.admission(Admission::Allowed);
            call.admitted(Some(stamp), permit);
            Ok(())
        }
        _ if options.shadow => {
            metrics.admission(Admission::Shadowed);
            call.admitted(Some(stamp), None);
            Ok(())
        }
        Verdict::Refused(refusal) => {
            let by_rate = refusal.rate;
            metrics.admission(if by_rate {
                Admission::OverRate
            } else {
                Admission::OverSlots
            });
            call.admitted(Some(stamp), None);
            Err(refused(refusal))
        }
        Verdict::Unknown => {
            metrics.admission(Admission::Unknown);
            Err(unknown(kind))
        }
    }
}

fn refused(refusal: Refusal) -> Problem {
    let detail = if refusal.rate {
        "rate limit exceeded"
    } else {
        "too many in-flight requests"
    };
    let violated: Vec<&str> = [(refusal.rate, "rate"), (refusal.in_flight, "inflight")]
        .into_iter()
        .filter_map(|(is_violated, policy)| is_violated.then_some(policy))
        .collect();
    let seconds = refusal.wait_ms.map(seconds);
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        .of_type(QUOTA_EXCEEDED)
        .with_extension("retry_after", signed(seconds))
        .with_extension("retry_after_ms", signed(refusal.wait_ms))
        .with_extension("violated-policies", value!(violated));
    match seconds {
        Some(seconds) => problem.with_header(RETRY_AFTER, HeaderValue::from(seconds)),
        None => problem,
    }
}

fn unknown(kind: Kind) -> Problem {
    let problem = Problem::unavailable("the limits cannot be checked now", UNKNOWN_RETRY_S);
    match kind {
        Kind::Read => problem,
        Kind::Write | Kind::Claim => problem.with_extension("outcome", "not_enqueued"),
    }
}

/// Whole seconds, never fewer than the milliseconds and at least one.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).max(1)
}

/// -1 where waiting does not help.
fn signed(wait: Option<u64>) -> i64 {
    wait.map_or(-1, |wait| i64::try_from(wait).unwrap_or(i64::MAX))
}

/// What a limited response says about the limits.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    rate: Option<Rate>,
    slot: bool,
    by: By,
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

    const OPTIONS: Options = Options {
        rate: RateScope::Writes,
        slots: SlotScope::GiftCodes,
        shadow: false,
        told: TOLD,
        trusted_proxies: vec![],
        proxy_protocol: false,
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
        let problem = refused(Refusal {
            rate: true,
            in_flight: false,
            wait_ms: None,
        });
        let response = problem.into_response("id");
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn headers_can_be_turned_off() {
        let off = Told {
            x: false,
            draft: false,
        };
        assert!(stamped(Some(left(0, RULE)), true, By::Share, off).is_empty());
    }

    #[test]
    fn scopes_cover_what_they_say() {
        let covered = |options: &Options, kind| (options.pays(kind), options.needs_slot(kind));
        assert_eq!(covered(&OPTIONS, Kind::Read), (false, false));
        assert_eq!(covered(&OPTIONS, Kind::Write), (true, false));
        assert_eq!(covered(&OPTIONS, Kind::Claim), (true, true));
        let all = Options {
            rate: RateScope::All,
            slots: SlotScope::Writes,
            ..OPTIONS
        };
        assert_eq!(covered(&all, Kind::Read), (true, false));
        assert_eq!(covered(&all, Kind::Write), (true, true));
    }
}
