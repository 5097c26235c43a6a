//! Dead letters sent again: as commands behind all others of their partition, with one effect however
//! often that is tried.
//!
//! A letter goes once it is known what became of its command. Who dies before leaves it, and the
//! command that is sent for it a second time has the key of the first.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use uuid::Uuid;

use super::applied::{NotApplied, until_applied};
use super::dead_letters::each;
use super::fleet::{self, open_log, open_reader};
use super::reach::{Missing, until_reachable};
use super::{App, DataDir, OpenError, Options, database_file};
use crate::domain::{Command, DecodeError, Outcome, Position};
use crate::fault::{Point, reach};
use crate::log::{self, AppendError, Appender};
use crate::runtime;
use crate::store::{self, Buried, DeadLetters, Known, Reader, StoreError, postgres, sqlite};

/// Letters sent before it is looked what has become of them.
const PAGE: usize = 500;

/// What became of a letter.
#[derive(Debug)]
pub enum Redriven {
    /// It was sent again, and this became of it at its new position.
    Ended(Position, Outcome),
    /// It was sent again and is durable, and it is not known what became of it.
    Unknown(Position),
    /// There is no such letter.
    Missing,
    /// It still is no command.
    Unreadable(DecodeError),
    /// The log did not take it, or nobody can say whether.
    NotSent(AppendError),
    /// One before it about the same todo was not sent, and it must not get past that.
    Behind,
}

/// Why redriving ended before its time. What was sent is durable, and what was not is still a
/// letter.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
}

/// Where the letters are, and the log that they go to.
pub struct Redriver {
    runtime: Runtime,
    letters: DeadLetters,
    reader: Reader,
    log: Appender,
    /// Alone, who applies what is sent.
    app: Option<App>,
}

impl Redriver {
    /// Sends through Kafka. No server need run; a worker must.
    ///
    /// # Errors
    /// What will not get better by waiting: a topic, too, that is not the database's log.
    pub fn of_fleet(options: &fleet::Options) -> Result<Self, OpenError> {
        let runtime = runtime::single_threaded()?;
        let (letters, reader) = runtime.block_on(async {
            let address = &options.postgres.address;
            let open = || async {
                let letters = postgres::DeadLetters::open_to_remove(address).await?;
                let stored = letters.stored().await;
                let stored =
                    stored.map_err(|error| Missing::Yet("DATABASE_URL", error.to_string()))?;
                log::kafka::exists(&options.log).await?;
                log::kafka::verify(&options.log, stored).await?;
                Ok(letters)
            };
            let letters = until_reachable(open).await?;
            Ok::<_, OpenError>((letters, open_reader(options).await?))
        })?;
        Ok(Self {
            runtime,
            letters: DeadLetters::Postgres(letters),
            reader,
            log: open_log(options)?,
            app: None,
        })
    }

    /// Opens the database as a server would, to apply what is sent.
    ///
    /// # Errors
    /// There is no database in `data_dir`, or it cannot be opened or read.
    pub fn alone(data_dir: &Path, options: Options) -> Result<Self, OpenError> {
        // First, since the rest would make one where there is none.
        let letters = sqlite::DeadLetters::open(&database_file(data_dir))?;
        let runtime = runtime::single_threaded()?;
        let app = super::open(DataDir::open(data_dir)?, options)?;
        runtime.block_on(app.loaded());
        if app.stage.ready().is_err() {
            let fault = runtime.block_on(app.stage.fault());
            drop(letters);
            app.close(Duration::ZERO)?;
            return Err(store::OpenError::Failed(fault).into());
        }
        Ok(Self {
            runtime,
            letters: DeadLetters::Sqlite(letters),
            reader: app.reader.clone(),
            log: app.log.clone(),
            app: Some(app),
        })
    }

    /// The positions of all letters there are now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn all(&self) -> Result<Vec<Position>, StoreError> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            let note = |letter: &Buried| {
                all.push(letter.position);
                true
            };
            each(&self.letters, note).await?;
            Ok(all)
        })
    }

    /// Sends the letters at `positions` again, in this order, and tells what becomes of each.
    ///
    /// # Errors
    /// [`RedriveError`]
    pub fn redrive(
        &self,
        positions: &[Position],
        mut tell: impl FnMut(Position, Redriven),
    ) -> Result<(), RedriveError> {
        self.runtime.block_on(async {
            let mut left = HashSet::new();
            for page in positions.chunks(PAGE) {
                let commands = self.commands(page, &mut tell).await?;
                let sent = self.send(commands, &mut left, &mut tell).await;
                reach(Point::Resent);
                let waited = until_applied(&self.reader, &last(&sent)).await;
                let ended = self.tell(&sent, &mut tell).await;
                self.letters.remove(&ended).await?;
                waited?;
            }
            Ok(())
        })
    }

    /// The letters that are commands.
    async fn commands(
        &self,
        positions: &[Position],
        tell: &mut impl FnMut(Position, Redriven),
    ) -> Result<Vec<(Position, Command)>, StoreError> {
        let mut commands = Vec::with_capacity(positions.len());
        for &position in positions {
            let letter = self.letters.one(position).await?;
            match letter.map(|letter| letter.command()) {
                Some(Ok(command)) => commands.push((position, command)),
                Some(Err(why)) => tell(position, Redriven::Unreadable(why)),
                None => tell(position, Redriven::Missing),
            }
        }
        Ok(commands)
    }

    /// Sends one after the other, so that letters about a todo keep their order; `left` are todos of
    /// which one was not sent. Returns letters, and where they stand now.
    async fn send(
        &self,
        commands: Vec<(Position, Command)>,
        left: &mut HashSet<Uuid>,
        tell: &mut impl FnMut(Position, Redriven),
    ) -> Vec<(Position, Position)> {
        let mut sent = Vec::with_capacity(commands.len());
        for (letter, command) in commands {
            let todo = command.todo_id();
            if todo.is_some_and(|id| left.contains(&id)) {
                tell(letter, Redriven::Behind);
                continue;
            }
            match self.log.append(command).await {
                Ok(position) => sent.push((letter, position)),
                Err(why) => {
                    left.extend(todo);
                    tell(letter, Redriven::NotSent(why));
                }
            }
        }
        sent
    }

    /// Tells what is known of each; returns the letters of which that is how they ended.
    async fn tell(
        &self,
        sent: &[(Position, Position)],
        tell: &mut impl FnMut(Position, Redriven),
    ) -> Vec<Position> {
        let mut ended = Vec::with_capacity(sent.len());
        for &(letter, position) in sent {
            let outcome = match self.reader.find(position).await {
                Ok(Known::Applied) => Some(Outcome::Applied),
                Ok(Known::Exceptional(recorded)) => Some(recorded.outcome),
                Ok(Known::Ahead | Known::Forgotten) | Err(_) => None,
            };
            if let Some(outcome) = outcome {
                tell(letter, Redriven::Ended(position, outcome));
                ended.push(letter);
            } else {
                tell(letter, Redriven::Unknown(position));
            }
        }
        ended
    }

    /// # Errors
    /// Alone: why the todos could not be loaded.
    pub fn close(self) -> Result<(), OpenError> {
        let Self {
            letters,
            reader,
            log,
            app,
            ..
        } = self;
        // The last to close the database is the writer, which tidies it up.
        drop((letters, reader));
        log.close();
        app.map_or(Ok(()), |app| app.close(Duration::ZERO))
    }
}

/// Of each partition the last position.
fn last(sent: &[(Position, Position)]) -> Vec<Position> {
    let mut last: BTreeMap<u16, Position> = BTreeMap::new();
    for (_, position) in sent {
        let of_partition = last.entry(position.partition).or_insert(*position);
        *of_partition = (*of_partition).max(*position);
    }
    last.into_values().collect()
}
