//! The script and the batcher against a real Redis.
