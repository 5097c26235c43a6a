//! A server that is alone.

use std::sync::{Arc, Mutex, Weak};

use super::{Launch, Server};

pub fn launch() -> Launch {
    Launch::new()
}

/// A server for tests that leave nothing behind that others would mind. It ends with the last
/// test that holds it.
pub fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    Server::one_for_all(&SHARED, launch)
}
