use super::*;
use crate::{
    augment::ball,
    model::{
        Counted, EmbeddedText, OfRow, Outputs, Pixels, Waveform,
        linear::{LinearModel, RawAudio, RawImage},
        preprocess::ImageMap,
    },
    sample::{Classes, Modality, Norm},
};
use std::sync::Arc;

const PIXELS: usize = 12;

fn names(n: usize) -> Classes {
    Classes::from_names((0..n).map(|i| i.to_string()))
}

fn weights() -> Vec<f32> {
    (0..PIXELS).map(|i| (i as f32 * 1.3 + 0.2).cos() * 3.0).collect()
}

/// A logistic model: the margin of class 1 is `w . x - 1`.
fn logistic() -> LinearModel {
    let image = RawImage { width: PIXELS, height: 1, channels: 1, weights: vec![0.0; PIXELS].into_iter().chain(weights()).collect() };
    LinearModel::from_weights(names(2), vec![1.0, 0.0], Some(image), None).unwrap()
}

/// A linear model of four classes.
fn linear() -> LinearModel {
    let weights = (0..4 * PIXELS).map(|i| ((i * i) as f32 * 0.7).sin()).collect();
    let image = RawImage { width: PIXELS, height: 1, channels: 1, weights };
    LinearModel::from_weights(names(4), vec![0.1, 0.2, 0.0, -0.1], Some(image), None).unwrap()
}

fn image(values: Vec<f32>) -> Input {
    Input { image: Some(Arc::new(Pixels { width: values.len(), height: 1, channels: 1, values })), ..Input::default() }
}

fn grey() -> Input {
    image((0..PIXELS).map(|i| 0.4 + 0.02 * i as f32).collect())
}

fn seeds(n: usize) -> Vec<SeedTree> {
    (0..n).map(|i| SeedTree::new(3).sample(format!("s{i}"))).collect()
}

fn attack(norm: Norm, epsilon: f64) -> AttackConfig {
    AttackConfig { image: Some(Budget::new(norm, epsilon)), random_start: false, ..AttackConfig::default() }
}

fn one(model: &dyn Model, input: &Input, class: usize, config: &AttackConfig) -> Ascent {
    ascend(model, std::slice::from_ref(input), &[Target::Class(class)], config, &seeds(1)).unwrap().remove(0)
}

fn values(input: &Input) -> &[f32] {
    &input.image.as_ref().unwrap().values
}

fn dual(norm: Norm, w: &[f32]) -> f64 {
    match norm {
        Norm::Linf => w.iter().map(|d| f64::from(d.abs())).sum(),
        Norm::L2 => w.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt(),
        Norm::L1 => w.iter().map(|d| f64::from(d.abs())).fold(0.0, f64::max),
    }
}

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

#[test]
fn the_optimum_on_a_logistic_model_is_reached_by_every_method() {
    let (model, input) = (logistic(), grey());
    let before: f64 = weights().iter().zip(values(&input)).map(|(w, x)| f64::from(w * x)).sum::<f64>() - 1.0;
    for norm in NORMS {
        // The loss of class 0 is ln(1 + e^m); within the ball the margin m rises by the radius times the dual norm of the weights.
        let best = (before + 0.1 * dual(norm, &weights())).exp().ln_1p();
        let methods = [Method::Pgd, Method::Momentum { decay: 1.0 }, Method::Apgd];
        for method in methods {
            for objective in [Objective::CrossEntropy, Objective::CarliniWagner] {
                let found = one(&model, &input, 0, &AttackConfig { method, objective, steps: 20, ..attack(norm, 0.1) });
                assert!((f64::from(found.cross_entropy) - best).abs() < 1e-5, "{norm:?} {method:?}: {} {best}", found.cross_entropy);
                assert!(ball::distance(norm, values(&found.input), values(&input)) <= 0.1 + 1e-6);
            }
        }
        let fgsm = one(&model, &input, 0, &AttackConfig::fgsm(norm, 0.1));
        assert!((f64::from(fgsm.cross_entropy) - best).abs() < 1e-5 && fgsm.gradients == 1, "{norm:?} {}", fgsm.cross_entropy);
    }
}

#[test]
fn the_optimum_on_a_linear_model_of_several_classes_is_reached() {
    let (model, input) = (linear(), grey());
    let (w, logits) =
        ((0..4 * PIXELS).map(|i| ((i * i) as f32 * 0.7).sin()).collect::<Vec<f32>>(), model.forward(&[grey()]).unwrap().logits);
    // max_k (z_k - z_y) inside the ball: the greatest over k of the margin now plus the radius times the dual norm of the difference.
    let y = measure::argmax(logits.row(0));
    for norm in NORMS {
        let reach = |k: usize| {
            let difference: Vec<f32> = (0..PIXELS).map(|i| w[k * PIXELS + i] - w[y * PIXELS + i]).collect();
            f64::from(logits.row(0)[k] - logits.row(0)[y]) + 0.05 * dual(norm, &difference)
        };
        let best = (0..4).filter(|k| *k != y).map(reach).fold(f64::MIN, f64::max);
        // Each class wanted in turn, the worst is the optimum; a targeted attack on one class is convex.
        let attacks: Vec<AttackConfig> = (1..=3)
            .map(|place| AttackConfig {
                objective: Objective::CarliniWagner,
                aim: Some(Aim::RunnerUp(place)),
                method: Method::Apgd,
                steps: 60,
                ..attack(norm, 0.05)
            })
            .collect();
        let found: Vec<Ascent> = attacks.iter().map(|config| one(&model, &input, y, config)).collect();
        let margins =
            found.iter().map(|f| -f64::from(measure::margin(model.forward(std::slice::from_ref(&f.input)).unwrap().logits.row(0), y)));
        let worst = margins.fold(f64::MIN, f64::max);
        assert!((worst - best).abs() < 1e-5, "{norm:?}: {worst} {best}");
        assert!(found.iter().all(|f| f.aim.is_some_and(|aim| aim != y) && f.forwards == 2 && f.gradients == 60));
    }
}

#[test]
fn an_l1_ball_cut_by_the_bounds_is_filled_from_the_steepest_value_down() {
    // The steepest value has room for 0.05 of the 0.3, the next for the rest.
    let w = [3.0f32, -2.0, 1.0, 0.5];
    let model = LinearModel::from_weights(
        names(2),
        vec![0.0, 0.0],
        Some(RawImage { width: 4, height: 1, channels: 1, weights: [0.0; 4].into_iter().chain(w).collect() }),
        None,
    )
    .unwrap();
    let input = image(vec![0.95, 0.5, 0.5, 0.5]);
    let found = one(&model, &input, 0, &AttackConfig { method: Method::Apgd, steps: 100, ..attack(Norm::L1, 0.3) });
    assert!(ball::distance(Norm::Linf, values(&found.input), &[1.0, 0.25, 0.5, 0.5]) < 1e-3, "{:?}", values(&found.input));
}

#[test]
fn fgsm_from_a_random_start_is_one_step_of_its_own_length() {
    let (model, input) = (logistic(), grey());
    let config = AttackConfig::fgsm_rs(Norm::Linf, 0.08);
    let found = one(&model, &input, 0, &config);
    let mut wanted = ball::Ball::pixels(Norm::Linf, 0.08).random_start(values(&input), &mut seeds(1)[0].variant(0).child("image").rng());
    for ((p, w), c) in wanted.iter_mut().zip(weights()).zip(values(&input)) {
        *p = (*p + 0.1f32.copysign(w)).clamp(c - 0.08, c + 0.08).clamp(0.0, 1.0);
    }
    assert!(ball::distance(Norm::Linf, values(&found.input), &wanted) < 1e-6);
    assert_eq!((found.step, found.gradients, found.forwards), (1, 1, 1));
}

/// A model whose margin is a known function of two pixels, with a ridge that sign steps of a fixed size cross back and forth.
struct Ridge(crate::model::ModelSpec);

impl Ridge {
    fn new() -> Self {
        Self(linear().spec().clone())
    }
    /// `-|x - 0.5| * 8 - (y - 0.55)^2`: logits 0 and that.
    fn at(p: &[f32]) -> (f32, [f32; 2]) {
        let (dx, dy) = (p[0] - 0.5, p[1] - 0.55);
        (1.0 - 8.0 * dx.abs() - dy * dy, [-8.0 * dx.signum(), -2.0 * dy])
    }
}

impl Model for Ridge {
    fn spec(&self) -> &crate::model::ModelSpec {
        &self.0
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let rows = inputs.iter().flat_map(|input| [0.0, Self::at(values(input)).0]).collect();
        Ok(Outputs { logits: crate::model::Matrix { columns: 2, values: rows }, ..Outputs::default() })
    }
    fn logits_gradient(&self, inputs: &[Input], _: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        let logits = self.forward(inputs)?.logits;
        let seen: Vec<(f32, Vec<f32>)> = (0..inputs.len()).map(|i| of(i, logits.row(i))).collect();
        Ok(Gradients {
            objective: seen.iter().map(|(value, _)| *value).collect(),
            image: inputs.iter().zip(&seen).map(|(x, (_, o))| Some(Self::at(values(x)).1.map(|g| g * o[1]).to_vec())).collect(),
            logits,
            ..Gradients::default()
        })
    }
    fn save(&self, _: &std::path::Path) -> Result<()> {
        Ok(())
    }
}

#[test]
fn halved_steps_end_nearer_to_a_ridge_than_fixed_ones() {
    let (model, input) = (Ridge::new(), image(vec![0.44, 0.5]));
    let config = AttackConfig { steps: 40, ..attack(Norm::Linf, 0.1) };
    let loss = |method| one(&model, &input, 0, &AttackConfig { method, ..config.clone() }).loss();
    let best = 1.0f32.exp().ln_1p();
    assert!(best - loss(Method::Apgd) < 0.01, "{} {best}", loss(Method::Apgd));
    let fixed = one(
        &model,
        &input,
        0,
        &AttackConfig { image: Some(Budget { step_size: Some(0.2), ..Budget::new(Norm::Linf, 0.1) }), ..config.clone() },
    );
    assert!(loss(Method::Apgd) > fixed.loss() + 0.05, "{} {}", loss(Method::Apgd), fixed.loss());
}

#[test]
fn momentum_is_the_sum_of_normalised_gradients() {
    // Gradients (-g) of CarliniWagner on the ridge: after a step across it the sign of the first value turns, but the sum keeps it for a while.
    let (model, input) = (Ridge::new(), image(vec![0.48, 0.5]));
    let config = AttackConfig {
        objective: Objective::CarliniWagner,
        method: Method::Momentum { decay: 1.0 },
        steps: 2,
        image: Some(Budget { step_size: Some(0.03), ..Budget::new(Norm::Linf, 0.1) }),
        ..attack(Norm::Linf, 0.1)
    };
    let mut walk = Walk::start(&input, config.terrain(&input, None), Rules::from(&config), &seeds(1)[0]);
    let mut sum = [0.0f64; 2];
    for _ in 0..3 {
        let seen = model.gradient(&[walk.point().clone()], &[Target::Class(0)], config.objective, ModalitySet::ALL).unwrap();
        let g = seen.image[0].clone().unwrap();
        let length: f64 = g.iter().map(|g| f64::from(g.abs())).sum();
        sum.iter_mut().zip(&g).for_each(|(s, g)| *s += f64::from(*g) / length);
        let before = values(walk.point()).to_vec();
        assert!(walk.advance(seen.objective[0], &seen, 0));
        for ((after, before), s) in values(walk.point()).iter().zip(&before).zip(&sum) {
            // A sum that came back to 0 may have either sign.
            assert!(s.abs() < 1e-6 || (after - before).signum() as f64 == s.signum(), "{after} {before} {s}");
        }
    }
}

#[test]
fn a_shared_budget_is_kept_by_scaling_all_alike() {
    let image_part = RawImage { width: PIXELS, height: 1, channels: 1, weights: vec![0.0; PIXELS].into_iter().chain(weights()).collect() };
    let audio_weights: Vec<f32> = (0..20).map(|i| (i as f32).sin() * 6.0).collect();
    let audio_part = RawAudio { channels: 1, frames: 20, weights: vec![0.0; 20].into_iter().chain(audio_weights.clone()).collect() };
    let model = LinearModel::from_weights(names(2), vec![1.0, 0.0], Some(image_part), Some(audio_part)).unwrap();
    let wave = Waveform { sample_rate_hz: 8000, channels: 1, values: (0..20).map(|i| (i as f32 * 0.9).cos() * 0.5).collect() };
    let input = Input { audio: Some(Arc::new(wave)), ..grey() };
    let audio = |i: &Input| i.audio.as_ref().unwrap().values.clone();
    for (norm, budget) in [(Norm::L2, 1.0), (Norm::Linf, 0.5), (Norm::L2, 2.0)] {
        let config =
            AttackConfig { audio: Some(Budget::new(norm, 0.05)), shared: Some(budget), steps: 60, random_start: true, ..attack(norm, 0.1) };
        let found = one(&model, &input, 0, &config);
        let used = (ball::distance(norm, values(&found.input), values(&input)) / 0.1).powi(2)
            + (ball::distance(norm, &audio(&found.input), &audio(&input)) / 0.05).powi(2);
        assert!(used <= budget + 1e-4 && used > 0.98 * budget, "{norm:?} {used}");
        if norm == Norm::L2 {
            // Steps have the size of their radius, so that the direction is that of equal shares; the margin cannot pass the joint optimum.
            let gain =
                |w: &[f32], a: &[f32], b: &[f32]| -> f64 { w.iter().zip(a.iter().zip(b)).map(|(w, (a, b))| f64::from(w * (a - b))).sum() };
            let total = gain(&weights(), values(&found.input), values(&input)) + gain(&audio_weights, &audio(&found.input), &audio(&input));
            let best = ((0.1 * dual(norm, &weights())).powi(2) + (0.05 * dual(norm, &audio_weights)).powi(2)).sqrt() * budget.sqrt();
            assert!(total <= best + 1e-4 && total > 0.85 * best, "{total} {best}");
        }
    }
}

#[test]
fn an_aim_is_reached_and_stops_the_walk() {
    let (model, input) = (linear(), grey());
    let label = measure::argmax(model.forward(&[grey()]).unwrap().logits.row(0));
    for aim in [Aim::LeastLikely, Aim::RunnerUp(1), Aim::Class(label)] {
        let config = AttackConfig {
            aim: Some(aim),
            until: Until::Reached,
            steps: 200,
            image: Some(Budget::new(Norm::Linf, 0.5)),
            ..attack(Norm::Linf, 0.5)
        };
        let found = one(&model, &input, label, &config);
        let logits = model.forward(std::slice::from_ref(&found.input)).unwrap().logits;
        assert!(found.solved && found.gradients < 200, "{aim:?} {}", found.gradients);
        assert_eq!(Some(measure::argmax(logits.row(0))), found.aim);
        assert_ne!(found.aim, Some(label));
    }
    let none = AttackConfig { aim: Some(Aim::Class(9)), ..AttackConfig::default() };
    assert!(
        ascend(&model, &[grey()], &[Target::Class(0)], &none, &seeds(1)).unwrap_err().to_string().contains("no class of the model's 4")
    );
}

/// A model that only answers.
struct Mute(LinearModel, crate::model::ModelSpec);

impl Mute {
    fn new(model: LinearModel) -> Self {
        let spec = crate::model::ModelSpec { gradients: ModalitySet::EMPTY, ..model.spec().clone() };
        Self(model, spec)
    }
}

impl Model for Mute {
    fn spec(&self) -> &crate::model::ModelSpec {
        &self.1
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        self.0.forward(inputs)
    }
    fn logits_gradient(&self, _: &[Input], _: ModalitySet, _: OfRow<'_>) -> Result<Gradients> {
        Err(Error::model("no gradient"))
    }
    fn save(&self, _: &std::path::Path) -> Result<()> {
        Ok(())
    }
}

#[test]
fn answers_alone_bring_an_attack_near_the_optimum() {
    let (model, input) = (Mute::new(logistic()), grey());
    assert!(
        ascend(&model, &[grey()], &[Target::Class(0)], &attack(Norm::Linf, 0.1), &seeds(1)).unwrap_err().to_string().contains("gradient")
    );
    let start =
        one(&Mute::new(logistic()), &input, 0, &AttackConfig { method: Method::Nes { pairs: 1 }, ..attack(Norm::Linf, 0.0) }).cross_entropy;
    let before: f64 = weights().iter().zip(values(&input)).map(|(w, x)| f64::from(w * x)).sum::<f64>() - 1.0;
    for norm in [Norm::Linf, Norm::L2] {
        let best = (before + 0.1 * dual(norm, &weights())).exp().ln_1p() as f32;
        for (method, steps, share) in [(Method::Nes { pairs: 24 }, 15, 0.95), (Method::Square { share: 0.8 }, 300, 0.75)] {
            let counted = Counted::new(Arc::new(Mute::new(logistic())));
            let found = one(&counted, &input, 0, &AttackConfig { method, steps, ..attack(norm, 0.1) });
            let reached = (found.cross_entropy - start) / (best - start);
            assert!(reached > share && reached <= 1.0 + 1e-4, "{norm:?} {method:?}: {reached}");
            assert!(ball::distance(norm, values(&found.input), values(&input)) <= 0.1 + 1e-6);
            assert_eq!((found.gradients, found.forwards), (0, counted.counts().forward()));
        }
    }
    let solved = AttackConfig { method: Method::Square { share: 0.8 }, steps: 300, until: Until::Misclassified, ..attack(Norm::Linf, 0.4) };
    let found = one(&model, &input, 0, &solved);
    assert!(found.solved && found.forwards < 300);
}

#[test]
fn neighbours_do_not_change_a_walk_and_solved_samples_cost_no_more() {
    let model = Counted::new(Arc::new(linear()));
    let inputs: Vec<Input> = (0..300).map(|i| image((0..PIXELS).map(|p| ((i * 7 + p * 3) % 11) as f32 / 11.0).collect())).collect();
    let logits = model.forward(&inputs).unwrap().logits;
    let targets: Vec<Target> = (0..300).map(|i| Target::Class(measure::argmax(logits.row(i)))).collect();
    for method in [Method::Pgd, Method::Apgd, Method::Square { share: 0.5 }, Method::Nes { pairs: 3 }] {
        let config = AttackConfig { method, until: Until::Misclassified, restarts: 2, random_start: true, ..attack(Norm::Linf, 0.1) };
        let (before, asked) = (model.counts().gradient(), model.counts().forward());
        let all = ascend(&model, &inputs, &targets, &config, &seeds(300)).unwrap();
        assert_eq!(all.iter().map(|a| a.gradients).sum::<u64>(), model.counts().gradient() - before);
        assert_eq!(all.iter().map(|a| a.forwards).sum::<u64>(), model.counts().forward() - asked);
        assert!(all.iter().any(|a| a.solved && a.step < 5) && all.iter().any(|a| !a.solved && a.restart < 2), "{method:?}");
        for i in [0, 17, 131, 299] {
            let alone = ascend(&model, &inputs[i..=i], &targets[i..=i], &config, &seeds(300)[i..=i]).unwrap();
            assert_eq!((&alone[0].losses, values(&alone[0].input)), (&all[i].losses, values(&all[i].input)));
        }
    }
}

#[test]
fn the_worst_of_several_is_kept() {
    let model = linear();
    let inputs: Vec<Input> = (0..60).map(|i| image((0..PIXELS).map(|p| ((i * 5 + p * 3) % 11) as f32 / 11.0).collect())).collect();
    let logits = model.forward(&inputs).unwrap().logits;
    let targets: Vec<Target> = (0..60).map(|i| Target::Class(measure::argmax(logits.row(i)))).collect();
    let attacks = auto_attack(&AttackConfig { steps: 10, ..attack(Norm::Linf, 0.12) });
    assert_eq!(attacks.len(), 5);
    let worst = worst_of(&model, &inputs, &targets, &attacks, &seeds(60)).unwrap();
    let first = worst_of(&model, &inputs, &targets, &attacks[..1], &seeds(60)).unwrap();
    let solved = |all: &[Worst]| all.iter().filter(|w| w.ascent.solved).count();
    assert!(solved(&worst) >= solved(&first) && solved(&worst) > 0 && solved(&worst) < 60, "{} {}", solved(&worst), solved(&first));
    for (both, alone) in worst.iter().zip(&first) {
        assert!(both.ascent.solved || both.ascent.cross_entropy >= alone.ascent.cross_entropy);
        assert!(both.ascent.gradients >= alone.ascent.gradients);
        assert!(!alone.ascent.solved || both.attack == 0);
    }
    assert!(worst_of(&model, &inputs, &targets, &[], &seeds(60)).is_err());
}

#[test]
fn an_embedded_text_is_perturbed_in_its_own_ball() {
    let profile = crate::model::DataProfile { classes: names(3), modalities: ModalitySet::one(Modality::Text), ..Default::default() };
    let mut trainer = crate::model::linear::Linear::default().trainer(&profile).unwrap();
    let inputs: Vec<Input> = ["one dog", "two cats", "three birds"].map(|t| Input { text: Some(t.into()), ..Input::default() }).into();
    let targets: Vec<Target> = (0..3).map(Target::Class).collect();
    for _ in 0..40 {
        let batch = crate::model::TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 3], learning_rate: 0.05 };
        crate::model::Trainable::step(&mut trainer, &batch).unwrap();
    }
    let model = crate::model::Trainable::freeze(&trainer).unwrap();
    let text = Some(Budget { norm: Norm::L2, radius: Radius::Relative(0.5), step_size: None });
    let config = AttackConfig { image: None, text, ..AttackConfig::default() };
    let found = ascend(model.as_ref(), &inputs, &targets, &config, &seeds(3)).unwrap();
    for (ascent, input) in found.iter().zip(&inputs) {
        let shift = ascent.input.text_shift.as_ref().unwrap();
        let length = ball::length(Norm::L2, shift);
        assert!(length <= 0.5 + 1e-6 && length > 0.49, "{length}");
        assert!(ascent.loss() > ascent.losses[0] && ascent.input.text == input.text);
    }
    let plain = EmbeddedText { size: 2, positions: 1, values: vec![3.0, 4.0, 0.0, 0.0] };
    let ground = config.terrain(&inputs[0], Some(&plain)).text.unwrap();
    assert_eq!((ground.epsilon, ground.held, ground.length), (2.5, 2, 4));
}

/// PGD-10 without a random start on the network of the reference ends at the losses that torchattacks ended at.
#[test]
fn torchattacks_ends_at_the_same_loss() {
    let Some(reference) = crate::model::cnn::tests::PyTorch::read() else { return };
    let crate::model::cnn::tests::PyTorch { model, inputs, targets, .. } = &reference;
    let attacks = [
        (Norm::Linf, 8.0 / 255.0, 2.0 / 255.0, "loss_after_linf", "pgd10_linf_eps8_alpha2_255"),
        (Norm::L2, 1.0, 0.2, "loss_after_l2", "pgd10_l2_eps1_alpha0.2"),
    ];
    for (norm, epsilon, step, loss, points) in attacks {
        let budget = Budget { step_size: Some(step), ..Budget::new(norm, epsilon) };
        let found = ascend(&**model, inputs, targets, &AttackConfig { image: Some(budget), ..attack(norm, epsilon) }, &seeds(inputs.len()))
            .unwrap();
        let mean = |of: fn(&Ascent) -> f32| found.iter().map(|a| f64::from(of(a))).sum::<f64>() / found.len() as f64;
        let (last, kept, wanted) =
            (mean(|a| a.losses.last().copied().unwrap_or(f32::NAN)), mean(Ascent::loss), f64::from(reference.floats(loss)[0]));
        assert!((last - wanted).abs() < 5e-3 * wanted, "{norm:?}: {last} {wanted}");
        assert!(kept >= last, "{kept} {last}");
        let theirs = reference.floats(points);
        let apart = found.iter().zip(theirs.chunks_exact(784)).map(|(a, b)| ball::distance(Norm::L2, values(&a.input), b)).sum::<f64>();
        let moved = inputs.iter().zip(theirs.chunks_exact(784)).map(|(a, b)| ball::distance(Norm::L2, values(a), b)).sum::<f64>();
        assert!(apart < 0.1 * moved, "{norm:?}: {apart} {moved}");
    }
}

/// Raw pixels of one gray picture of three classes: the embedding is the picture.
fn raw(width: usize, height: usize) -> LinearModel {
    let weights = (0..3 * width * height).map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.5).collect();
    let image = RawImage { width, height, channels: 1, weights };
    LinearModel::from_weights(Classes::from_names(["a", "b", "c"].map(String::from)), vec![0.0; 3], Some(image), None).unwrap()
}

fn picture(width: usize, height: usize, values: Vec<f32>) -> Input {
    Input { image: Some(Arc::new(Pixels { width, height, channels: 1, values })), ..Input::default() }
}

#[test]
fn a_guide_is_the_cosine_turned_round() {
    // e = (3, 4), r = (1, 0) and (0, 2): cosines 0.6 and 0.8; the slope of -cos to (1, 0) is -(1 - 0.36, -0.48) / 5.
    let guide = Guide { modality: Modality::Image, references: vec![vec![1.0, 0.0], vec![0.0, 2.0], vec![0.0, 0.0]] };
    let (value, slope) = guide.value(&[3.0, 4.0]);
    assert!((value + 1.4).abs() < 1e-6);
    let wanted = [-(0.64 - 0.48) / 5.0, -(-0.48 + 0.36) / 5.0];
    assert!(slope.iter().zip(wanted).all(|(s, w): (&f32, f32)| (s - w).abs() < 1e-6), "{slope:?}");
    assert_eq!(guide.value(&[0.0, 0.0]), (0.0, vec![0.0, 0.0]));
}

#[test]
fn a_picture_is_turned_away_from_an_embedding() {
    // One step of 0.1 from (0.3, 0.4) away from (1, 0): the slope of -cos is -(0.64, -0.48) / 0.5, its signs are - and +.
    let (model, input) = (raw(2, 1), picture(2, 1, vec![0.3, 0.4]));
    let guide = Guide { modality: Modality::Image, references: vec![vec![1.0, 0.0]] };
    let config = AttackConfig::fgsm(Norm::Linf, 0.1);
    let away = |guide: &Guide, config: &AttackConfig| {
        let guides = std::slice::from_ref(guide);
        ascend_away(&model, std::slice::from_ref(&input), &[Target::Class(0)], guides, config, &[SeedTree::new(1)])
    };
    let found = away(&guide, &config).unwrap().remove(0);
    let image = found.input.image.as_ref().unwrap();
    assert!((image.values[0] - 0.2).abs() < 1e-6 && (image.values[1] - 0.5).abs() < 1e-6, "{image:?}");
    assert!((found.losses[0] + 0.6).abs() < 1e-6 && (found.loss() + 0.2 / 0.29f32.sqrt()).abs() < 1e-6, "{:?}", found.losses);
    // More steps turn it further; what cannot be compared or has no gradient is told.
    let more = away(&guide, &AttackConfig { steps: 8, random_start: false, ..config.clone() }).unwrap().remove(0);
    assert!(more.loss() >= found.loss());
    let long = Guide { references: vec![vec![1.0; 3]], ..guide.clone() };
    assert!(away(&long, &config).unwrap_err().to_string().contains("2 numbers"));
    assert!(away(&Guide { modality: Modality::Audio, ..guide.clone() }, &config).is_err());
    assert!(away(&guide, &AttackConfig { method: Method::Square { share: 0.5 }, ..config.clone() }).is_err());
    assert!(away(&guide, &AttackConfig { aim: Some(Aim::LeastLikely), ..config }).is_err());
}

#[test]
fn gradients_of_copies_are_added_by_hand() {
    // A gray picture, a linear model: the gradient at a copy `B A x` is `A' B' g` with the gradient `g` at the copy.
    let (model, target) = (raw(6, 4), Target::Class(1));
    let input = picture(6, 4, (0..24).map(|i| ((i * 5) % 9) as f32 / 10.0).collect());
    let slope = |input: &Input| {
        let seen = model.gradient(std::slice::from_ref(input), std::slice::from_ref(&target), Objective::CrossEntropy, ModalitySet::ALL);
        seen.unwrap().image[0].clone().unwrap()
    };
    let scales = [0.5, 1.5];
    let mut wanted = slope(&input);
    for other in [(3, 2, 1), (9, 6, 1)] {
        let there = ImageMap::new((6, 4, 1), other).unwrap();
        let back = ImageMap::new(other, (6, 4, 1)).unwrap();
        let copy = picture(6, 4, back.apply(&there.apply(&input.image.as_ref().unwrap().values)));
        wanted.iter_mut().zip(there.transpose(&back.transpose(&slope(&copy)))).for_each(|(w, g)| *w += g);
    }
    let seen = guide::scaled(std::slice::from_ref(&input), &scales, |points| {
        model.gradient(points, &vec![target.clone(); points.len()], Objective::CrossEntropy, ModalitySet::ALL)
    })
    .unwrap();
    assert!(seen.image[0].as_ref().unwrap().iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6));
    // The step goes along that sum, and every copy is counted.
    let config = AttackConfig { scales: scales.to_vec(), ..AttackConfig::fgsm(Norm::L2, 0.2) };
    let found = ascend(&model, std::slice::from_ref(&input), &[target], &config, &[SeedTree::new(1)]).unwrap().remove(0);
    let length = wanted.iter().map(|g| g * g).sum::<f32>().sqrt();
    let (own, there) = (&input.image.as_ref().unwrap().values, &found.input.image.as_ref().unwrap().values);
    for ((a, b), g) in own.iter().zip(there).zip(&wanted) {
        let free = a + 0.2 * g / length;
        assert!((b - free.clamp(0.0, 1.0)).abs() < 1e-5, "{a} {b} {g}");
    }
    assert_eq!(found.gradients, 3);
    let wrong = AttackConfig { scales: vec![0.0], ..config };
    assert!(ascend(&model, &[], &[], &wrong, &[]).is_err());
}

/// Answers 0 wherever opacity is what it was, and notes where it is not.
struct Opaque(LinearModel, std::sync::atomic::AtomicBool);

impl Model for Opaque {
    fn spec(&self) -> &crate::model::ModelSpec {
        self.0.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let moved = inputs.iter().flat_map(|input| values(input).chunks_exact(4)).any(|pixel| pixel[3] != 0.5);
        self.1.fetch_or(moved, std::sync::atomic::Ordering::SeqCst);
        self.0.forward(inputs)
    }
    fn logits_gradient(&self, _: &[Input], _: ModalitySet, _: OfRow<'_>) -> Result<Gradients> {
        Err(Error::model("no gradient"))
    }
    fn save(&self, _: &std::path::Path) -> Result<()> {
        Err(Error::internal("not saved"))
    }
}

#[test]
fn no_question_about_a_slope_moves_opacity() {
    let weights = vec![0.0; 8].into_iter().chain((0..8).map(|i| i as f32 - 3.0)).collect();
    let image = RawImage { width: 2, height: 1, channels: 4, weights };
    let model = Opaque(LinearModel::from_weights(names(2), vec![0.0; 2], Some(image), None).unwrap(), Default::default());
    let input = Input { image: Some(Arc::new(Pixels { width: 2, height: 1, channels: 4, values: vec![0.5; 8] })), ..Input::default() };
    for method in [Method::Nes { pairs: 4 }, Method::Square { share: 0.8 }] {
        let found = one(&model, &input, 0, &AttackConfig { method, steps: 3, ..attack(Norm::Linf, 0.1) });
        assert!(values(&found.input) != values(&input));
    }
    assert!(!model.1.into_inner());
}
