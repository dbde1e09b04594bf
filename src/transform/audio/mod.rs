//! Transforms of the sound alone; events and word times follow.

pub mod add_noise;
pub mod babble;

use super::Transform;
use crate::operator::Table;

/// Adds the transforms of the sound.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table.with::<add_noise::AddNoise>().with::<babble::Babble>()
}
