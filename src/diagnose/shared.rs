//! What the labels of the other samples that hold the same image or clip say of it.

use crate::sample::{Modality, ScoreTable};
use std::collections::{BTreeMap, HashMap};

/// The labels of every medium that several samples hold, and how well such labels agree.
pub(super) struct Shared<'a> {
    of: &'a [Option<u32>],
    /// Class and number of its samples, by medium; only media that several labelled samples hold.
    labels: HashMap<u32, BTreeMap<usize, u32>>,
    /// Pseudo-count of each class (concentration of the Dirichlet prior): small where the uses of a medium agree on its class.
    prior: f64,
    classes: f64,
}

/// What the other uses of one sample's medium say: likelihood ratios against knowing nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Others {
    /// Classes that they are labelled with.
    pub named: Vec<(usize, f64)>,
    /// Every other class.
    pub rest: f64,
}

impl Others {
    /// The ratio of class `k`.
    pub fn ratio(&self, k: usize) -> f64 {
        self.named.iter().find(|(class, _)| *class == k).map_or(self.rest, |(_, ratio)| *ratio)
    }
}

/// Pseudo-counts that are tried: 40 from 0.002 (uses agree) to 3 (they say nothing of each other), of equal ratio.
fn priors() -> impl Iterator<Item = f64> {
    (0..40).map(|i| 0.002 * 1500f64.powf(f64::from(i) / 39.0))
}

impl<'a> Shared<'a> {
    /// `None` if no two labelled samples hold the same medium, or nobody told which do.
    ///
    /// The pseudo-count is the one under which each label is best predicted by the other labels of its medium (leave one out), with one pair that
    /// disagrees added, so that a handful of agreeing pairs is no certainty.
    pub fn of(table: &'a ScoreTable, modality: Modality) -> Option<Self> {
        let of = table.media(modality);
        let mut labels: HashMap<u32, BTreeMap<usize, u32>> = HashMap::new();
        for (row, medium) in table.rows().iter().zip(of) {
            if let (Some(class), Some(medium)) = (row.class, medium) {
                *labels.entry(*medium).or_default().entry(class).or_default() += 1;
            }
        }
        labels.retain(|_, counts| counts.values().sum::<u32>() > 1);
        if labels.is_empty() {
            return None;
        }
        let classes = table.classes() as f64;
        // How many labels have `own` others of their class among `all` others.
        let mut seen: BTreeMap<(u32, u32), f64> = BTreeMap::from([((0, 1), 1.0)]);
        for counts in labels.values() {
            let all = counts.values().sum::<u32>() - 1;
            for own in counts.values() {
                *seen.entry((own - 1, all)).or_default() += f64::from(*own);
            }
        }
        let fit = |prior: f64| -> f64 { seen.iter().map(|((own, all), n)| n * predicted(*own, *all, prior, classes).ln()).sum() };
        let (prior, _) = priors().map(|prior| (prior, fit(prior))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self { of, labels, prior, classes })
    }

    /// What the others say of the medium of `row`, whose own label `class` is left out; `None` where there are no others.
    pub fn others(&self, row: usize, class: usize) -> Option<Others> {
        let counts = self.labels.get(self.of.get(row)?.as_ref()?)?;
        let all = counts.values().sum::<u32>().checked_sub(1).filter(|all| *all > 0)?;
        let ratio = |count: u32| self.classes * predicted(count, all, self.prior, self.classes);
        let without = counts.iter().map(|(k, n)| (*k, if *k == class { n.saturating_sub(1) } else { *n }));
        Some(Others { named: without.filter(|(_, n)| *n > 0).map(|(k, n)| (k, ratio(n))).collect(), rest: ratio(0) })
    }
}

/// Probability of a class that `own` of `all` labels name.
fn predicted(own: u32, all: u32, prior: f64, classes: f64) -> f64 {
    (f64::from(own) + prior) / (f64::from(all) + classes * prior)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ModalitySet, SampleId, TableRow};
    use std::sync::Arc;

    fn table(rows: &[(Option<usize>, Option<u32>)]) -> ScoreTable {
        let row = |(i, (class, _)): (usize, &(Option<usize>, Option<u32>))| TableRow {
            id: SampleId::new(format!("s{i:03}")),
            class: *class,
            present: ModalitySet::ALL,
            group: i,
            fields: Arc::default(),
        };
        let mut table = ScoreTable::new(rows.iter().enumerate().map(row).collect(), 4).unwrap();
        table.set_media(Modality::Audio, rows.iter().map(|(_, medium)| *medium).collect()).unwrap();
        table
    }

    #[test]
    fn the_own_label_is_left_out() {
        // One clip of classes 1, 1, 2 and one without a label; a clip used once; a sample without a clip.
        let table =
            table(&[(Some(1), Some(0)), (Some(1), Some(0)), (Some(2), Some(0)), (None, Some(0)), (Some(3), Some(1)), (Some(3), None)]);
        let mut shared = Shared::of(&table, Modality::Audio).unwrap();
        shared.prior = 0.1;
        // Of the others of the first, one of two is of its class: (1 + 0.1) / (2 + 0.4), against a quarter.
        let first = shared.others(0, 1).unwrap();
        assert!((first.ratio(1) - 4.0 * 1.1 / 2.4).abs() < 1e-12 && (first.ratio(2) - 4.0 * 1.1 / 2.4).abs() < 1e-12);
        assert!((first.ratio(0) - 4.0 * 0.1 / 2.4).abs() < 1e-12 && first.ratio(3) == first.ratio(0));
        // Both others of the third are of class 1, and none of its own.
        let third = shared.others(2, 2).unwrap();
        assert!((third.ratio(1) - 4.0 * 2.1 / 2.4).abs() < 1e-12 && (third.ratio(2) - third.rest).abs() < 1e-12);
        assert_eq!(third.named.len(), 1);
        assert_eq!((shared.others(4, 3), shared.others(5, 3)), (None, None));
        assert!(Shared::of(&table, Modality::Image).is_none());
    }

    #[test]
    fn uses_that_agree_say_much_and_uses_that_do_not_say_nothing() {
        let agree: Vec<_> = (0..400).map(|i| (Some(i / 4 % 4), Some(i as u32 / 4))).collect();
        let mixed: Vec<_> = (0..400).map(|i| (Some(i % 4), Some(i as u32 / 8))).collect();
        let once = [(Some(1), Some(0)), (Some(1), Some(0))];
        let said = |rows: &[(Option<usize>, Option<u32>)]| {
            let table = table(rows);
            let class = rows[0].0.unwrap();
            Shared::of(&table, Modality::Audio).unwrap().others(0, class).unwrap().ratio(class)
        };
        // 4 is certainty, 1 is nothing.
        assert!(said(&agree) > 3.9, "{}", said(&agree));
        assert!((0.5..1.2).contains(&said(&mixed)), "{}", said(&mixed));
        assert!((1.5..3.5).contains(&said(&once)), "{}", said(&once));
    }
}
