//! The dead letters of a fleet, for operators.

use tokio::runtime::Runtime;

use super::OpenError;
use super::fleet::address;
use super::reach::{Missing, until_reachable};
use crate::domain::{DeadLetter, Position};
use crate::runtime;
use crate::store::StoreError;
use crate::store::postgres::{self, Buried};

/// Letters read at once.
const PAGE: u32 = 500;

pub struct DeadLetters {
    runtime: Runtime,
    letters: postgres::DeadLetters,
}

impl DeadLetters {
    /// # Errors
    /// What will not get better by waiting.
    pub fn open(database_url: &str) -> Result<Self, OpenError> {
        let address = address(database_url)?;
        let runtime = runtime::single_threaded()?;
        let open = || async {
            let opened = postgres::DeadLetters::open(&address).await;
            opened.map_err(Missing::from)
        };
        let letters = runtime.block_on(until_reachable(open))?;
        Ok(Self { runtime, letters })
    }

    /// Tells of every letter, in the order of their positions, until `tell` has enough.
    ///
    /// # Errors
    /// Those of the store.
    pub fn each(&self, mut tell: impl FnMut(&Buried) -> bool) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.runtime.block_on(self.letters.list(after, PAGE))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.position);
            if !page.iter().all(&mut tell) {
                return Ok(());
            }
        }
    }

    /// # Errors
    /// Those of the store.
    pub fn one(&self, position: Position) -> Result<Option<DeadLetter>, StoreError> {
        self.runtime.block_on(self.letters.one(position))
    }
}
