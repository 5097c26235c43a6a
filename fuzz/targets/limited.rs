//! The same where reads pay, each a token of its address: of those that the stream names, too.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use millpond_fuzz::{Sides, mutate};

/// Buckets of two tokens that never come back: both sides refuse at the same request.
const LIMITS: [&str; 8] = [
    "--rate-limit-scope",
    "all",
    "--tb-rate",
    "0",
    "--tb-capacity",
    "2",
    "--trusted-proxies",
    "127.0.0.0/8,10.0.0.0/8",
];

static SIDES: LazyLock<Mutex<Sides>> = LazyLock::new(|| Mutex::new(Sides::start(&LIMITS)));

// In braces, since the macro wants a block and rustfmt would take it away.
fuzz_mutator! {
    |data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        mutate(data, size, max_size, seed)
    }
}

fuzz_target!(|stream: &[u8]| SIDES.lock().expect("no panic is survived").compare(stream));
