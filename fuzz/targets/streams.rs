//! Any stream is answered alike by the hot loop and by hyper.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use millpond_fuzz::Sides;

const LIMITS: [&str; 2] = ["--rate-limit-scope", "none"];

static SIDES: LazyLock<Mutex<Sides>> = LazyLock::new(|| Mutex::new(Sides::start(&LIMITS)));

fuzz_target!(|stream: &[u8]| SIDES.lock().expect("no panic is survived").compare(stream));
