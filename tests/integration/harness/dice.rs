//! Randomness with a printed seed, so that a failed run can be repeated.

use std::env;

use rand::SeedableRng;
pub use rand::rngs::StdRng as Dice;

/// Names the seed of a run to repeat.
const SEED: &str = "MILLPOND_SEED";

/// A generator whose seed is in the output of the test, should it fail.
pub fn dice() -> Dice {
    let seed = number_from_env(SEED).unwrap_or_else(rand::random);
    eprintln!("to repeat: {SEED}={seed}");
    Dice::seed_from_u64(seed)
}

/// A number that a developer may set to repeat or lengthen a run.
pub fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}
