//! `migrate`.

use std::time::Duration;

use super::Failed;
use crate::app::{self, DataDir, fleet};
use crate::config::Config;
use crate::runtime;

/// Alone, opening the store migrates it.
pub fn migrate(config: &Config) -> Result<(), Failed> {
    if let Some(database) = &config.fleet.database {
        let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
        let (from, to) = fleet::migrate(&database.url)?;
        if from == to {
            println!("the schema is up to date, at version {to}");
        } else {
            println!("the schema is at version {to} now; it was at {from}");
        }
        return Ok(());
    }
    let data_dir = DataDir::open(&config.data_dir)?;
    let options = super::alone(config, 0);
    app::open(data_dir, options)?.close(Duration::ZERO)?;
    println!("the schema in {} is up to date", config.data_dir.display());
    Ok(())
}
