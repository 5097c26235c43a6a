//! Exercises the script at a Redis.
pub struct Check;
