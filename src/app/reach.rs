//! Waiting for what a fleet leans on: what may come is waited for, what will not is an error.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::OpenError;
use crate::kafka::SetupError;
use crate::links::Link;
use crate::log::kafka::Doubt;
use crate::snapshot::reload::LoadError;
use crate::store;

/// Waits between attempts to reach what is not there yet.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why something of a fleet is not there.
pub enum Missing {
    /// It may come; the variable says where it is expected.
    Yet(&'static str, String),
    ForGood(OpenError),
}

impl From<SetupError> for Missing {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Config { variable, problem } => {
                Self::ForGood(OpenError::Config { variable, problem })
            }
            SetupError::Unreachable(_) => Self::Yet("KAFKA_BROKERS", error.to_string()),
        }
    }
}

impl From<store::OpenError> for Missing {
    fn from(error: store::OpenError) -> Self {
        let variable = match error {
            store::OpenError::Unreachable(_) => {
                return Self::Yet("DATABASE_URL", error.to_string());
            }
            store::OpenError::Partitions { .. } => "KAFKA_PARTITIONS",
            _ => "DATABASE_URL",
        };
        Self::ForGood(OpenError::Config {
            variable,
            problem: error.to_string(),
        })
    }
}

impl From<Doubt> for Missing {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Strange(strange) => Self::ForGood(OpenError::Config {
                variable: "KAFKA_TODO_TOPIC",
                problem: strange.to_string(),
            }),
            Doubt::Unreachable(reason) => Self::Yet("KAFKA_BROKERS", reason),
        }
    }
}

impl From<LoadError> for Missing {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Yet("DATABASE_URL", error.to_string()),
            LoadError::Partitions { .. } => Self::ForGood(OpenError::Config {
                variable: "KAFKA_PARTITIONS",
                problem: error.to_string(),
            }),
        }
    }
}

/// The same over a link, which is told what comes of each attempt.
pub async fn until_linked<T, F>(link: &Link, mut attempt: impl FnMut() -> F) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, Missing>>,
{
    let noted = || {
        let trying = Box::pin(attempt());
        async {
            let tried = trying.await;
            match &tried {
                Ok(_) => link.answers(),
                Err(Missing::Yet(_, reason)) => link.fails(reason),
                Err(Missing::ForGood(_)) => {}
            }
            tried
        }
    };
    until_reachable(noted).await
}

/// Tries until it is there, with a line in the log for each attempt that failed: never in silence,
/// and never on something else instead.
pub async fn until_reachable<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, Missing>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match attempt().await {
            Ok(there) => return Ok(there),
            Err(Missing::ForGood(error)) => return Err(error),
            Err(Missing::Yet(variable, reason)) => {
                warn!(variable, reason, again_in = ?wait, "cannot start yet");
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
