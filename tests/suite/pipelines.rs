//! Every pipeline of the repository is without problems, and so is what it resolves to.

use crate::golden::{files, root};
use hardmine::{pipeline::Plan, registry::Registry, run::spec::Spec};

#[test]
fn every_pipeline_checks_and_resolves_to_itself() {
    let registry = Registry::default();
    for path in files("pipelines", "yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root("")).unwrap().display().to_string();
        let spec = Spec::parse(&name, path.parent().unwrap(), &text).unwrap_or_else(|finding| panic!("{name}: {}", finding.problem));
        let plan = spec.plan(&registry).unwrap_or_else(|found| panic!("{name}: {found:#?}"));
        let again = Plan::from_value(&plan.resolved, spec.base(), &registry).unwrap_or_else(|found| panic!("{name}: {found:#?}"));
        assert_eq!((&again.resolved, again.digest), (&plan.resolved, plan.digest), "{name}");
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        for label in ["# What: ", "# Paper: ", "# Cost: "] {
            assert!(header.iter().any(|line| line.starts_with(label)), "{name}: the header comment has no line that begins with `{label}`");
        }
    }
}
