//! What a command does: the one place that says so. Every store folds through it.

use uuid::Uuid;

use super::{Action, Command, Hash128, IfMatch, Outcome, Rejection, Todo};

/// What a command may see of the state before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct State<'a> {
    /// The living todo that the command names.
    pub todo: Option<&'a Todo>,
    /// What is on record, and has not expired, under the command's idempotency scope.
    pub key: Option<&'a KeyRecord>,
    /// The gift code that the command's user has.
    pub code: Option<&'a str>,
    pub stock_left: bool,
}

/// The first command under an idempotency scope and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub fingerprint: Hash128,
    pub outcome: Outcome,
}

/// What a command does to the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Put(Todo),
    Delete(Uuid),
    /// The user gets this gift code.
    Issue(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub effect: Effect,
    pub outcome: Outcome,
    /// Whether the outcome goes on record under the command's idempotency scope: it is the
    /// scope's first.
    pub remember: bool,
}

/// Decides a command against the state it meets.
///
/// The idempotency key is judged before anything else: a duplicate has no effect and gets the
/// first outcome, whatever has become of the todo since.
#[must_use]
pub fn decide(state: State<'_>, command: &Command) -> Decision {
    if let (Some(key), Some(record)) = (&command.key, state.key) {
        let outcome = if key.fingerprint == record.fingerprint {
            record.outcome.clone()
        } else {
            Outcome::Rejected(Rejection::KeyReused)
        };
        return Decision {
            effect: Effect::None,
            outcome,
            remember: false,
        };
    }
    let (effect, outcome) = match judge(state, command) {
        Ok(decided) => decided,
        Err(rejection) => (Effect::None, Outcome::Rejected(rejection)),
    };
    Decision {
        effect,
        outcome,
        remember: command.key.is_some(),
    }
}

fn judge(state: State<'_>, command: &Command) -> Result<(Effect, Outcome), Rejection> {
    let effect = match &command.action {
        Action::Create {
            id,
            title,
            description,
        } => create(state, command, *id, title, description)?,
        Action::Update {
            title,
            description,
            completed,
            if_match,
            ..
        } => {
            let old = own(state, command, if_match.as_ref())?;
            Effect::Put(Todo {
                title: title.clone(),
                description: description.clone(),
                completed: *completed,
                // Never backwards, whatever the accepting servers' clocks say.
                updated_at: old.updated_at.plus_micros(1).max(command.at),
                ..old.clone()
            })
        }
        Action::Delete { id, if_match } => {
            own(state, command, if_match.as_ref())?;
            Effect::Delete(*id)
        }
        Action::ClaimGiftCode { code } => return claim(state, code),
    };
    Ok((effect, Outcome::Applied))
}

fn create(
    state: State<'_>,
    command: &Command,
    id: Uuid,
    title: &str,
    description: &str,
) -> Result<Effect, Rejection> {
    if state.todo.is_some() {
        return Err(Rejection::IdTaken);
    }
    Ok(Effect::Put(Todo {
        id,
        title: title.to_owned(),
        description: description.to_owned(),
        completed: false,
        user_id: command.user.clone(),
        created_at: command.at,
        updated_at: command.at,
    }))
}

/// The todo, if it lives, is the user's and is the version asked for, judged in this order: a
/// precondition is looked at only where the write would succeed without it (RFC 9110, 13.2.1).
fn own<'a>(
    state: State<'a>,
    command: &Command,
    if_match: Option<&IfMatch>,
) -> Result<&'a Todo, Rejection> {
    let todo = state
        .todo
        .filter(|todo| todo.user_id == command.user)
        .ok_or(Rejection::NotFound)?;
    match if_match {
        Some(condition) if !condition.matches(|| todo.tag()) => Err(Rejection::PreconditionFailed),
        _ => Ok(todo),
    }
}

fn claim(state: State<'_>, code: &str) -> Result<(Effect, Outcome), Rejection> {
    match state.code {
        Some(has) => Ok((Effect::None, Outcome::GiftCode(has.to_owned()))),
        None if state.stock_left => Ok((
            Effect::Issue(code.to_owned()),
            Outcome::GiftCode(code.to_owned()),
        )),
        None => Err(Rejection::SoldOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Idempotency, Timestamp};

    fn todo(user: &str) -> Todo {
        Todo {
            id: Uuid::from_u128(1),
            title: "old".into(),
            description: "old".into(),
            completed: true,
            user_id: user.into(),
            created_at: Timestamp::from_micros(10),
            updated_at: Timestamp::from_micros(50),
        }
    }

    fn update(if_match: Option<IfMatch>) -> Action {
        Action::Update {
            id: Uuid::from_u128(1),
            title: "new".into(),
            description: String::new(),
            completed: false,
            if_match,
        }
    }

    fn by(user: &str, action: Action) -> Command {
        Command {
            user: user.into(),
            at: Timestamp::from_micros(20),
            key: None,
            action,
        }
    }

    fn outcome(state: State<'_>, command: &Command) -> Outcome {
        decide(state, command).outcome
    }

    #[test]
    fn an_update_replaces_all_a_client_may_write_and_time_goes_on() {
        let old = todo("alice");
        let decision = decide(
            State {
                todo: Some(&old),
                ..State::default()
            },
            &by("alice", update(None)),
        );
        let Effect::Put(new) = decision.effect else {
            panic!("{decision:?}")
        };
        assert_eq!(
            (new.title.as_str(), new.description.as_str(), new.completed),
            ("new", "", false)
        );
        assert_eq!(
            new.updated_at.as_micros(),
            51,
            "the command's clock was behind"
        );
        assert_eq!((new.created_at, new.id), (old.created_at, old.id));
    }

    #[test]
    fn someone_elses_todo_looks_like_none() {
        let old = todo("alice");
        let theirs = State {
            todo: Some(&old),
            ..State::default()
        };
        for state in [theirs, State::default()] {
            for action in [
                update(Some(IfMatch::Tags(vec![]))),
                Action::Delete {
                    id: old.id,
                    if_match: None,
                },
            ] {
                assert_eq!(
                    outcome(state, &by("bob", action)),
                    Outcome::Rejected(Rejection::NotFound)
                );
            }
        }
    }

    #[test]
    fn if_match_is_judged_against_the_version_met() {
        let old = todo("alice");
        let state = State {
            todo: Some(&old),
            ..State::default()
        };
        let with = |if_match| outcome(state, &by("alice", update(Some(if_match))));
        assert_eq!(with(IfMatch::Any), Outcome::Applied);
        assert_eq!(
            with(IfMatch::Tags(vec![Hash128(1), old.tag()])),
            Outcome::Applied
        );
        assert_eq!(
            with(IfMatch::Tags(vec![Hash128(1)])),
            Outcome::Rejected(Rejection::PreconditionFailed)
        );
    }

    #[test]
    fn a_key_is_judged_before_anything_else() {
        let record = KeyRecord {
            fingerprint: Hash128(1),
            outcome: Outcome::Rejected(Rejection::PreconditionFailed),
        };
        let state = State {
            key: Some(&record),
            ..State::default()
        };
        let keyed = |fingerprint| Command {
            key: Some(Idempotency {
                scope: Hash128(0),
                fingerprint,
            }),
            ..by("bob", update(None))
        };
        let same = decide(state, &keyed(Hash128(1)));
        assert_eq!(
            (same.effect, same.outcome, same.remember),
            (Effect::None, record.outcome.clone(), false)
        );
        assert_eq!(
            outcome(state, &keyed(Hash128(2))),
            Outcome::Rejected(Rejection::KeyReused)
        );
    }

    #[test]
    fn a_create_whose_id_lives_is_a_conflict() {
        let old = todo("alice");
        let create = Action::Create {
            id: old.id,
            title: "t".into(),
            description: String::new(),
        };
        let state = State {
            todo: Some(&old),
            ..State::default()
        };
        assert_eq!(
            outcome(state, &by("alice", create)),
            Outcome::Rejected(Rejection::IdTaken)
        );
    }

    #[test]
    fn a_user_keeps_one_code_even_when_the_stock_is_used_up() {
        let claim = by(
            "alice",
            Action::ClaimGiftCode {
                code: "GIFT-2".into(),
            },
        );
        let has = State {
            code: Some("GIFT-1"),
            ..State::default()
        };
        assert_eq!(outcome(has, &claim), Outcome::GiftCode("GIFT-1".into()));
        let left = State {
            stock_left: true,
            ..State::default()
        };
        assert_eq!(decide(left, &claim).effect, Effect::Issue("GIFT-2".into()));
        assert_eq!(
            outcome(State::default(), &claim),
            Outcome::Rejected(Rejection::SoldOut)
        );
    }
}
