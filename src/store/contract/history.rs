//! Random commands in random batches end in the store as in one pure fold.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Action, Applied, Changed, Command, Fold, Loaded, Outcome, Serialised, any_command,
};

/// Any commands, cut into any batches.
fn history() -> impl Strategy<Value = (Vec<Command>, Vec<usize>, u64)> {
    let commands = proptest::collection::vec(any_command(), 0..60);
    let cuts = proptest::collection::vec(1..12usize, 60);
    (commands, cuts, 0..3u64).prop_map(|(mut commands, cuts, stock)| {
        for (nth, command) in commands.iter_mut().enumerate() {
            if let Action::ClaimGiftCode { code } = &mut command.action {
                // The same code for two users is poison; here none is wanted.
                *code = format!("GIFT-{nth}");
            }
        }
        (commands, cuts, stock)
    })
}

pub fn random_batches_end_as_one_fold_does<P: Place>(place: impl Future<Output = P>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = runtime.block_on(place);
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let ran = runner.run(&history(), |(commands, cuts, stock)| {
        runtime.block_on(async {
            place.clear().await;
            same_as_one_fold(&place, &commands, cuts, stock).await;
        });
        Ok(())
    });
    ran.unwrap();
}

async fn same_as_one_fold(place: &impl Place, commands: &[Command], cuts: Vec<usize>, stock: u64) {
    let mut fold = Fold::new(Loaded::default(), stock);
    for (offset, command) in (0..).zip(commands) {
        fold.apply(at(offset), Timestamp::default(), command);
    }
    let whole = fold.finish();

    let options = Options {
        gift_stock: stock,
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let (mut rest, mut from, mut fed) = (commands, 0, HashMap::new());
    for cut in cuts {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(cut.min(rest.len()));
        let applied = store.apply(&mut batch(from, now)).await.unwrap();
        follow(&mut fed, applied);
        rest = later;
        from += now.len() as u64;
    }

    let living = whole.todos.into_iter().filter_map(|change| change.now);
    let expected: HashMap<Uuid, Todo> = living.map(|todo| (todo.id, todo)).collect();
    assert_eq!(todos(&mut store).await, expected);
    let served = expected
        .iter()
        .map(|(id, todo)| (*id, Serialised::of(todo)));
    let served: HashMap<Uuid, Serialised> = served.collect();
    assert_eq!(fed, served, "who follows the feed has the same");
    let mut exceptional: HashMap<u64, Outcome> = whole
        .outcomes
        .into_iter()
        .map(|one| (one.position.offset, one.outcome))
        .collect();
    for offset in 0..from {
        assert_eq!(
            outcome(&store, at(offset)).await,
            exceptional.remove(&offset)
        );
    }
}

fn follow(fed: &mut HashMap<Uuid, Serialised>, applied: Vec<Applied>) {
    for Changed { id, was, now } in applied.into_iter().flat_map(|one| one.changes) {
        let before = fed.remove(&id);
        assert_eq!(before.map(|todo| todo.created_at), was);
        fed.extend(now.map(|todo| (id, todo)));
    }
}
