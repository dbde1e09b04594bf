//! Every objective on a burn module of one's own.

use super::*;
use crate::model::adapter::tests::{input, trainer};
use serde_json::json;

#[test]
fn a_burn_module_learns_every_objective() {
    let objectives = [
        json!({ "cross_entropy": {} }),
        json!({ "focal": { "gamma": 2.0, "alpha": { "a": 0.5 } } }),
        json!({ "ohem": { "keep": 0.5 } }),
        json!({ "superloss": {} }),
        json!({ "consistency": {} }),
        json!({ "madry": { "balls": { "image": 0.02, "audio": 0.01 }, "steps": 2 } }),
        json!({ "trades": { "balls": { "image": 0.02 }, "steps": 2, "beta": 2.0 } }),
        json!({ "fgsm_rs": { "balls": { "image": 0.02 } } }),
        json!({ "free": { "balls": { "image": 0.02, "audio": 0.01 }, "replays": 2 } }),
        json!({ "freelb": { "balls": { "audio": 0.01 }, "steps": 2 } }),
        json!({ "villa": { "balls": { "image": 0.02, "audio": 0.01 }, "steps": 2 } }),
    ];
    // An odd number of rows in two graphs; every fifth has no picture.
    let inputs: Vec<Input> = (0..21).map(input).collect();
    let targets: Vec<Target> = (0..21).map(|i| Target::Class(i % 3)).collect();
    let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 21], learning_rate: 0.02 };
    for written in objectives {
        let objective: TrainingObjective = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{written}: {error}"));
        let run = |threads: usize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let (mut model, mut own) = (trainer(), OwnLoop::new(objective.clone()).unwrap());
                let mut losses = Vec::new();
                for step in 0..50 {
                    let seen = own.step(&mut model, &batch, None, 1.0, &SeedTree::new(5).variant(step)).unwrap();
                    assert_eq!((seen.losses.len(), seen.logits.rows()), (21, 21), "{written}");
                    losses.push(seen.losses.iter().sum::<f32>());
                }
                (losses, Trainable::spec(&model).digest, own.spent())
            })
        };
        let (losses, digest, spent) = run(1);
        assert!(losses[49] < 0.7 * losses[0], "{written}: {} {}", losses[0], losses[49]);
        assert_eq!(digest, run(2).1, "{written}");
        // `free` and `freelb` take their gradients from the step itself.
        let attacked = ["madry", "trades", "fgsm_rs", "villa"].iter().any(|name| written.get(name).is_some());
        assert_eq!(spent.gradient > 0, attacked, "{written}");
    }
}
