//! Any stream is answered alike by the hot loop and by hyper.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use millpond_fuzz::{Sides, mutate};

const LIMITS: [&str; 2] = ["--rate-limit-scope", "none"];

static SIDES: LazyLock<Mutex<Sides>> = LazyLock::new(|| Mutex::new(Sides::start(&LIMITS)));

// In braces, since the macro wants a block and rustfmt would take it away.
fuzz_mutator! {
    |data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        mutate(data, size, max_size, seed)
    }
}

fuzz_target!(|stream: &[u8]| SIDES.lock().expect("no panic is survived").compare(stream));
