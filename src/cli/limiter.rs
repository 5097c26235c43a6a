//! `millpond limiter-check`: whether the Redis at `REDIS_URL` can hold the limits.

use super::Failed;
use crate::config::BadConfig;
use crate::limit::{Backing, Check};
use crate::runtime;

pub fn check(limits: &Backing, bench: bool) -> Result<(), Failed> {
    let Some(url) = &limits.redis_url else {
        return Err(BadConfig {
            variable: "REDIS_URL",
            problem: "names the Redis to check; without one each server counts for itself".into(),
        }
        .into());
    };
    let mut check = Check::new(url, limits.limits.timeout, |found| println!("{found}"))?;
    let runtime =
        runtime::single_threaded_local().map_err(|error| Failed::Io("cannot start", error))?;
    runtime.block_on(async {
        check.run().await?;
        if bench {
            check.bench().await?;
        }
        Ok(())
    })
}
