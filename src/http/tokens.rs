//! Tokens that a core has checked lately: a client sends the same one with each of its requests.
//!
//! Checking one takes a signature and two JSON texts: microseconds with a shared secret, tens of them
//! with a public key. Only what was found good is kept, and believed from then on until it ends. A
//! token is found by a keyed hash and compared whole; it displaces what was in its place.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Tokens that a core keeps, at most. With [`KEPT_BYTES_MAX`] that is some 8 MB; as they are mostly
/// issued, one.
const PLACES: usize = 4_096;
/// Bytes of a token that is kept; longer ones are checked each time.
const KEPT_BYTES_MAX: usize = 2 << 10;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    pub user: String,
    /// Seconds since the Unix epoch up to which it is good without doubt.
    pub until_s: i64,
}

struct Kept {
    token: Box<str>,
    /// Seconds since the Unix epoch when it was checked: before that it may not have been good yet.
    since_s: i64,
    good: Good,
}

/// The tokens that a core has checked.
#[derive(Default)]
pub struct Tokens {
    /// Empty before the first one.
    places: Vec<Option<Kept>>,
    /// Of the keys that they were checked with.
    generation: u64,
    hasher: RandomState,
}

impl Tokens {
    /// Forgets all, if they were checked with other keys than those of this generation.
    pub fn keep_those_of(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.places.clear();
        }
    }

    /// The user of a token by what `check` says of it, or has said.
    pub fn user(
        &mut self,
        token: &str,
        now_s: i64,
        check: impl FnOnce(&str) -> Option<Good>,
    ) -> Option<String> {
        if token.len() > KEPT_BYTES_MAX {
            return check(token).map(|good| good.user);
        }
        self.places.resize_with(PLACES, || None);
        let hash = self.hasher.hash_one(token);
        let place = &mut self.places[usize::try_from(hash % PLACES as u64).unwrap_or(0)];
        if let Some(Kept {
            token: known,
            since_s,
            good,
        }) = place
            && **known == *token
            && (*since_s..good.until_s).contains(&now_s)
        {
            return Some(good.user.clone());
        }
        let good = check(token)?;
        let user = good.user.clone();
        *place = Some(Kept {
            token: token.into(),
            since_s: now_s,
            good,
        });
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token is good until 100.
    const UNTIL_S: i64 = 100;

    /// How often it was asked, beside the tokens that are kept.
    #[derive(Default)]
    struct Asked {
        tokens: Tokens,
        times: usize,
    }

    impl Asked {
        /// The user whom a token names that begins with `good`; others are not good.
        fn user(&mut self, token: &str, now_s: i64) -> Option<String> {
            let times = &mut self.times;
            self.tokens.user(token, now_s, |token| {
                *times += 1;
                let user = token.strip_prefix("good ")?.to_owned();
                (now_s < UNTIL_S).then_some(Good {
                    user,
                    until_s: UNTIL_S,
                })
            })
        }
    }

    #[test]
    fn a_token_is_checked_once_while_it_is_good() {
        let mut asked = Asked::default();
        assert_eq!(asked.user("good a", 10).unwrap(), "a");
        assert_eq!(asked.user("good a", 99).unwrap(), "a");
        assert_eq!(asked.times, 1);
        assert_eq!(asked.user("good b", 99).unwrap(), "b");
        assert_eq!(asked.times, 2);
        // A clock that was set back.
        assert_eq!(asked.user("good a", 9).unwrap(), "a");
        assert_eq!(asked.times, 3);
        for times in [4, 5] {
            assert_eq!(asked.user("good a", UNTIL_S), None);
            assert_eq!(asked.times, times);
        }
    }

    #[test]
    fn what_is_not_good_is_asked_about_each_time_and_displaces_nothing() {
        let mut asked = Asked::default();
        asked.user("good a", 0).unwrap();
        for nth in 0..8 * PLACES {
            assert_eq!(asked.user(&format!("bad {}", nth % 7), 0), None);
            assert_eq!(asked.times, nth + 2);
        }
        asked.user("good a", 0).unwrap();
        assert_eq!(asked.times, 8 * PLACES + 1);
    }

    #[test]
    fn with_other_keys_all_are_checked_again() {
        let mut asked = Asked::default();
        for (generation, times) in [(0, 1), (0, 1), (1, 2), (1, 2), (3, 3)] {
            asked.tokens.keep_those_of(generation);
            asked.user("good a", 0).unwrap();
            assert_eq!(asked.times, times);
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut asked = Asked::default();
        let fits = format!("good {}", "a".repeat(KEPT_BYTES_MAX - 5));
        let long = format!("{fits}a");
        for (token, times) in [(&fits, 1), (&fits, 1), (&long, 2), (&long, 3)] {
            asked.user(token, 0).unwrap();
            assert_eq!(asked.times, times);
        }
        for nth in 0..4 * PLACES {
            asked.user(&format!("good {nth}"), 0).unwrap();
        }
        let kept = asked.tokens.places.iter().flatten();
        assert!((PLACES / 2..=PLACES).contains(&kept.count()));
    }
}
