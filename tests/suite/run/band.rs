//! Neighbours in the band of difficulty, and with `band: false` anywhere.

use super::{Done, HEAD, builder, plan_in};
use hardmine::{
    feed::Replay,
    generate::synchronized::Synchronized,
    mine::Band,
    pipeline::{Plan, TrainPlan},
    registry::Registry,
    run::spec::Spec,
    sample::{Lineage, ReasonCode},
    score::Loss,
    verify::InBand,
};
use serde::de::DeserializeOwned;
use std::path::Path;

const STAGES: &str = r#"
stages:
  - score: { loss: {} }
  - mine: { band: { by: loss, low: 0.3, high: 0.7 } }
  - generate: { synchronized: {} }
    for: [near_boundary]
  - verify: { in_band: {} }
  - feed: { replay: { share: 0.3 } }
"#;

fn written(changes: &[&str]) -> Plan {
    plan_in(Path::new("."), &[HEAD, STAGES].concat(), &[&["data.limit=60"], changes].concat())
}

/// How many children were fed, and how many of them the band of their round would have refused.
fn fed(done: &Done) -> (usize, usize) {
    let record = done.record();
    let lineages: Vec<Lineage> = done.lines("generated/lineage.jsonl");
    let refused = |lineage: &&Lineage| {
        let of_round = record.bands.iter().find(|band| band.round == lineage.round).and_then(|band| band.band);
        !of_round.expect("each round has a band").holds(lineage.scores_after["loss"])
    };
    (lineages.len(), lineages.iter().filter(refused).count())
}

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

#[test]
fn without_the_band_children_are_fed_that_it_would_have_refused() {
    let usual = Done::of(written(&[]));
    let (all, refused) = fed(&usual);
    assert!(all > 0 && refused == 0, "{refused} of {all}");
    assert!(usual.record().pipeline["stages"][2].get("band").is_none());
    let anywhere = Done::of(written(&["stages.synchronized.band=false"]));
    let (all, refused) = fed(&anywhere);
    assert!(refused > 0 && refused < all, "{refused} of {all}");

    // What the run wrote is the same pipeline, read again.
    let record = anywhere.record();
    assert_eq!(record.pipeline["stages"][2]["band"], false);
    let spec = Spec::parse("run.json", ".", record.pipeline.to_string()).unwrap();
    let again = spec.plan(&Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"));
    assert!(!again.stages.generate[0].in_band);
    assert_eq!((&again.resolved, again.digest), (&record.pipeline, record.plan));

    let built = builder(TrainPlan { warmup_epochs: 5, rounds: 1, ..TrainPlan::default() })
        .score(Loss::default())
        .mine(read::<Band>(r#"{ "by": "loss", "low": 0.3, "high": 0.7 }"#))
        .generate(Synchronized::default())
        .serves(&[ReasonCode::NearBoundary])
        .anywhere()
        .verify(InBand::default())
        .feed(read::<Replay>(r#"{ "share": 0.3 }"#))
        .build()
        .unwrap();
    assert!(!built.stages.generate[0].in_band);
    assert_eq!(built.resolved, record.pipeline);
    let done = Done::of(built);
    assert_eq!((done.digest(), fed(&done)), (anywhere.digest(), (all, refused)));
}
