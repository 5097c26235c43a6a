//! Stub, replaced at the merge.
use crate::domain::Applied;
pub struct Marks;
impl Marks {
    #[must_use]
    pub fn new(_positions: &[u64], _recent_max: usize) -> Self {
        Self
    }
    pub fn advance(&self, _applied: &[Applied]) {}
}
