//! The stages of a pipeline file, composed in code: the same plan through the same door, run into a folder.
//!
//! `cargo run --release --example compose_stages`

use hardmine::{
    diagnose::Reasons,
    error::Result,
    feed,
    generate::{modality_dropout::ModalityDropout, pgd::Pgd},
    mine::Band,
    model::linear::Linear,
    pipeline::{Arm, Plan, TrainPlan},
    progress::Silent,
    read,
    run::{self, Options},
    score,
    verify::{InBand, LabelKept, WithinBall},
};

pub fn main() -> Result<()> {
    let plan = Plan::builder()
        .name("in code")
        .seed(7)
        .train_data(read::Manifest::new("builtin:digits/train.jsonl"))
        .validation_data(read::Manifest::new("builtin:digits/val.jsonl"))
        .limit(200)
        .model(Linear::default())
        .train(TrainPlan { warmup_epochs: 3, rounds: 1, epochs_per_round: 1, ..TrainPlan::default() })
        .score(score::Loss::default())
        .score(score::OutOfFold::default())
        .score(score::Uncertainty::default())
        .score(score::Quality::default())
        .score(score::Inconsistency::default())
        .diagnose(Reasons::default())
        .mine(Band::default())
        .generate(Pgd { steps: Some(5), ..Pgd::default() })
        .id("attack")
        .generate(ModalityDropout::default())
        .verify(LabelKept::default())
        .verify(WithinBall::default())
        .verify(InBand::default())
        .feed(feed::Replay::default())
        .compare(&[Arm::Uniform, Arm::Hardmine], 1)
        .build()?;
    let out = std::env::temp_dir().join(format!("hardmine-compose-stages-{}", std::process::id()));
    let summary = run::execute(plan, &Options { out: out.clone(), threads: None }, &Silent)?;
    summary.lines.iter().for_each(|line| println!("{line}"));
    std::fs::remove_dir_all(&out).map_err(|error| hardmine::error::Error::io(&out, error))
}
