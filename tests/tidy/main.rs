//! The style of the tree, as tests: layers, sizes, words. They read files and run nothing.
//!
//! `tree` finds and reads the sources, `layers` holds the direction of dependencies, `shape` the
//! sizes, `words` what may not be written. An exception stands in a table with its reason, and one
//! that is no longer needed is an error too.
#![allow(
    clippy::unwrap_used,
    reason = "all of this crate is tests, and the lint knows only functions marked so"
)]

mod layers;
mod shape;
mod tree;
mod words;

/// Fails with all that was found, one a line.
#[track_caller]
fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}
