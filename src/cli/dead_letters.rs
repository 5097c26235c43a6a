//! `dead-letters` and `redrive`: what could not be applied, and another try.

use std::io::{self, Write};

use super::Failed;
use crate::app::dead_letters::DeadLetters;
use crate::app::fleet;
use crate::app::redrive::{RedriveError, Redriven, Redriver};
use crate::config::Config;
use crate::domain::{DeadLetter, Outcome, Position, Rejection};
use crate::{fault, runtime};

/// Columns that a user and a reason take in the list; `--position` shows them whole.
const USER_CHARS: usize = 18;
const REASON_CHARS: usize = 80;

pub fn dead_letters(config: &Config, position: Option<Position>) -> Result<(), Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    let letters = match &config.fleet.database {
        Some(database) => DeadLetters::of_fleet(&database.url)?,
        None => DeadLetters::alone(&config.data_dir)?,
    };
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
    if count == 0 {
        written = writeln!(out, "no dead letters");
    }
    printed(written)
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
    let (user, reason) = (user.escape_debug(), reason.escape_debug());
    let (bytes, payload) = (payload.len(), payload.escape_ascii());
    let whole = format!(
        "position  {position}\nuser      {user}\nreason    {reason}\nbytes     {bytes}\n{payload}\n"
    );
    printed(io::stdout().write_all(whole.as_bytes()))
}

/// A closed pipe is nobody's loss.
fn printed(written: io::Result<()>) -> Result<(), Failed> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed::Io("cannot print", error))
        }
        _ => Ok(()),
    }
}

/// On one line, with nothing that a terminal would act on, and no longer than `chars`.
fn shown(text: &str, chars: usize) -> String {
    let mut shown: String = text.escape_debug().take(chars).collect();
    if shown.is_empty() {
        shown.push('-');
    }
    shown
}

/// Sends letters again: those at `positions`, or all where there are none.
pub fn redrive(
    config: &Config,
    fleet: Option<&fleet::Options>,
    positions: Vec<Position>,
) -> Result<(), Failed> {
    let _logs = runtime::log_to_stderr(config.log_format, &config.log_filter);
    fault::arm();
    let redriver = match fleet {
        Some(fleet) => Redriver::of_fleet(fleet),
        None => Redriver::alone(&config.data_dir, super::alone(config, 0)),
    }?;
    let done = tell(&redriver, positions);
    redriver.close()?;
    done
}

/// A line for each letter. Fails where one is left, or is dead again.
fn tell(redriver: &Redriver, mut positions: Vec<Position>) -> Result<(), Failed> {
    if positions.is_empty() {
        positions = redriver.all().map_err(RedriveError::from)?;
        if positions.is_empty() {
            println!("no dead letters");
            return Ok(());
        }
    }
    let mut out = io::stdout().lock();
    let mut still_dead = 0_u64;
    // Who closes the pipe wants no more lines; the letters go on.
    let mut line = |position: &str, now: &str, outcome: &str| {
        drop(writeln!(out, "{position:<16}{now:<16}{outcome}"));
    };
    line("position", "now at", "outcome");
    let done = redriver.redrive(&positions, |letter, redriven| {
        let (now, outcome, is_well) = outcome(&redriven);
        still_dead += u64::from(!is_well);
        line(&letter.to_string(), &now, &outcome);
    });
    done?;
    match still_dead {
        0 => Ok(()),
        _ => Err(Failed::Other(format!(
            "of {} dead letters {still_dead} are left or dead again",
            positions.len()
        ))),
    }
}

/// Where the letter stands now, what became of it, and whether it is dead no more.
fn outcome(redriven: &Redriven) -> (String, String, bool) {
    let nowhere = || "-".to_owned();
    match redriven {
        Redriven::Ended(position, outcome) => {
            let (outcome, is_well) = ended(outcome);
            (position.to_string(), outcome, is_well)
        }
        Redriven::Unknown(position) => (
            position.to_string(),
            "left: durable, and not known yet what becomes of it".to_owned(),
            false,
        ),
        Redriven::Missing => (nowhere(), "there is no such dead letter".to_owned(), false),
        Redriven::Unreadable(why) => (
            nowhere(),
            format!("left: {}", shown(&why.to_string(), REASON_CHARS)),
            false,
        ),
        Redriven::Behind => (
            nowhere(),
            "left: one before it about the same todo is".to_owned(),
            false,
        ),
        Redriven::NotSent(why) => (nowhere(), format!("left: {why}; redrive it again"), false),
    }
}

/// In words, and whether it is dead no more.
fn ended(outcome: &Outcome) -> (String, bool) {
    match outcome {
        Outcome::Applied => ("applied".to_owned(), true),
        Outcome::GiftCode(_) => ("applied: a gift code".to_owned(), true),
        Outcome::Rejected(why) => (format!("rejected: {}", rejection(*why)), true),
        Outcome::Dead(why) => (format!("dead again: {}", shown(why, REASON_CHARS)), false),
    }
}

fn rejection(why: Rejection) -> &'static str {
    match why {
        Rejection::NotFound => "its user has no such todo",
        Rejection::PreconditionFailed => "If-Match names another version",
        Rejection::KeyReused => "its idempotency key came with another payload",
        Rejection::IdTaken => "the todo is there already",
        Rejection::SoldOut => "no gift code is left",
    }
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
