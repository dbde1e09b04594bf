//! What the bank keeps of one sample: a fixed size, whatever the number of presentations.

use super::Priorities;
use crate::{
    model::measure,
    pipeline::Stale,
    sample::{Judgement, ModalitySet, SampleId, Treatment},
};

/// Non-empty subsets of three modalities.
pub(super) const SUBSETS: usize = 7;

/// What one presentation of a sample showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation<'a> {
    /// Stable id.
    pub id: &'a SampleId,
    /// Unweighted loss in nats.
    pub loss: f32,
    /// Margin `z_y - max_{k != y} z_k` on logits, where there is a label: above 0 the answer was right.
    pub margin: Option<f32>,
    /// The modalities that were shown, where it was not all of the sample: the loss then goes into the subset scores alone.
    pub only: Option<ModalitySet>,
}

impl<'a> Observation<'a> {
    /// A whole presentation of which the loss alone is known.
    pub fn loss(id: &'a SampleId, loss: f32) -> Self {
        Self { id, loss, margin: None, only: None }
    }
    /// A whole presentation with the logits of the training forward pass and the class of the label.
    pub fn logits(id: &'a SampleId, loss: f32, logits: &[f32], class: usize) -> Self {
        Self { margin: Some(measure::margin(logits, class)), ..Self::loss(id, loss) }
    }
    /// The same of a presentation that showed only these modalities.
    #[must_use]
    pub fn only(mut self, shown: ModalitySet) -> Self {
        self.only = Some(shown);
        self
    }
}

/// What the bank knows of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Memory {
    pub(super) mean: f64,
    pub(super) variance: f64,
    pub(super) margin_sum: f64,
    pub(super) last_step: u64,
    pub(super) last_loss: f32,
    pub(super) subsets: [f32; SUBSETS],
    /// Whole presentations.
    pub(super) count: u32,
    /// Of these, presentations with a margin.
    pub(super) judged: u32,
    pub(super) forgotten: u32,
    /// Judged presentation, from 1, that was the first right one; 0 for none.
    pub(super) first_learned: u32,
    /// Bit `i` says that `subsets[i]` is known.
    pub(super) known_subsets: u8,
    pub(super) last_right: bool,
    pub(super) verdict: Option<(Judgement, Treatment)>,
}

impl Memory {
    /// Adds a presentation at `step` with a finite loss. `beta` is the decay of the running mean, `0..1`.
    ///
    /// The bias-corrected mean `v / (1 - beta^n)` with `v = beta v + (1 - beta) l` is kept itself: `m += a (l - m)`,
    /// `a = (1 - beta) / (1 - beta^n)`; the variance with the same weights is `(1 - a) (s + a (l - m)^2)` (West 1979), never negative.
    pub(super) fn observe(&mut self, step: u64, seen: &Observation<'_>, beta: f64) {
        if let Some(shown) = seen.only {
            if self.count == 0 {
                self.last_step = self.last_step.max(step);
            }
            if let Some(place) = place(shown) {
                self.subsets[place] = seen.loss;
                self.known_subsets |= 1 << place;
            }
            return;
        }
        self.count = self.count.saturating_add(1);
        let rate = (1.0 - beta) / (1.0 - beta.powi(i32::try_from(self.count).unwrap_or(i32::MAX)));
        let off = f64::from(seen.loss) - self.mean;
        self.mean += rate * off;
        self.variance = (1.0 - rate) * (self.variance + rate * off * off);
        self.last_loss = seen.loss;
        self.last_step = self.last_step.max(step);
        if let Some(margin) = seen.margin.filter(|margin| margin.is_finite()) {
            self.judged = self.judged.saturating_add(1);
            self.margin_sum += f64::from(margin);
            let right = margin > 0.0;
            if right && self.first_learned == 0 {
                self.first_learned = self.judged;
            }
            if !right && self.last_right {
                self.forgotten += 1;
            }
            self.last_right = right;
        }
    }

    /// Whole presentations so far.
    pub fn count(&self) -> u32 {
        self.count
    }
    /// Exponential running mean of the loss, corrected for its start; `None` before the first whole presentation.
    pub fn loss(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }
    /// Variance of the loss about that mean, with the same weights.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then_some(self.variance)
    }
    /// The loss of the last whole presentation.
    pub fn last_loss(&self) -> Option<f32> {
        (self.count > 0).then_some(self.last_loss)
    }
    /// Step of the last whole presentation; before the first, of the last of any kind.
    pub fn last_step(&self) -> u64 {
        self.last_step
    }
    /// The last loss with only these modalities shown.
    pub fn subset_loss(&self, shown: ModalitySet) -> Option<f32> {
        place(shown).filter(|place| self.known_subsets & 1 << place != 0).map(|place| self.subsets[place])
    }
    /// Whether the last judged presentation was right.
    pub fn last_right(&self) -> Option<bool> {
        (self.judged > 0).then_some(self.last_right)
    }
    /// Forgetting events (right, then wrong: Toneva et al. 2019); presentations + 1 for a sample that was never right.
    pub fn forgetting(&self) -> Option<u32> {
        (self.judged > 0).then_some(if self.first_learned == 0 { self.judged.saturating_add(1) } else { self.forgotten })
    }
    /// The judged presentation, from 1, at which it was first right.
    pub fn first_learned(&self) -> Option<u32> {
        (self.first_learned > 0).then_some(self.first_learned)
    }
    /// Area under the margin: the mean margin over the judged presentations (Pleiss et al. 2020).
    pub fn aum(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.margin_sum / f64::from(self.judged))
    }
    /// What the guard said last.
    pub fn verdict(&self) -> Option<(Judgement, Treatment)> {
        self.verdict
    }
    /// Whether the guard set it aside: such a sample has no priority.
    pub fn set_aside(&self) -> bool {
        self.verdict.is_some_and(|(_, treatment)| treatment == Treatment::Quarantine)
    }
    /// Steps since it was last seen whole.
    pub fn age(&self, step: u64) -> u64 {
        step.saturating_sub(self.last_step)
    }
    /// How much there is to learn from it, at least 0: the mean loss plus `optimism * deviation / sqrt(n)`, times `decay^(age / max_age)`
    /// once it is older than `max_age`, where the rule says so. `None` for what was never seen whole or is set aside.
    pub fn priority(&self, step: u64, rules: &Priorities) -> Option<f64> {
        if self.count == 0 || self.set_aside() {
            return None;
        }
        let hopeful = self.mean + rules.optimism * (self.variance / f64::from(self.count)).sqrt();
        let age = self.age(step);
        let faded = match rules.stale {
            Stale::Decay { factor } if rules.max_age > 0 && age > rules.max_age => {
                hopeful * factor.get().powf(age as f64 / rules.max_age as f64)
            }
            _ => hopeful,
        };
        Some(faded.max(0.0))
    }
}

/// Place of a subset among [`ModalitySet::subsets`]; `None` for the empty one.
fn place(shown: ModalitySet) -> Option<usize> {
    ModalitySet::ALL.subsets().position(|subset| subset == shown)
}
