use super::{Scorer, columns_of};
use crate::{
    context::{Rows, ScoreContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, FoldPlan, Requirements, Table},
    sample::{Column, Modality, ModalitySet, Score},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// Scores by models that never trained on the sample, nor on any that shares a medium or a group with it.
///
/// Method: the training set is split into `folds` grouped folds; a fresh model is trained on all but one and judges that one (the teacher).
/// `out_of_fold` is the teacher's cross entropy with the label in nats; `oof_confidence` is `p_y`, `oof_margin` is `p_y` minus the largest
/// other probability (-1..=1), `oof_prediction` the most probable class, `oof_top` its probability. The same teacher judges each modality alone, the others absent:
/// `oof_image_confidence`, `oof_image_prediction` and `oof_image_top` (the prediction's probability), likewise for audio and text; and all that is
/// there but the text, `oof_media_*`, since a caption that names the class hides what the media say. Absent where the modality is missing.
///
/// Reference: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021 (out-of-sample probabilities).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutOfFold {
    /// Number of folds, at least 2.
    pub folds: usize,
    /// Epochs of each fold's model, at least 1; absent for as many as the warm-up.
    pub epochs: Option<usize>,
}

impl Default for OutOfFold {
    fn default() -> Self {
        Self { folds: 3, epochs: None }
    }
}

impl Configure<dyn Scorer> for OutOfFold {
    const NAME: &'static str = "out_of_fold";
    const EXAMPLE: &'static str = "{ folds: 3 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.folds < 2 {
            problems.push(Problem::new("folds", format!("expected at least 2, found {}", self.folds)));
        }
        if self.epochs == Some(0) {
            problems.push(Problem::new("epochs", "expected at least 1, or null for as many as the warm-up, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for OutOfFold {
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::hardness("out_of_fold", "teacher's cross entropy with the label, in nats"),
            Column::measure("oof_confidence", "teacher's probability of the label, 0..=1"),
            Column::measure("oof_margin", "teacher's probability of the label minus the largest other, -1..=1"),
            Column::measure("oof_prediction", "teacher's class, an index"),
        ];
        for (name, seen) in [("image", "the image"), ("audio", "the audio"), ("text", "the text"), ("media", "everything but the text")] {
            columns.push(Column::measure(format!("oof_{name}_confidence"), format!("the label's probability from {seen} alone, 0..=1")));
            columns.push(Column::measure(format!("oof_{name}_prediction"), format!("class from {seen} alone, an index")));
            columns.push(Column::measure(format!("oof_{name}_top"), format!("probability of the class from {seen} alone, 0..=1")));
        }
        columns.push(Column::measure("oof_top", "probability of the teacher's class, 0..=1"));
        columns
    }

    fn requirements(&self) -> Requirements {
        let folds = Some(FoldPlan { folds: self.folds, epochs: self.epochs });
        Requirements { teachers: true, folds, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let fused = forwards.teacher()?;
        let teachers = forwards.models().teachers.as_ref();
        let reads = teachers.and_then(|t| t.models.first()).map_or(ModalitySet::EMPTY, |model| model.spec().modalities);
        let media = |i: usize| forwards.present(i).and(reads).without(Modality::Text);
        let mut passes: BTreeMap<Vec<Modality>, Arc<Rows>> = BTreeMap::new();
        let wanted = Modality::ALL.into_iter().map(ModalitySet::one).chain((0..forwards.samples().len()).map(media));
        for keep in wanted.filter(|keep| !keep.is_empty() && reads.contains(*keep)) {
            if let Entry::Vacant(free) = passes.entry(keep.iter().collect()) {
                free.insert(forwards.teacher_on(keep)?);
            }
        }
        Ok(columns_of(forwards.samples().iter().enumerate().map(|(i, sample)| {
            let class = sample.label.as_ref().map(|label| label.class());
            let mut scores: [Score; 17] = std::array::from_fn(|_| Score::absent("not in any fold"));
            let Some(logits) = fused.logits(i) else { return scores };
            let p = measure::probabilities(logits);
            let seen = Seen::of(&p, class);
            let unlabelled = || Score::absent("no label");
            scores[0] = sample.label.as_ref().map_or_else(unlabelled, |label| Score::Known(measure::cross_entropy(logits, label)));
            scores[1] = seen.confidence.map_or_else(unlabelled, Score::Known);
            scores[2] = class.map_or_else(unlabelled, |class| Score::Known(probability_margin(&p, class)));
            scores[3] = Score::Known(seen.prediction);
            scores[16] = Score::Known(seen.top);
            let subsets = Modality::ALL.map(ModalitySet::one).into_iter().chain([media(i)]);
            for (keep, three) in subsets.zip(scores[4..16].chunks_exact_mut(3)) {
                let key: Vec<Modality> = keep.iter().collect();
                let found = passes.get(&key).and_then(|rows| rows.logits(i)).map(|logits| Seen::of(&measure::probabilities(logits), class));
                match found {
                    Some(seen) => {
                        three[0] = seen.confidence.map_or_else(unlabelled, Score::Known);
                        three[1] = Score::Known(seen.prediction);
                        three[2] = Score::Known(seen.top);
                    }
                    None => three.fill(Score::absent(why_absent(keep, forwards.present(i), reads))),
                }
            }
            scores
        })))
    }
}

fn why_absent(keep: ModalitySet, present: ModalitySet, reads: ModalitySet) -> String {
    if keep.is_empty() {
        "nothing but text".into()
    } else if !present.contains(keep) {
        format!("the {keep} is missing")
    } else if !reads.contains(keep) {
        format!("the model does not read {keep}")
    } else {
        format!("needs the prediction from {keep} alone")
    }
}

/// What one subset of modalities says.
struct Seen {
    confidence: Option<f32>,
    prediction: f32,
    top: f32,
}

impl Seen {
    fn of(p: &[f64], class: Option<usize>) -> Self {
        let (prediction, top) = measure::most_probable(p);
        // A prediction that is not a number must reach the table as such, so that the sample is set aside.
        let top = if p.iter().any(|p| p.is_nan()) { f64::NAN } else { top };
        let confidence = class.map(|class| p.get(class).map_or(f32::NAN, |p| *p as f32));
        Self { confidence, prediction: prediction as f32, top: top as f32 }
    }
}

/// `p_y - max_{k != y} p_k`; NaN for a class that does not exist.
fn probability_margin(p: &[f64], class: usize) -> f32 {
    let other = p.iter().enumerate().filter(|(k, _)| *k != class).fold(0.0f64, |m, (_, p)| m.max(*p));
    p.get(class).map_or(f32::NAN, |own| (own - other) as f32)
}
