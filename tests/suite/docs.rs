//! What is generated is fresh.

use crate::golden;
use hardmine::{cli::list, registry::Registry};

#[test]
fn the_operator_pages_are_fresh() {
    golden::compare("docs/operators.md", &list::markdown(&Registry::default()));
}
