//! Answers that a model gave elsewhere, by sample id: what a trainer of any framework wrote down.

use super::{Gradients, Input, Matrix, Model, ModelSpec, OfRow, Outputs};
use crate::{
    error::{Error, Result},
    sample::{Classes, Digest, Modality, ModalitySet, PerModality, SampleId},
};
use std::{collections::HashMap, path::Path};

/// What was recorded of all samples, one row a sample in one order; a row of NaN where a sample has none.
#[derive(Debug, Clone, Default)]
pub struct RecordedRows {
    /// Fused logits, one column a class; never NaN.
    pub logits: Matrix,
    /// Logits from exactly these modalities, the others absent.
    pub subsets: Vec<(ModalitySet, Matrix)>,
    /// Embedding of each modality.
    pub embeddings: PerModality<Option<Matrix>>,
    /// Fused embedding (the input of the last layer).
    pub fused: Option<Matrix>,
    /// Fused logits of each member of an ensemble (other trainings, or draws of dropout), in one order for all samples.
    pub members: Vec<Matrix>,
}

/// A model that only knows what it said: it answers for its own samples by id, and for no other input.
#[derive(Debug)]
pub struct Recorded {
    spec: ModelSpec,
    by_id: HashMap<SampleId, usize>,
    present: Vec<ModalitySet>,
    answers: RecordedRows,
}

impl Recorded {
    /// `ids` and `present` are as many as there are rows; `classes` as many as there are logits.
    pub fn new(
        ids: impl IntoIterator<Item = SampleId>,
        present: Vec<ModalitySet>,
        classes: Classes,
        answers: RecordedRows,
    ) -> Result<Self> {
        let by_id: HashMap<SampleId, usize> = ids.into_iter().enumerate().map(|(row, id)| (id, row)).collect();
        let rows = answers.logits.rows();
        if by_id.len() != rows || present.len() != rows || answers.logits.columns != classes.len() {
            let found = format!("{} ids, {} presences and {} classes", by_id.len(), present.len(), classes.len());
            return Err(Error::internal(format!("{found} for {rows} rows of {} logits", answers.logits.columns)));
        }
        if let Some(at) = answers.members.iter().position(|of| of.columns != answers.logits.columns || of.rows() != rows) {
            let of = &answers.members[at];
            return Err(Error::internal(format!("member {at} has {} rows of {} logits", of.rows(), of.columns)));
        }
        let mut bytes = Vec::with_capacity(answers.logits.values.len() * 4);
        answers.logits.values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
        let modalities = present.iter().fold(ModalitySet::EMPTY, |all, one| all.or(*one));
        let embeddings = Modality::ALL.into_iter().filter(|m| answers.embeddings[*m].is_some()).collect();
        let spec = ModelSpec {
            name: "predictions".into(),
            digest: Digest::of(&bytes).to_string(),
            classes,
            modalities,
            gradients: ModalitySet::EMPTY,
            embeddings,
            embedding_gradients: ModalitySet::EMPTY,
            decodes: ModalitySet::EMPTY,
        };
        Ok(Self { spec, by_id, present, answers })
    }

    /// Which modalities the sample has, as far as its predictions tell; `None` for a sample that is not among them.
    pub fn present(&self, id: &SampleId) -> Option<ModalitySet> {
        self.by_id.get(id).map(|row| self.present[*row])
    }

    /// The recorded logits of a sample from exactly the modalities of `keep` (`None` for all that it has).
    pub fn logits(&self, id: &SampleId, keep: Option<ModalitySet>) -> Option<&[f32]> {
        let row = *self.by_id.get(id)?;
        if keep.is_none_or(|keep| keep == self.present[row]) {
            return Some(self.answers.logits.row(row));
        }
        let of_subset = self.answers.subsets.iter().find(|(subset, _)| Some(*subset) == keep)?.1.row(row);
        of_subset.iter().all(|z| z.is_finite()).then_some(of_subset)
    }

    /// How many members of an ensemble were recorded; 0 for one model alone.
    pub fn members(&self) -> usize {
        self.answers.members.len()
    }

    /// The logits of member `k` for the samples that have them: which of `ids`, and one row of each.
    pub fn answer_of_member<'a>(&self, ids: impl Iterator<Item = (usize, &'a SampleId)>, k: usize) -> (Vec<usize>, Outputs) {
        let mut outputs = Outputs::default();
        let mut which = Vec::new();
        let Some(matrix) = self.answers.members.get(k) else { return (which, outputs) };
        outputs.logits.columns = matrix.columns;
        for (i, id) in ids {
            let row = self.by_id.get(id).map(|row| matrix.row(*row)).filter(|row| row.iter().all(|z| z.is_finite()));
            if let Some(row) = row {
                which.push(i);
                outputs.logits.values.extend_from_slice(row);
            }
        }
        (which, outputs)
    }

    /// The answers for the samples that have one from exactly the modalities of `keep`: which of `ids`, and one row of each.
    pub fn answer<'a>(&self, ids: impl Iterator<Item = (usize, &'a SampleId)>, keep: Option<ModalitySet>) -> (Vec<usize>, Outputs) {
        let mut outputs = Outputs::default();
        let mut which = Vec::new();
        let push = |to: &mut Matrix, from: &Matrix, row: usize| {
            to.columns = from.columns;
            to.values.extend_from_slice(from.row(row));
        };
        for (i, id) in ids {
            let (Some(logits), Some(&row)) = (self.logits(id, keep), self.by_id.get(id)) else { continue };
            which.push(i);
            outputs.logits.columns = self.answers.logits.columns;
            outputs.logits.values.extend_from_slice(logits);
            for modality in Modality::ALL {
                if let Some(matrix) = &self.answers.embeddings[modality] {
                    push(outputs.embeddings[modality].get_or_insert_default(), matrix, row);
                }
            }
            if let Some(matrix) = &self.answers.fused {
                push(outputs.fused.get_or_insert_default(), matrix, row);
            }
        }
        (which, outputs)
    }
}

impl Model for Recorded {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }
    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        match inputs {
            [] => Ok(Outputs::default()),
            _ => Err(Error::model("recorded predictions answer for their own samples alone; a new input needs a model")),
        }
    }
    fn logits_gradient(&self, _: &[Input], _: ModalitySet, _: OfRow<'_>) -> Result<Gradients> {
        Err(Error::model("recorded predictions have no gradients; an attack needs a model"))
    }
    fn save(&self, _: &Path) -> Result<()> {
        Err(Error::model("recorded predictions have no weights to save"))
    }
    fn recorded(&self) -> Option<&Recorded> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_by_id_and_subset() {
        let (image, both) = (ModalitySet::one(Modality::Image), ModalitySet::one(Modality::Image).with(Modality::Audio));
        let matrix = |columns, values: &[f32]| Matrix { columns, values: values.to_vec() };
        let answers = RecordedRows {
            logits: matrix(2, &[1.0, 2.0, 3.0, 4.0]),
            subsets: vec![(image, matrix(2, &[5.0, 6.0, f32::NAN, f32::NAN]))],
            embeddings: PerModality { audio: Some(matrix(1, &[7.0, 8.0])), ..PerModality::default() },
            fused: None,
            members: vec![matrix(2, &[f32::NAN, f32::NAN, 9.0, 10.0])],
        };
        let classes = Classes::from_names(["a", "b"].map(String::from));
        let recorded = Recorded::new(["x", "y"].map(SampleId::from), vec![both, image], classes.clone(), answers.clone()).unwrap();
        let (x, y, z) = (SampleId::from("x"), SampleId::from("y"), SampleId::from("z"));
        assert_eq!((recorded.logits(&x, None), recorded.logits(&x, Some(image))), (Some(&[1.0, 2.0][..]), Some(&[5.0, 6.0][..])));
        // All that y has is its image: the fused answer is the answer from it.
        assert_eq!((recorded.logits(&y, Some(image)), recorded.logits(&y, Some(both))), (Some(&[3.0, 4.0][..]), None));
        let (which, outputs) = recorded.answer([&z, &y, &x].into_iter().enumerate(), None);
        assert_eq!((which, outputs.logits.values), (vec![1, 2], vec![3.0, 4.0, 1.0, 2.0]));
        assert_eq!(outputs.embeddings.audio.unwrap().values, [8.0, 7.0]);
        let (which, outputs) = recorded.answer_of_member([&x, &y, &z].into_iter().enumerate(), 0);
        assert_eq!((which, outputs.logits.values, recorded.members()), (vec![1], vec![9.0, 10.0], 1));
        assert!(recorded.answer_of_member([&y].into_iter().enumerate(), 1).0.is_empty());
        assert!(recorded.forward(&[Input::default()]).is_err() && recorded.present(&z).is_none());
        let short = RecordedRows { members: vec![matrix(2, &[0.0, 0.0])], ..answers.clone() };
        assert!(Recorded::new([x.clone(), y], vec![both, image], classes.clone(), short).is_err());
        assert!(Recorded::new([x], vec![both, image], classes, answers).is_err());
    }
}
