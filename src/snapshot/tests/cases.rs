//! Sharing, bounds, publishing and encoding, case by case.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::snapshot::chunk::{CHAPTER_PAGES_MAX, CHAPTER_PAGES_MIN, PAGE_ITEMS_MAX};
use crate::snapshot::encode::Encoder;

#[test]
fn an_empty_list_is_two_brackets() {
    let pin = Pin::new(Arc::new(Builder::new().build(vec![])));
    check_slices(&pin, &[]);
    assert_eq!(bytes(&pin, pin.first(10), Coding::Identity), b"[]");
    assert_eq!(pin.body_bytes(&pin.all(), Coding::Brotli), None);
}

#[test]
fn a_write_leaves_all_other_pages_shared() {
    let mut model = many(60_000);
    let before = model.build();
    assert!(before.list.chapters().len() > 2);
    // None of them begins a page, or stands in a run of pages that are cut because they are full.
    for (id, now) in [
        (20_000, Some(todo(Uuid::from_u128(20_000), 70_000))),
        (100, None),
        (60_000, Some(todo(Uuid::from_u128(60_000), 60_000))),
    ] {
        let write = (Uuid::from_u128(id), now);
        let after = before.renew(&[model.apply(vec![write])]);
        let old: HashSet<_> = pages(&before).into_iter().map(Arc::as_ptr).collect();
        let new = pages(&after).into_iter().map(Arc::as_ptr);
        let fresh = new.filter(|page| !old.contains(page)).count();
        assert!(fresh <= 2, "{fresh} new pages for {id}");
        model = many(60_000);
    }
}

#[test]
fn changes_at_the_edges_of_chapters_give_what_a_rebuild_gives() {
    let base = many(2_000).build();
    let new = Uuid::from_u128(1 << 100);
    for chapter in base.list.chapters() {
        let Key { id, created_at } = chapter.oldest();
        let created_at = created_at.as_micros();
        let next = Uuid::from_u128(id.as_u128() + 1);
        for writes in [
            vec![(id, None)],
            vec![(next, None)],
            vec![(id, Some(todo(id, -1)))],
            vec![(id, Some(todo(id, 3_000)))],
            vec![(new, Some(todo(new, created_at)))],
            vec![(new, Some(todo(new, created_at - 1)))],
            vec![(id, None), (new, Some(todo(new, created_at - 1)))],
        ] {
            let mut model = many(2_000);
            let snapshot = base.renew(&[model.apply(writes)]);
            encode(&snapshot);
            check_same(&snapshot, &model.build());
        }
    }
}

#[test]
fn many_small_changes_keep_chapters_within_bounds() {
    let mut model = many(40_000);
    let mut snapshot = model.build();
    for round in 0..60_u128 {
        let gone = (0..400).map(|n| (Uuid::from_u128(round * 500 + n), None));
        snapshot = snapshot.renew(&[model.apply(gone.collect())]);
        let chapters = snapshot.list.chapters();
        let lens: Vec<usize> = chapters.iter().map(|one| one.pages().len()).collect();
        assert!(
            lens[1..]
                .iter()
                .all(|len| (CHAPTER_PAGES_MIN..=CHAPTER_PAGES_MAX).contains(len)),
            "{lens:?}"
        );
        assert!(lens[0] <= CHAPTER_PAGES_MAX, "{lens:?}");
    }
    encode(&snapshot);
    check_same(&snapshot, &model.build());
}

#[test]
fn no_page_of_a_boundary_free_list_passes_the_cap() {
    let ids = boundary_free_ids(3_000);
    let mut model = Model::default();
    let puts = ids
        .iter()
        .zip(0..)
        .map(|(id, at)| (*id, Some(todo(*id, at))));
    model.apply(puts.collect());
    let mut snapshot = model.build();
    for id in ids.iter().step_by(100) {
        snapshot = snapshot.renew(&[model.apply(vec![(*id, None)])]);
        assert!(
            pages(&snapshot)
                .iter()
                .all(|page| page.len() <= PAGE_ITEMS_MAX)
        );
    }
    encode(&snapshot);
    check_same(&snapshot, &model.build());
}

#[test]
fn gzip_is_there_as_far_as_chapters_are_deflated() {
    let snapshot = {
        let model = many(60_000);
        let mut builder = Builder::new();
        model
            .list()
            .iter()
            .rev()
            .for_each(|todo| builder.push(todo));
        builder.build(vec![0])
    };
    assert_eq!(snapshot.body_bytes(&snapshot.first(1), Coding::Gzip), None);
    let first = snapshot.list.chapters()[0].pages().len();
    let left = std::cell::Cell::new(first);
    deflate(&snapshot, &mut Deflater::new(), || {
        left.replace(left.get().saturating_sub(1)) == 0
    });
    assert!(
        snapshot
            .body_bytes(&snapshot.first(100), Coding::Gzip)
            .is_some()
    );
    assert_eq!(snapshot.body_bytes(&snapshot.all(), Coding::Gzip), None);
    encode(&snapshot);
    let pin = Pin::new(Arc::new(snapshot));
    check(&pin, pin.all(), &many(60_000).list());
}

#[test]
fn items_longer_than_a_stored_block_are_sent_like_others() {
    let mut model = many(30);
    for id in [3, 4, 15] {
        let description = "long ".repeat(id * 5_000);
        let id = Uuid::from_u128(id as u128);
        let todo = Todo {
            description,
            ..todo(id, 12)
        };
        model.todos.insert(id, todo);
    }
    check_slices(&Pin::new(Arc::new(model.build())), &model.list());
}

#[test]
fn a_reader_sees_what_was_published_and_keeps_what_it_pinned() {
    let mut model = many(1_000);
    let published = Published::new(model.build());
    let mut reader = published.reader();
    let old = reader.current();
    let write = vec![(Uuid::from_u128(5), None)];
    published.publish(old.renew(&[model.apply(write)]));
    assert_eq!(old.len(), 1_000);
    assert_eq!(reader.current().len(), 999);
    assert!(reader.current().find(Uuid::from_u128(5)).is_none());
}

#[test]
fn only_prefixes_of_moderate_length_are_wanted() {
    let snapshot = many(25_000).build();
    let second = snapshot.last_key(&snapshot.first(2)).unwrap();
    snapshot.want(&snapshot.all(), Coding::Brotli);
    snapshot.want(&snapshot.after(second, 10), Coding::Brotli);
    snapshot.want(&snapshot.first(10), Coding::Gzip);
    assert!(!snapshot.make_one_coded());
    snapshot.want(&snapshot.first(10), Coding::Brotli);
    assert!(snapshot.make_one_coded());
}

#[test]
fn old_snapshots_are_freed_once_nobody_reads_them() {
    let published = Published::new(many(10).build());
    let mut reader = published.reader();
    let pin = reader.current();
    let weak = Arc::downgrade(&published.snapshot());
    published.publish(many(11).build());
    assert!(weak.upgrade().is_some());
    drop(pin);
    reader.current();
    published.sweep();
    assert!(weak.upgrade().is_none());
}

#[test]
fn the_encoder_makes_what_is_wanted_and_ends_with_what_is_published() {
    let model = many(5_000);
    let published = Published::new(Builder::new().build(vec![0]));
    let encoder = Encoder::spawn_with(&published, Duration::from_millis(1)).unwrap();
    let mut builder = Builder::new();
    model
        .list()
        .iter()
        .rev()
        .for_each(|todo| builder.push(todo));
    published.publish(builder.build(vec![1]));
    let pin = published.reader().current();
    let (wanted, deadline) = (pin.first(100), Instant::now() + Duration::from_mins(1));
    let codings = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
    while !codings
        .iter()
        .all(|coding| pin.body_bytes(&wanted, *coding).is_some())
    {
        for coding in codings {
            published.snapshot().want(&wanted, coding);
        }
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let json = bytes(&pin, wanted, Coding::Identity);
    let mut plain = Vec::new();
    let coded = bytes(&pin, wanted, Coding::Brotli);
    brotli::BrotliDecompress(&mut &coded[..], &mut plain).unwrap();
    assert_eq!(plain, json);
    let coded = bytes(&pin, wanted, Coding::Zstd);
    assert_eq!(zstd::bulk::decompress(&coded, json.len()).unwrap(), json);
    drop((pin, published));
    encoder.stop();
}

#[test]
fn a_todo_created_anew_is_found_in_both_versions() {
    let mut model = many(10);
    let published = Published::new(model.build());
    let old = published.reader().current();
    let id = Uuid::from_u128(3);
    let gone = model.apply(vec![(id, None)]);
    let back = model.apply(vec![(id, Some(todo(id, 99)))]);
    published.publish(old.renew(&[gone, back]));
    let new = published.reader().current();
    let at = |pin: &Pin| pin.find(id).map(|item| item.key.created_at.as_micros());
    assert_eq!((at(&old), at(&new)), (Some(3), Some(99)));
}
