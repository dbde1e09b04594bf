//! Signs that an attack was too weak because the model hides its gradients, not because it is robust.

use super::robust::BATCH;
use crate::{
    augment::ball::{self, Ball},
    error::Result,
    generate::pgd::{Ascent, AttackConfig, Budget, Method, Radius, Until, ascend},
    model::{Input, Model, Target, measure},
    random::SeedTree,
    record::MaskingCheck,
    sample::{Modality, ModalitySet, Norm},
};
use std::sync::Arc;

/// Random points of the ball that each sample is tried at: as many as a search without gradients would ask about in a small budget.
const RANDOM_POINTS: usize = 50;
/// Proposals of the black-box attack for every gradient step.
const PROPOSALS: usize = 5;
/// Points of accuracy that a check may be off before it warns: a few samples of a hundred.
const SLACK: f64 = 0.02;
/// Samples that may be off however few there are.
const STRAY: f64 = 2.0;

/// The samples that the checks are made on: those that are right unattacked, with their targets and seeds.
pub(super) struct Standing<'a> {
    pub inputs: &'a [Input],
    pub targets: &'a [Target],
    pub seeds: &'a [SeedTree],
}

/// Counts of the checks, summed over batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Masking {
    samples: u64,
    right: [u64; 3],
    unbounded: u64,
    random_only: u64,
    black_box_only: u64,
    flat: u64,
    loss: [f64; 3],
    measured: [u64; 3],
    /// Whether the attack has one step, so that more of them cannot be held against fewer.
    one_step: bool,
}

impl Masking {
    /// Runs the checks on some samples, under the budgets of `attack` (its steps, one restart).
    pub fn add(&mut self, model: &dyn Model, standing: &Standing<'_>, attack: &AttackConfig) -> Result<()> {
        for from in (0..standing.inputs.len()).step_by(BATCH) {
            let to = (from + BATCH).min(standing.inputs.len());
            let part =
                Standing { inputs: &standing.inputs[from..to], targets: &standing.targets[from..to], seeds: &standing.seeds[from..to] };
            self.add_batch(model, &part, attack)?;
        }
        Ok(())
    }

    fn add_batch(&mut self, model: &dyn Model, part: &Standing<'_>, attack: &AttackConfig) -> Result<()> {
        let (inputs, targets, count) = (part.inputs, part.targets, part.inputs.len());
        self.one_step = attack.steps == 1;
        if count == 0 {
            return Ok(());
        }
        let seeds = |name: &str| part.seeds.iter().map(|seeds| seeds.child(name)).collect::<Vec<_>>();
        let right = |points: &[Input]| -> Result<Vec<bool>> {
            let logits = model.forward(points)?.logits;
            Ok((0..points.len()).map(|i| measure::argmax(logits.row(i)) == targets[i].class()).collect())
        };
        // The same objective with a step, with a quarter of the steps, with all.
        let mut withstood = vec![true; count];
        for (at, steps) in [1, attack.steps.div_ceil(4), attack.steps].into_iter().enumerate() {
            let config = AttackConfig { steps, restarts: 1, until: Until::Steps, ..attack.clone() };
            let ascents = ascend(model, inputs, targets, &config, &seeds("white box"))?;
            for (i, ascent) in ascents.iter().enumerate() {
                // The searches it is held against count any point that fools, and so does the robust accuracy: not only the one of the largest loss.
                withstood[i] = !ascent.fooled && ascent.finite;
                self.right[at] += u64::from(withstood[i]);
                if ascent.cross_entropy.is_finite() {
                    self.loss[at] += f64::from(ascent.cross_entropy);
                    self.measured[at] += 1;
                }
            }
        }
        let slopes = model.gradient(inputs, targets, attack.objective, attack.modalities())?;
        let flat = |i: usize| {
            // Where the model gives no gradient of what it was given, or one that is no number, the attack did not move either.
            let mut all = inputs[i].present().and(attack.modalities()).iter().map(|modality| slopes.of(modality, i)).peekable();
            let broken = || Modality::ALL.into_iter().filter_map(|m| slopes.of(m, i)).any(|g| g.iter().any(|v| !v.is_finite()));
            all.peek().is_some() && (broken() || all.all(|g| g.is_none_or(|g| g.iter().all(|v| *v == 0.0))))
        };
        self.flat += (0..count).filter(|&i| flat(i)).count() as u64;
        // Steps long enough to cross the whole range of the values.
        let wide = AttackConfig { until: Until::Misclassified, restarts: 1, ..unbounded(attack) };
        // A modality that is not attacked would hold the answer up whatever becomes of the others.
        let alone: Vec<Input> = inputs.iter().map(|input| input.only(attack.modalities())).collect();
        let ascents = ascend(model, &alone, targets, &wide, &seeds("unbounded"))?;
        let held = |(input, ascent): (&Input, &Ascent)| !input.present().is_empty() && !ascent.solved && ascent.finite;
        self.unbounded += alone.iter().zip(&ascents).filter(|pair| held(*pair)).count() as u64;
        let square = AttackConfig {
            method: Method::Square { share: 0.8 },
            steps: attack.steps.saturating_mul(PROPOSALS),
            restarts: 1,
            until: Until::Misclassified,
            ..attack.clone()
        };
        let black = ascend(model, inputs, targets, &square, &seeds("square"))?;
        self.black_box_only += (0..count).filter(|&i| withstood[i] && black[i].solved).count() as u64;
        let mut found = vec![false; count];
        for draw in 0..RANDOM_POINTS {
            let points: Vec<Input> = inputs
                .iter()
                .zip(part.seeds)
                .map(|(input, seeds)| random_point(input, attack, &seeds.child("random").variant(draw)))
                .collect();
            right(&points)?.into_iter().zip(&mut found).for_each(|(right, found)| *found |= !right);
        }
        self.random_only += (0..count).filter(|&i| withstood[i] && found[i]).count() as u64;
        self.samples += count as u64;
        Ok(())
    }

    /// What the checks say; none where no sample was left to attack. Those that hold more steps against fewer are left out where the attack has one.
    pub fn checks(&self, attacked: ModalitySet) -> Vec<MaskingCheck> {
        if self.samples == 0 {
            return Vec::new();
        }
        let share = |n: u64| n as f64 / self.samples as f64;
        let slack = SLACK.max(STRAY / self.samples as f64);
        let mean = |at: usize| self.loss[at] / self.measured[at].max(1) as f64;
        let check = |name: &str, value: f64, limit: f64| MaskingCheck {
            attacked,
            check: name.to_owned(),
            samples: self.samples,
            value,
            limit,
            passed: value <= limit,
        };
        let more = |from: usize, to: usize| self.right[to].saturating_sub(self.right[from]);
        let against_steps = [
            // How much the loss falls, at most, from fewer steps to more.
            check("loss_against_steps", (mean(0) - mean(1)).max(mean(1) - mean(2)).max(0.0), SLACK * mean(2).abs().max(1.0)),
            check("accuracy_against_steps", share(more(1, 2).max(more(0, 1))), slack),
        ];
        let others = [
            check("random_search_beats_gradient", share(self.random_only), slack),
            check("black_box_beats_white_box", share(self.black_box_only), slack),
            check("unbounded_radius", share(self.unbounded), 0.05),
            check("zero_gradients", share(self.flat), 0.05),
        ];
        against_steps.into_iter().filter(|_| !self.one_step).chain(others).collect()
    }
}

/// The attack with the radius of the whole range of the values, and longer steps to match.
fn unbounded(attack: &AttackConfig) -> AttackConfig {
    let wide = |budget: Option<Budget>, range: f64| budget.map(|_| Budget::new(Norm::Linf, range));
    AttackConfig {
        image: wide(attack.image, 1.0),
        audio: wide(attack.audio, 2.0),
        steps: attack.steps.max(20),
        step_radii: Some(0.1),
        // One budget for both would be less than the whole range of either.
        shared: None,
        ..attack.clone()
    }
}

fn random_point(input: &Input, attack: &AttackConfig, seeds: &SeedTree) -> Input {
    let mut point = input.clone();
    let draw = |modality: Modality, budget: Option<Budget>, values: &mut Vec<f32>, ball: fn(Norm, f64) -> Ball| {
        if let Some((norm, Radius::Absolute(radius))) = budget.map(|budget| (budget.norm, budget.radius)) {
            *values = ball(norm, radius).random_start(values, &mut seeds.child(modality.name()).rng());
        }
    };
    if let Some(pixels) = &mut point.image {
        let own = Arc::make_mut(pixels);
        draw(Modality::Image, attack.image, &mut own.values, Ball::pixels);
        if let Some(before) = input.image.as_ref().filter(|before| before.channels == 4) {
            // Opacity is no colour: it stays.
            own.values.chunks_exact_mut(4).zip(before.values.chunks_exact(4)).for_each(|(p, c)| p[3] = c[3]);
        }
    }
    if let Some(wave) = &mut point.audio {
        draw(Modality::Audio, attack.audio, &mut Arc::make_mut(wave).values, Ball::waveform);
    }
    let Some(most) = attack.shared else { return point };
    // All alike are drawn in until the budget that they share holds them, as the attack's are.
    let images =
        input.image.as_ref().zip(point.image.as_mut()).map(|(from, to)| (attack.image, &from.values, &mut Arc::make_mut(to).values));
    let waves =
        input.audio.as_ref().zip(point.audio.as_mut()).map(|(from, to)| (attack.audio, &from.values, &mut Arc::make_mut(to).values));
    let mut moved: Vec<(f64, &Vec<f32>, &mut Vec<f32>)> = Vec::new();
    for (budget, from, to) in images.into_iter().chain(waves) {
        if let Some((norm, Radius::Absolute(radius))) = budget.map(|budget| (budget.norm, budget.radius)).filter(|_| from.len() == to.len())
        {
            moved.push((ball::distance(norm, from, to) / radius, from, to));
        }
    }
    let spent: f64 = moved.iter().map(|(share, ..)| share * share).sum();
    if spent > most {
        let keep = (most / spent).sqrt() as f32;
        for (_, from, to) in moved {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from + keep * (*to - from));
        }
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Error,
        model::{
            Gradients, ModelSpec, OfRow, Outputs, Pixels,
            linear::{LinearModel, RawImage},
        },
        sample::Classes,
    };

    fn honest() -> LinearModel {
        let weights = (0..32).map(|i| if i < 16 { 0.0 } else { (i as f32 * 1.7).sin() }).collect();
        let image = RawImage { width: 16, height: 1, channels: 1, weights };
        LinearModel::from_weights(Classes::from_names(["a", "b"].map(String::from)), vec![0.3, 0.0], Some(image), None).unwrap()
    }

    /// The same answers, but gradients that are all this number: 0 as of a saturated or quantised model, NaN as of an underflow.
    struct Masked(LinearModel, f32);

    impl Model for Masked {
        fn spec(&self) -> &ModelSpec {
            self.0.spec()
        }
        fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
            self.0.forward(inputs)
        }
        fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
            let mut found = self.0.logits_gradient(inputs, wrt, of)?;
            found.image.iter_mut().flatten().for_each(|g| g.fill(self.1));
            Ok(found)
        }
        fn save(&self, _: &std::path::Path) -> Result<()> {
            Err(Error::internal("not saved"))
        }
    }

    fn checks(model: &dyn Model) -> Vec<MaskingCheck> {
        let value = |i: usize, p: usize| 0.5 + 0.45 * ((i * 31 + p * 17) as f32).sin();
        let image = |i: usize| Pixels { width: 16, height: 1, channels: 1, values: (0..16).map(|p| value(i, p)).collect() };
        let inputs: Vec<Input> = (0..40).map(|i| Input { image: Some(Arc::new(image(i))), ..Input::default() }).collect();
        let logits = model.forward(&inputs).unwrap().logits;
        let targets: Vec<Target> = (0..40).map(|i| Target::Class(measure::argmax(logits.row(i)))).collect();
        let seeds: Vec<SeedTree> = (0..40).map(|i| SeedTree::new(5).variant(i)).collect();
        let attack = AttackConfig { image: Some(Budget::new(Norm::Linf, 0.1)), steps: 20, random_start: false, ..AttackConfig::default() };
        let mut masking = Masking::default();
        masking.add(model, &Standing { inputs: &inputs, targets: &targets, seeds: &seeds }, &attack).unwrap();
        masking.checks(ModalitySet::IMAGE)
    }

    #[test]
    fn two_samples_may_stray_however_few_there_are() {
        let failed = |samples: u64, stray: u64| {
            let one = Masking { samples, random_only: stray, black_box_only: stray, right: [6, 6, 6 + stray], ..Masking::default() };
            one.checks(ModalitySet::IMAGE).into_iter().filter(|check| !check.passed).count()
        };
        assert_eq!([failed(20, 1), failed(20, 2), failed(20, 3)], [0, 0, 3]);
        assert_eq!([failed(200, 4), failed(200, 5)], [0, 3]);
        let of = |one_step: bool| Masking { samples: 20, one_step, ..Masking::default() }.checks(ModalitySet::IMAGE).len();
        assert_eq!([of(false), of(true)], [6, 4]);
    }

    /// Wrong in a narrow stretch of the way, where the loss is lower than behind it.
    struct Pocket(LinearModel);

    impl Pocket {
        fn logits(x: f32) -> [f32; 3] {
            match x {
                x if (0.56..0.64).contains(&x) => [0.0, 0.1, -9.0],
                // Of three nearly equal classes the right one is first, and its loss is larger.
                x if x >= 0.64 => [0.3 - 0.2 * x, 0.0, 0.0],
                x => [2.0 - x, 0.0, 0.0],
            }
        }
    }

    impl Model for Pocket {
        fn spec(&self) -> &ModelSpec {
            self.0.spec()
        }
        fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
            let mut found = self.0.forward(inputs)?;
            for (row, input) in inputs.iter().enumerate() {
                let x = input.image.as_ref().map_or(0.0, |image| image.values[0]);
                found.logits.values[3 * row..3 * row + 3].copy_from_slice(&Self::logits(x));
            }
            Ok(found)
        }
        fn logits_gradient(&self, inputs: &[Input], _: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
            let logits = self.forward(inputs)?.logits;
            let objective = (0..inputs.len()).map(|row| of(row, logits.row(row)).0).collect();
            Ok(Gradients { objective, logits, image: vec![Some(vec![1.0]); inputs.len()], ..Gradients::default() })
        }
        fn save(&self, _: &std::path::Path) -> Result<()> {
            Err(Error::internal("not saved"))
        }
    }

    #[test]
    fn a_point_that_fools_counts_wherever_it_was_met() {
        let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![0.0; 3] };
        let classes = Classes::from_names(["a", "b", "c"].map(String::from));
        let model = Pocket(LinearModel::from_weights(classes, vec![0.0; 3], Some(image), None).unwrap());
        let pixels = Pixels { width: 1, height: 1, channels: 1, values: vec![0.5] };
        let inputs = vec![Input { image: Some(Arc::new(pixels)), ..Input::default() }; 4];
        let seeds: Vec<SeedTree> = (0..4).map(|i| SeedTree::new(5).variant(i)).collect();
        let attack = AttackConfig { image: Some(Budget::new(Norm::Linf, 0.3)), random_start: false, ..AttackConfig::default() };
        let mut masking = Masking::default();
        masking.add(&model, &Standing { inputs: &inputs, targets: &vec![Target::Class(0); 4], seeds: &seeds }, &attack).unwrap();
        // The last of its points, where it stops, is right; random points find the stretch that it went through.
        assert_eq!((masking.right[2], masking.random_only, masking.black_box_only), (0, 0, 0), "{masking:?}");
    }

    #[test]
    fn opacity_is_not_drawn() {
        let image = Pixels { width: 2, height: 1, channels: 4, values: vec![0.5; 8] };
        let input = Input { image: Some(Arc::new(image)), ..Input::default() };
        let attack = AttackConfig { image: Some(Budget::new(Norm::Linf, 0.2)), ..AttackConfig::default() };
        let found = random_point(&input, &attack, &SeedTree::new(3)).image.unwrap();
        let stayed: Vec<bool> = found.values.iter().map(|v| *v == 0.5).collect();
        assert_eq!(stayed, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn random_points_keep_a_shared_budget() {
        let image = Pixels { width: 4, height: 4, channels: 1, values: vec![0.5; 16] };
        let audio = crate::model::Waveform { sample_rate_hz: 8000, channels: 1, values: vec![0.1; 50] };
        let input = Input { image: Some(Arc::new(image)), audio: Some(Arc::new(audio)), ..Input::default() };
        let budget = |epsilon| Some(Budget::new(Norm::Linf, epsilon));
        let alone = AttackConfig { image: budget(0.1), audio: budget(0.02), ..AttackConfig::default() };
        let spent = |attack: &AttackConfig, seed: u64| {
            let point = random_point(&input, attack, &SeedTree::new(seed));
            let of = |a: &[f32], b: &[f32], epsilon: f64| (ball::distance(Norm::Linf, a, b) / epsilon).powi(2);
            of(&point.image.as_ref().unwrap().values, &input.image.as_ref().unwrap().values, 0.1)
                + of(&point.audio.as_ref().unwrap().values, &input.audio.as_ref().unwrap().values, 0.02)
        };
        assert_eq!(unbounded(&AttackConfig { shared: Some(1.0), ..alone.clone() }).shared, None);
        for seed in 0..20 {
            let shared = spent(&AttackConfig { shared: Some(1.0), ..alone.clone() }, seed);
            assert!(spent(&alone, seed) > 1.2 && (0.9..=1.0 + 1e-4).contains(&shared), "{shared}");
        }
    }

    #[test]
    fn a_model_that_gives_no_gradient_is_told() {
        /// Promises a gradient and gives none, as a module that detaches its input does.
        struct Detached(LinearModel);
        impl Model for Detached {
            fn spec(&self) -> &ModelSpec {
                self.0.spec()
            }
            fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
                self.0.forward(inputs)
            }
            fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
                let mut found = self.0.logits_gradient(inputs, wrt, of)?;
                found.image.iter_mut().for_each(|g| *g = None);
                Ok(found)
            }
            fn save(&self, _: &std::path::Path) -> Result<()> {
                Err(Error::internal("not saved"))
            }
        }
        let found = checks(&Detached(honest()));
        assert!(found.iter().any(|check| check.check == "zero_gradients" && !check.passed), "{found:?}");
    }

    #[test]
    fn an_honest_model_passes_and_one_without_gradients_is_told() {
        let good = checks(&honest());
        assert_eq!(good.len(), 6);
        assert!(good.iter().all(|check| check.passed && check.samples == 40), "{good:?}");
        let bad = checks(&Masked(honest(), 0.0));
        let failed: Vec<&str> = bad.iter().filter(|check| !check.passed).map(|check| check.check.as_str()).collect();
        assert_eq!(failed, ["random_search_beats_gradient", "black_box_beats_white_box", "unbounded_radius", "zero_gradients"], "{bad:?}");
        // An attack that breaks off is none that was withstood, but neither does it say anything.
        let broken = checks(&Masked(honest(), f32::NAN));
        assert!(broken.iter().any(|check| check.check == "zero_gradients" && !check.passed && check.value == 1.0), "{broken:?}");
        assert!(Masking::default().checks(ModalitySet::IMAGE).is_empty());
    }
}
