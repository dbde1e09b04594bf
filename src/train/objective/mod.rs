//! The outer objective of a step: what is made of its rows before they are learnt, and how.

mod alarm;
mod attack;
#[cfg(all(test, feature = "burn"))]
mod burn_tests;
mod own_loop;
#[cfg(test)]
mod tests;

pub(super) use alarm::Guarded;
pub use own_loop::OwnLoop;

use super::{blame::Rows, session::Spent};
use crate::{
    error::{Error, Result},
    mine::{focal_shape, ohem_batch, superloss_shape},
    model::{
        Accumulation, Apart, Balance, Gradients, Input, Lesson, Matrix, Model, Objective, Pair, StepReport, Target, Trainable,
        TrainingBatch, lesson::Shape, measure,
    },
    pipeline::{Compared, Consistency, FgsmRs, Free, FreeLb, Madry, SuperLoss, Trades, TrainingObjective, Villa},
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet, PerModality},
};
use attack::{Attack, Climb, Start};
use rand::RngExt;
use std::collections::BTreeMap;

/// What the steps of an epoch learn.
#[derive(Clone, Copy)]
pub struct Teaching<'a> {
    /// The objective.
    pub objective: &'a TrainingObjective,
    /// What an adversarial objective treats.
    pub treated: Treated<'a>,
    /// Share of all rounds' steps that is done at the epoch's first step and after its last, `0..=1`: what ramps go by.
    pub progress: [f64; 2],
}

/// What of its presentations an adversarial objective treats.
#[derive(Clone, Copy)]
pub enum Treated<'a> {
    /// All, replayed samples included.
    All,
    /// The originals of which this says so, by index into the split.
    Marked(&'a [bool]),
    /// In each step as many as another arm did, whichever it has.
    AsMany(AsMany<'a>),
}

/// What an arm treats that is to spend as many gradients as another.
#[derive(Clone, Copy)]
pub struct AsMany<'a> {
    /// Which originals come first, by index into the split: the lowest do.
    pub rank: &'a [u32],
    /// How many presentations the attack reached in each step of the other arm's round.
    pub theirs: &'a [u32],
    /// Steps of this arm's round.
    pub steps: usize,
}

impl AsMany<'_> {
    /// How many are due in the step after those that reached `own`: what the other arm had reached when it was as far in its round, in proportion to the steps, less what this one
    /// has. What a batch could not make up for is due in the next.
    pub(super) fn due(&self, own: &[u32]) -> usize {
        let (their_steps, steps) = (self.theirs.len() as u64, self.steps as u64);
        if their_steps == 0 || steps == 0 {
            return 0;
        }
        let at = (own.len() as u64 + 1).min(steps) * their_steps;
        let (whole, rest) = ((at / steps) as usize, at % steps);
        let before = self.theirs.iter().take(whole).map(|n| u64::from(*n)).sum::<u64>();
        let next = self.theirs.get(whole).map_or(0, |n| u64::from(*n));
        let wanted = (before * steps + next * rest) / their_steps;
        wanted.saturating_sub(own.iter().map(|n| u64::from(*n)).sum()) as usize
    }
}

impl Teaching<'_> {
    /// How far the ramp is at a step of an epoch of `steps`, `0..=1`.
    pub(super) fn scale(&self, step: usize, steps: usize) -> f64 {
        let [from, to] = self.progress;
        let ramp = self.objective.ramp();
        // The middle of the step, so that the first one already moves.
        let done = from + (to - from) * (step as f64 + 0.5) / steps.max(1) as f64;
        if ramp <= 0.0 { 1.0 } else { (done / ramp).clamp(0.0, 1.0) }
    }
}

/// What an objective remembers from step to step.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Running mean of the losses, where one is kept.
    pub tau: Option<f64>,
    /// Steps that the attack takes more than is written, after alarms.
    pub more_steps: usize,
    /// What the model is, once asked for: its whole description holds the digest of all weights.
    known: Option<Known>,
}

/// What of a model does not change while it learns.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub classes: Classes,
    /// The modalities that it reads.
    pub reads: ModalitySet,
}

impl Memory {
    pub fn known(&mut self, model: &dyn Trainable) -> &Known {
        self.known.get_or_insert_with(|| {
            let spec = model.spec();
            Known { classes: spec.classes, reads: spec.modalities }
        })
    }
}

/// One step's objective.
pub(super) struct Task<'a> {
    pub objective: &'a TrainingObjective,
    /// How far the ramp is, `0..=1`.
    pub scale: f64,
    pub balance: Option<&'a Balance>,
    pub learning_rate: f64,
    /// Which rows are treated, in the order of the rows.
    pub treated: &'a [bool],
    /// A node a row.
    pub seeds: &'a [SeedTree],
}

/// What is made of the rows of a step.
#[derive(Default)]
struct Prepared {
    rows: Rows,
    pairs: Vec<Pair>,
    /// For each row of the step the one here that its loss is read from.
    primary: Vec<usize>,
}

impl Prepared {
    /// Weights and pairs count by the rows of the batch, of which there are now more.
    fn balanced(mut self, before: usize) -> Self {
        let factor = self.rows.len() as f32 / before.max(1) as f32;
        self.rows.weights.iter_mut().for_each(|w| *w *= factor);
        self.pairs.iter_mut().for_each(|pair| pair.weight *= factor);
        self
    }
}

impl Task<'_> {
    /// One step of the model toward the objective (several for `free`); what it saw of each row, in their order. `spent` counts what was done, of a step
    /// that failed as well.
    pub fn step(&self, model: &mut dyn Trainable, rows: &Rows, memory: &mut Memory, spent: &mut Spent) -> Result<StepReport> {
        match self.objective {
            TrainingObjective::CrossEntropy {} => self.learn(model, rows, &[], None, spent),
            TrainingObjective::Focal(own) => {
                let weighted = (!own.alpha.is_empty()).then(|| by_class(rows, &memory.known(model).classes, &own.alpha));
                self.learn(model, weighted.as_ref().unwrap_or(rows), &[], Some(&|l| focal_shape(l, own.gamma)), spent)
            }
            TrainingObjective::Superloss(own) => self.superloss(model, rows, own, memory, spent),
            TrainingObjective::Ohem(own) => self.hardest(model, rows, own.keep.get(), spent),
            TrainingObjective::Free(own) => self.free(model, rows, own, spent),
            TrainingObjective::Freelb(own) if model.gives_gradients() => self.freelb(model, rows, own, spent),
            objective => {
                let prepared = match objective {
                    TrainingObjective::Consistency(own) => self.subsets(rows, own, memory.known(model).reads),
                    TrainingObjective::Madry(Madry { steps, step, random_start, .. }) => {
                        let start = if *random_start { Start::Random } else { Start::Sample };
                        self.worst(model, rows, self.attack(*steps, step.unwrap_or(2.5 / *steps as f64), start), spent)?
                    }
                    TrainingObjective::FgsmRs(FgsmRs { step, .. }) => {
                        let steps = 1 + memory.more_steps;
                        self.worst(model, rows, self.attack(steps, step / steps as f64, Start::Random), spent)?
                    }
                    TrainingObjective::Trades(own) => self.trades(model, rows, own, spent)?,
                    TrainingObjective::Freelb(own) => self.freelb_at_once(model, rows, own, spent)?,
                    TrainingObjective::Villa(own) => self.beside(model, rows, own, spent)?,
                    _ => return Err(Error::internal("an objective without a step")),
                };
                let seen = self.learn(model, &prepared.rows, &prepared.pairs, None, spent)?;
                of_rows(&seen, &prepared.primary)
            }
        }
    }

    fn learn(
        &self,
        model: &mut dyn Trainable,
        rows: &Rows,
        pairs: &[Pair],
        shape: Option<Shape<'_>>,
        spent: &mut Spent,
    ) -> Result<StepReport> {
        spent.steps += 1;
        spent.presentations += rows.len() as u64;
        let lesson = Lesson { shape, pairs, balance: self.balance, ..Lesson::default() };
        Ok(model.learn(&self.batch(rows), &lesson)?.report)
    }

    fn batch<'b>(&self, rows: &'b Rows) -> TrainingBatch<'b> {
        TrainingBatch { inputs: &rows.inputs, targets: &rows.targets, weights: &rows.weights, learning_rate: self.learning_rate }
    }

    fn attack(&self, steps: usize, step: f64, start: Start) -> Attack {
        let balls = self.objective.adversarial().map(|(balls, _)| balls);
        let radii = balls.map_or_else(PerModality::default, |balls| balls.radii());
        let radii = PerModality::from_fn(|m| radii[m].map(|radius| radius * self.scale));
        Attack { norm: balls.map_or_else(Default::default, |balls| balls.norm), radii, steps, step, start }
    }

    /// The rows that an attack changes: those that are to be treated and have what it perturbs.
    fn reached(&self, rows: &Rows, attack: &Attack) -> Vec<usize> {
        let wrt = attack.modalities();
        let has = |row: usize| rows.inputs.get(row).is_some_and(|input| !input.present().and(wrt).is_empty());
        (0..rows.len()).filter(|row| self.treated.get(*row) == Some(&true) && has(*row)).collect()
    }

    /// Which rows are learnt, and told of, at a point beside the sample: what is seen of them is not of the sample as it is.
    pub fn displaced(&self, rows: &Rows) -> Vec<bool> {
        let mut displaced = vec![false; rows.len()];
        if self.objective.displaces() {
            self.reached(rows, &self.attack(1, 1.0, Start::Sample)).into_iter().for_each(|row| displaced[row] = true);
        }
        displaced
    }

    fn climb<'r>(
        &self,
        model: &dyn Model,
        attack: Attack,
        centres: &'r [Input],
        of: Option<Vec<ModalitySet>>,
        reached: &[usize],
    ) -> Result<Climb<'r>> {
        let seeds: Vec<SeedTree> = reached.iter().filter_map(|row| Some(self.seeds.get(*row)?.child("attack"))).collect();
        let of = of.unwrap_or_else(|| vec![attack.modalities(); centres.len()]);
        Climb::start(attack, model, centres, of, &seeds)
    }

    /// Madry, FGSM with a random start: the rows at the last point.
    fn worst(&self, model: &dyn Trainable, rows: &Rows, attack: Attack, spent: &mut Spent) -> Result<Prepared> {
        let mut own = rows.clone();
        let reached = self.reached(rows, &attack);
        if !reached.is_empty() {
            let (centres, targets) = picked(rows, &reached);
            let view = model.view()?;
            let mut climb = self.climb(view.as_ref(), attack, &centres, None, &reached)?;
            spent.gradient += climb.ascend(
                view.as_ref(),
                &|row, logits| measure::objective_of(&targets, row, logits, Objective::CrossEntropy),
                &mut |_| {},
            )?;
            for (row, point) in reached.into_iter().zip(climb.into_points()) {
                own.inputs[row] = point;
            }
        }
        Ok(Prepared { primary: (0..own.len()).collect(), rows: own, pairs: Vec::new() })
    }

    fn trades(&self, model: &dyn Trainable, rows: &Rows, own: &Trades, spent: &mut Spent) -> Result<Prepared> {
        let attack = self.attack(own.steps, own.step.unwrap_or(2.5 / own.steps as f64), Start::Beside(own.start));
        let reached = self.reached(rows, &attack);
        let mut points = Vec::new();
        if !reached.is_empty() {
            let (centres, _) = picked(rows, &reached);
            let view = model.view()?;
            spent.forward += centres.len() as u64;
            let logits = view.forward(&centres)?.logits;
            // Up to the entropy of the clean prediction, which is a constant, the cross entropy with it is the divergence from it.
            let clean = (0..centres.len()).map(|i| {
                let p: Vec<f32> = measure::probabilities(logits.row(i)).into_iter().map(|p| p as f32).collect();
                Target::Soft(p.into())
            });
            let clean: Vec<Target> = clean.collect();
            let mut climb = self.climb(view.as_ref(), attack, &centres, None, &reached)?;
            spent.gradient += climb.ascend(
                view.as_ref(),
                &|row, logits| measure::objective_of(&clean, row, logits, Objective::CrossEntropy),
                &mut |_| {},
            )?;
            points = climb.into_points();
        }
        let pairs = reached.iter().copied().zip(points).map(|(row, point)| {
            let weight = rows.weights[row];
            let pair = Pair { weight: own.beta as f32 * weight, apart: Apart::Kl, stop_gradient: false, confidence: 0.0 };
            (row, weight, point, 0.0, pair)
        });
        Ok(paired(rows, pairs.collect()))
    }

    /// FreeLB's way: a step less than points, since the start is one.
    fn freelb_attack(&self, own: &FreeLb) -> Attack {
        let start = if own.random_start { Start::Random } else { Start::Sample };
        self.attack(own.steps.saturating_sub(1), own.step.unwrap_or(2.5 / own.steps as f64), start)
    }

    /// FreeLB in one backward pass a point: the gradients of the weights are kept until the last, those of the inputs go on to the next.
    fn freelb(&self, model: &mut dyn Trainable, rows: &Rows, own: &FreeLb, spent: &mut Spent) -> Result<StepReport> {
        let attack = self.freelb_attack(own);
        let reached = self.reached(rows, &attack);
        let parts = if reached.is_empty() { 1 } else { own.steps.max(1) };
        let (centres, targets) = picked(rows, &reached);
        let mut climb = self.climb(model.view()?.as_ref(), attack, &centres, None, &reached)?;
        let share = |row: &usize| rows.weights[*row] / parts as f32;
        let mut seen = StepReport::default();
        spent.steps += 1;
        for part in 0..parts {
            // The first part also has the rows that are not treated, the others their points alone; weights count by the rows of a batch.
            let now = if part == 0 {
                let mut now = rows.clone();
                for (row, point) in reached.iter().zip(climb.points()) {
                    (now.inputs[*row], now.weights[*row]) = (point.clone(), share(row));
                }
                now
            } else {
                let fewer = reached.len() as f32 / rows.len() as f32;
                let weights = reached.iter().map(|row| share(row) * fewer).collect();
                Rows { inputs: climb.points().to_vec(), targets: targets.clone(), weights }
            };
            let accumulation = match part {
                _ if parts == 1 => Accumulation::Whole,
                0 => Accumulation::First,
                _ if part + 1 == parts => Accumulation::Last,
                _ => Accumulation::More,
            };
            let wrt = if part + 1 == parts { ModalitySet::EMPTY } else { attack.modalities() };
            let balance = self.balance.map(|own| own.variant(part));
            spent.presentations += now.len() as u64;
            let learnt = model.learn(&self.batch(&now), &Lesson { wrt, balance: balance.as_ref(), accumulation, ..Lesson::default() })?;
            if part == 0 {
                seen = learnt.report;
            }
            if let Some(all) = learnt.gradients {
                let places: Vec<usize> = if part == 0 { reached.clone() } else { (0..reached.len()).collect() };
                climb.advance(&of_places(all, &places));
            }
        }
        Ok(seen)
    }

    /// FreeLB by a model that gives no gradients of a step: the rows at every point, each with its share of the weight, in one step.
    fn freelb_at_once(&self, model: &dyn Trainable, rows: &Rows, own: &FreeLb, spent: &mut Spent) -> Result<Prepared> {
        let attack = self.freelb_attack(own);
        let reached = self.reached(rows, &attack);
        let (centres, targets) = picked(rows, &reached);
        let view = model.view()?;
        let mut climb = self.climb(view.as_ref(), attack, &centres, None, &reached)?;
        let mut own_rows = rows.clone();
        let mut seen: Vec<Vec<Input>> = vec![climb.points().to_vec()];
        if !reached.is_empty() && own.steps > 1 {
            spent.gradient += climb.ascend(
                view.as_ref(),
                &|row, logits| measure::objective_of(&targets, row, logits, Objective::CrossEntropy),
                &mut |points| seen.push(points.to_vec()),
            )?;
        }
        for (at, points) in seen.into_iter().enumerate() {
            for (row, point) in reached.iter().copied().zip(points) {
                let weight = rows.weights[row] / own.steps.max(1) as f32;
                if at == 0 {
                    (own_rows.inputs[row], own_rows.weights[row]) = (point, weight);
                } else {
                    own_rows.push(point, rows.targets[row].clone(), weight);
                }
            }
        }
        Ok(Prepared { primary: (0..rows.len()).collect(), rows: own_rows, pairs: Vec::new() }.balanced(rows.len()))
    }

    /// VILLA: the rows beside every point of the way up their own loss.
    fn beside(&self, model: &dyn Trainable, rows: &Rows, own: &Villa, spent: &mut Spent) -> Result<Prepared> {
        let attack = self.attack(own.steps, own.step.unwrap_or(2.5 / own.steps as f64), Start::Sample);
        let reached = self.reached(rows, &attack);
        let (centres, targets) = picked(rows, &reached);
        let one = |(input, row): (&Input, &usize)| {
            let able: Vec<Modality> = input.present().and(attack.modalities()).iter().collect();
            match self.seeds.get(*row) {
                Some(node) if !own.joint && able.len() > 1 => {
                    ModalitySet::one(able[node.child("modality").rng().random_range(0..able.len())])
                }
                _ => able.into_iter().collect(),
            }
        };
        let of: Vec<ModalitySet> = centres.iter().zip(&reached).map(one).collect();
        let view = model.view()?;
        let mut climb = self.climb(view.as_ref(), attack, &centres, Some(of), &reached)?;
        let mut seen: Vec<Vec<Input>> = Vec::new();
        if !reached.is_empty() {
            spent.forward += centres.len() as u64;
            let clean = view.forward(&centres)?.logits;
            let apart = Pair { weight: 1.0, apart: Apart::SymmetricKl, stop_gradient: true, confidence: 0.0 };
            // What is ascended is what is learnt at the point.
            let of = |row: usize, logits: &[f32]| {
                let (value, mut slope) = measure::objective_of(&targets, row, logits, Objective::CrossEntropy);
                let far = apart.add(clean.row(row), logits, own.weight, &mut [], &mut slope);
                (value + (own.weight * far) as f32, slope)
            };
            spent.gradient += climb.ascend(view.as_ref(), &of, &mut |points| seen.push(points.to_vec()))?;
        }
        let mut pairs = Vec::new();
        for points in seen {
            for (row, point) in reached.iter().copied().zip(points) {
                let weight = rows.weights[row] / own.steps as f32;
                let apart = Apart::SymmetricKl;
                let pair = Pair { weight: own.weight as f32 * weight, apart, stop_gradient: own.stop_gradient, confidence: 0.0 };
                pairs.push((row, weight, point, weight, pair));
            }
        }
        Ok(paired(rows, pairs))
    }

    /// Each row beside one subset of its modalities that the model reads.
    fn subsets(&self, rows: &Rows, own: &Consistency, reads: ModalitySet) -> Prepared {
        let apart = match own.divergence {
            Compared::Kl => Apart::Kl,
            Compared::JensenShannon => Apart::JensenShannon,
        };
        let mut pairs = Vec::new();
        for (row, (input, node)) in rows.inputs.iter().zip(self.seeds).enumerate() {
            let read = input.present().and(reads);
            let subsets: Vec<ModalitySet> = read.subsets().filter(|set| *set != read).collect();
            if subsets.is_empty() {
                continue;
            }
            let keep = subsets[node.child("subset").rng().random_range(0..subsets.len())];
            let weight = rows.weights[row];
            let pair = Pair {
                weight: (own.weight * self.scale) as f32 * weight,
                apart,
                stop_gradient: true,
                confidence: own.confidence.get() as f32,
            };
            pairs.push((row, weight, input.only(keep), own.subset_weight as f32 * weight, pair));
        }
        paired(rows, pairs)
    }

    fn superloss(
        &self,
        model: &mut dyn Trainable,
        rows: &Rows,
        own: &SuperLoss,
        memory: &mut Memory,
        spent: &mut Spent,
    ) -> Result<StepReport> {
        let fixed = own.tau.unwrap_or_else(|| (memory.known(model).classes.len().max(1) as f64).ln());
        let tau = memory.tau.filter(|_| own.running_mean.is_some()).unwrap_or(fixed);
        let seen = self.learn(model, rows, &[], Some(&|l| superloss_shape(l, tau, own.lambda)), spent)?;
        if let Some(decay) = own.running_mean {
            let mean = seen.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / seen.losses.len().max(1) as f64;
            memory.tau = Some(memory.tau.map_or(mean, |tau| decay.get() * tau + (1.0 - decay.get()) * mean));
        }
        Ok(seen)
    }

    /// All rows forward, the hardest backward.
    fn hardest(&self, model: &mut dyn Trainable, rows: &Rows, keep: f64, spent: &mut Spent) -> Result<StepReport> {
        spent.forward += rows.len() as u64;
        let logits = model.view()?.forward(&rows.inputs)?.logits;
        let losses: Vec<f32> = rows.targets.iter().enumerate().map(|(i, target)| measure::cross_entropy(logits.row(i), target)).collect();
        if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
            return Err(Error::model(format!("the loss of row {at} of the batch is {}; nothing was learnt", losses[at])));
        }
        let mut kept = ohem_batch(&losses, keep).indices;
        kept.sort_unstable();
        let own = rows.only(&kept);
        if !own.is_empty() {
            self.learn(model, &own, &[], None, spent)?;
        }
        Ok(StepReport { losses, logits })
    }

    /// The same batch again and again, the perturbation on its way up along the gradients that the weights are moved by.
    fn free(&self, model: &mut dyn Trainable, rows: &Rows, own: &Free, spent: &mut Spent) -> Result<StepReport> {
        let attack = self.attack(1, own.step, Start::Random);
        let reached = self.reached(rows, &attack);
        let (centres, _) = picked(rows, &reached);
        let mut climb = self.climb(model.view()?.as_ref(), attack, &centres, None, &reached)?;
        let mut now = rows.clone();
        let wrt = if reached.is_empty() { ModalitySet::EMPTY } else { attack.modalities() };
        let mut seen = StepReport::default();
        for replay in 0..own.replays {
            for (row, point) in reached.iter().zip(climb.points()) {
                now.inputs[*row] = point.clone();
            }
            let last = replay + 1 == own.replays;
            let wrt = if last { ModalitySet::EMPTY } else { wrt };
            spent.steps += 1;
            spent.presentations += now.len() as u64;
            // A model that gives no gradient of its step is asked before it.
            if !wrt.is_empty() && !model.gives_gradients() {
                spent.gradient += reached.len() as u64;
                let (points, targets) = picked(&now, &reached);
                climb.advance(&model.view()?.gradient(&points, &targets, Default::default(), wrt)?);
            }
            // Each step of the optimizer draws noise of its own.
            let balance = self.balance.map(|own| own.variant(replay));
            let learnt = model.learn(&self.batch(&now), &Lesson { wrt, balance: balance.as_ref(), ..Lesson::default() })?;
            seen = learnt.report;
            if let Some(all) = learnt.gradients {
                climb.advance(&of_places(all, &reached));
            }
        }
        Ok(seen)
    }
}

/// The rows with weights times the factor of their class; of a soft label the mean of the factors under it.
fn by_class(rows: &Rows, classes: &Classes, factors: &BTreeMap<String, f64>) -> Rows {
    let of: Vec<f64> = classes.names().iter().map(|name| factors.get(name).copied().unwrap_or(1.0)).collect();
    let factor = |class: usize| of.get(class).copied().unwrap_or(1.0);
    let mut own = rows.clone();
    for (weight, target) in own.weights.iter_mut().zip(&rows.targets) {
        *weight *= match target {
            Target::Class(class) => factor(*class),
            Target::Soft(shares) => shares.iter().enumerate().map(|(class, share)| f64::from(*share) * factor(class)).sum(),
        } as f32;
    }
    own
}

/// The gradients of the inputs of some rows.
fn of_places(mut all: Gradients, places: &[usize]) -> Gradients {
    let of = |list: &mut Vec<Option<Vec<f32>>>| places.iter().map(|row| list.get_mut(*row)?.take()).collect();
    (all.image, all.audio, all.text) = (of(&mut all.image), of(&mut all.audio), of(&mut all.text));
    all
}

/// The inputs and targets of some rows.
fn picked(rows: &Rows, which: &[usize]) -> (Vec<Input>, Vec<Target>) {
    which.iter().map(|row| (rows.inputs[*row].clone(), rows.targets[*row].clone())).unzip()
}

/// Pairs first, each of a row with its weight, its neighbour with its weight, and what holds them together; then the rows that are in none.
fn paired(rows: &Rows, pairs: Vec<(usize, f32, Input, f32, Pair)>) -> Prepared {
    let mut made = Prepared { primary: vec![usize::MAX; rows.len()], ..Prepared::default() };
    for (row, weight, neighbour, of_neighbour, pair) in pairs {
        let at = made.rows.len();
        made.rows.push(rows.inputs[row].clone(), rows.targets[row].clone(), weight);
        made.rows.push(neighbour, rows.targets[row].clone(), of_neighbour);
        made.pairs.push(pair);
        if made.primary[row] == usize::MAX {
            made.primary[row] = at;
        }
    }
    for row in 0..rows.len() {
        if made.primary[row] == usize::MAX {
            made.primary[row] = made.rows.len();
            made.rows.push(rows.inputs[row].clone(), rows.targets[row].clone(), rows.weights[row]);
        }
    }
    made.balanced(rows.len())
}

/// What was seen of the rows that are read from.
fn of_rows(seen: &StepReport, primary: &[usize]) -> Result<StepReport> {
    let rows = seen.losses.len().min(seen.logits.rows());
    if let Some(at) = primary.iter().find(|at| **at >= rows) {
        return Err(Error::model(format!("a training step told of {rows} rows, and not of row {at}")));
    }
    let mut logits = Matrix { columns: seen.logits.columns, values: Vec::with_capacity(primary.len() * seen.logits.columns) };
    primary.iter().for_each(|at| logits.values.extend(seen.logits.row(*at)));
    Ok(StepReport { losses: primary.iter().map(|at| seen.losses[*at]).collect(), logits })
}
