//! What is asked for and what is told: JSON, so that raw data can be kept as it came.
//!
//! The conversation: a [`Job`] comes in as one line. `ready` goes out once everything is prepared,
//! and an empty line comes back when the work may begin, so that whoever asks can look at the
//! clocks of the processes involved. `done` and a [`Told`] go out when the last write is applied,
//! and then `audit` and an [`Audit`], where there is something to audit.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub const READY: &str = "ready";
pub const DONE: &str = "done ";
pub const AUDIT: &str = "audit ";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Connections are dealt out over them.
    pub servers: Vec<SocketAddr>,
    /// What bearer tokens are signed with (HS256).
    pub secret: String,
    pub seconds: f64,
    /// Makes names of users and titles differ from run to run, and draws repeat.
    pub seed: u64,
    pub work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// A closed loop: each connection sends its next write once the one before is answered.
    Writes {
        mix: Mix,
        users: u32,
        connections: u32,
        /// `Prefer: wait`: the answer is the outcome.
        wait: bool,
    },
    /// So many creates, as fast as a closed loop goes; nobody waits for their being applied.
    Backlog { rows: u32, connections: u32 },
    /// Every claim is a user's first.
    Gifts { in_flight: u32 },
    /// Requests that are due at a rate, whatever the server does.
    Open {
        what: What,
        per_second: f64,
        connections: u32,
    },
    /// One write at a time, and a read that its token makes wait, beside writes at a rate.
    Visible { per_second: f64 },
    /// People who think between two requests.
    Users { users: u32, think_ms: (u32, u32) },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    Creates,
    Updates,
    /// Creates, updates and deletions, 45, 45 and 10 in a hundred.
    Mixed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A path.
    Read(String),
    Create,
}

impl What {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Create => "create",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// From the first request to the last answer.
    pub seconds: f64,
    /// From the first request until the last write was applied; 0 where nothing was written.
    pub applied_seconds: f64,
    /// By kind of request, in the order of their names.
    pub kinds: Vec<Kind>,
    /// Connections lost and answers that never came.
    pub lost: u64,
    pub lost_because: Option<String>,
}

/// What came of one kind of request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kind {
    pub name: String,
    /// Answers of status 200 to 399.
    pub good: u64,
    /// 429.
    pub limited: u64,
    /// All others.
    pub failed: u64,
    /// The first of the others, for people.
    pub failed_with: Option<String>,
    /// Of the good ones.
    pub latency: Latency,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub mean: f64,
}

/// What became of the promises.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Writes that were answered with a receipt or an outcome.
    pub acknowledged: u64,
    pub applied: u64,
    pub rejected: u64,
    pub dead: u64,
    /// Receipts that nobody knows any more, or that are still queued.
    pub unknown: u64,
    pub codes: u64,
    /// Codes that two users have, and users that were given two.
    pub codes_twice: u64,
    pub users_twice: u64,
}

impl Audit {
    /// Everything acknowledged was applied and no code is another's.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.applied == self.acknowledged && self.codes_twice == 0 && self.users_twice == 0
    }
}
