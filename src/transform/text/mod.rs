//! Transforms of the text alone; spans and word times follow.

use super::Transform;
use crate::operator::Table;

/// Adds the transforms of the text.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
}
