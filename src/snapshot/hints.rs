//! Where to look for a todo of which only the id is known.
//!
//! One map for all versions of the list: id → `created_at`, and so the key. It is no more than a
//! hint; whether the todo is there, and as what, only the list of a snapshot says. For that the
//! map must hold whatever any version holds that may still be asked: entries are put before the
//! version that has them is published and removed after the first that lacks them was.

use foldhash::fast::RandomState;
use papaya::HashMap;
use uuid::Uuid;

use super::renew::Net;
use crate::domain::{Key, Timestamp};

/// Lock-free for readers.
#[derive(Default)]
pub(super) struct Hints(HashMap<Uuid, Hint, RandomState>);

/// A todo deleted and created anew in one step is at another key from one version to the next:
/// both are kept. The second time costs no memory, for allocators round 24 bytes up to 32.
struct Hint {
    now: Timestamp,
    before: Timestamp,
}

impl Hints {
    pub fn put(&self, key: Key) {
        let now = key.created_at;
        self.0.pin().insert(key.id, Hint { now, before: now });
    }

    pub fn put_nets(&self, nets: &[Net]) {
        let map = self.0.pin();
        for net in nets {
            if let Some(now) = net.now.map(|todo| todo.created_at)
                && net.was != Some(now)
            {
                let before = net.was.unwrap_or(now);
                map.insert(net.id, Hint { now, before });
            }
        }
    }

    pub fn remove(&self, id: Uuid) {
        self.0.pin().remove(&id);
    }

    /// The keys at which a todo may be, the likelier one first.
    pub fn keys(&self, id: Uuid) -> Option<[Key; 2]> {
        let map = self.0.pin();
        let hint = map.get(&id)?;
        Some([hint.now, hint.before].map(|created_at| Key { created_at, id }))
    }
}
