mod in_training;

use super::*;
use crate::{
    augment::ball::distance,
    model::{
        Learnt, Model, ModelSpec, Pixels,
        linear::{Linear, LinearTrainer},
    },
    pipeline::{Balls, Focal, Ohem, On},
    sample::{Classes, Norm},
    units::{Epsilon, Fraction},
};
use proptest::prelude::*;
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// What a model was given to learn.
#[derive(Clone, Default)]
struct Batch {
    rows: Rows,
    pairs: Vec<Pair>,
    wrt: ModalitySet,
    accumulation: Accumulation,
    /// The first number of the noise of the balance.
    noise: Option<u64>,
}

/// A linear model that keeps what it is given.
struct Spy {
    inner: Box<dyn Trainable>,
    seen: Arc<Mutex<Vec<Batch>>>,
    gives: bool,
}

impl Trainable for Spy {
    fn spec(&self) -> ModelSpec {
        self.inner.spec()
    }
    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        Ok(self.learn(batch, &Lesson::default())?.report)
    }
    fn learn(&mut self, batch: &TrainingBatch<'_>, lesson: &Lesson<'_>) -> Result<Learnt> {
        let rows = Rows { inputs: batch.inputs.to_vec(), targets: batch.targets.to_vec(), weights: batch.weights.to_vec() };
        let noise = lesson.balance.and_then(|own| own.noise.as_ref()).map(|node| node.rng().random());
        self.seen.lock().unwrap().push(Batch {
            rows,
            pairs: lesson.pairs.to_vec(),
            wrt: lesson.wrt,
            accumulation: lesson.accumulation,
            noise,
        });
        // The linear model has no head a modality.
        let learnt = self.inner.learn(batch, &Lesson { balance: None, ..*lesson })?;
        Ok(Learnt { gradients: learnt.gradients.filter(|_| self.gives), ..learnt })
    }
    fn gives_gradients(&self) -> bool {
        self.gives
    }
    fn freeze(&self) -> Result<Arc<dyn Model>> {
        self.inner.freeze()
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        self.inner.fork()
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        self.inner.fresh(seeds)
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.inner.save_checkpoint(path)
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.inner.load_checkpoint(path)
    }
}

fn image(i: usize) -> Input {
    let values = (0..16).map(|p| if (p + i).is_multiple_of(2) { 0.7 } else { 0.3 + 0.01 * i as f32 }).collect();
    let text = Some(["one", "two"][i % 2].into());
    Input { image: Some(Arc::new(Pixels { width: 4, height: 4, channels: 1, values })), text, ..Input::default() }
}

fn rows(n: usize) -> Rows {
    let mut rows = Rows::default();
    (0..n).for_each(|i| rows.push(image(i), Target::Class(i % 2), 1.0 + i as f32));
    rows
}

fn trainer() -> LinearTrainer {
    trainer_of(2)
}

fn trainer_of(classes: usize) -> LinearTrainer {
    trainer_that_reads([Modality::Image, Modality::Text].into_iter().collect(), classes)
}

fn trainer_that_reads(modalities: ModalitySet, classes: usize) -> LinearTrainer {
    let profile = crate::model::DataProfile {
        classes: Classes::from_names(["a", "b", "c"].iter().take(classes).map(|name| name.to_string())),
        modalities,
        image: Some((4, 4, 1)),
        ..Default::default()
    };
    let mut trainer = Linear { image_side: 4, ..Linear::default() }.trainer(&profile).unwrap();
    let mut rows = rows(6);
    rows.targets = (0..6).map(|i| Target::Class(i % classes)).collect();
    for _ in 0..10 {
        let batch = TrainingBatch { inputs: &rows.inputs, targets: &rows.targets, weights: &rows.weights, learning_rate: 0.02 };
        trainer.step(&batch).unwrap();
    }
    trainer
}

struct Done {
    seen: Vec<Batch>,
    report: StepReport,
    spent: Spent,
    model: Spy,
}

fn step(objective: &TrainingObjective, n: usize, treated: &[bool], scale: f64, gives: bool) -> Done {
    step_of(trainer(), objective, n, treated, scale, gives)
}

fn step_of(trainer: LinearTrainer, objective: &TrainingObjective, n: usize, treated: &[bool], scale: f64, gives: bool) -> Done {
    let seen = Arc::default();
    let mut model = Spy { inner: Box::new(trainer), seen: Arc::clone(&seen), gives };
    let nodes: Vec<SeedTree> = (0..n).map(|i| SeedTree::new(4).variant(i)).collect();
    let task = Task { objective, scale, balance: None, learning_rate: 0.01, treated, seeds: &nodes };
    let mut spent = Spent::default();
    let report = task.step(&mut model, &rows(n), &mut Memory::default(), &mut spent).unwrap();
    let seen = seen.lock().unwrap().clone();
    Done { seen, report, spent, model }
}

fn balls(radius: f64) -> Balls {
    Balls { image: Some(Epsilon::new(radius).unwrap()), ..Balls::default() }
}

fn pixels(input: &Input) -> &[f32] {
    &input.image.as_ref().unwrap().values
}

/// What every objective gives: a row of the report for each row, and counts that are those of the batches.
fn whole(done: &Done, n: usize) {
    assert_eq!((done.report.losses.len(), done.report.logits.rows()), (n, n));
    let ends = |batch: &&Batch| matches!(batch.accumulation, Accumulation::Whole | Accumulation::Last);
    assert_eq!(done.spent.steps, done.seen.iter().filter(ends).count() as u64);
    assert_eq!(done.spent.presentations, done.seen.iter().map(|batch| batch.rows.len() as u64).sum::<u64>());
    for (loss, (row, target)) in done.report.losses.iter().zip((0..n).zip(&rows(n).targets)) {
        assert!((loss - measure::cross_entropy(done.report.logits.row(row), target)).abs() < 1e-6);
    }
}

#[test]
fn the_worst_point_of_a_linear_model_is_a_corner_of_the_cube() {
    let objective = TrainingObjective::Madry(Madry { balls: balls(0.1), steps: 3, ..Madry::default() });
    let done = step(&objective, 6, &[true, true, false, true, false, true], 1.0, true);
    whole(&done, 6);
    assert_eq!(done.spent.gradient, 3 * 4);
    let gradient = trainer().freeze().unwrap();
    for (i, (own, there)) in rows(6).inputs.iter().zip(&done.seen[0].rows.inputs).enumerate() {
        if [2, 4].contains(&i) {
            assert_eq!(pixels(own), pixels(there));
            continue;
        }
        let slope = gradient.gradient(std::slice::from_ref(own), &[Target::Class(i % 2)], Default::default(), ModalitySet::ALL).unwrap();
        for ((a, b), g) in pixels(own).iter().zip(pixels(there)).zip(slope.image[0].as_ref().unwrap()) {
            assert!((b - a - 0.1f32.copysign(*g)).abs() < 1e-6, "{a} {b} {g}");
        }
    }
    // Half way up the ramp the ball is half as large; at its foot nothing is spent.
    let half = step(&objective, 6, &[true; 6], 0.5, true);
    let far = |done: &Done| distance(Norm::Linf, pixels(&rows(6).inputs[0]), pixels(&done.seen[0].rows.inputs[0]));
    assert!((far(&half) - 0.05).abs() < 1e-6);
    let none = step(&objective, 6, &[true; 6], 0.0, true);
    assert_eq!((far(&none), none.spent.gradient), (0.0, 0));
}

#[test]
fn one_step_from_a_random_point_and_more_after_an_alarm() {
    let objective = TrainingObjective::FgsmRs(FgsmRs { balls: balls(0.1), ..FgsmRs::default() });
    let done = step(&objective, 4, &[true; 4], 1.0, true);
    whole(&done, 4);
    assert_eq!(done.spent.gradient, 4);
    let nodes: Vec<SeedTree> = (0..4).map(|i| SeedTree::new(4).variant(i)).collect();
    let task = Task { objective: &objective, scale: 1.0, balance: None, learning_rate: 0.01, treated: &[true; 4], seeds: &nodes };
    let mut spent = Spent::default();
    task.step(&mut trainer(), &rows(4), &mut Memory { more_steps: 2, ..Memory::default() }, &mut spent).unwrap();
    assert_eq!(spent.gradient, 12);
}

#[test]
fn trades_pairs_each_treated_row_with_its_neighbour() {
    let objective = TrainingObjective::Trades(Trades { balls: balls(0.1), beta: 3.0, steps: 2, ..Trades::default() });
    let done = step(&objective, 3, &[true, false, true], 1.0, true);
    whole(&done, 3);
    assert_eq!((done.spent.gradient, done.spent.forward), (4, 2));
    let batch = &done.seen[0];
    // Five rows where there were three: weights count 5/3.
    let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert_eq!((batch.rows.len(), batch.pairs.len()), (5, 2));
    for (row, weight) in [1.0, 0.0, 3.0, 0.0, 2.0].into_iter().enumerate() {
        assert!(near(batch.rows.weights[row], weight * 5.0 / 3.0), "{:?}", batch.rows.weights);
    }
    assert!(near(batch.pairs[0].weight, 5.0) && near(batch.pairs[1].weight, 15.0) && !batch.pairs[0].stop_gradient);
    // The neighbour is at the corner where the divergence is largest: one of two, so that all pixels moved by the radius.
    let moved: Vec<f32> = pixels(&batch.rows.inputs[0]).iter().zip(pixels(&batch.rows.inputs[1])).map(|(a, b)| (a - b).abs()).collect();
    assert!(moved.iter().all(|d| near(*d, 0.1)), "{moved:?}");
    // The clean rows are what is told.
    let clean = trainer().freeze().unwrap().forward(&rows(3).inputs).unwrap().logits;
    assert_eq!(done.report.logits, clean);
}

#[test]
fn free_moves_weights_and_perturbation_by_one_gradient() {
    let objective = TrainingObjective::Free(Free { balls: balls(0.1), replays: 3, ..Free::default() });
    let own = step(&objective, 4, &[true, true, true, false], 1.0, true);
    whole(&own, 4);
    assert_eq!((own.spent.steps, own.spent.gradient, own.seen.len()), (3, 0, 3));
    assert_eq!(own.seen.iter().map(|batch| !batch.wrt.is_empty()).collect::<Vec<_>>(), [true, true, false]);
    // A model that gives no gradients of its steps is asked for them: the same signs, so the same way.
    let asked = step(&objective, 4, &[true, true, true, false], 1.0, false);
    assert_eq!(asked.spent.gradient, 2 * 3);
    for (a, b) in own.seen.iter().zip(&asked.seen) {
        for (a, b) in a.rows.inputs.iter().zip(&b.rows.inputs) {
            assert!(distance(Norm::Linf, pixels(a), pixels(b)) < 1e-6);
        }
    }
    assert_eq!(own.model.spec().digest, asked.model.spec().digest);
    assert_eq!(pixels(&own.seen[2].rows.inputs[3]), pixels(&rows(4).inputs[3]));
}

#[test]
fn every_step_of_the_optimizer_has_noise_of_its_own() {
    let own = Balance { alpha: 0.1, noise: Some(SeedTree::new(9)) };
    for objective in [TrainingObjective::Free(Free { balls: balls(0.1), replays: 3, ..Free::default() }), TrainingObjective::default()] {
        let seen: Arc<Mutex<Vec<Batch>>> = Arc::default();
        let mut model = Spy { inner: Box::new(trainer()), seen: Arc::clone(&seen), gives: true };
        let mut steps = OwnLoop::new(objective).unwrap();
        steps.balance = Some(own.clone());
        let rows = rows(4);
        let batch = TrainingBatch { inputs: &rows.inputs, targets: &rows.targets, weights: &rows.weights, learning_rate: 0.01 };
        (0..2).for_each(|at| drop(steps.step(&mut model, &batch, None, 1.0, &SeedTree::new(4).variant(at)).unwrap()));
        let noises: Vec<u64> = seen.lock().unwrap().iter().filter_map(|batch| batch.noise).collect();
        let different: std::collections::BTreeSet<&u64> = noises.iter().collect();
        assert!(noises.len() as u64 == steps.spent().steps && different.len() == noises.len(), "{noises:?}");
    }
}

#[test]
fn freelb_learns_every_point_of_the_way() {
    let objective = TrainingObjective::Freelb(FreeLb { balls: balls(0.1), steps: 3, random_start: false, ..FreeLb::default() });
    // A model that gives the gradients of its step learns a point a pass, at the cost of the passes alone.
    let part_by_part = step(&objective, 2, &[true, false], 1.0, true);
    whole(&part_by_part, 2);
    assert_eq!((part_by_part.spent.steps, part_by_part.spent.presentations, part_by_part.spent.gradient), (1, 4, 0));
    let accumulations: Vec<Accumulation> = part_by_part.seen.iter().map(|batch| batch.accumulation).collect();
    assert_eq!(accumulations, [Accumulation::First, Accumulation::More, Accumulation::Last]);
    // Another learns all points at once, after the way up.
    let done = step(&objective, 2, &[true, false], 1.0, false);
    whole(&done, 2);
    let batch = &done.seen[0];
    assert_eq!((done.seen.len(), batch.rows.len(), done.spent.gradient), (1, 4, 2));
    // The points are the same, and so is what is learnt.
    let points: Vec<&Input> = part_by_part.seen.iter().flat_map(|batch| &batch.rows.inputs).collect();
    for (found, right) in points.iter().zip(&batch.rows.inputs) {
        assert!(distance(Norm::Linf, pixels(found), pixels(right)) < 1e-6);
    }
    let logits = |done: &Done| done.model.freeze().unwrap().forward(&rows(6).inputs).unwrap().logits.values;
    let (found, right, before) =
        (logits(&part_by_part), logits(&done), trainer().freeze().unwrap().forward(&rows(6).inputs).unwrap().logits.values);
    for ((found, right), before) in found.iter().zip(&right).zip(&before) {
        assert!((found - right).abs() < 1e-5 && (right - before).abs() > 1e-3, "{found} {right} {before}");
    }
    let weights: Vec<f32> = batch.rows.weights.iter().map(|w| w * 0.5).collect();
    for (found, right) in weights.iter().zip([1.0 / 3.0, 2.0, 1.0 / 3.0, 1.0 / 3.0]) {
        assert!((found - right).abs() < 1e-6, "{weights:?}");
    }
    let far: Vec<f64> = [0, 2, 3].map(|row| distance(Norm::Linf, pixels(&rows(2).inputs[0]), pixels(&batch.rows.inputs[row]))).into();
    assert!(far[0] == 0.0 && (far[1] - 0.25 / 3.0).abs() < 1e-6 && (far[2] - 0.1).abs() < 1e-6, "{far:?}");
}

#[test]
fn villa_holds_every_point_to_the_clean_prediction() {
    let objective = TrainingObjective::Villa(Villa { balls: balls(0.1), steps: 2, weight: 0.5, ..Villa::default() });
    let done = step(&objective, 2, &[true, false], 1.0, true);
    whole(&done, 2);
    let batch = &done.seen[0];
    assert_eq!((batch.rows.len(), batch.pairs.len(), done.spent.gradient), (5, 2, 2));
    assert!(batch.pairs.iter().all(|pair| pair.apart == Apart::SymmetricKl && pair.stop_gradient));
    // Of a weight of 1 each point has half, and so has the clean row beside it; five rows where there were two.
    assert!(batch.rows.weights.iter().zip([0.5, 0.5, 0.5, 0.5, 2.0]).all(|(w, right)| (w - right * 2.5).abs() < 1e-6));
    assert!((batch.pairs[0].weight - 0.25 * 2.5).abs() < 1e-6);
    // The second point goes up the divergence too, which has no slope at the sample: the first is the same whatever its weight, the second is not.
    let points = |weight: f64| {
        let balls = Balls { norm: Norm::L2, ..balls(0.5) };
        let objective = TrainingObjective::Villa(Villa { balls, steps: 2, step: Some(0.3), weight, ..Villa::default() });
        // Of two classes every loss has the same direction.
        let done = step_of(trainer_of(3), &objective, 2, &[true, false], 1.0, true);
        assert_eq!(done.spent.forward, 1);
        [1, 3].map(|row| pixels(&done.seen[0].rows.inputs[row]).to_vec())
    };
    let ([first, second], [same, other]) = (points(0.0), points(100.0));
    assert_eq!(first, same);
    assert_ne!(second, other);
}

#[test]
fn embedded_text_is_perturbed_in_its_own_ball() {
    let mut own = balls(0.1);
    own.text = Some(Epsilon::new(0.5).unwrap());
    let objective = TrainingObjective::Freelb(FreeLb { balls: own, steps: 2, ..FreeLb::default() });
    let done = step(&objective, 2, &[true, false], 1.0, true);
    let inputs: Vec<&Input> = done.seen.iter().flat_map(|batch| &batch.rows.inputs).collect();
    let embedded = trainer().freeze().unwrap().embed_text("one").unwrap();
    let radius = 0.5 * embedded.mean_length() * (embedded.positions as f64).sqrt();
    for row in [0, 2] {
        let shift = inputs[row].text_shift.as_ref().unwrap();
        let length = shift.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!(shift.len() == embedded.values.len() && length > 0.0 && length <= radius * (1.0 + 1e-5), "{length} {radius}");
    }
    assert!(inputs[1].text_shift.is_none());
}

#[test]
fn the_hardest_rows_alone_go_backward() {
    let objective = TrainingObjective::Ohem(Ohem { keep: Fraction::new(0.5).unwrap() });
    let done = step(&objective, 5, &[true; 5], 1.0, true);
    assert_eq!((done.spent.forward, done.spent.presentations), (5, 3));
    let clean = trainer().freeze().unwrap().forward(&rows(5).inputs).unwrap().logits;
    assert_eq!(done.report.logits, clean);
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by(|a, b| done.report.losses[*b].total_cmp(&done.report.losses[*a]));
    let mut hardest = order[..3].to_vec();
    hardest.sort_unstable();
    let weights: Vec<f32> = hardest.iter().map(|row| 1.0 + *row as f32).collect();
    assert_eq!(done.seen[0].rows.weights, weights);
}

#[test]
fn subsets_are_held_to_the_whole() {
    let objective = TrainingObjective::Consistency(Consistency { ramp: Fraction::new(0.5).unwrap(), ..Consistency::default() });
    let done = step(&objective, 3, &[true; 3], 0.5, true);
    whole(&done, 3);
    let batch = &done.seen[0];
    assert_eq!((batch.rows.len(), batch.pairs.len()), (6, 3));
    for (i, pair) in batch.pairs.iter().enumerate() {
        let (all, some) = (&batch.rows.inputs[2 * i], &batch.rows.inputs[2 * i + 1]);
        assert_eq!((all.present().len(), some.present().len()), (2, 1));
        assert!(pair.stop_gradient && (pair.weight - 0.5 * 2.0 * (1.0 + i as f32)).abs() < 1e-6);
    }
}

#[test]
fn what_the_model_does_not_read_makes_no_subset() {
    let pictures = trainer_that_reads(ModalitySet::one(Modality::Image), 2);
    let done = step_of(pictures, &TrainingObjective::Consistency(Consistency::default()), 8, &[true; 8], 1.0, true);
    whole(&done, 8);
    assert_eq!((done.seen[0].rows.len(), done.seen[0].pairs.len()), (8, 0));
    assert!(done.seen[0].rows.inputs.iter().all(|input| input.image.is_some()));
}

#[test]
fn losses_of_a_row_change_what_is_learnt_and_not_what_is_told() {
    let plain = step(&TrainingObjective::default(), 4, &[true; 4], 1.0, true);
    let none = TrainingObjective::Focal(Focal { gamma: 0.0, ..Focal::default() });
    assert_eq!(step(&none, 4, &[true; 4], 1.0, true).report.losses, plain.report.losses);
    let focal = step(&TrainingObjective::Focal(Focal::default()), 4, &[true; 4], 1.0, true);
    // The factor of a class is one of the weight: class `b` counts threefold, and what is not named as before.
    let alpha = [("b".to_owned(), 3.0)].into_iter().collect();
    let by_class = step(&TrainingObjective::Focal(Focal { alpha, ..Focal::default() }), 4, &[true; 4], 1.0, true);
    for ((weight, plain), target) in by_class.seen[0].rows.weights.iter().zip(&focal.seen[0].rows.weights).zip(&focal.seen[0].rows.targets)
    {
        assert_eq!(*weight, plain * if target.class() == 1 { 3.0 } else { 1.0 });
    }
    assert!(focal.seen[0].rows.targets.iter().any(|target| target.class() == 1));
    let superloss = step(&TrainingObjective::Superloss(SuperLoss::default()), 4, &[true; 4], 1.0, true);
    for done in [&focal, &superloss] {
        whole(done, 4);
        assert_eq!(done.report.losses, plain.report.losses);
        assert_ne!(done.model.spec().digest, plain.model.spec().digest);
    }
    // The running mean begins at the first step's own.
    let objective: TrainingObjective = serde_json::from_value(json!({ "superloss": { "running_mean": 0.5 } })).unwrap();
    let task = Task { objective: &objective, scale: 1.0, balance: None, learning_rate: 0.01, treated: &[true; 4], seeds: &[] };
    let (mut memory, mut spent) = (Memory::default(), Spent::default());
    let mut model = trainer();
    let means = [(); 2].map(|()| {
        let seen = task.step(&mut model, &rows(4), &mut memory, &mut spent).unwrap();
        seen.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / 4.0
    });
    assert!((memory.tau.unwrap() - (means[0] + means[1]) / 2.0).abs() < 1e-9);
}

#[test]
fn ramps_go_by_all_rounds() {
    let objective = TrainingObjective::Madry(Madry { ramp: Fraction::new(0.5).unwrap(), balls: balls(0.1), ..Madry::default() });
    let teaching = Teaching { objective: &objective, treated: Treated::All, progress: [0.2, 0.3] };
    assert!((teaching.scale(0, 10) - 0.41).abs() < 1e-9 && (teaching.scale(9, 10) - 0.59).abs() < 1e-9);
    assert_eq!(Teaching { progress: [0.5, 0.6], ..teaching }.scale(0, 10), 1.0);
    let at_once = TrainingObjective::Madry(Madry { on: On::Mined, balls: balls(0.1), ..Madry::default() });
    assert_eq!(Teaching { objective: &at_once, ..teaching }.scale(0, 10), 1.0);
}

#[test]
fn as_many_are_due_as_another_arm_reached() {
    let of = |theirs: &[u32], steps: usize, most: u32| -> Vec<u32> {
        let own = AsMany { rank: &[], theirs, steps };
        let mut reached = Vec::new();
        (0..steps).for_each(|_| reached.push((own.due(&reached) as u32).min(most)));
        reached
    };
    assert_eq!(of(&[3, 0, 5, 2], 4, 8), [3, 0, 5, 2]);
    // What a batch has too few for is made up for in the next.
    assert_eq!(of(&[3, 0, 5, 2], 4, 3), [3, 0, 3, 3]);
    // Half as many steps again: half as many again, at the same pace.
    assert_eq!(of(&[2, 2, 4, 4], 6, 8), [2, 2, 2, 4, 4, 4]);
    assert_eq!(of(&[], 3, 8), [0, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the objective, the norm and the samples: neighbours stay in their balls, and what is not treated stays as it is.
    #[test]
    fn neighbours_stay_in_their_balls(kind in 0usize..6, l2: bool, radius in 0.01f64..0.5, treated in prop::collection::vec(any::<bool>(), 4)) {
        let balls = Balls { norm: if l2 { Norm::L2 } else { Norm::Linf }, ..balls(radius) };
        let objective = match kind {
            0 => TrainingObjective::Madry(Madry { balls, steps: 2, ..Madry::default() }),
            1 => TrainingObjective::Trades(Trades { balls, steps: 2, ..Trades::default() }),
            2 => TrainingObjective::FgsmRs(FgsmRs { balls, ..FgsmRs::default() }),
            3 => TrainingObjective::Free(Free { balls, ..Free::default() }),
            4 => TrainingObjective::Freelb(FreeLb { balls, ..FreeLb::default() }),
            _ => TrainingObjective::Villa(Villa { balls, ..Villa::default() }),
        };
        let norm = if l2 { Norm::L2 } else { Norm::Linf };
        let done = step(&objective, 4, &treated, 1.0, true);
        whole(&done, 4);
        let originals = rows(4).inputs;
        for input in done.seen.iter().flat_map(|batch| &batch.rows.inputs) {
            // The text tells which two it may be of, the pixels which one.
            let near: Vec<(f64, bool)> = originals.iter().zip(&treated).map(|(own, treated)| (distance(norm, pixels(own), pixels(input)), *treated)).collect();
            prop_assert!(near.iter().any(|(far, treated)| *far <= if *treated { radius + 1e-5 } else { 0.0 }), "{:?}", near);
            prop_assert!(pixels(input).iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
