//! Brotli and zstd of prefixes that were asked for, kept with their snapshot.
//!
//! Unlike gzip, these are made of whole bodies, so they pay only for a prefix that is read again
//! and again from a snapshot that lives for a while. A reader leaves a wish, at most one write to
//! shared memory for each snapshot, prefix and coding; the encoder looks for wishes when it has
//! nothing else to do. Slots are filled in order and never freed: what is in one is borrowed for
//! as long as the snapshot is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use brotli::enc::BrotliEncoderParams;

use super::Coding;

/// Prefixes times codings that a snapshot keeps; later wishes are passed over, and gzip does.
const SLOTS: usize = 16;
/// Length of a body, at most, for it to be coded. It bounds what a snapshot keeps (64 MiB if
/// nothing could be compressed, 10 in earnest) and for how long the encoder is busy with one
/// (0.1 s). Longer ones are sent as gzip.
pub(super) const BODY_BYTES_MAX: u64 = 4 << 20;

/// Brotli 5 and zstd 6 are where time begins to rise faster than size falls.
const BROTLI_QUALITY: i32 = 5;
const ZSTD_LEVEL: i32 = 6;

#[derive(Default)]
pub(super) struct Coded {
    slots: [Slot; SLOTS],
}

#[derive(Default)]
struct Slot {
    /// [`name`] of what is wanted, 0 while the slot is free.
    wanted: AtomicU64,
    made: OnceLock<Box<[u8]>>,
}

/// Of the coded first `items` items; `None` for codings that aren't kept here. Never 0.
fn name(items: usize, coding: Coding) -> Option<u64> {
    let tag = match coding {
        Coding::Identity | Coding::Gzip => return None,
        Coding::Brotli => 1,
        Coding::Zstd => 2,
    };
    Some((items as u64) << 2 | tag)
}

impl Coded {
    /// Leaves a wish, unless it is there already or all slots are taken.
    pub fn want(&self, items: usize, coding: Coding) {
        let Some(name) = name(items, coding) else {
            return;
        };
        for slot in &self.slots {
            let found = match slot.wanted.load(Ordering::Relaxed) {
                0 => slot
                    .wanted
                    .compare_exchange(0, name, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|other| other, |_| name),
                other => other,
            };
            if found == name {
                return;
            }
        }
    }

    /// The slot that holds the first `items` items in `coding`.
    pub fn find(&self, items: usize, coding: Coding) -> Option<usize> {
        let name = name(items, coding)?;
        let wanted = |slot: &Slot| slot.wanted.load(Ordering::Relaxed);
        let slot = self.slots.iter().position(|slot| wanted(slot) == name)?;
        self.slots[slot].made.get().map(|_| slot)
    }

    /// What a slot that was found holds.
    pub fn bytes(&self, slot: usize) -> &[u8] {
        self.slots[slot].made.get().map_or(&[], |bytes| bytes)
    }

    /// Grants the oldest wish; false if there is none. `body` gives the first items' JSON.
    pub fn make_one(&self, body: impl FnOnce(usize) -> Vec<u8>) -> bool {
        for slot in &self.slots {
            let name = slot.wanted.load(Ordering::Relaxed);
            if name == 0 {
                return false;
            }
            if slot.made.get().is_none() {
                let items = usize::try_from(name >> 2).expect("it was a usize");
                let body = body(items);
                let coded = if name & 3 == 1 {
                    brotli(&body)
                } else {
                    zstd(&body)
                };
                return slot.made.set(coded.into()).is_ok();
            }
        }
        false
    }
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let params = BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        size_hint: body.len(),
        ..BrotliEncoderParams::default()
    };
    let mut out = Vec::with_capacity(body.len() / 4);
    brotli::BrotliCompress(&mut &*body, &mut out, &params)
        .expect("compressing in memory does not fail");
    out
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(body, ZSTD_LEVEL).expect("compressing in memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_kept_once_and_granted_once() {
        let coded = Coded::default();
        for _ in 0..3 {
            coded.want(7, Coding::Zstd);
        }
        assert_eq!(coded.find(7, Coding::Zstd), None);
        assert!(coded.make_one(|items| vec![b'x'; items]));
        assert!(!coded.make_one(|_| vec![]));
        let slot = coded.find(7, Coding::Zstd).unwrap();
        let body = zstd::bulk::decompress(coded.bytes(slot), 100).unwrap();
        assert_eq!(body, [b'x'; 7]);
        assert_eq!(coded.find(7, Coding::Brotli), None);
    }

    #[test]
    fn wishes_beyond_the_slots_are_passed_over() {
        let coded = Coded::default();
        for items in 0..2 * SLOTS {
            coded.want(items, Coding::Brotli);
        }
        let made = std::iter::repeat_with(|| coded.make_one(|_| b"[]".to_vec()));
        assert_eq!(made.take_while(|made| *made).count(), SLOTS);
        assert_eq!(coded.find(SLOTS, Coding::Brotli), None);
    }
}
