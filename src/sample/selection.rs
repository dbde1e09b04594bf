use super::SampleId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The losses between which a neighbour is wanted; frozen for a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DifficultyBand {
    /// Least loss, in nats.
    pub low: f32,
    /// Greatest loss, in nats.
    pub high: f32,
}

impl DifficultyBand {
    /// Quantile losses clamped to `[-ln 0.9, ln classes]`, with a width of at least 0.05 nats.
    pub fn clamped(low: f32, high: f32, classes: usize) -> Self {
        let (floor, ceiling) = (-(0.9f32.ln()), (classes.max(2) as f32).ln());
        let low = low.clamp(floor, ceiling - 0.05);
        Self { low, high: high.clamp(low + 0.05, ceiling) }
    }
    /// Whether a loss lies in it, ends included.
    pub fn holds(&self, loss: f32) -> bool {
        self.low <= loss && loss <= self.high
    }
}

/// One chosen sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    /// Which.
    pub id: SampleId,
    /// Its row in the score table.
    pub row: usize,
    /// Weight in training, at least 0; 1 is neutral.
    pub weight: f32,
    /// The score it was chosen by.
    pub score: f32,
    /// Stage ids of the miners that chose it.
    pub by: Vec<String>,
}

/// What miners chose: ids with weights, in the order of the score table's rows, and the difficulty band of the round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// The chosen samples, sorted by row.
    pub samples: Vec<Selected>,
    /// Where their neighbours should land; `None` where nothing could be measured.
    pub band: Option<DifficultyBand>,
}

impl Selection {
    /// The union of several miners' choices: the larger weight and score win; bands are hulled.
    pub fn unite(selections: impl IntoIterator<Item = Self>) -> Self {
        let mut rows: BTreeMap<usize, Selected> = BTreeMap::new();
        let mut band: Option<DifficultyBand> = None;
        for selection in selections {
            for selected in selection.samples {
                match rows.get_mut(&selected.row) {
                    Some(own) => {
                        own.weight = own.weight.max(selected.weight);
                        own.score = own.score.max(selected.score);
                        own.by.extend(selected.by);
                    }
                    None => {
                        rows.insert(selected.row, selected);
                    }
                }
            }
            band = match (band, selection.band) {
                (Some(a), Some(b)) => Some(DifficultyBand { low: a.low.min(b.low), high: a.high.max(b.high) }),
                (a, b) => a.or(b),
            };
        }
        Self { samples: rows.into_values().collect(), band }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_is_clamped_and_never_empty() {
        let band = DifficultyBand::clamped(0.0, 0.0, 10);
        assert!((band.low - 0.10536).abs() < 1e-4 && (band.high - band.low - 0.05).abs() < 1e-6);
        let band = DifficultyBand::clamped(1.0, 9.0, 10);
        assert!((band.high - 10f32.ln()).abs() < 1e-6 && band.holds(1.0) && !band.holds(2.4));
    }

    #[test]
    fn selections_unite_by_row() {
        let one =
            |row, weight: f32, by: &str| Selected { id: SampleId::new(format!("s{row}")), row, weight, score: weight, by: vec![by.into()] };
        let united = Selection::unite([
            Selection { samples: vec![one(2, 1.0, "a"), one(5, 2.0, "a")], band: None },
            Selection { samples: vec![one(2, 3.0, "b"), one(1, 1.0, "b")], band: Some(DifficultyBand { low: 0.2, high: 1.0 }) },
        ]);
        assert_eq!(united.samples.iter().map(|s| (s.row, s.weight)).collect::<Vec<_>>(), [(1, 1.0), (2, 3.0), (5, 2.0)]);
        assert_eq!(united.samples[1].by, ["a", "b"]);
    }
}
