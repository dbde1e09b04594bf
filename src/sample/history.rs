use super::{SampleId, metrics::quantile_of_sorted};
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
    /// Runs of their own with threshold samples, where a stage asked for them.
    pub probe: Option<Probe>,
}

/// One probe run: a model with a class more than the data, which its threshold samples were given as their label (Pleiss et al. 2020).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeRun {
    /// Areas under the margin of the threshold samples, ascending.
    threshold: Vec<f64>,
    /// Areas under the margin of all others.
    others: HashMap<SampleId, f64>,
}

impl ProbeRun {
    /// From the area under the margin of each sample and whether it was a threshold sample; what is not finite is left out.
    pub fn new(areas: impl IntoIterator<Item = (SampleId, f64, bool)>) -> Self {
        let mut run = Self::default();
        for (id, area, threshold) in areas.into_iter().filter(|(_, area, _)| area.is_finite()) {
            if threshold {
                run.threshold.push(area);
            } else {
                run.others.insert(id, area);
            }
        }
        run.threshold.sort_by(f64::total_cmp);
        run
    }
    /// The area below which a sample is learnt no better than a wrong label: a percentile (`0..=1`) of the threshold samples; `None` without any.
    pub fn alpha(&self, percentile: f64) -> Option<f64> {
        quantile_of_sorted(&self.threshold, percentile)
    }
    /// Whether it has threshold samples and others to hold against them.
    pub fn is_usable(&self) -> bool {
        !self.threshold.is_empty() && !self.others.is_empty()
    }
}

/// What the probe runs say of one sample, the mean over those in which it was no threshold sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probed {
    /// Area under its margin.
    pub aum: f64,
    /// Area below which it is suspect.
    pub alpha: f64,
    /// Share of the threshold samples with an area at least as large, `0..=1`.
    pub share: f64,
}

/// Probe runs; with threshold samples that no two share, every sample is held against those of another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// The runs.
    pub runs: Vec<ProbeRun>,
}

impl Probe {
    /// What is known of a sample with `percentile` (`0..=1`) of the threshold samples' areas as the threshold; `None` where no run saw it under its own label.
    pub fn of(&self, id: &SampleId, percentile: f64) -> Option<Probed> {
        let mut sum = Probed { aum: 0.0, alpha: 0.0, share: 0.0 };
        let mut runs = 0.0;
        for run in &self.runs {
            let (Some(aum), Some(alpha)) = (run.others.get(id), run.alpha(percentile)) else { continue };
            let below = run.threshold.partition_point(|area| area < aum);
            sum.aum += aum;
            sum.alpha += alpha;
            sum.share += (run.threshold.len() - below) as f64 / run.threshold.len() as f64;
            runs += 1.0;
        }
        (runs > 0.0).then(|| Probed { aum: sum.aum / runs, alpha: sum.alpha / runs, share: sum.share / runs })
    }
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
    fn a_probe_holds_samples_against_threshold_samples() {
        let area = |id: &str, area: f64, threshold: bool| (SampleId::from(id), area, threshold);
        let first = ProbeRun::new([area("t", -3.0, true), area("u", -1.0, true), area("a", 2.0, false), area("b", -2.0, false)]);
        // The median of -3 and -1.
        assert_eq!((first.alpha(0.5), first.is_usable()), (Some(-2.0), true));
        let second = ProbeRun::new([area("a", -4.0, true), area("b", -4.0, false), area("t", 5.0, false), area("c", f64::NAN, false)]);
        let probe = Probe { runs: vec![first, second] };
        let of = |id: &str| probe.of(&SampleId::from(id), 0.5);
        assert_eq!(of("b"), Some(Probed { aum: -3.0, alpha: -3.0, share: 0.75 }));
        assert_eq!(of("a"), Some(Probed { aum: 2.0, alpha: -2.0, share: 0.0 }));
        assert_eq!(of("t"), Some(Probed { aum: 5.0, alpha: -4.0, share: 0.0 }));
        assert_eq!((of("u"), of("c")), (None, None));
    }

    #[test]
    fn never_learned_is_one_more_than_the_presentations() {
        let mut row = HistoryRow::default();
        row.observe(&[0.0, 1.0], 0);
        row.observe(&[0.0, 0.0], 0);
        assert_eq!(row.forgetting(), 3);
    }
}
