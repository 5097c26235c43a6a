//! `seed`: alone into the directory or through the server that has it, in a fleet through Kafka.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failed;
use crate::app::fleet;
use crate::app::seed::{self as fleet_seed, SeedError};
use crate::app::{self, DataDir, OpenError};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::seed::Seeded;
use crate::{control, runtime};

pub fn seed(config: &Config, fleet: Option<&fleet::Options>, todos: u64) -> Result<(), Failed> {
    let bar = ProgressBar::new(todos);
    let style = "{bar:40} {human_pos}/{human_len} todos, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    let watch = Stopwatch::start();
    let seeded = match fleet {
        Some(fleet) => through_log(config, fleet, todos, &bar),
        None => alone(config, todos, &bar),
    }?;
    bar.finish_and_clear();
    let Seeded { created, kept } = seeded;
    println!(
        "{created} todos created, {kept} were there already, in {:.1?}",
        watch.elapsed()
    );
    Ok(())
}

fn alone(config: &Config, todos: u64, bar: &ProgressBar) -> Result<Seeded, Failed> {
    match DataDir::open(&config.data_dir) {
        Ok(data_dir) => into_directory(config, data_dir, todos, bar),
        Err(OpenError::Taken(_)) => through_server(&config.data_dir, todos, bar),
        Err(error) => Err(error.into()),
    }
}

fn into_directory(
    config: &Config,
    data_dir: DataDir,
    todos: u64,
    bar: &ProgressBar,
) -> Result<Seeded, Failed> {
    let options = super::alone(config, 0);
    let runtime = runtime::single_threaded().map_err(|error| Failed::Io("cannot start", error))?;
    let app = app::open(data_dir, options)?;
    let seeded = runtime.block_on(async {
        app.loaded().await;
        app.seeder()
            .seed(todos, |done| bar.set_position(done))
            .await
    });
    // What it has written is applied; nothing else is waited for.
    app.close(Duration::ZERO)?;
    seeded.map_err(|refused| Failed::Other(refused.to_string()))
}

fn through_server(data_dir: &Path, todos: u64, bar: &ProgressBar) -> Result<Seeded, Failed> {
    let path = app::control_socket(data_dir);
    runtime::single_threaded()
        .and_then(|runtime| {
            runtime.block_on(control::seed(&path, todos, |done| bar.set_position(done)))
        })
        .map_err(|error| Failed::Io("the server on DATA_DIR does not seed", error))
}

/// What is waited for is said: Kafka, PostgreSQL, a worker.
fn through_log(
    config: &Config,
    fleet: &fleet::Options,
    todos: u64,
    bar: &ProgressBar,
) -> Result<Seeded, Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    let seeded = fleet_seed::seed(fleet, todos, |done| bar.set_position(done));
    seeded.map_err(|error| match error {
        SeedError::Open(open) => open.into(),
        other => Failed::Other(other.to_string()),
    })
}
