//! The same pipeline by several doors: a file, the builder, a loaded model.

use super::{Done, File, HEAD, STAGES, builder, few, plan_in};
use hardmine::{
    generate::pgd::Pgd,
    mine::TopFraction,
    pipeline::TrainPlan,
    read::{Manifest, Reader},
    sample::{Modality, ModalitySet},
    score,
    units::Fraction,
    verify,
};
use std::{fs, path::Path};

#[test]
fn a_file_and_the_builder_give_the_same_plan_and_the_same_bytes() {
    let built = builder(TrainPlan { warmup_epochs: 1, rounds: 2, ..TrainPlan::default() })
        .score(score::Loss::default())
        .mine(TopFraction { by: "loss".into(), fraction: Fraction::new(0.5).unwrap(), ..TopFraction::default() })
        .generate(Pgd {
            steps: Some(2),
            ..serde_json::from_str(r#"{"modalities":["image","audio"],"epsilon":"8/255","audio_epsilon":0.002}"#).unwrap()
        })
        .verify(verify::WithinBall::default())
        .feed(serde_json::from_str::<hardmine::feed::Replay>(r#"{"share":0.3}"#).unwrap())
        .build()
        .unwrap();
    let written = few(&[]);
    assert_eq!(built.resolved, written.resolved);
    assert_eq!(built.digest, written.digest);
    assert_eq!(Done::of(built).digest(), Done::of(written).digest());
}

#[test]
fn a_model_that_a_run_left_generates_without_training() {
    let trained = Done::of(few(&[]));
    let text = r#"
version: 1
data: { train: { manifest: { path: "builtin:digits/train.jsonl" } }, limit: 60 }
model: { load: { path: out/model.safetensors } }
train: none
stages:
  - score: { loss: {} }
  - mine: { top_fraction: { by: loss, fraction: 0.3 } }
  - generate: { pgd: { modalities: [image, audio], epsilon: 8/255, audio_epsilon: 0.002, steps: 2 } }
  - verify: { within_ball: {} }
  - feed: { manifest: { path: hard } }
"#;
    let base = trained.folder.path();
    let before = fs::read(trained.root().join("model.safetensors")).unwrap();
    let done = Done::of(plan_in(base, text, &[]));
    let record = done.record();
    assert!(record.candidates.fed > 0 && record.problems().is_empty(), "{record:#?}");
    assert!(done.results().is_null());
    for manifest in ["generated/manifest.jsonl", "hard/manifest.jsonl"] {
        let source = Manifest::new(manifest).open(&done.root()).unwrap();
        assert_eq!(source.entries().len() as u64, record.candidates.fed, "{manifest}");
        let heard: ModalitySet = [Modality::Image, Modality::Audio].into_iter().collect();
        assert!(source.entries().iter().all(|entry| !entry.present.and(heard).is_empty()));
    }
    assert!(done.root().join("report.html").is_file());
    assert_eq!(fs::read(done.root().join("model.safetensors")).unwrap(), before);
    // Other classes than those of the data are refused.
    let folder = File::new(&text.replace("limit: 60", "limit: 3").replace("out/model", &format!("{}/model", trained.root().display())));
    let told = folder.run(&[]);
    assert_eq!(told.code, Some(1), "{told:#?}");
    assert!(told.error().ends_with("the model knows the classes [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"], the data has [\"2\", \"3\", \"6\"]"), "{told:#?}");
    // No such model.
    let none = File::new(text).run(&[]);
    none.failed(1, "file ./out/model.safetensors: No such file or directory (os error 2)");
}

#[test]
fn the_binary_and_the_library_give_the_same_bytes() {
    let text = [HEAD, STAGES].concat();
    let file = File::new(&text);
    let told = file.run(&["--json"]);
    assert_eq!(told.code, Some(0), "{told:#?}");
    let printed: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    let library = Done::of(plan_in(Path::new("."), &text, &[]));
    assert_eq!(printed["run"]["output"], library.digest().to_string());
    assert_eq!(printed["results"], *library.results());
}
