//! What one transaction did to one partition, as servers need it: the record of the feed.
//!
//! A todo travels as the bytes that clients read, with their hash. So it is serialised once, by
//! the worker, and a server copies it into a page without looking inside.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Change, Hash128, Range, Recorded, Timestamp, Todo};

/// The version of a feed record's encoding that this program writes and the only one it reads.
const VERSION: u8 = 2;
/// Bytes of a record, at most: a broker's requests hold 100 MiB unless told otherwise.
pub const APPLIED_BYTES_MAX: usize = 96 << 20;
/// Bytes of a todo's JSON beside its title and description, about.
const JSON_OVERHEAD_BYTES: usize = 256;

/// Why bytes of a feed are no record of it: another program wrote them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of the feed: {0}")]
pub struct NotApplied(String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub range: Range,
    pub changes: Vec<Changed>,
    /// Exceptional outcomes. All other positions of the range are plainly applied.
    pub outcomes: Vec<Recorded>,
}

/// What became of one todo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub id: Uuid,
    /// `created_at` of the version that was there before; `None` where there was none.
    pub was: Option<Timestamp>,
    /// The version that is there now; `None` where it was deleted.
    pub now: Option<Serialised>,
}

/// A todo as clients read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serialised {
    pub created_at: Timestamp,
    pub json: Bytes,
    /// Hash of the JSON: the todo's entity tag.
    pub tag: Hash128,
}

impl Serialised {
    #[must_use]
    pub fn of(todo: &Todo) -> Self {
        let mut json = Vec::with_capacity(json_bytes(todo));
        todo.write_json(&mut json);
        Self::new(todo, json.into())
    }

    fn new(todo: &Todo, json: Bytes) -> Self {
        Self {
            created_at: todo.created_at,
            tag: Hash128::of(&json),
            json,
        }
    }
}

fn json_bytes(todo: &Todo) -> usize {
    JSON_OVERHEAD_BYTES + todo.title.len() + todo.description.len()
}

impl Applied {
    /// Splits what a transaction wrote by partition.
    #[must_use]
    pub fn split(ranges: &[Range], todos: &[Change], outcomes: &[Recorded]) -> Vec<Self> {
        let empty = |range: &Range| Self {
            range: *range,
            changes: vec![],
            outcomes: vec![],
        };
        let mut parts: Vec<Self> = ranges.iter().map(empty).collect();
        for (change, now) in todos.iter().zip(serialise(todos)) {
            if let Some(part) = Self::of(&mut parts, change.partition) {
                let (id, was) = (change.id, change.was);
                part.changes.push(Changed { id, was, now });
            }
        }
        for outcome in outcomes {
            if let Some(part) = Self::of(&mut parts, outcome.position.partition) {
                part.outcomes.push(outcome.clone());
            }
        }
        parts
    }

    fn of(parts: &mut [Self], partition: u16) -> Option<&mut Self> {
        parts
            .iter_mut()
            .find(|part| part.range.partition == partition)
    }

    /// The bytes that go into an outbox and a feed: the version, and behind it postcard's wire
    /// format.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = self.changes.iter().filter_map(|one| one.now.as_ref());
        let json: usize = json.map(|now| now.json.len()).sum();
        let mut record = Vec::with_capacity(json + 64 * (1 + self.changes.len()));
        record.push(VERSION);
        postcard::to_extend(&Wire::of(self), record).expect("what was applied serialises")
    }

    /// Reads the bytes of a feed record. The JSON in it is shared, not copied.
    ///
    /// # Errors
    /// [`NotApplied`] where this program cannot have written the bytes.
    pub fn decode(record: &Bytes) -> Result<Self, NotApplied> {
        let wire = match record.first() {
            Some(&VERSION) => &record[1..],
            Some(other) => {
                let text = format!("it begins with {other}, and not with version {VERSION}");
                return Err(NotApplied(text));
            }
            None => return Err(NotApplied("it is empty".to_owned())),
        };
        match postcard::take_from_bytes::<Wire<'_>>(wire) {
            Ok((wire, [])) => Ok(wire.read(record)),
            Ok(_) => Err(NotApplied("it goes on behind its end".to_owned())),
            Err(error) => Err(NotApplied(error.to_string())),
        }
    }
}

/// The todos that there are now, in the order of `changes`. One piece of memory holds them all.
fn serialise(changes: &[Change]) -> impl Iterator<Item = Option<Serialised>> {
    let todos = || changes.iter().map(|change| change.now.as_ref());
    let mut text = Vec::with_capacity(todos().flatten().map(json_bytes).sum());
    let mut ends = Vec::with_capacity(changes.len());
    for todo in todos() {
        if let Some(todo) = todo {
            todo.write_json(&mut text);
        }
        ends.push(text.len());
    }
    let text = Bytes::from(text);
    let mut start = 0;
    todos().zip(ends).map(move |(todo, end)| {
        let json = text.slice(start..end);
        start = end;
        todo.map(|todo| Serialised::new(todo, json))
    })
}

/// What is written: times in microseconds since the Unix epoch, JSON as text.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    range: Range,
    #[serde(borrow)]
    changes: Vec<WireChanged<'a>>,
    outcomes: Cow<'a, [Recorded]>,
}

#[derive(Serialize, Deserialize)]
struct WireChanged<'a> {
    id: [u8; 16],
    was: Option<i64>,
    #[serde(borrow)]
    now: Option<WireTodo<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireTodo<'a> {
    created_at: i64,
    tag: [u8; 16],
    json: &'a str,
}

impl<'a> Wire<'a> {
    fn of(applied: &'a Applied) -> Self {
        let todo = |now: &'a Serialised| WireTodo {
            created_at: now.created_at.as_micros(),
            tag: now.tag.to_bytes(),
            json: str::from_utf8(&now.json).expect("JSON is text"),
        };
        let changed = |one: &'a Changed| WireChanged {
            id: one.id.into_bytes(),
            was: one.was.map(Timestamp::as_micros),
            now: one.now.as_ref().map(todo),
        };
        Self {
            range: applied.range,
            changes: applied.changes.iter().map(changed).collect(),
            outcomes: Cow::Borrowed(&applied.outcomes),
        }
    }

    fn read(self, record: &Bytes) -> Applied {
        let todo = |now: WireTodo<'_>| Serialised {
            created_at: Timestamp::from_micros(now.created_at),
            json: record.slice_ref(now.json.as_bytes()),
            tag: Hash128::from_bytes(now.tag),
        };
        let changed = |one: WireChanged<'_>| Changed {
            id: Uuid::from_bytes(one.id),
            was: one.was.map(Timestamp::from_micros),
            now: one.now.map(todo),
        };
        Applied {
            range: self.range,
            changes: self.changes.into_iter().map(changed).collect(),
            outcomes: self.outcomes.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, Position, Rejection};
    use proptest::prelude::*;

    fn todo(id: Uuid, text: &str) -> Todo {
        Todo {
            id,
            title: text.to_owned(),
            description: text.to_owned(),
            completed: false,
            user_id: text.to_owned(),
            created_at: Timestamp::from_micros(7),
            updated_at: Timestamp::from_micros(8),
        }
    }

    /// Two partitions with changes and outcomes in turn.
    fn applied(texts: &[(String, bool)]) -> Vec<Applied> {
        let partition = |nth: usize| u16::from(nth % 2 == 1);
        let ranges = [0, 1].map(|partition| Range {
            partition,
            from: u64::MAX / 2,
            to: u64::MAX,
        });
        let numbered = || texts.iter().enumerate();
        let changes: Vec<Change> = numbered()
            .map(|(nth, (text, gone))| {
                let id = Uuid::from_u128(nth as u128);
                Change {
                    id,
                    partition: partition(nth),
                    was: gone.then_some(Timestamp::from_micros(-5)),
                    now: (!gone).then(|| todo(id, text)),
                }
            })
            .collect();
        let outcomes = numbered().map(|(nth, (text, gone))| Recorded {
            position: Position {
                partition: partition(nth),
                offset: nth as u64,
            },
            user: text.clone(),
            outcome: match gone {
                true => Outcome::Dead(text.clone()),
                false => Outcome::Rejected(Rejection::SoldOut),
            },
        });
        Applied::split(&ranges, &changes, &outcomes.collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn bytes_and_back_is_the_same(texts in proptest::collection::vec((".{1,20}", any::<bool>()), 0..9)) {
            for one in applied(&texts) {
                prop_assert_eq!(Applied::decode(&one.encode().into()), Ok(one));
            }
        }

        #[test]
        fn what_is_cut_or_goes_on_is_refused(texts in proptest::collection::vec((".{1,20}", any::<bool>()), 0..9), cut in any::<prop::sample::Index>()) {
            let mut record = applied(&texts).remove(0).encode();
            let cut = Bytes::copy_from_slice(&record[..cut.index(record.len())]);
            prop_assert!(Applied::decode(&cut).is_err());
            record.push(0);
            prop_assert!(Applied::decode(&record.into()).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut record in proptest::collection::vec(any::<u8>(), 0..99)) {
            drop(Applied::decode(&Bytes::copy_from_slice(&record)));
            record.insert(0, VERSION);
            drop(Applied::decode(&record.into()));
        }
    }

    #[test]
    fn a_todo_goes_to_its_partition_as_clients_read_it() {
        let texts = ["a", "b", "\"", "d"].map(|text| (text.to_owned(), text == "b"));
        let parts = applied(&texts);
        let found: Vec<_> = parts.iter().map(|part| part.changes.clone()).collect();
        let of = |nth: usize, text: &str| {
            let id = Uuid::from_u128(nth as u128);
            let now = Some(Serialised::of(&todo(id, text)));
            Changed { id, was: None, now }
        };
        let gone = Changed {
            id: Uuid::from_u128(1),
            was: Some(Timestamp::from_micros(-5)),
            now: None,
        };
        assert_eq!(
            found,
            [vec![of(0, "a"), of(2, "\"")], vec![gone, of(3, "d")]]
        );
        let json = &found[0][1].now.as_ref().unwrap().json;
        let read: serde_json::Value = serde_json::from_slice(json).unwrap();
        assert_eq!(
            (&read["id"], &read["title"]),
            (&of(2, "").id.to_string().into(), &"\"".into())
        );
    }

    /// One of each thing that a record can hold.
    fn of_everything() -> Applied {
        use Rejection::{IdTaken, KeyReused, NotFound, PreconditionFailed, SoldOut};
        let outcomes = [
            Outcome::Applied,
            Outcome::GiftCode("G".to_owned()),
            Outcome::Rejected(NotFound),
            Outcome::Rejected(PreconditionFailed),
            Outcome::Rejected(KeyReused),
            Outcome::Rejected(IdTaken),
            Outcome::Rejected(SoldOut),
            Outcome::Dead("why".to_owned()),
        ];
        let recorded = |(offset, outcome)| Recorded {
            position: Position {
                partition: 3,
                offset,
            },
            user: "al".to_owned(),
            outcome,
        };
        let id = Uuid::from_u128(0x11);
        let now = Serialised {
            created_at: Timestamp::from_micros(300),
            json: Bytes::from_static(b"{}"),
            tag: Hash128(0x22),
        };
        let was = Some(Timestamp::from_micros(-1));
        Applied {
            range: Range {
                partition: 3,
                from: 1,
                to: 200,
            },
            changes: vec![
                Changed {
                    id,
                    was: None,
                    now: Some(now),
                },
                Changed { id, was, now: None },
            ],
            outcomes: (1..).zip(outcomes).map(recorded).collect(),
        }
    }

    /// The encoding follows from types here and elsewhere: whoever changes one of them in it has to
    /// raise the version.
    #[test]
    fn a_record_is_these_bytes() {
        let zeros = "00".repeat(15);
        let expected = [
            "02",
            // Partition, from and to.
            "03 01 c801",
            // A todo that is new: its time, its tag and its JSON.
            &format!("02 {zeros}11 00 01 d804 {zeros}22 02 7b7d"),
            // One that is gone.
            &format!("{zeros}11 01 01 00"),
            // Position, user and outcome, eight times.
            "08 03 01 02 616c 00  03 02 02 616c 01 01 47  03 03 02 616c 02 00  03 04 02 616c 02 01",
            "03 05 02 616c 02 02  03 06 02 616c 02 03  03 07 02 616c 02 04  03 08 02 616c 03 03 776879",
        ];
        let hex = of_everything()
            .encode()
            .into_iter()
            .map(|byte| format!("{byte:02x}"));
        assert_eq!(hex.collect::<String>(), expected.concat().replace(' ', ""));
    }

    #[test]
    fn another_version_is_refused() {
        let mut other = applied(&[]).remove(0).encode();
        other[0] = 3;
        let refused = Applied::decode(&other.into()).unwrap_err();
        assert!(refused.to_string().contains("begins with 3"), "{refused}");
    }
}
