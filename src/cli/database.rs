//! What is done to a database: `migrate`, `dead-letters`.

use std::io::{self, Write};
use std::time::Duration;

use super::Failed;
use crate::app::dead_letters::DeadLetters;
use crate::app::{self, DataDir, fleet};
use crate::config::{BadConfig, Config};
use crate::domain::{DeadLetter, Position};

/// Columns that a user and a reason take in the list; `--position` shows them whole.
const USER_CHARS: usize = 18;
const REASON_CHARS: usize = 80;

/// Alone, opening the store migrates it.
pub fn migrate(config: Config) -> Result<(), Failed> {
    if let Some(database) = &config.fleet.database {
        let (from, to) = fleet::migrate(&database.url)?;
        if from == to {
            println!("the schema is up to date, at version {to}");
        } else {
            println!("the schema is at version {to} now; it was at {from}");
        }
        return Ok(());
    }
    let data_dir = DataDir::open(&config.data_dir)?;
    let options = app::Options {
        store: config.store,
        log: config.log,
        serving_threads: 0,
    };
    app::open(data_dir, options)?.close(Duration::ZERO)?;
    println!("the schema in {} is up to date", config.data_dir.display());
    Ok(())
}

pub fn dead_letters(config: &Config, position: Option<Position>) -> Result<(), Failed> {
    let Some(database) = &config.fleet.database else {
        return Err(BadConfig {
            variable: "DATABASE_URL",
            problem: "is missing: the dead letters of a fleet are in PostgreSQL; those of a \
                      process alone are in the table dead_letters of DATA_DIR/millpond.db"
                .to_owned(),
        }
        .into());
    };
    let letters = DeadLetters::open(&database.url)?;
    match position {
        Some(position) => one(&letters, position),
        None => list(&letters),
    }
}

/// A table, or a line that says that there is none. A closed pipe ends it.
fn list(letters: &DeadLetters) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    let mut count = 0_u64;
    let mut written = Ok(());
    let told = letters.each(|letter| {
        if count == 0 {
            written = writeln!(
                out,
                "{:<16}{:<29}{:<20}reason",
                "position", "in the log since", "user"
            );
        }
        count += 1;
        let line = |out: &mut dyn Write| {
            let (position, at) = (letter.position.to_string(), letter.appended_at.to_string());
            let (user, reason) = (
                shown(&letter.user, USER_CHARS),
                shown(&letter.reason, REASON_CHARS),
            );
            writeln!(out, "{position:<16}{at:<29}{user:<20}{reason}")
        };
        written = std::mem::replace(&mut written, Ok(())).and_then(|()| line(&mut out));
        written.is_ok()
    });
    told.map_err(|error| Failed::Other(error.to_string()))?;
    match (written, count) {
        (Err(error), _) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        (Err(error), _) => Err(Failed::Io("cannot print", error)),
        (Ok(()), 0) => {
            println!("no dead letters");
            Ok(())
        }
        (Ok(()), _) => Ok(()),
    }
}

fn one(letters: &DeadLetters, position: Position) -> Result<(), Failed> {
    let found = letters.one(position);
    let found = found.map_err(|error| Failed::Other(error.to_string()))?;
    let Some(DeadLetter {
        position,
        user,
        reason,
        payload,
    }) = found
    else {
        return Err(Failed::Other(format!(
            "there is no dead letter at {position}"
        )));
    };
    println!("position  {position}");
    println!("user      {}", user.escape_debug());
    println!("reason    {}", reason.escape_debug());
    println!("bytes     {}", payload.len());
    println!("{}", payload.escape_ascii());
    Ok(())
}

/// On one line, with nothing that a terminal would act on, and no longer than `chars`.
fn shown(text: &str, chars: usize) -> String {
    let mut shown: String = text.escape_debug().take(chars).collect();
    if shown.is_empty() {
        shown.push('-');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_does_not_reach_the_terminal_as_it_is() {
        assert_eq!(shown("a\x1b[31m\n", 20), "a\\u{1b}[31m\\n");
        assert_eq!(shown("", 20), "-");
        assert_eq!(shown("abcdef", 3), "abc");
    }
}
