//! Transforms of the picture alone; boxes follow.

pub mod gaussian_blur;

use super::Transform;
use crate::operator::Table;

/// Adds the transforms of the picture.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table.with::<gaussian_blur::GaussianBlur>()
}
