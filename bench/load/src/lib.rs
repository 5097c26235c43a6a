//! One core's worth of HTTP clients: closed loops, open loops, users, and an audit of what was
//! promised to them.
//!
//! A client that shares the machine with the server must cost little and must not wait for itself:
//! all connections are driven by one epoll loop on one thread, requests are written from bytes
//! made beforehand, and a latency counts from when a request was due, not from when the client got
//! round to it.
//!
//! Reading order: `job` (what is asked for and what is told), `engine` (the loop), `http` (answers),
//! then the agents: `writes`, `open`, `users`, and `audit`, `visible` beside them.

pub mod job;

mod audit;
mod draw;
mod engine;
mod gifts;
mod http;
mod latency;
mod open;
mod request;
mod run;
mod token;
mod users;
mod visible;
mod writes;

pub use run::run;
pub use token::token;
