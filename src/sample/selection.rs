use super::{SampleId, ScoreTable};
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

/// On which side of a decision between two classes a chosen sample lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// Labelled positive and taken for negative, or nearly so.
    HardPositive,
    /// Labelled negative and taken for positive, or nearly so.
    HardNegative,
}

impl Polarity {
    /// The polarity of a hard sample of `class`. It can be told of two classes only, the second being the positive one: among more, a
    /// sample is a hard positive of its own class and a hard negative of the one it is taken for.
    pub fn of(class: Option<usize>, classes: usize) -> Option<Self> {
        match (class?, classes) {
            (0, 2) => Some(Self::HardNegative),
            (1, 2) => Some(Self::HardPositive),
            _ => None,
        }
    }
}

/// One chosen sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    /// Which.
    pub id: SampleId,
    /// Its row in the score table.
    pub row: usize,
    /// How often it is drawn in training, at least 0; 1 is neutral.
    pub weight: f32,
    /// What its loss is multiplied by when it is drawn, at least 0; 1 unless the miner corrects for how often it is drawn.
    #[serde(default = "neutral", skip_serializing_if = "is_neutral")]
    pub loss_weight: f32,
    /// The score it was chosen by.
    pub score: f32,
    /// Stage ids of the miners that chose it.
    pub by: Vec<String>,
    /// Hard positive or hard negative, where the classes tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polarity: Option<Polarity>,
}

fn neutral() -> f32 {
    1.0
}

fn is_neutral(weight: &f32) -> bool {
    *weight == neutral()
}

impl Selected {
    /// Row `row` of the table, chosen for `score` by the stage `by`, with neutral weights.
    ///
    /// # Panics
    /// If the table has no such row.
    pub fn new(table: &ScoreTable, row: usize, score: f32, by: &str) -> Self {
        let of = &table.rows()[row];
        Self {
            id: of.id.clone(),
            row,
            weight: 1.0,
            loss_weight: 1.0,
            score,
            by: vec![by.to_owned()],
            polarity: Polarity::of(of.class, table.classes()),
        }
    }
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
    /// The union of several miners' choices: the larger weight with its loss weight (of equal weights the smaller loss weight) and the larger
    /// score win; bands are hulled.
    pub fn unite(selections: impl IntoIterator<Item = Self>) -> Self {
        let mut rows: BTreeMap<usize, Selected> = BTreeMap::new();
        let mut band: Option<DifficultyBand> = None;
        for selection in selections {
            for selected in selection.samples {
                match rows.get_mut(&selected.row) {
                    Some(own) => {
                        if selected.weight > own.weight {
                            own.loss_weight = selected.loss_weight;
                        } else if selected.weight == own.weight {
                            own.loss_weight = own.loss_weight.min(selected.loss_weight);
                        }
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
    use crate::sample::{ModalitySet, TableRow};
    use std::sync::Arc;

    #[test]
    fn the_band_is_clamped_and_never_empty() {
        let band = DifficultyBand::clamped(0.0, 0.0, 10);
        assert!((band.low - 0.10536).abs() < 1e-4 && (band.high - band.low - 0.05).abs() < 1e-6);
        let band = DifficultyBand::clamped(1.0, 9.0, 10);
        assert!((band.high - 10f32.ln()).abs() < 1e-6 && band.holds(1.0) && !band.holds(2.4));
    }

    #[test]
    fn selections_unite_by_row() {
        let rows = (0..6)
            .map(|i| TableRow {
                id: format!("s{i}").as_str().into(),
                class: Some(i % 2),
                present: ModalitySet::ALL,
                group: i,
                fields: Arc::default(),
            })
            .collect();
        let table = ScoreTable::new(rows, 2).unwrap();
        let one = |row, weight: f32, by: &str| Selected { weight, loss_weight: 1.0 / weight, ..Selected::new(&table, row, weight, by) };
        let united = Selection::unite([
            Selection { samples: vec![one(2, 1.0, "a"), one(5, 2.0, "a")], band: None },
            Selection { samples: vec![one(2, 3.0, "b"), one(1, 1.0, "b")], band: Some(DifficultyBand { low: 0.2, high: 1.0 }) },
        ]);
        assert_eq!(united.samples.iter().map(|s| (s.row, s.weight)).collect::<Vec<_>>(), [(1, 1.0), (2, 3.0), (5, 2.0)]);
        assert_eq!(united.samples[1].by, ["a", "b"]);
        assert_eq!(united.samples.iter().map(|s| s.loss_weight).collect::<Vec<_>>(), [1.0, 1.0 / 3.0, 0.5]);
        let polarities: Vec<_> = united.samples.iter().map(|s| s.polarity).collect();
        assert_eq!(polarities, [Some(Polarity::HardPositive), Some(Polarity::HardNegative), Some(Polarity::HardPositive)]);
        assert_eq!((Polarity::of(Some(1), 3), Polarity::of(None, 2), Polarity::of(Some(2), 2)), (None, None, None));
        let told = serde_json::to_value(&united.samples[0]).unwrap();
        assert_eq!((told.get("loss_weight"), told["polarity"].as_str()), (None, Some("hard_positive")));
    }
}
