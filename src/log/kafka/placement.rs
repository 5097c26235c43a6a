//! Where a command stands, and which ids new todos get so that many of them travel together.
//!
//! A todo lives in the partition that its id hashes to. The client sends each partition's records in
//! a request of their own, and a request costs it and the broker more than the records in it; so
//! what comes together should go to one partition. Kafka's own partitioner does that with records
//! without a key, which stick to one partition for a while (KIP-480). Here it is the id that can be
//! chosen: of those that a new todo could have, it gets one that lives where new todos go for now.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use uuid::Uuid;

use crate::domain::{Command, Hash128, Timestamp};

/// Where all claims of gift codes stand: the stock is counted by one owner at a time.
const GIFT_CODES: u16 = 0;
/// Parts into which the partitions are divided, at most: new todos go to one part at a time. As many
/// ids are made until one fits, on average; each costs some 80 ns.
const PARTS_MAX: u16 = 8;
/// How long a part's turn is, at most: what others do meanwhile is nothing.
const TURN_MAX: Duration = Duration::from_millis(20);
/// Ids that are made for one todo, at most: the last one is taken, wherever it lives.
const IDS_MAX: usize = 64;

#[derive(Clone)]
pub struct Placement {
    partitions: u16,
    /// For how long new todos go to the same partitions; zero where nothing travels together.
    turn: Duration,
    /// Differs from server to server, so that they do not all have the same turn.
    turns: RandomState,
}

impl Placement {
    /// `linger` is how long the first record of a request waits for others: a turn is as long.
    pub fn new(partitions: u16, linger: Duration) -> Self {
        Self {
            partitions: partitions.max(1),
            turn: linger.min(TURN_MAX),
            turns: RandomState::new(),
        }
    }

    /// Where a command stands.
    pub fn of(&self, command: &Command) -> u16 {
        let id = command.todo_id();
        id.map_or(GIFT_CODES, |id| self.of_todo(id))
    }

    /// By the hash of the id, modulo the number of partitions.
    ///
    /// Invariant: the same for every server and every version, or a todo's commands lose their order.
    fn of_todo(&self, id: Uuid) -> u16 {
        let Hash128(hash) = Hash128::of(id.as_bytes());
        let partition = hash % u128::from(self.partitions);
        u16::try_from(partition).expect("a remainder of a u16 is one")
    }

    /// One of the ids that `mint` gives, for a todo that is created at `at`.
    pub fn new_id(&self, at: Timestamp, mut mint: impl FnMut() -> Uuid) -> Uuid {
        let mut id = mint();
        let Some(turn) = self.turn_at(at) else {
            return id;
        };
        let parts = self.partitions.min(PARTS_MAX);
        for _ in 1..IDS_MAX {
            if self.of_todo(id) % parts == turn % parts {
                break;
            }
            id = mint();
        }
        id
    }

    /// The partition whose turn it is, and with it that of its part: each has as many, whether or not
    /// the parts are of one size.
    fn turn_at(&self, at: Timestamp) -> Option<u16> {
        let turn = i64::try_from(self.turn.as_micros()).ok()?;
        let turn = at.as_micros().checked_div(turn)?;
        let partition = self.turns.hash_one(turn) % u64::from(self.partitions);
        u16::try_from(partition).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Action;
    use crate::log::contract::delete;

    const TURN: Duration = Duration::from_millis(5);

    fn counted(partitions: u16, todos: impl Iterator<Item = Uuid>) -> Vec<u32> {
        let placement = Placement::new(partitions, Duration::ZERO);
        let mut counts = vec![0; usize::from(partitions)];
        for id in todos {
            counts[usize::from(placement.of_todo(id))] += 1;
        }
        counts
    }

    #[test]
    fn a_todo_stays_where_it_always_was() {
        let placement = Placement::new(16, TURN);
        let places: Vec<u16> = (0..8).map(|id| placement.of(&delete(id))).collect();
        assert_eq!(places, [13, 6, 3, 4, 12, 5, 6, 6]);
    }

    #[test]
    fn todos_spread_over_all_partitions() {
        let todos = counted(16, (0..16_000).map(Uuid::from_u128));
        assert!(todos.iter().all(|todos| (850..1_150).contains(todos)));
    }

    #[test]
    fn gift_codes_have_one_partition() {
        let placement = Placement::new(16, TURN);
        for user in ["alice", "bob"] {
            let claim = Command {
                user: user.into(),
                at: Timestamp::default(),
                key: None,
                action: Action::ClaimGiftCode { code: user.into() },
            };
            assert_eq!(placement.of(&claim), GIFT_CODES);
        }
    }

    /// Ids that new todos get in so many turns, twenty in each.
    fn new_ids(partitions: u16, linger: Duration, turns: i64) -> Vec<Uuid> {
        let placement = Placement::new(partitions, linger);
        let mut next = (0..).map(Uuid::from_u128);
        let mut new_ids = Vec::new();
        for nth in 0..turns * 20 {
            let at = Timestamp::from_micros(nth * 250);
            new_ids.push(placement.new_id(at, || next.next().expect("there are more")));
        }
        new_ids
    }

    #[test]
    fn new_todos_of_a_turn_go_together() {
        for (partitions, at_most) in [(1, 1), (3, 1), (8, 1), (16, 2), (100, 13)] {
            let todos = counted(partitions, new_ids(partitions, TURN, 1).into_iter());
            let taken = todos.iter().filter(|todos| **todos > 0).count();
            assert!(taken <= at_most, "{taken} of {partitions}");
        }
    }

    #[test]
    fn in_the_end_each_partition_has_as_many() {
        for partitions in [3, 8, 12, 16] {
            let new_ids = new_ids(partitions, TURN, 16_000);
            let fair = 320_000 / u32::from(partitions);
            let todos = counted(partitions, new_ids.into_iter());
            let near = fair * 8 / 10..fair * 12 / 10;
            assert!(todos.iter().all(|todos| near.contains(todos)), "{todos:?}");
        }
    }

    #[test]
    fn where_nothing_lingers_any_id_will_do() {
        let new_ids = new_ids(16, Duration::ZERO, 1);
        assert!(new_ids.into_iter().eq((0..20).map(Uuid::from_u128)));
    }

    #[test]
    fn turns_are_short_and_differ_from_server_to_server() {
        let turns = || {
            let placement = Placement::new(16, Duration::from_secs(1));
            let at = |nth: i64| Timestamp::from_micros(nth * 20_000);
            (0..100)
                .map(|nth| placement.turn_at(at(nth)))
                .collect::<Vec<_>>()
        };
        let (one, other) = (turns(), turns());
        assert_ne!(one, other);
        let all_the_same = |turns: &[Option<u16>]| turns.iter().all(|turn| *turn == turns[0]);
        assert!(!all_the_same(&one) && !all_the_same(&other));
    }

    #[test]
    fn no_id_is_looked_for_without_end() {
        let placement = Placement::new(16, TURN);
        let mut made = 0;
        // All live in one partition, whose turn it is now and then only.
        for nth in 0..100 {
            let at = Timestamp::from_micros(nth * 5_000);
            placement.new_id(at, || {
                made += 1;
                Uuid::nil()
            });
        }
        assert!((101..=100 * IDS_MAX).contains(&made), "{made}");
    }
}
