//! Where a command stands in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A command's place in the log: the receipt of a write, the id of its operation and the
/// consistency token, written `<partition>-<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub partition: u16,
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// The text was not `<partition>-<offset>` in plain decimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected <partition>-<offset>")]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (partition, offset) = text.split_once('-').ok_or(NotAPosition)?;
        // Offsets are i64 in Kafka, SQLite and PostgreSQL.
        let offset = number(offset)?;
        if offset > i64::MAX as u64 {
            return Err(NotAPosition);
        }
        Ok(Self {
            partition: number(partition)?,
            offset,
        })
    }
}

/// One spelling per number: no sign, no leading zero.
fn number<T: FromStr>(text: &str) -> Result<T, NotAPosition> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAPosition);
    }
    text.parse().map_err(|_| NotAPosition)
}

/// The offsets `from..to` of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub partition: u16,
    pub from: u64,
    /// One past the last offset. Invariant: `from <= to`.
    pub to: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_spelling_is_a_position() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-2",
            "01-2",
            "1-02",
            "1-2-3",
            "65536-0",
            "0-9223372036854775808",
            "a-b",
            "1- 2",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same(partition in any::<u16>(), offset in 0..=i64::MAX as u64) {
            let position = Position { partition, offset };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }
}
