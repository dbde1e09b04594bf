use super::{SampleId, ScoreTable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which samples stand for a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// Evenly spaced in the order of the file.
    #[default]
    Spread,
    /// The first, as published figures on "the first 1,000" ask for.
    First,
}

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

/// On which side of a decision a chosen sample lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// Labelled positive and taken for negative, or nearly so.
    HardPositive,
    /// Labelled negative and taken for positive, or nearly so.
    HardNegative,
}

impl Polarity {
    /// The polarity of a hard sample of `class`. Of two classes the second is the positive one. Among more, each class is held against the rest:
    /// the sample is a hard positive of its own class (its probability is low), and at once a hard negative of the class that it is confused with
    /// ([`Selected::confused_with`]).
    pub fn of(class: Option<usize>, classes: usize) -> Option<Self> {
        match (class?, classes) {
            (_, 0 | 1) => None,
            (0, 2) => Some(Self::HardNegative),
            (class, classes) => (class < classes).then_some(Self::HardPositive),
        }
    }
}

/// Another sample that forms a pair or triplet with a chosen one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partner {
    /// Which.
    pub id: SampleId,
    /// Cosine of the two embeddings, -1..=1.
    pub similarity: f32,
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
    /// Hard positive or hard negative; `None` without a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polarity: Option<Polarity>,
    /// The class that it is taken for, or most nearly: with more than two classes it is a hard negative of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confused_with: Option<usize>,
    /// Its positives, where it was chosen as the anchor of triplets: samples of its class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positives: Vec<Partner>,
    /// Its hard negatives, the nearest first, where it was chosen for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub negatives: Vec<Partner>,
}

fn neutral() -> f32 {
    1.0
}

fn is_neutral(weight: &f32) -> bool {
    *weight == neutral()
}

impl Selected {
    /// Row `row` of the table, chosen for `score` by the stage `by`, with neutral weights. What it is confused with is told by the column `rival`, or else by an
    /// `oof_prediction` that is not its label.
    ///
    /// # Panics
    /// If the table has no such row.
    pub fn new(table: &ScoreTable, row: usize, score: f32, by: &str) -> Self {
        let of = &table.rows()[row];
        let class_in = |column: &str| {
            let found = table.column_of_any(column)?.get(row)?.get().filter(|class| *class >= 0.0)? as usize;
            (found < table.classes() && Some(found) != of.class).then_some(found)
        };
        Self {
            id: of.id.clone(),
            row,
            weight: 1.0,
            loss_weight: 1.0,
            score,
            by: vec![by.to_owned()],
            polarity: Polarity::of(of.class, table.classes()),
            confused_with: of.class.and_then(|_| class_in("rival").or_else(|| class_in("oof_prediction"))),
            positives: Vec::new(),
            negatives: Vec::new(),
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
    /// score win; partners are joined, each once; bands are hulled.
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
                        for (own, more) in [(&mut own.positives, selected.positives), (&mut own.negatives, selected.negatives)] {
                            let new: Vec<Partner> = more.into_iter().filter(|one| own.iter().all(|known| known.id != one.id)).collect();
                            own.extend(new);
                        }
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
    use crate::sample::{Column, ModalitySet, Score, TableRow};
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
        assert_eq!((Polarity::of(Some(0), 3), Polarity::of(Some(1), 3)), (Some(Polarity::HardPositive), Some(Polarity::HardPositive)));
        assert_eq!((Polarity::of(Some(0), 1), Polarity::of(None, 2), Polarity::of(Some(2), 2)), (None, None, None));
        let told = serde_json::to_value(&united.samples[0]).unwrap();
        assert_eq!((told.get("loss_weight"), told["polarity"].as_str()), (None, Some("hard_positive")));
        assert_eq!(told.get("confused_with"), None);
    }

    #[test]
    fn among_more_classes_it_is_told_what_a_sample_is_confused_with() {
        let row = |i: usize, class| TableRow {
            id: format!("s{i}").as_str().into(),
            class,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new(vec![row(0, Some(0)), row(1, Some(1)), row(2, Some(2)), row(3, None)], 3).unwrap();
        let column = |values: [f32; 4]| values.map(|v| if v < 0.0 { Score::absent("no label") } else { Score::Known(v) }).to_vec();
        table.add(Column::measure("oof_prediction", ""), column([0.0, 2.0, 9.0, 1.0])).unwrap();
        let confused = |table: &ScoreTable| (0..4).map(|row| Selected::new(table, row, 1.0, "m").confused_with).collect::<Vec<_>>();
        // Right, taken for class 2, no such class, no label.
        assert_eq!(confused(&table), [None, Some(2), None, None]);
        table.add(Column::measure("rival", ""), column([1.0, 0.0, -1.0, -1.0])).unwrap();
        assert_eq!(confused(&table), [Some(1), Some(0), None, None]);
        assert_eq!(Selected::new(&table, 0, 1.0, "m").polarity, Some(Polarity::HardPositive));
    }
}
