//! What every test stands on: servers started from the built binary, a client that speaks raw
//! HTTP/1.1, and waiting for conditions instead of for time.
//!
//! Reading order: [`Launch`] says how a server is started, [`Server`] is one that runs,
//! [`Connection`] exchanges bytes with it, [`Client`] exchanges [`Request`]s and [`Response`]s.
//! [`Fleet`] is what servers and [`Worker`]s share: a [`Database`] and [`Topics`] of the test's
//! own, on the services of all tests or on a [`Stack`] of its own, where it kills them.
//! Nothing in here knows what a test expects, apart from [`Response::problem`], since every error
//! has that shape.

pub mod alone;
mod client;
mod connection;
mod database;
mod dice;
mod disk;
mod eventually;
pub mod fleet;
mod gate;
pub mod keys;
mod launch;
mod process;
pub mod redis;
mod request;
mod response;
mod server;
mod stack;
pub mod token;
mod topics;
mod worker;

pub use client::{Client, id};
pub use connection::{Connection, Ended, PATIENCE};
pub use database::Database;
pub use dice::{Dice, dice, number_from_env};
pub use disk::Disk;
pub use eventually::{eventually, passes, pause};
pub use fleet::{DRAIN, Fleet};
pub use gate::Gate;
pub use launch::{Exited, Launch, WORKER};
pub use process::Process;
pub use request::{Request, delete, get, head, options, post, put};
pub use response::Response;
pub use server::Server;
pub use stack::Stack;
pub use topics::{Place, Record, Topics};
pub use worker::Worker;
