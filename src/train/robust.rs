//! Robust accuracy: white box, on each arm's own weights, jointly and a modality at a time.

use super::masking::{Masking, Standing};
use crate::{
    error::Result,
    generate::pgd::{AttackConfig, Budget, Until, ascend, auto_attack, worst_of},
    model::{Input, Model, Objective, Target, measure},
    pipeline::{RobustPlan, Split},
    progress::Progress,
    random::SeedTree,
    record::{Accuracy, MaskingCheck, RobustAccuracy, RobustBudget},
    sample::{Modality, ModalitySet, Take},
    units::Epsilon,
};
use std::sync::Arc;

/// Samples attacked together; bounds the media in memory.
pub(super) const BATCH: usize = 128;
/// Samples right unattacked that the checks for masked gradients are made on.
const CHECKED: usize = 64;

/// Which test samples are attacked: all, or so many as the plan takes.
pub(super) fn chosen(split: &Split, plan: &RobustPlan) -> Vec<usize> {
    let samples = plan.samples;
    let labelled: Vec<usize> = (0..split.len()).filter(|&i| split.label(i).is_some()).collect();
    if samples == 0 || samples >= labelled.len() {
        return labelled;
    }
    match plan.take {
        Take::Spread => (0..samples).map(|k| labelled[k * labelled.len() / samples]).collect(),
        Take::First => labelled[..samples].to_vec(),
    }
}

/// The budget, as a record states it.
pub fn budget(plan: &RobustPlan, split: &Split) -> RobustBudget {
    RobustBudget {
        norm: plan.norm,
        shared: plan.shared,
        image_epsilon: plan.image_epsilon.get(),
        audio_epsilon: plan.audio_epsilon.get(),
        method: plan.method.name().to_owned(),
        random_start: plan.starts_at_random(),
        image_step: plan.step_size.map(Epsilon::get),
        audio_step: plan.audio_step_size.map(Epsilon::get),
        steps: plan.steps,
        restarts: plan.restarts,
        samples: chosen(split, plan).len() as u64,
        take: plan.take,
        auto_attack: plan.auto_attack,
    }
}

/// The attack on a set of modalities, on the cross entropy.
fn attack_on(plan: &RobustPlan, set: ModalitySet) -> AttackConfig {
    let budget = |m: Modality, epsilon: Epsilon, step: Option<Epsilon>| {
        set.has(m).then(|| Budget { step_size: step.map(Epsilon::get), ..Budget::new(plan.norm, epsilon.get()) })
    };
    AttackConfig {
        image: budget(Modality::Image, plan.image_epsilon, plan.step_size),
        audio: budget(Modality::Audio, plan.audio_epsilon, plan.audio_step_size),
        shared: (plan.shared && set.len() > 1).then_some(1.0),
        steps: plan.steps,
        step_radii: plan.method.radii(),
        random_start: plan.starts_at_random(),
        restarts: plan.restarts,
        method: plan.method.rule(),
        until: Until::Misclassified,
        ..AttackConfig::default()
    }
}

/// Accuracy under projected gradient ascent: for images and audio together and for each alone, on cross entropy, and the worst of that
/// and of the margin loss (which is run on the samples that withstood the first); where the plan asks for it, also the worst of these and an ensemble of attacks. A sample that is wrong unattacked counts as wrong. With it the checks
/// for masked gradients, on the first samples that are right unattacked, all modalities together.
///
/// Reference: Madry et al. 2018; Athalye, Carlini and Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section 3.1 (the checks).
pub fn robust(
    name: &str,
    model: &Arc<dyn Model>,
    split: &Split,
    plan: &RobustPlan,
    withhold: ModalitySet,
    seeds: &SeedTree,
    progress: &dyn Progress,
) -> Result<(Vec<RobustAccuracy>, Vec<MaskingCheck>)> {
    let order = chosen(split, plan);
    let both: ModalitySet = [(Modality::Image, plan.image_epsilon), (Modality::Audio, plan.audio_epsilon)]
        .into_iter()
        .filter_map(|(m, radius)| (radius.get() > 0.0 && model.spec().gradients.has(m) && !withhold.has(m)).then_some(m))
        .collect();
    let attacked: Vec<ModalitySet> = std::iter::once(both).chain(both.iter().map(ModalitySet::one)).filter(|set| !set.is_empty()).collect();
    let mut sets: Vec<ModalitySet> = Vec::new();
    attacked.into_iter().for_each(|set| {
        if !sets.contains(&set) {
            sets.push(set)
        }
    });
    if sets.is_empty() {
        progress.warn(&format!(
            "{name} was not attacked: an evaluation perturbs image and audio, and of those with a radius the model gives the gradient of none that it is given"
        ));
        return Ok((Vec::new(), Vec::new()));
    }
    let kept: ModalitySet = Modality::ALL.into_iter().filter(|m| !withhold.has(*m)).collect();
    let mut right = vec![[0u64; 3]; sets.len()];
    // Samples of each set that have something to attack.
    let mut having = vec![0u64; sets.len()];
    let (mut masking, mut checked) = (Masking::default(), 0);
    let step = progress.begin(&format!("attack {name}"), (order.len() * sets.len()) as u64);
    split.stream(&order, BATCH, |batch| {
        let inputs: Vec<Input> = batch.iter().map(|(_, sample)| Input::of(sample).only(kept)).collect();
        let targets: Vec<Target> =
            batch.iter().filter_map(|(_, sample)| sample.label.as_ref().map(|label| Target::Class(label.class()))).collect();
        let clean = model.forward(&inputs)?;
        let standing: Vec<usize> = (0..inputs.len()).filter(|&i| measure::argmax(clean.logits.row(i)) == targets[i].class()).collect();
        for ((set, right), having) in sets.iter().zip(&mut right).zip(&mut having) {
            *having += inputs.iter().filter(|input| !input.present().and(*set).is_empty()).count() as u64;
            let mut left = standing.clone();
            let attack = attack_on(plan, *set);
            if *set == both && checked < CHECKED {
                let some: Vec<usize> = standing.iter().copied().take(CHECKED - checked).collect();
                checked += some.len();
                let own: Vec<Input> = some.iter().map(|&i| inputs[i].clone()).collect();
                let their: Vec<Target> = some.iter().map(|&i| targets[i].clone()).collect();
                let nodes: Vec<SeedTree> = some.iter().map(|&i| seeds.child("masking").sample(&batch[i].1.id)).collect();
                masking.add(model.as_ref(), &Standing { inputs: &own, targets: &their, seeds: &nodes }, &attack)?;
            }
            for (at, objective) in [Objective::CrossEntropy, Objective::CarliniWagner].into_iter().enumerate() {
                let config = AttackConfig { objective, ..attack.clone() };
                let own: Vec<Input> = left.iter().map(|&i| inputs[i].clone()).collect();
                let their: Vec<Target> = left.iter().map(|&i| targets[i].clone()).collect();
                let nodes: Vec<SeedTree> = left.iter().map(|&i| seeds.child(format!("{set} {at}")).sample(&batch[i].1.id)).collect();
                let ascents = ascend(model.as_ref(), &own, &their, &config, &nodes)?;
                // A sample whose gradient is not a number was not attacked: it does not count as one that withstood.
                left = left.into_iter().zip(ascents).filter(|(_, ascent)| !ascent.solved && ascent.finite).map(|(i, _)| i).collect();
                right[at] += left.len() as u64;
            }
            if plan.auto_attack {
                let own: Vec<Input> = left.iter().map(|&i| inputs[i].clone()).collect();
                let their: Vec<Target> = left.iter().map(|&i| targets[i].clone()).collect();
                let nodes: Vec<SeedTree> = left.iter().map(|&i| seeds.child(format!("{set} auto")).sample(&batch[i].1.id)).collect();
                let worst = worst_of(model.as_ref(), &own, &their, &auto_attack(&attack), &nodes)?;
                right[2] += worst.iter().filter(|worst| !worst.ascent.solved && worst.ascent.finite).count() as u64;
            }
            step.advance(batch.len() as u64);
        }
        Ok(())
    })?;
    let n = order.len() as u64;
    for (set, _) in sets.iter().zip(&having).filter(|(_, having)| **having == 0) {
        progress.warn(&format!("{name} was not attacked in {set}: no sample has any of it"));
    }
    let attacked = sets.iter().zip(right).zip(having.iter().copied()).filter_map(|(of_set, having)| (having > 0).then_some(of_set));
    let rows = attacked.flat_map(|(set, right)| {
        let row = move |objective: &str, right: u64| {
            Accuracy::of(right, n).map(|a| RobustAccuracy {
                attacked: *set,
                objective: objective.to_owned(),
                attack: String::new(),
                n: a.n,
                accuracy: a.accuracy,
            })
        };
        [row("cross_entropy", right[0]), row("worst", right[1]), row("auto_attack", right[2]).filter(|_| plan.auto_attack)]
    });
    let checks = if having.first() == Some(&0) { Vec::new() } else { masking.checks(both) };
    Ok((rows.flatten().collect(), checks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        generate::pgd::Steps,
        model::{
            Pixels,
            linear::{LinearModel, RawImage},
        },
        sample::Classes,
    };

    /// A picture, the gradient there of a linear model, and what the plan's attack makes of it.
    fn attacked(plan: &RobustPlan) -> [Vec<f32>; 3] {
        let weights = (0..32).map(|i| if i < 16 { 0.0 } else { (i as f32 * 1.7).sin() }).collect();
        let image = RawImage { width: 4, height: 4, channels: 1, weights };
        let classes = Classes::from_names(["a", "b"].map(String::from));
        let model = LinearModel::from_weights(classes, vec![0.3, 0.0], Some(image), None).unwrap();
        let values: Vec<f32> = (0..16).map(|i| 0.5 + 0.3 * (i as f32 * 0.9).sin()).collect();
        let pixels = Pixels { width: 4, height: 4, channels: 1, values: values.clone() };
        let input = [Input { image: Some(Arc::new(pixels)), ..Input::default() }];
        let target = [Target::Class(measure::argmax(model.forward(&input).unwrap().logits.row(0)))];
        let slope = model.gradient(&input, &target, Objective::CrossEntropy, ModalitySet::IMAGE).unwrap();
        let found = ascend(&model, &input, &target, &attack_on(plan, ModalitySet::IMAGE), &[SeedTree::new(3)]).unwrap().remove(0);
        assert_eq!(found.gradients, 1);
        [values, slope.image[0].clone().unwrap(), found.input.image.unwrap().values.clone()]
    }

    #[test]
    fn fgsm_is_one_step_of_the_radius_from_the_sample() {
        let epsilon = |v| Epsilon::new(v).unwrap();
        let one = RobustPlan { image_epsilon: epsilon(0.05), steps: 1, restarts: 1, ..RobustPlan::default() };
        let named = RobustPlan { method: Steps::Fgsm, ..one.clone() };
        let written = RobustPlan { random_start: Some(false), step_size: Some(epsilon(0.05)), ..one.clone() };
        for plan in [named, written] {
            let [from, slope, to] = attacked(&plan);
            let signed: Vec<f32> = from.iter().zip(&slope).map(|(v, g)| v + 0.05f32.copysign(*g)).collect();
            assert_eq!(to, signed, "{plan:?}");
        }
        // A shorter step of the usual attack begins elsewhere.
        let [from, slope, to] = attacked(&RobustPlan { step_size: Some(epsilon(0.02)), ..one });
        assert!(from.iter().zip(&slope).zip(&to).any(|((v, g), t)| (t - v - 0.02f32.copysign(*g)).abs() > 1e-3));
    }
}
