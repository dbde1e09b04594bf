//! An outer objective in a trainer's own loop.

use super::{
    super::{blame::Rows, session::Spent},
    Memory, Task,
};
use crate::{
    error::{Error, Result},
    model::{Balance, StepReport, Trainable, TrainingBatch},
    pipeline::TrainingObjective,
    random::SeedTree,
};

/// Steps of a model toward an objective, for a loop of one's own: what `train.objective` does to each batch of a run.
///
/// `fgsm_rs` is not watched here: measure the robust accuracy after each epoch (as [`crate::generate::pgd::ascend`] does), and where it falls bring the last good state back and call
/// [`OwnLoop::lengthen`].
#[derive(Debug, Clone)]
pub struct OwnLoop {
    objective: TrainingObjective,
    /// Encoders that are held back; `None` for none. Its noise is drawn anew in every step.
    pub balance: Option<Balance>,
    memory: Memory,
    spent: Spent,
}

impl OwnLoop {
    /// With nothing spent. Fails for a value out of its range.
    pub fn new(objective: TrainingObjective) -> Result<Self> {
        match objective.problems().into_iter().next() {
            Some(problem) => Err(Error::usage(problem.to_string())),
            None => Ok(Self { objective, balance: None, memory: Memory::default(), spent: Spent::default() }),
        }
    }

    /// One batch (`free` takes several steps of the optimizer). `treated` says which rows an adversarial objective treats, all without; `scale` (`0..=1`) is how far the ramp is;
    /// `seeds` is this step's node. What the step saw of each row, in their order; the rows that an objective adds are not told of.
    pub fn step(
        &mut self,
        model: &mut dyn Trainable,
        batch: &TrainingBatch<'_>,
        treated: Option<&[bool]>,
        scale: f64,
        seeds: &SeedTree,
    ) -> Result<StepReport> {
        let n = batch.inputs.len();
        let found = [batch.targets.len(), batch.weights.len(), treated.map_or(n, <[bool]>::len)];
        if found != [n; 3] {
            return Err(Error::usage(format!("expected {n} targets, weights and marks of what is treated, found {found:?}")));
        }
        if !(0.0..=1.0).contains(&scale) {
            return Err(Error::usage(format!("expected a scale in 0..=1, found {scale}")));
        }
        let all = vec![true; n];
        let nodes: Vec<SeedTree> = (0..n).map(|row| seeds.variant(row)).collect();
        let balance = self.balance.as_ref().map(|own| own.variant(self.spent.steps as usize));
        let task = Task {
            objective: &self.objective,
            scale,
            balance: balance.as_ref(),
            learning_rate: batch.learning_rate,
            treated: treated.unwrap_or(&all),
            seeds: &nodes,
        };
        let rows = Rows { inputs: batch.inputs.to_vec(), targets: batch.targets.to_vec(), weights: batch.weights.to_vec() };
        task.step(model, &rows, &mut self.memory, &mut self.spent)
    }

    /// Lets the attack of `fgsm_rs` take a step more from now on, all together as long as before.
    pub fn lengthen(&mut self) {
        self.memory.more_steps += 1;
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.spent
    }
}
