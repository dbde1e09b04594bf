use super::SampleId;
use std::collections::HashMap;

/// What training saw of one sample: running sums, a fixed size whatever the number of epochs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HistoryRow {
    /// Presentations so far.
    pub count: u32,
    /// Sum of the margin `z_y - max_{k != y} z_k` on logits of the training forward pass (AUM, Pleiss et al. 2020).
    pub margin_sum: f64,
    /// Sum of the probability of the label.
    pub confidence_sum: f64,
    /// Sum of its square.
    pub confidence_square_sum: f64,
    /// Presentations that were right.
    pub right: u32,
    /// Right before and wrong at the next presentation (Toneva et al. 2019).
    pub forgotten: u32,
    /// Presentation, from 1, at which it was first right.
    pub first_learned: Option<u32>,
    /// Whether the last presentation was right.
    pub last_right: bool,
}

impl HistoryRow {
    /// Adds one presentation: the logits of the training forward pass and the label.
    pub fn observe(&mut self, logits: &[f32], class: usize) {
        let Some(&own) = logits.get(class) else { return };
        let other = logits.iter().enumerate().filter(|(k, _)| *k != class).fold(f32::NEG_INFINITY, |m, (_, z)| m.max(*z));
        let top = own.max(other);
        let total: f64 = logits.iter().map(|z| f64::from(z - top).exp()).sum();
        let confidence = f64::from(own - top).exp() / total;
        let right = own > other;
        self.count += 1;
        if other.is_finite() {
            self.margin_sum += f64::from(own - other);
        }
        self.confidence_sum += confidence;
        self.confidence_square_sum += confidence * confidence;
        if right {
            self.right += 1;
            self.first_learned.get_or_insert(self.count);
        } else if self.last_right {
            self.forgotten += 1;
        }
        self.last_right = right;
    }
    /// Area under the margin: the mean margin over presentations.
    pub fn aum(&self) -> Option<f64> {
        (self.count > 0).then(|| self.margin_sum / f64::from(self.count))
    }
    /// Mean probability of the label.
    pub fn confidence(&self) -> Option<f64> {
        (self.count > 0).then(|| self.confidence_sum / f64::from(self.count))
    }
    /// Population standard deviation of the probability of the label.
    pub fn variability(&self) -> Option<f64> {
        let n = f64::from(self.count);
        (self.count > 0).then(|| (self.confidence_square_sum / n - (self.confidence_sum / n).powi(2)).max(0.0).sqrt())
    }
    /// Forgetting events; presentations + 1 for a sample that was never learned.
    pub fn forgetting(&self) -> u32 {
        if self.first_learned.is_none() { self.count + 1 } else { self.forgotten }
    }
}

/// Training dynamics of the uniform warm-up: every sample once an epoch, unaugmented and undropped.
#[derive(Debug, Clone, Default)]
pub struct TrainingHistory {
    /// By stable id.
    pub rows: HashMap<SampleId, HistoryRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamics_follow_worked_values() {
        let mut row = HistoryRow::default();
        // Right, wrong, right: margins 2, -1, 1.
        row.observe(&[2.0, 0.0], 0);
        row.observe(&[0.0, 1.0], 0);
        row.observe(&[1.0, 0.0], 0);
        assert!((row.aum().unwrap() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!((row.forgetting(), row.first_learned, row.right), (1, Some(1), 2));
        let p = [0.880797, 0.268941, 0.731059];
        let mean = p.iter().sum::<f64>() / 3.0;
        let sd = (p.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        assert!((row.confidence().unwrap() - mean).abs() < 1e-5 && (row.variability().unwrap() - sd).abs() < 1e-5);
    }

    #[test]
    fn never_learned_is_one_more_than_the_presentations() {
        let mut row = HistoryRow::default();
        row.observe(&[0.0, 1.0], 0);
        row.observe(&[0.0, 0.0], 0);
        assert_eq!(row.forgetting(), 3);
    }
}
