use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Requirements, Table},
    sample::{Column, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much the members of an ensemble disagree on a sample, label or not.
///
/// Method: members are the subject and all out-of-fold teachers: models of one architecture from different starts and partly different samples, one of which never saw
/// this one; of recorded predictions, their members (`member`: other trainings, or passes with dropout drawn anew), or the recorded model and a teacher of its own. `disagreement` is the mutual information of prediction and member, `H(mean_s p_s) - mean_s H(p_s)` in nats, 0..=ln members: what more data would settle. `vote_split` is 1 minus the share of the
/// class that most members predict, 0..=1; `expected_entropy` is `mean_s H(p_s)`, what no member is sure of.
///
/// Reference: Houlsby, Huszár, Ghahramani, Lengyel, Bayesian Active Learning for Classification and Preference Learning, 2011 (BALD); Seung, Opper, Sompolinsky, Query by
/// Committee, 1992; Gal, Islam, Ghahramani, Deep Bayesian Active Learning with Image Data, 2017 (dropout draws as members).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {}

impl Configure<dyn Scorer> for Disagreement {
    const NAME: &'static str = "disagreement";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for Disagreement {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("disagreement", "mutual information of prediction and ensemble member, nats, 0..=ln members"),
            Column::hardness("vote_split", "1 minus the share of members that predict the most voted class, 0..=1"),
            Column::measure("expected_entropy", "mean entropy of the members' predictions, nats, 0..=ln classes"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { ensemble: true, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let members = forwards.ensemble()?;
        let absent = |why: &str| {
            let score = Score::absent(why);
            [score.clone(), score.clone(), score]
        };
        Ok(columns_of((0..forwards.samples().len()).map(|i| {
            let predictions: Vec<Vec<f64>> = members.iter().filter_map(|rows| rows.logits(i)).map(measure::probabilities).collect();
            match Opinion::of(&predictions) {
                Some(Opinion { information, split, expected_entropy }) => {
                    [information, split, expected_entropy].map(|v| Score::Known(v as f32))
                }
                None if members.len() < 2 && forwards.one_voice() => {
                    absent("one recorded model: needs predictions of two members (`member`) or a `teacher`")
                }
                None => absent("fewer than two models predict it"),
            }
        })))
    }
}

/// What the members of an ensemble say of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opinion {
    /// `H(mean_s p_s) - mean_s H(p_s)` in nats, at least 0.
    pub information: f64,
    /// 1 minus the share of the most voted class, 0..1.
    pub split: f64,
    /// `mean_s H(p_s)` in nats.
    pub expected_entropy: f64,
}

impl Opinion {
    /// From one distribution a member, all over the same classes; `None` for fewer than two. NaN where one of them is no number.
    pub fn of(predictions: &[Vec<f64>]) -> Option<Self> {
        let members = predictions.len();
        let classes = predictions.first()?.len();
        if members < 2 {
            return None;
        }
        if predictions.iter().flatten().any(|p| !p.is_finite()) {
            return Some(Self { information: f64::NAN, split: f64::NAN, expected_entropy: f64::NAN });
        }
        let mut votes = vec![0usize; classes];
        let mut mean = vec![0.0; classes];
        let mut expected_entropy = 0.0;
        for p in predictions {
            votes.iter_mut().skip(measure::most_probable(p).0).take(1).for_each(|votes| *votes += 1);
            mean.iter_mut().zip(p).for_each(|(mean, p)| *mean += p / members as f64);
            expected_entropy += measure::entropy(p) / members as f64;
        }
        let most = votes.into_iter().max().unwrap_or(0);
        let information = (measure::entropy(&mean) - expected_entropy).max(0.0);
        Some(Self { information, split: 1.0 - most as f64 / members as f64, expected_entropy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_opinions() {
        // Two sure members that contradict each other: one bit to learn. Two that both do not know: nothing.
        let apart = Opinion::of(&[vec![1.0, 0.0], vec![0.0, 1.0]]).unwrap();
        assert_eq!((apart.information, apart.split, apart.expected_entropy), (std::f64::consts::LN_2, 0.5, 0.0));
        let unsure = Opinion::of(&[vec![0.5, 0.5], vec![0.5, 0.5]]).unwrap();
        assert_eq!((unsure.information, unsure.split, unsure.expected_entropy), (0.0, 0.0, std::f64::consts::LN_2));
        // H(.7, .3) - (H(.9, .1) + H(.5, .5)) / 2.
        let between = Opinion::of(&[vec![0.9, 0.1], vec![0.5, 0.5]]).unwrap();
        assert!((between.information - 0.101_749).abs() < 1e-5);
        assert!(Opinion::of(&[vec![1.0]]).is_none() && Opinion::of(&[]).is_none());
        assert!(Opinion::of(&[vec![f64::NAN, 1.0], vec![0.0, 1.0]]).unwrap().information.is_nan());
    }

    proptest! {
        #[test]
        fn information_is_bounded_and_knows_no_order(raw in prop::collection::vec(prop::array::uniform4(0.01f64..1.0), 2..7), by in 0usize..7) {
            let predictions: Vec<Vec<f64>> = raw.iter().map(|p| p.iter().map(|v| v / p.iter().sum::<f64>()).collect()).collect();
            let found = Opinion::of(&predictions).unwrap();
            prop_assert!((0.0..=(predictions.len() as f64).ln() + 1e-12).contains(&found.information) && (0.0..1.0).contains(&found.split));
            let mut turned = predictions.clone();
            turned.rotate_left(by % predictions.len());
            prop_assert!((Opinion::of(&turned).unwrap().information - found.information).abs() < 1e-12);
        }
    }
}
