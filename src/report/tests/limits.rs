//! How much media a page shows.

use super::*;

#[test]
fn the_gallery_keeps_its_limits() {
    let fixture = Fixture::new(12, 1, None);
    let source = |id: &SampleId| fixture.parents.iter().find(|parent| parent.id == *id).cloned();
    let limits = |parents, children, bytes| Limits { parents, children, bytes, ..Limits::default() };
    let shown = |limits: Limits| render(fixture.dir.path(), &fixture.input, &source, &limits).unwrap().0.shown;
    let few = shown(limits(3, 2, usize::MAX / 2));
    assert_eq!(few.iter().map(|shown| shown.children.len()).collect::<Vec<_>>(), [2, 2, 2]);
    let small = shown(limits(12, 4, 120_000));
    assert!(!small.is_empty() && small.len() < 12, "{}", small.len());
    // Every operator is seen among the first.
    let operators: std::collections::BTreeSet<&str> =
        few.iter().flat_map(|shown| &shown.children).filter_map(|id| id.as_str().split(['~', '.']).nth(1)).collect();
    assert!(operators.len() >= 3, "{operators:?}");
}
