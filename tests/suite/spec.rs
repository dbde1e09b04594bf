//! Broken pipeline files with their exact messages, as `hardmine check` tells them. The first line of a file may hold
//! arguments: `# --set a=b`.

use crate::{
    cli::{hardmine, text},
    golden::{compare, files, root},
};

#[test]
fn broken_files_are_told_exactly() {
    for path in files("tests/golden/spec", "yaml") {
        let name = path.strip_prefix(root("")).unwrap().display().to_string();
        let written = std::fs::read_to_string(&path).unwrap();
        let extra = written.lines().next().and_then(|line| line.strip_prefix("# --set ")).map(str::to_owned);
        let mut arguments = vec!["check", name.as_str()];
        if let Some(extra) = &extra {
            arguments.extend(["--set", extra]);
        }
        let output = hardmine(&root(""), &arguments);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{name}: {}", text(&output.stderr));
        compare(&name.replace(".yaml", ".txt"), &text(&output.stderr));
    }
}
