//! Text as models see it.

use std::ops::Range;

/// A text as an encoder sees it: one vector a position. Of two texts the difference of `values`, times the gradient, is the change of the objective
/// to first order (Ebrahimi et al. 2018, HotFlip).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbeddedText {
    /// Numbers of one position.
    pub size: usize,
    /// Positions that hold text; those behind are padding.
    pub positions: usize,
    /// All positions of the encoder, one after another: the same length for every text.
    pub values: Vec<f32>,
}

impl EmbeddedText {
    /// Mean Euclidean length of the vectors that hold text; 0 without any.
    pub fn mean_length(&self) -> f64 {
        let lengths = self.values.chunks_exact(self.size.max(1)).take(self.positions);
        let total: f64 = lengths.map(|v| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()).sum();
        total / self.positions.max(1) as f64
    }
}

/// Edits of one text, each judged from what is near it.
pub trait TextEdits: Sync {
    /// How much the product of the embedding ([`super::Model::embed_text`]) with the slope rises when the bytes `range`, on borders of characters, give way to `replacement`; and the most by
    /// which this may be off from the difference of the two products in double precision, 0 where they do not differ.
    fn rise(&self, range: Range<usize>, replacement: &str) -> (f64, f64);
}
