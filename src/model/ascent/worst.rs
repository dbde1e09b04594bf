//! The worst of several attacks.

use super::{Aim, Ascent, AttackConfig, Budget, Method, Until, ascend};
use crate::{
    error::{Error, Result},
    model::{Input, Model, Objective, Target},
    random::SeedTree,
};

/// What the worst of several attacks made of one sample.
#[derive(Debug, Clone)]
pub struct Worst {
    /// The ascent that is kept: the first that solved the sample, else the one with the largest cross entropy. Its evaluations are those of all attacks.
    pub ascent: Ascent,
    /// Which attack of the list it is of.
    pub attack: usize,
}

/// Runs several attacks one after another, each on the samples that none before it has solved, and keeps the worst case of each sample. An attack `i` draws from
/// `seeds[sample].child("attack i")`.
///
/// # Errors
/// Those of [`ascend`], and an empty list of attacks.
///
/// Reference: Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks" (the worst case).
pub fn worst_of(
    model: &dyn Model,
    inputs: &[Input],
    targets: &[Target],
    attacks: &[AttackConfig],
    seeds: &[SeedTree],
) -> Result<Vec<Worst>> {
    if attacks.is_empty() {
        return Err(Error::usage("expected at least one attack, found none"));
    }
    let mut worst: Vec<Option<Worst>> = vec![None; inputs.len()];
    for (attack, config) in attacks.iter().enumerate() {
        let open: Vec<usize> = (0..inputs.len()).filter(|&i| worst[i].as_ref().is_none_or(|w| !w.ascent.solved)).collect();
        let own: Vec<Input> = open.iter().map(|&i| inputs[i].clone()).collect();
        let their: Vec<Target> = open.iter().filter_map(|&i| targets.get(i).cloned()).collect();
        let nodes: Vec<SeedTree> = open.iter().filter_map(|&i| Some(seeds.get(i)?.child(format!("attack {attack}")))).collect();
        for (i, found) in open.into_iter().zip(ascend(model, &own, &their, config, &nodes)?) {
            worst[i] = Some(match worst[i].take() {
                None => Worst { ascent: found, attack },
                Some(before) => {
                    let (gradients, forwards) = (before.ascent.gradients + found.gradients, before.ascent.forwards + found.forwards);
                    let finite = before.ascent.finite && found.finite;
                    let fooled = before.ascent.fooled || found.fooled;
                    let worse = found.finite
                        && (found.solved || before.ascent.cross_entropy.is_nan() || found.cross_entropy > before.ascent.cross_entropy);
                    let (kept, attack) = if worse { (found, attack) } else { (before.ascent, before.attack) };
                    Worst { ascent: Ascent { gradients, forwards, finite, fooled, ..kept }, attack }
                }
            });
        }
    }
    worst.into_iter().map(|worst| worst.ok_or_else(|| Error::internal("a sample without an attack"))).collect()
}

/// The list of attacks that AutoAttack is made of, without FAB: APGD on the cross entropy, APGD on the margin towards each of the three most probable other
/// classes, and Square with ten proposals for every step. Budgets and steps are those of `like`; every attack ends where the sample is misclassified.
/// Differences from the paper: the targeted attacks descend the margin loss of the class they want in place of the targeted DLR.
///
/// Reference: Croce and Hein 2020, sections 4 and 5.
pub fn auto_attack(like: &AttackConfig) -> Vec<AttackConfig> {
    let parameter_free = |budget: Option<Budget>| budget.map(|budget| Budget { step_size: None, ..budget });
    let base = AttackConfig {
        image: parameter_free(like.image),
        audio: parameter_free(like.audio),
        text: parameter_free(like.text),
        step_radii: None,
        random_start: true,
        method: Method::Apgd,
        objective: Objective::CrossEntropy,
        until: Until::Misclassified,
        aim: None,
        ..like.clone()
    };
    let targeted =
        (1..=3).map(|place| AttackConfig { objective: Objective::CarliniWagner, aim: Some(Aim::RunnerUp(place)), ..base.clone() });
    let square = AttackConfig {
        method: Method::Square { share: 0.8 },
        objective: Objective::CarliniWagner,
        steps: like.steps.saturating_mul(10),
        restarts: 1,
        ..base.clone()
    };
    std::iter::once(base.clone()).chain(targeted).chain([square]).collect()
}
