//! What needs data beside the repository; without it a test says so and is skipped.

use crate::{
    cli::{hardmine, text},
    golden::root,
};
use hardmine::read::{Manifest, Reader};

#[test]
fn avdigits_is_read_and_its_pipeline_checks() {
    let folder = root("../shared/data/avdigits");
    if !folder.is_dir() {
        println!("skipped: ../shared/data/avdigits is not there");
        return;
    }
    for split in ["train", "val", "test"] {
        let source = Manifest::new(format!("{split}.jsonl")).open(&folder).unwrap();
        assert!(source.problems().is_empty(), "{split}: {:?}", source.problems().first());
        assert!(source.entries().len() >= 300, "{split}");
        let sample = source.fetch(0).unwrap();
        assert!(sample.label.is_none() && !sample.present().is_empty() && source.entries()[0].label.is_some(), "{split}");
    }
    for pipeline in ["pipelines/avdigits.yaml", "pipelines/avdigits_noisy.yaml"] {
        let output = hardmine(&root(""), &["check", pipeline]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}
