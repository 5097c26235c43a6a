//! The query of `GET /todos` and its cursors.

use uuid::Uuid;

use super::response::Problem;
use crate::domain::{Key, Timestamp};

/// `limit`, at most; more is 400.
const LIMIT_MAX: usize = 1_000_000;

/// What part of the list is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListQuery<'a> {
    pub limit: Option<usize>,
    pub after: Option<&'a str>,
}

impl<'a> ListQuery<'a> {
    /// Parameters of other names are passed over.
    pub fn of(query: &'a str) -> Result<Self, Problem> {
        let mut list = Self::default();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let repeated = || Problem::bad_request(format!("{name}: must not be repeated"));
            match name {
                "limit" if list.limit.is_some() => return Err(repeated()),
                "limit" => list.limit = Some(limit(value).ok_or_else(bad_limit)?),
                "after" if list.after.is_some() => return Err(repeated()),
                "after" => list.after = Some(value),
                _ => {}
            }
        }
        Ok(list)
    }
}

/// The value of `limit`.
pub fn limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok();
    number.filter(|number| digits && (1..=LIMIT_MAX).contains(number))
}

fn bad_limit() -> Problem {
    Problem::bad_request(format!(
        "limit: must be a whole number from 1 to {LIMIT_MAX}"
    ))
}

/// A place in the list, as clients carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Behind this key, whether or not a todo stands there now.
    Key(Key),
    /// Behind this living todo.
    Todo(Uuid),
}

/// Hex digits of a cursor's time and id.
const TIME_DIGITS: usize = 16;
const ID_DIGITS: usize = 32;

impl Cursor {
    /// Reads a `Link`'s cursor or the id of a todo.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = todo_id(text) {
            return Some(Cursor::Todo(id));
        }
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != TIME_DIGITS + ID_DIGITS || !text.bytes().all(hex) {
            return None;
        }
        let (time, id) = text.split_at(TIME_DIGITS);
        let micros = u64::from_str_radix(time, 16).ok()?.cast_signed();
        let id = Uuid::from_u128(u128::from_str_radix(id, 16).ok()?);
        Some(Cursor::Key(Key {
            created_at: Timestamp::from_micros(micros),
            id,
        }))
    }

    /// The cursor behind `key`.
    pub fn text(key: Key) -> String {
        let micros = key.created_at.as_micros().cast_unsigned();
        format!("{micros:016x}{:032x}", key.id.as_u128())
    }
}

/// The id of a todo: a UUID with its hyphens and no other spelling.
pub fn todo_id(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (text.len() == HYPHENATED)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_in_range_are_limits() {
        assert_eq!(ListQuery::of("limit=1").unwrap().limit, Some(1));
        assert_eq!(
            ListQuery::of("x=y&limit=1000000&after=c").unwrap(),
            ListQuery {
                limit: Some(1_000_000),
                after: Some("c")
            }
        );
        for bad in [
            "limit=0",
            "limit=-1",
            "limit=+1",
            "limit=1e3",
            "limit=99999999999",
            "limit=99999999999999999999999",
            "limit=abc",
            "limit=",
            "limit",
            "limit=1&limit=1",
            "limit=%31",
            "limit=1000001",
            "after=a&after=b",
        ] {
            assert!(ListQuery::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_and_back_is_the_same() {
        for micros in [-1, 0, 1_700_000_000_000_000] {
            let key = Key {
                created_at: Timestamp::from_micros(micros),
                id: Uuid::from_u128(9),
            };
            assert_eq!(Cursor::parse(&Cursor::text(key)), Some(Cursor::Key(key)));
        }
        let id = Uuid::from_u128(3);
        assert_eq!(Cursor::parse(&id.to_string()), Some(Cursor::Todo(id)));
        assert_eq!(Cursor::parse("nonsense"), None);
    }
}
