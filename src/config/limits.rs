//! The variables of admission: what is limited, how much, and by whose address.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::values::{self, Switch};
use super::{BadConfig, bad};
use crate::http::{self, RateScope, SlotScope};
use crate::limit::{self, OnFailure, Rule, TOKENS_MAX};

/// A deadline of Redis, at most: requests wait for it.
const TIMEOUT_MS_MAX: u64 = 10_000;

/// The variables of admission. The doc comments are the text of `--help`.
#[derive(Args, Clone, Debug)]
pub struct LimitSettings {
    /// Requests that pay a token each: none, writes (of a user) or all (reads by address)
    #[arg(long, env, global = true, default_value = "writes")]
    rate_limit_scope: Rated,
    /// Tokens of a full bucket: the burst that one user or address may send
    #[arg(long, env, global = true, default_value_t = 20)]
    tb_capacity: u32,
    /// Tokens a second that come back; 0 is never
    #[arg(long, env, global = true, default_value_t = 20)]
    tb_rate: u32,
    /// What the names of buckets in Redis begin with
    #[arg(long, env, global = true, default_value = "tb:user:")]
    bucket_prefix: String,
    /// Requests that need an in-flight slot: none, gift-codes or writes
    #[arg(long, env, global = true, default_value = "gift-codes")]
    inflight_scope: Slotted,
    /// In-flight slots of the whole fleet
    #[arg(long, env, global = true, default_value_t = 100)]
    rate_limit_capacity: u32,
    /// Headers that tell the limits: both, `x` (`X-RateLimit-*`), `draft-11` (`RateLimit`) or off
    #[arg(long, env, global = true, default_value = "both")]
    rate_limit_headers: Told,
    /// Count what would be refused, and refuse nothing
    #[arg(long, env, global = true, default_value = "off")]
    shadow: Switch,
    /// Redis that counts the limits of a fleet; without it each server counts for itself
    /// [default: none]
    #[arg(long, env, global = true, hide_env_values = true)]
    redis_url: Option<String>,
    /// File that holds `REDIS_URL`
    #[arg(long, env, global = true)]
    redis_url_file: Option<PathBuf>,
    /// What decides while Redis is away: local (a share of the limits), open (all pass) or closed
    /// (none do)
    #[arg(long, env, global = true, default_value = "local")]
    limiter_on_failure: Away,
    /// Milliseconds in which Redis answers, or is taken for away
    #[arg(long, env, global = true, default_value_t = 25)]
    limiter_timeout_ms: u64,
    /// Networks of proxies whose word on a client's address counts, as in `10.0.0.0/8,fd00::/8`
    /// [default: none]
    #[arg(long, env, global = true)]
    trusted_proxies: Option<String>,
    /// Whether connections of trusted proxies begin with a PROXY header (version 1 or 2)
    #[arg(long, env, global = true, default_value = "off")]
    proxy_protocol: Switch,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rated {
    None,
    Writes,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Slotted {
    None,
    GiftCodes,
    Writes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Told {
    Both,
    X,
    #[value(name = "draft-11")]
    Draft11,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Away {
    Local,
    Open,
    Closed,
}

impl LimitSettings {
    /// How much, and where it is counted.
    pub(super) fn backing(&self) -> Result<limit::Backing, BadConfig> {
        for (variable, value) in [("TB_CAPACITY", self.tb_capacity), ("TB_RATE", self.tb_rate)] {
            if value > TOKENS_MAX {
                let problem = format!("{value} is too large; at most {TOKENS_MAX}");
                return Err(bad(variable, problem));
            }
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&self.limiter_timeout_ms) {
            let problem = format!("must be from 1 to {TIMEOUT_MS_MAX}");
            return Err(bad("LIMITER_TIMEOUT_MS", problem));
        }
        Ok(limit::Backing {
            limits: limit::Options {
                rate: Rule {
                    capacity: self.tb_capacity,
                    rate: self.tb_rate,
                },
                slots_max: self.rate_limit_capacity,
                bucket_prefix: self.bucket_prefix.clone(),
                on_failure: match self.limiter_on_failure {
                    Away::Local => OnFailure::Local,
                    Away::Open => OnFailure::Open,
                    Away::Closed => OnFailure::Closed,
                },
                timeout: Duration::from_millis(self.limiter_timeout_ms),
            },
            redis_url: self.redis_url()?,
        })
    }

    fn redis_url(&self) -> Result<Option<String>, BadConfig> {
        let url = values::secret(
            ("REDIS_URL", self.redis_url.as_deref()),
            ("REDIS_URL_FILE", self.redis_url_file.as_deref()),
        )?;
        if let Some(url) = &url {
            limit::check_url(url).map_err(|error| bad("REDIS_URL", error.to_string()))?;
        }
        Ok(url)
    }

    /// What is limited, and by whose address.
    pub(super) fn admission(&self) -> Result<http::Admission, BadConfig> {
        let proxies = self.trusted_proxies.as_deref().unwrap_or("").split(',');
        let named = proxies.map(str::trim).filter(|network| !network.is_empty());
        let trusted_proxies: Vec<IpNet> = named.map(network).collect::<Result<_, _>>()?;
        if let Some(all) = trusted_proxies.iter().find(|net| net.prefix_len() == 0) {
            let problem = format!(
                "{all} is everybody: then each client names its own address, and has as many as it likes"
            );
            return Err(bad("TRUSTED_PROXIES", problem));
        }
        if self.proxy_protocol.is_on() && trusted_proxies.is_empty() {
            let problem = "needs TRUSTED_PROXIES: from anybody else the header counts for nothing";
            return Err(bad("PROXY_PROTOCOL", problem));
        }
        let told = self.rate_limit_headers;
        Ok(http::Admission {
            rate: match self.rate_limit_scope {
                Rated::None => RateScope::None,
                Rated::Writes => RateScope::Writes,
                Rated::All => RateScope::All,
            },
            slots: match self.inflight_scope {
                Slotted::None => SlotScope::None,
                Slotted::GiftCodes => SlotScope::GiftCodes,
                Slotted::Writes => SlotScope::Writes,
            },
            shadow: self.shadow.is_on(),
            told: http::Told {
                x: matches!(told, Told::Both | Told::X),
                draft: matches!(told, Told::Both | Told::Draft11),
            },
            trusted_proxies,
            proxy_protocol: self.proxy_protocol.is_on(),
        })
    }
}

/// A network, or an address that is one by itself.
fn network(text: &str) -> Result<IpNet, BadConfig> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| {
        let problem = format!("{text:?} is no network such as 10.0.0.0/8 or fd00::/8");
        bad("TRUSTED_PROXIES", problem)
    })
}
