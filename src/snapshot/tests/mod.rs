//! Snapshots against the plain meaning of the list: a sorted vector, serialised whole.

mod cases;
mod properties;

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Buf;
use uuid::Uuid;

use super::encode::deflate;
use super::gzip::Deflater;
use super::page::{Page, is_boundary};
use super::*;
use crate::domain::{Changed, Range, Serialised, Timestamp, Todo};

pub(super) fn todo(id: Uuid, created_at: i64) -> Todo {
    Todo {
        id,
        title: "Water the plants".to_owned(),
        description: String::new(),
        completed: false,
        user_id: "alice".to_owned(),
        created_at: Timestamp::from_micros(created_at),
        updated_at: Timestamp::from_micros(created_at),
    }
}

pub(super) fn boundary_free_ids(count: usize) -> Vec<Uuid> {
    let ids = (0..).map(Uuid::from_u128);
    ids.filter(|id| !is_boundary(*id)).take(count).collect()
}

pub(super) fn created(todo: &Todo) -> Changed {
    Changed {
        id: todo.id,
        was: None,
        now: Some(Serialised::of(todo)),
    }
}

pub(super) fn applied(range: Range, changes: Vec<Changed>) -> Applied {
    Applied {
        range,
        changes,
        outcomes: vec![],
    }
}

/// The todos as a store would hold them, and the changes that brought them there.
#[derive(Default)]
struct Model {
    todos: HashMap<Uuid, Todo>,
    offset: u64,
}

impl Model {
    fn apply(&mut self, puts: Vec<(Uuid, Option<Todo>)>) -> Applied {
        let mut changes = Vec::new();
        for (id, now) in puts {
            let before = match &now {
                Some(todo) => self.todos.insert(id, todo.clone()),
                None => self.todos.remove(&id),
            };
            changes.push(Changed {
                id,
                was: before.map(|todo| todo.created_at),
                now: now.as_ref().map(Serialised::of),
            });
        }
        let from = self.offset;
        self.offset += 1;
        let range = Range {
            partition: 0,
            from,
            to: self.offset,
        };
        applied(range, changes)
    }

    /// Newest first.
    fn list(&self) -> Vec<Todo> {
        let mut todos: Vec<Todo> = self.todos.values().cloned().collect();
        todos.sort_by_key(|todo| std::cmp::Reverse(todo.key()));
        todos
    }

    fn build(&self) -> Snapshot {
        build(self.list().iter().rev(), self.offset)
    }
}

fn build<'a>(todos: impl Iterator<Item = &'a Todo>, offset: u64) -> Snapshot {
    let mut builder = Builder::new();
    todos.for_each(|todo| builder.push(todo));
    let snapshot = builder.build(vec![offset]);
    encode(&snapshot);
    snapshot
}

fn encode(snapshot: &Snapshot) {
    deflate(snapshot, &mut Deflater::new(), || false);
}

fn pages(snapshot: &Snapshot) -> Vec<&Arc<Page>> {
    let chapters = snapshot.list.chapters().iter();
    chapters.flat_map(|chapter| chapter.pages()).collect()
}

fn bytes(pin: &Pin, slice: Slice, coding: Coding) -> Vec<u8> {
    let body = body(pin, slice, coding).unwrap();
    let announced = pin.body_bytes(&slice, coding).unwrap();
    assert_eq!(body.remaining_bytes(), announced);
    let mut sent = Vec::new();
    for mut chunk in body {
        assert!(chunk.has_remaining());
        while chunk.has_remaining() {
            let some = chunk.chunk().len().div_ceil(2);
            sent.extend_from_slice(&chunk.chunk()[..some]);
            chunk.advance(some);
        }
    }
    assert_eq!(sent.len() as u64, announced);
    let mut copied = Vec::new();
    super::body(pin, slice, coding)
        .unwrap()
        .copy_to(&mut copied);
    assert_eq!(sent, copied);
    sent
}

/// Decodes one gzip member and demands that there is nothing else.
fn gunzip(coded: &[u8]) -> Vec<u8> {
    let mut decoder = flate2::bufread::GzDecoder::new(coded);
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).unwrap();
    assert!(decoder.into_inner().is_empty());
    plain
}

fn check(pin: &Pin, slice: Slice, expected: &[Todo]) {
    let json = serde_json::to_vec(expected).unwrap();
    assert_eq!(bytes(pin, slice, Coding::Identity), json);
    assert_eq!(gunzip(&bytes(pin, slice, Coding::Gzip)), json);
    let tag = expected
        .iter()
        .fold(0_u128, |sum, todo| sum.wrapping_add(todo.tag().0));
    assert_eq!(pin.tag(&slice), Hash128(tag));
    assert_eq!(pin.last_key(&slice), expected.last().map(Todo::key));
}

/// Every slice there is of a short list, and some of a long one.
fn check_slices(pin: &Pin, list: &[Todo]) {
    let step = list.len() / 25 + 1;
    for limit in (0..list.len() + 3).step_by(step) {
        let to = limit.min(list.len());
        let slice = pin.first(limit);
        check(pin, slice, &list[..to]);
        assert_eq!(pin.has_more(&slice), to < list.len());
    }
    check(pin, pin.all(), list);
    for from in (0..list.len()).step_by(step * 3) {
        for limit in [1, 7, 100, 300, usize::MAX] {
            let after = list[from].key();
            let older = &list[from + 1..];
            let expected = &older[..older.len().min(limit)];
            check(pin, pin.after(after, limit), expected);
        }
    }
}

fn check_same(one: &Snapshot, other: &Snapshot) {
    let (ones, others) = (pages(one), pages(other));
    assert_eq!(ones.len(), others.len());
    for (one, other) in ones.iter().zip(&others) {
        assert_eq!(one.keys(), other.keys());
        assert_eq!(one.text(), other.text());
        let [one, other] = [one, other].map(|page| &page.deflated.get().unwrap().bytes);
        assert_eq!(one, other);
    }
    assert_eq!(one.positions(), other.positions());
    assert_eq!(one.tag(&one.all()), other.tag(&other.all()));
}

fn check_finds(snapshot: &Snapshot, model: &Model, ids: &[Uuid]) {
    for id in ids {
        let found = snapshot.find(*id);
        let expected = model.todos.get(id);
        assert_eq!(found.map(|item| item.key), expected.map(Todo::key));
        assert_eq!(found.map(|item| item.tag), expected.map(Todo::tag));
        let json = expected.map(|todo| serde_json::to_vec(todo).unwrap());
        assert_eq!(found.map(|item| item.json.to_vec()), json);
    }
}

fn many(count: u128) -> Model {
    let mut model = Model::default();
    let todos = (0..count).map(|id| todo(Uuid::from_u128(id), i64::try_from(id).unwrap()));
    model.apply(todos.map(|todo| (todo.id, Some(todo))).collect());
    model
}
