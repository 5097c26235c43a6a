//! Tokens that a core has checked lately: a client sends the same one with each of its requests.
//!
//! Checking one takes a signature and two JSON texts: microseconds with a shared secret, tens of them
//! with a public key. Only what was found good is kept, and no longer than it is. A token is found by
//! a keyed hash and compared whole; it displaces what was in its place.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Tokens that a core keeps, at most: some 200 bytes each as they are issued.
const PLACES: usize = 4_096;
/// Bytes of a token that is kept; longer ones are checked each time.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    pub user: String,
    /// Seconds since the Unix epoch up to which there is no doubt that it is.
    pub until_s: i64,
}

struct Kept {
    token: Box<str>,
    good: Good,
}

/// The tokens that a core has checked.
#[derive(Default)]
pub struct Tokens {
    /// Empty before the first one.
    places: Vec<Option<Kept>>,
    hasher: RandomState,
}

impl Tokens {
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
        if let Some(kept) = place
            && *kept.token == *token
            && now_s < kept.good.until_s
        {
            return Some(kept.good.user.clone());
        }
        let good = check(token)?;
        let user = good.user.clone();
        *place = Some(Kept {
            token: token.into(),
            good,
        });
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that a token is good until 100, and counts how often it is asked.
    fn good(asked: &mut u32) -> impl FnOnce(&str) -> Option<Good> {
        *asked += 1;
        |token: &str| {
            Some(Good {
                user: format!("user of {}", &token[..1]),
                until_s: 100,
            })
        }
    }

    fn never(_: &str) -> Option<Good> {
        panic!("it is known")
    }

    #[test]
    fn a_token_is_checked_once_while_it_is_good() {
        let mut tokens = Tokens::default();
        let mut asked = 0;
        assert_eq!(tokens.user("a", 0, good(&mut asked)).unwrap(), "user of a");
        assert_eq!(tokens.user("a", 99, never).unwrap(), "user of a");
        assert_eq!(tokens.user("b", 99, good(&mut asked)).unwrap(), "user of b");
        assert_eq!(asked, 2);
        // Whether it still is says who checks.
        assert_eq!(tokens.user("a", 100, |_| None), None);
        assert_eq!(tokens.user("a", 100, |_| None), None);
    }

    #[test]
    fn what_is_not_good_is_asked_about_each_time_and_displaces_nothing() {
        let mut tokens = Tokens::default();
        let mut asked = 0;
        tokens.user("a", 0, good(&mut asked));
        for nth in 0..8 * PLACES {
            assert_eq!(tokens.user(&format!("x{nth}"), 0, |_| None), None);
        }
        assert_eq!(tokens.user("a", 0, never).unwrap(), "user of a");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut tokens = Tokens::default();
        let mut asked = 0;
        let long = "a".repeat(KEPT_BYTES_MAX + 1);
        for _ in 0..2 {
            tokens.user(&long, 0, good(&mut asked)).unwrap();
        }
        assert_eq!(asked, 2);
        for nth in 0..2 * PLACES {
            tokens.user(&format!("{nth}"), 0, good(&mut asked)).unwrap();
        }
        assert_eq!(tokens.places.len(), PLACES);
    }
}
