use super::{
    Miner,
    draw::AliasTable,
    rank::{Eligible, USUAL_BAND, eligible, frozen_band},
    top::descending,
};
use crate::{
    context::MineContext,
    error::{Error, Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selected, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a priority is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// The score itself, which must not be negative, and a millionth more so that none is 0.
    #[default]
    Proportional,
    /// One over the place from the hardest, 1 for the hardest; outliers do not matter.
    Rank,
}

/// The probabilities `P(i) = p_i^alpha / sum p^alpha` of a prioritised replay. `Proportional`: `p_i = score + 1e-6`; an error names the first
/// score that is negative or not finite. `Rank`: `p_i = 1 / place`, the hardest has place 1, equal scores by index, NaN last.
/// `alpha` 0 is uniform. Empty for no scores.
///
/// Source: Schaul et al., "Prioritized Experience Replay", 2016, equation 1.
pub fn prioritized_probabilities(scores: &[f32], kind: Priority, alpha: f64) -> Result<Vec<f64>> {
    let mut powers: Vec<f64> = match kind {
        Priority::Proportional => {
            if let Some((i, score)) = scores.iter().enumerate().find(|(_, score)| !(score.is_finite() && **score >= 0.0)) {
                return Err(Error::usage(format!("score {i} is {score}; a proportional priority is a finite number of at least 0")));
            }
            scores.iter().map(|score| (f64::from(*score) + 1e-6).powf(alpha)).collect()
        }
        Priority::Rank => {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| descending(scores[*a], scores[*b]));
            let mut powers = vec![0.0; scores.len()];
            order.into_iter().enumerate().for_each(|(place, i)| powers[i] = (place as f64 + 1.0).powf(-alpha));
            powers
        }
    };
    let total: f64 = powers.iter().sum();
    powers.iter_mut().for_each(|power| *power /= total);
    Ok(powers)
}

/// The weights `w_i = (n P(i))^-beta / max w` that make up for draws with the probabilities `P`, in `0..=1`; `beta` 1 makes up for all of
/// it. What is never drawn (`P = 0`, or no number) weighs 0 and does not count for the largest.
///
/// Source: Schaul et al., "Prioritized Experience Replay", 2016, section 3.4.
pub fn importance_weights(probabilities: &[f64], beta: f64) -> Vec<f32> {
    let least = probabilities.iter().copied().filter(|p| *p > 0.0).fold(f64::INFINITY, f64::min);
    // `n` is in both and cancels out.
    probabilities.iter().map(|p| if *p > 0.0 { (p / least).powf(-beta) as f32 } else { 0.0 }).collect()
}

/// `beta` at a share `progress` (`0..=1`) of the training: from `first` straight to 1.
pub fn annealed(first: f64, progress: f64) -> f64 {
    first + (1.0 - first) * progress.clamp(0.0, 1.0)
}

/// Draws samples as a prioritised replay does, and corrects their loss for being drawn more often than others.
///
/// Method: `ceil(share * n)` draws with replacement from the `n` valuable samples, `P(i) = p_i^alpha / sum p^alpha`, `p` the score or one over the
/// rank. A sample that was drawn is chosen; its weight is the number of its draws (at most `repeat_cap`), scaled to a mean of 1. Its loss is
/// multiplied by `(n P(i))^-beta / max`, the largest among the chosen being 1; `beta` grows straight from its first value
/// (that of a single round) to 1 in the last round.
///
/// Reference: Schaul et al., Prioritized Experience Replay, 2016; Vose, A linear algorithm for generating random numbers with a given
/// distribution, 1991.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prioritized {
    /// Score column of the priorities; larger is harder.
    pub by: String,
    /// What a priority is made of.
    pub kind: Priority,
    /// Exponent of the priorities, 0..=10; 0 is uniform.
    pub alpha: f64,
    /// First exponent of the correction, 0..=1; 1 corrects in full from the start.
    pub beta: Fraction,
    /// Draws for each valuable sample, above 0 and at most 1.
    pub share: Fraction,
    /// Most draws that count for one sample, at least 1.
    pub repeat_cap: usize,
}

impl Default for Prioritized {
    fn default() -> Self {
        let share = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { by: "loss".into(), kind: Priority::Proportional, alpha: 0.6, beta: share(0.4), share: share(0.3), repeat_cap: 5 }
    }
}

impl Configure<dyn Miner> for Prioritized {
    const NAME: &'static str = "prioritized";
    const EXAMPLE: &'static str = "{ by: loss, alpha: 0.6, beta: 0.4, share: 0.3 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(0.0..=10.0).contains(&self.alpha) {
            problems.push(Problem::new("alpha", format!("expected a number in 0..=10, found {}", self.alpha)));
        }
        if self.share.get() == 0.0 {
            problems.push(Problem::new("share", "nothing would be drawn; expected a fraction above 0 and at most 1"));
        }
        if self.repeat_cap == 0 {
            problems.push(Problem::new("repeat_cap", "expected at least 1, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Miner for Prioritized {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let mut rows: Vec<Eligible> = eligible(table, diagnoses, &self.by)?;
        // One stream serves all draws: in the order of the ids it does not hang on that of the table.
        rows.sort_unstable_by(|a, b| table.rows()[a.row].id.cmp(&table.rows()[b.row].id));
        if rows.is_empty() {
            return Ok(Selection::default());
        }
        let negative = |one: &&Eligible| self.kind == Priority::Proportional && one.score < 0.0;
        if let Some(one) = rows.iter().find(negative) {
            let what = format!("`{}` is {}; a proportional priority is at least 0: write `kind: rank`", self.by, one.score);
            return Err(Error::usage(what).at("sample", &table.rows()[one.row].id));
        }
        let scores: Vec<f32> = rows.iter().map(|one| one.score).collect();
        let probabilities = prioritized_probabilities(&scores, self.kind, self.alpha)?;
        let alias = AliasTable::new(&probabilities)?;
        let mut rng = context.seeds.rng();
        let draws = (self.share.get() * rows.len() as f64 - 1e-9).ceil() as usize;
        let mut counts = vec![0usize; rows.len()];
        (0..draws).for_each(|_| counts[alias.draw(&mut rng)] += 1);
        counts.iter_mut().for_each(|count| *count = (*count).min(self.repeat_cap));
        // Full correction in the last round, whose progress is that of the rounds before it.
        let last = context.rounds.saturating_sub(1).max(1) as f64;
        let beta = annealed(self.beta.get(), context.round.saturating_sub(1) as f64 / last);
        let drawn: Vec<usize> = (0..rows.len()).filter(|i| counts[*i] > 0).collect();
        let corrections = importance_weights(&drawn.iter().map(|i| probabilities[*i]).collect::<Vec<_>>(), beta);
        let mean = drawn.iter().map(|i| counts[*i]).sum::<usize>() as f64 / drawn.len().max(1) as f64;
        let mut samples: Vec<Selected> = drawn
            .iter()
            .zip(corrections)
            .map(|(&i, loss_weight)| Selected {
                weight: (counts[i] as f64 / mean) as f32,
                loss_weight,
                ..Selected::new(table, rows[i].row, rows[i].score, context.stage)
            })
            .collect();
        samples.sort_unstable_by_key(|one| one.row);
        Ok(Selection { samples, band: frozen_band(table, diagnoses, &self.by, USUAL_BAND.0, USUAL_BAND.1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn probabilities_and_weights_of_three() {
        // Square roots of 1, 4 and 9 are 1, 2 and 3.
        let found = prioritized_probabilities(&[1.0, 4.0, 9.0], Priority::Proportional, 0.5).unwrap();
        for (found, right) in found.iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]) {
            assert!((found - right).abs() < 1e-6);
        }
        // (3 P)^-1 is 2, 1 and 2/3; over the largest: 1, 1/2, 1/3.
        for (found, right) in importance_weights(&[1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0], 1.0).into_iter().zip([1.0, 0.5, 1.0 / 3.0]) {
            assert!((found - right).abs() < 1e-6);
        }
        assert_eq!(importance_weights(&[0.25, 0.0, f64::NAN, 1.0], 0.5), [1.0, 0.0, 0.0, 0.5]);
        // Places 2, 1, 3: 1/2, 1 and 1/3 over 11/6.
        let ranked = prioritized_probabilities(&[-1.0, 0.0, -1.0], Priority::Rank, 1.0).unwrap();
        for (found, right) in ranked.iter().zip([3.0 / 11.0, 6.0 / 11.0, 2.0 / 11.0]) {
            assert!((found - right).abs() < 1e-12);
        }
        assert_eq!((annealed(0.4, 0.0), annealed(0.4, 0.5), annealed(0.4, 7.0)), (0.4, 0.7, 1.0));
        let told = prioritized_probabilities(&[0.0, -1.0], Priority::Proportional, 1.0).unwrap_err().to_string();
        assert_eq!(told, "score 1 is -1; a proportional priority is a finite number of at least 0");
        assert!(prioritized_probabilities(&[], Priority::Rank, 1.0).unwrap().is_empty() && importance_weights(&[], 1.0).is_empty());
    }

    proptest! {
        /// With the full correction every sample counts the same in expectation.
        #[test]
        fn the_full_correction_undoes_the_draw(scores in prop::collection::vec(0f32..50.0, 1..40), alpha in 0.0f64..3.0) {
            for kind in [Priority::Proportional, Priority::Rank] {
                let p = prioritized_probabilities(&scores, kind, alpha).unwrap();
                prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                let w = importance_weights(&p, 1.0);
                let expected: Vec<f64> = p.iter().zip(&w).map(|(p, w)| p * f64::from(*w)).collect();
                prop_assert!(expected.iter().all(|one| (one / expected[0] - 1.0).abs() < 1e-5), "{:?}", expected);
                prop_assert!(w.iter().all(|w| (0.0..=1.0).contains(w)));
            }
        }
    }
}
