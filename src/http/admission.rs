//! Admission: between who a request is from and what it says, whether it may pass now.
//!
//! The answer goes into the headers of every limited response, admitted or refused. A slot lies with
//! the request until its answer goes out, or the client is gone.

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use ipnet::IpNet;
use serde_json::json as value;

use super::core::Core;
use super::peer;
use super::response::Problem;
use super::service::Call;
use super::stamp::{Stamp, Told, seconds};
use super::submit::NOT_ENQUEUED;
use crate::limit::{Ask, By, Decision, Key, Permit, Refusal, TOKEN, Verdict, network};
use crate::metrics::Admission;

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

    pub(super) fn pays(&self, kind: Kind) -> bool {
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
    let decision = call.core.limits.ask(Ask { key, slot }).await;
    let Judged { stamp, permit } = judge(&call.core, kind, slot, decision);
    let (permit, refused) = match permit {
        Ok(permit) => (permit, Ok(())),
        Err(problem) => (None, Err(problem)),
    };
    call.admitted(stamp, permit);
    refused
}

/// What admission makes of a request.
pub struct Judged {
    /// What its answer says of the limits.
    pub stamp: Option<Stamp>,
    /// Its slot, if it needs one and passes; a problem if it does not pass.
    pub permit: Result<Option<Permit>, Problem>,
}

/// What a decision means for a request, which is counted with it. `slot` is whether it needs one.
pub fn judge(core: &Core, kind: Kind, slot: bool, decision: Decision) -> Judged {
    let Decision { verdict, rate, by } = decision;
    let stamp = Some(Stamp { rate, slot, by });
    let metrics = &core.metrics;
    if let Some(rate) = rate {
        metrics.tokens(rate.remaining / TOKEN);
    }
    if by != By::Whole {
        metrics.admission(Admission::WithoutRedis);
    }
    let (counted, stamp, permit) = match verdict {
        Verdict::Admitted(permit) => (Admission::Allowed, stamp, Ok(permit)),
        _ if core.shared.options.admission.shadow => (Admission::Shadowed, stamp, Ok(None)),
        Verdict::Refused(refusal) if refusal.rate => {
            (Admission::OverRate, stamp, Err(refused(refusal)))
        }
        Verdict::Refused(refusal) => (Admission::OverSlots, stamp, Err(refused(refusal))),
        Verdict::Unknown => (Admission::Unknown, None, Err(unknown(kind))),
    };
    metrics.admission(counted);
    Judged { stamp, permit }
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
        Kind::Write | Kind::Claim => problem.with_extension("outcome", NOT_ENQUEUED),
    }
}

/// -1 where waiting does not help.
fn signed(wait: Option<u64>) -> i64 {
    wait.map_or(-1, |wait| i64::try_from(wait).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::Body;

    const OPTIONS: Options = Options {
        rate: RateScope::Writes,
        slots: SlotScope::GiftCodes,
        shadow: false,
        told: Told {
            x: true,
            draft: true,
        },
        trusted_proxies: vec![],
        proxy_protocol: false,
    };

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

    #[test]
    fn where_waiting_does_not_help_no_time_is_told() {
        let problem = refused(Refusal {
            rate: true,
            in_flight: false,
            wait_ms: None,
        });
        let response: hyper::Response<Body> = problem.into_response("id");
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }
}
