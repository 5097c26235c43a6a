//! The dead letters of a fleet or of a process alone, for operators.

use std::path::Path;

use tokio::runtime::Runtime;

use super::fleet::address;
use super::reach::{Missing, until_reachable};
use super::{OpenError, database_file};
use crate::domain::{DeadLetter, Position};
use crate::runtime;
use crate::store::{self, Buried, StoreError, postgres, sqlite};

/// Letters read at once.
const PAGE: u32 = 500;

pub struct DeadLetters {
    runtime: Runtime,
    letters: store::DeadLetters,
}

impl DeadLetters {
    /// Those of a fleet.
    ///
    /// # Errors
    /// What will not get better by waiting.
    pub fn of_fleet(database_url: &str) -> Result<Self, OpenError> {
        let address = address(database_url)?;
        let runtime = runtime::single_threaded()?;
        let open = || async {
            let opened = postgres::DeadLetters::open(&address).await;
            opened.map_err(Missing::from)
        };
        let letters = runtime.block_on(until_reachable(open))?;
        Ok(Self {
            runtime,
            letters: store::DeadLetters::Postgres(letters),
        })
    }

    /// Those of a process alone, which may run meanwhile.
    ///
    /// # Errors
    /// There is no database in `data_dir`, or none of this version.
    pub fn alone(data_dir: &Path) -> Result<Self, OpenError> {
        let letters = sqlite::DeadLetters::open(&database_file(data_dir))?;
        Ok(Self {
            runtime: runtime::single_threaded()?,
            letters: store::DeadLetters::Sqlite(letters),
        })
    }

    /// Tells of every letter, in the order of their positions, until `tell` has enough.
    ///
    /// # Errors
    /// Those of the store.
    pub fn each(&self, tell: impl FnMut(&Buried) -> bool) -> Result<(), StoreError> {
        self.runtime.block_on(each(&self.letters, tell))
    }

    /// # Errors
    /// Those of the store.
    pub fn one(&self, position: Position) -> Result<Option<DeadLetter>, StoreError> {
        self.runtime.block_on(self.letters.one(position))
    }
}

pub(super) async fn each(
    letters: &store::DeadLetters,
    mut tell: impl FnMut(&Buried) -> bool,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = letters.list(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.position);
        if !page.iter().all(&mut tell) {
            return Ok(());
        }
    }
}
