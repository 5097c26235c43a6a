//! What every test stands on: servers started from the built binary, a client that speaks raw
//! HTTP/1.1, and waiting for conditions instead of for time.
//!
//! Reading order: [`Launch`] says how a server is started, [`Server`] is one that runs,
//! [`Connection`] exchanges bytes with it, [`Client`] exchanges [`Request`]s and [`Response`]s.
//! Nothing in here knows what a test expects, apart from [`Response::problem`], since every error
//! has that shape.

mod client;
mod connection;
mod dice;
mod eventually;
pub mod keys;
mod launch;
pub mod redis;
mod request;
mod response;
mod server;
pub mod token;

pub use client::{Client, id};
pub use connection::{Connection, Ended, PATIENCE};
pub use dice::{Dice, dice, number_from_env};
pub use eventually::eventually;
pub use launch::{Exited, Launch, WORKER};
pub use request::{Request, delete, get, head, options, post, put};
pub use response::Response;
pub use server::Server;
