//! The same where reads pay, each a token of its address: of those that the stream names, too.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use millpond_fuzz::Sides;

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

fuzz_target!(|stream: &[u8]| SIDES.lock().expect("no panic is survived").compare(stream));
