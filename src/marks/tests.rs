//! Marks pass, waiters wake, and nobody is left behind.

use std::task::Waker;

use super::*;
use crate::domain::{Outcome, Rejection};

fn at(offset: u64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

fn rejected(offset: u64) -> Recorded {
    Recorded {
        position: at(offset),
        user: "alice".into(),
        outcome: Outcome::Rejected(Rejection::NotFound),
    }
}

fn applied(from: u64, to: u64, exceptional: &[u64]) -> Applied {
    Applied {
        range: Range {
            partition: 0,
            from,
            to,
        },
        changes: vec![],
        outcomes: exceptional.iter().map(|&offset| rejected(offset)).collect(),
    }
}

fn poll(waiting: &mut Waiting) -> Poll<Passed> {
    Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiters(marks: &Marks) -> usize {
    marks.partitions[0].lock().waiting.len()
}

#[test]
fn a_mark_passes_what_lies_below_it() {
    let marks = Marks::new(&[5, 0], 10);
    assert_eq!(marks.passed(at(4)), Some(true));
    assert_eq!(marks.passed(at(5)), Some(false));
    marks.advance(&[applied(5, 8, &[])]);
    assert_eq!(marks.passed(at(7)), Some(true));
    assert_eq!(marks.positions(), [8, 0]);
    let nowhere = Position {
        partition: 2,
        offset: 0,
    };
    assert_eq!(marks.passed(nowhere), None);
    assert_eq!(marks.recent(nowhere), None);
}

#[test]
fn who_waits_is_told_when_it_passes() {
    let marks = Arc::new(Marks::new(&[0], 10));
    let mut plain = marks.wait(at(1));
    let mut exceptional = [marks.wait(at(2)), marks.wait(at(2))];
    let mut later = marks.wait(at(3));
    marks.advance(&[applied(0, 3, &[2])]);
    assert_eq!(poll(&mut plain), Poll::Ready(Passed::Applied));
    for waiting in &mut exceptional {
        let passed = Passed::Exceptional(rejected(2));
        assert_eq!(poll(waiting), Poll::Ready(passed));
    }
    assert_eq!(poll(&mut later), Poll::Pending);
    marks.advance(&[applied(3, 4, &[])]);
    assert_eq!(poll(&mut later), Poll::Ready(Passed::Applied));
}

#[test]
fn who_comes_late_is_told_from_memory_or_sent_to_the_store() {
    let marks = Arc::new(Marks::new(&[2], 2));
    marks.advance(&[applied(2, 9, &[3, 5, 7])]);
    let passed = |offset| match poll(&mut marks.wait(at(offset))) {
        Poll::Ready(passed) => {
            assert_eq!(marks.recent(at(offset)), Some(passed.clone()));
            passed
        }
        Poll::Pending => panic!("{offset} was passed"),
    };
    assert_eq!(passed(1), Passed::LookUp, "before the start");
    assert_eq!(passed(3), Passed::LookUp, "no longer in memory");
    assert_eq!(passed(4), Passed::Applied);
    assert_eq!(passed(5), Passed::Exceptional(rejected(5)));
    assert_eq!(passed(8), Passed::Applied);
    assert_eq!(marks.recent(at(9)), None);
}

#[test]
fn what_a_reload_passed_is_looked_up() {
    let marks = Arc::new(Marks::new(&[0], 10));
    marks.advance(&[applied(0, 2, &[1])]);
    let mut skipped = marks.wait(at(3));
    marks.advance(&[applied(5, 6, &[5])]);
    assert_eq!(poll(&mut skipped), Poll::Ready(Passed::LookUp));
    assert_eq!(marks.recent(at(1)), Some(Passed::LookUp));
    let recent = marks.recent(at(5));
    assert_eq!(recent, Some(Passed::Exceptional(rejected(5))));
}

#[test]
fn after_a_jump_the_store_knows_what_was_passed() {
    let marks = Arc::new(Marks::new(&[0, 5], 10));
    marks.advance(&[applied(0, 2, &[1])]);
    let mut skipped = marks.wait(at(3));
    let mut later = marks.wait(at(4));
    marks.jump(&[4, 3]);
    assert_eq!(marks.positions(), [4, 5], "never back");
    assert_eq!(poll(&mut skipped), Poll::Ready(Passed::LookUp));
    assert_eq!(poll(&mut later), Poll::Pending);
    marks.advance(&[applied(4, 5, &[])]);
    assert_eq!(poll(&mut later), Poll::Ready(Passed::Applied));
    assert_eq!(marks.recent(at(1)), Some(Passed::LookUp));
}

#[test]
fn a_late_or_doubled_record_moves_nothing() {
    let marks = Marks::new(&[0], 10);
    let record = applied(0, 3, &[1]);
    for _ in 0..2 {
        marks.advance(std::slice::from_ref(&record));
        marks.advance(&[applied(1, 2, &[])]);
    }
    assert_eq!(marks.positions(), [3]);
    assert_eq!(marks.partitions[0].lock().recent.len(), 1);
}

#[test]
fn a_dropped_wait_leaves_nothing_behind() {
    let marks = Arc::new(Marks::new(&[0], 10));
    let mut kept = marks.wait(at(0));
    let dropped: Vec<Waiting> = (0..1000).map(|nth| marks.wait(at(nth % 10))).collect();
    assert_eq!(waiters(&marks), 1001);
    drop(dropped);
    assert_eq!(waiters(&marks), 1);
    marks.advance(&[applied(0, 1, &[])]);
    assert_eq!(waiters(&marks), 0);
    assert_eq!(poll(&mut kept), Poll::Ready(Passed::Applied));
    drop(kept);
    assert_eq!(Arc::strong_count(&marks), 1);
}

#[test]
fn no_wake_is_lost_between_threads() {
    const OFFSETS: u64 = 2000;
    let marks = Arc::new(Marks::new(&[0], 100));
    let advancing = Arc::clone(&marks);
    let advancer = std::thread::spawn(move || {
        for from in 0..OFFSETS {
            let exceptional: &[u64] = if from % 3 == 0 { &[from] } else { &[] };
            advancing.advance(&[applied(from, from + 1, exceptional)]);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for offset in 0..OFFSETS {
            let passed = marks.wait(at(offset)).await;
            assert_eq!(marks.passed(at(offset)), Some(true));
            let told = match passed {
                Passed::Applied => offset % 3 != 0,
                Passed::Exceptional(recorded) => recorded == rejected(offset),
                Passed::LookUp => true,
            };
            assert!(told, "{offset}");
        }
    });
    advancer.join().unwrap();
    assert_eq!(waiters(&marks), 0);
}
