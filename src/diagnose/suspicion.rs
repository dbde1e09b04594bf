//! How probable it is that a label, or a pair, is wrong: out-of-fold predictions of the single modalities weighed against each other.

use super::{
    alone::{self, Word},
    cases::{Cases, Rates},
    shared::{Others, Shared},
};
use crate::sample::{Modality, PerModality, ReasonCode, Score, ScoreTable, TableRow, metrics::median_and_mad};

/// What speaks against one sample. The three suspicions and the clean case sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Suspicion {
    /// Probability that the label is wrong, `0..=1`.
    pub label: f64,
    /// Probability that one modality belongs to another sample, `0..=1`.
    pub pair: f64,
    /// Probability that nothing fits, `0..=1`.
    pub outlier: f64,
    /// The class that the modalities agree on, where it is not the label.
    pub suggested: Option<usize>,
    /// Probability that the suggested class is the true one, `0..=1`; at most `label`.
    pub suggested_probability: f64,
    /// The modality that is most probably from elsewhere, where there are two or more.
    pub odd: Option<Modality>,
    /// Whether some modality, together with the other uses of its medium, gives another class more than half; from one witness alone, whether it
    /// names another class.
    pub confident: bool,
    /// Whether the modality that fits least does: one that says nothing is never told to be from elsewhere.
    pub odd_is_confident: bool,
}

impl Suspicion {
    /// Whether a prediction is sure enough for this reason to be given. An outlier is what no class fits: it needs none.
    pub(super) fn supports(&self, code: ReasonCode) -> bool {
        match code {
            ReasonCode::PairMismatch => self.odd_is_confident,
            ReasonCode::Outlier => true,
            _ => self.confident,
        }
    }
}

/// One source of predictions: a modality alone, or several together.
struct Source<'a> {
    confidence: &'a [Score],
    prediction: &'a [Score],
    top: &'a [Score],
    /// Exponent of the probabilities (an inverse temperature) at which the mean confidence is the accuracy.
    sharpen: f64,
    /// Mean probability of class j among the samples labelled j, as the model gave it.
    thresholds: Vec<Option<f64>>,
    /// The same after sharpening, relative to the mean of all classes: how sure a prediction of class j usually is.
    usual: Vec<f64>,
}

/// A prediction for one row: probabilities of the label, of the predicted class, and of each other class.
#[derive(Debug, Clone)]
pub(super) struct Opinion {
    class: usize,
    prediction: usize,
    own: f64,
    top: f64,
    rest: f64,
    /// What the other samples with the same medium are labelled.
    others: Option<Others>,
}

impl Opinion {
    /// `p(k)` times the number of classes, times what the other uses of the medium say: the likelihood against knowing nothing.
    pub fn likelihood(&self, k: usize, classes: f64) -> f64 {
        let p = if k == self.class {
            self.own
        } else if k == self.prediction {
            self.top
        } else {
            self.rest
        };
        p * classes * self.others.as_ref().map_or(1.0, |others| others.ratio(k))
    }

    /// The likelihood of a class that nobody names.
    pub fn unnamed(&self, classes: f64) -> f64 {
        self.rest * classes * self.others.as_ref().map_or(1.0, |others| others.rest)
    }

    /// Classes other than the label's that the prediction or the other uses name, in order.
    pub fn named(&self) -> Vec<usize> {
        let others = self.others.iter().flat_map(|others| others.named.iter().map(|(k, _)| *k));
        let mut named: Vec<usize> = others.chain([self.prediction]).filter(|k| *k != self.class).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// Sum of the likelihoods of all classes but the label's.
    pub fn elsewhere(&self, classes: f64) -> f64 {
        let named = self.named();
        let unnamed = (classes - 1.0 - named.len() as f64).max(0.0);
        named.iter().map(|k| self.likelihood(*k, classes)).sum::<f64>() + unnamed * self.unnamed(classes)
    }

    /// Whether the prediction and the other uses of the medium together give another class more than half.
    pub fn names_another(&self, classes: f64) -> bool {
        let total = self.likelihood(self.class, classes) + self.elsewhere(classes);
        self.named().iter().any(|k| self.likelihood(*k, classes) > 0.5 * total)
    }
}

/// Share of the uniform distribution in every prediction.
const DOUBT: f64 = 0.02;

impl<'a> Source<'a> {
    /// `None` if the columns are not there or say nothing.
    fn of(table: &'a ScoreTable, stage: &str, name: &str) -> Option<Self> {
        let get = |what: &str| table.column(&format!("{stage}oof_{name}{what}"));
        let mut source = Self {
            confidence: get("confidence")?,
            prediction: get("prediction")?,
            top: get("top")?,
            sharpen: 1.0,
            thresholds: vec![None; table.classes()],
            usual: vec![1.0; table.classes()],
        };
        let mut n = 0.0;
        let mut sums = vec![(0.0, 0.0); table.classes()];
        for (row, known) in table.rows().iter().enumerate() {
            let (Some(class), Some(raw)) = (known.class, source.raw(row)) else { continue };
            n += 1.0;
            if let Some((sum, count)) = sums.get_mut(class) {
                *sum += raw.0;
                *count += 1.0;
            }
        }
        if n == 0.0 {
            return None;
        }
        source.thresholds = sums.into_iter().map(|(sum, count)| (count > 0.0).then(|| sum / count)).collect();
        source.calibrate(table, |_| 1.0);
        Some(source)
    }

    /// Fits how sure it is to how often it is right, where row `i` counts `trust(i)` (`0..=1`): with wrong labels counted it would seem worse than it is.
    fn calibrate(&mut self, table: &ScoreTable, trust: impl Fn(usize) -> f64) {
        let trust: Vec<f64> = (0..table.len()).map(trust).collect();
        self.sharpen = self.calibrated(table, &trust);
        self.usual = self.usual_confidence(table, &trust);
    }

    /// Probability of the label, predicted class and its probability.
    fn raw(&self, row: usize) -> Option<(f64, usize, f64)> {
        let get = |scores: &[Score]| scores.get(row).and_then(Score::get);
        Some((f64::from(get(self.confidence)?), get(self.prediction)? as usize, f64::from(get(self.top)?)))
    }

    /// The exponent at which the mean probability of the prediction is the accuracy, by bisection between 1/20 and 20.
    fn calibrated(&self, table: &ScoreTable, trust: &[f64]) -> f64 {
        let classes = table.classes() as f64;
        let rows: Vec<(usize, usize, bool)> = table
            .rows()
            .iter()
            .enumerate()
            .filter_map(|(row, known)| Some((row, known.class?, self.raw(row)?.1 == known.class?)))
            .collect();
        let (n, right) =
            rows.iter().fold((0.0, 0.0), |(n, right), (row, _, same)| (n + trust[*row], right + if *same { trust[*row] } else { 0.0 }));
        if n <= 0.0 {
            return 1.0;
        }
        let accuracy = right / n;
        let sure = |exponent: f64| {
            let tops = rows.iter().filter_map(|(row, class, same)| {
                let [own, top, _] = self.powers(*row, *class, classes, exponent)?;
                Some(trust[*row] * if *same { own } else { top })
            });
            tops.sum::<f64>() / n
        };
        let (mut low, mut high) = (-(20f64.ln()), 20f64.ln());
        for _ in 0..30 {
            let middle = (low + high) / 2.0;
            if sure(middle.exp()) < accuracy { low = middle } else { high = middle }
        }
        low.exp()
    }

    /// Probabilities of the label, of the prediction and of each other class, raised to `exponent` and normalised. What the label and
    /// the prediction leave is shared evenly by the other classes.
    fn powers(&self, row: usize, class: usize, classes: f64, exponent: f64) -> Option<[f64; 3]> {
        let (own, prediction, top) = self.raw(row)?;
        let same = prediction == class;
        let others = if same { classes - 1.0 } else { classes - 2.0 };
        let left = if same { 1.0 - own } else { 1.0 - own - top };
        let power = |p: f64| p.clamp(1e-9, 1.0).powf(exponent);
        let (own, top, rest) = (power(own), power(top), if others > 0.0 { power(left / others) } else { 0.0 });
        let total = if same { own + others * rest } else { own + top + others * rest };
        Some([own / total, top / total, rest / total])
    }

    /// Mean sharpened probability of the label by class, divided by the mean of the classes; 1 for a class without samples.
    fn usual_confidence(&self, table: &ScoreTable, trust: &[f64]) -> Vec<f64> {
        let classes = table.classes();
        let mut sums = vec![(0.0f64, 0.0f64); classes];
        for (row, known) in table.rows().iter().enumerate() {
            let Some(class) = known.class.filter(|class| *class < classes) else { continue };
            let Some([own, ..]) = self.powers(row, class, classes as f64, self.sharpen) else { continue };
            sums[class].0 += trust[row] * own;
            sums[class].1 += trust[row];
        }
        let means: Vec<Option<f64>> = sums.into_iter().map(|(sum, n)| (n > 0.0).then(|| sum / n)).collect();
        let there: Vec<f64> = means.iter().copied().flatten().collect();
        let mean = there.iter().sum::<f64>() / there.len().max(1) as f64;
        // A class that is never recognised must not turn every hint of it into certainty.
        means.into_iter().map(|own| own.map_or(1.0, |own| (own / mean.max(1e-9)).max(0.1))).collect()
    }

    fn opinion(&self, row: usize, class: usize, classes: f64) -> Option<Opinion> {
        let prediction = self.raw(row)?.1;
        let usual = |class: usize| self.usual.get(class).copied().unwrap_or(1.0);
        let [own, top, rest] = self.powers(row, class, classes, self.sharpen)?;
        let (own, top) = (own / usual(class), top / usual(prediction));
        let total = if prediction == class { own + (classes - 1.0) * rest } else { own + top + (classes - 2.0) * rest };
        // No prediction is beyond doubt, and the evidence stays finite.
        let [own, top, rest] = [own, top, rest].map(|p| (1.0 - DOUBT) * p / total + DOUBT / classes);
        Some(Opinion { class, prediction, own, top, rest, others: None })
    }

    /// A prediction of another class that is as sure as that class's own samples are in the mean.
    fn confident_elsewhere(&self, row: usize, class: usize) -> bool {
        self.raw(row).is_some_and(|(_, prediction, top)| {
            prediction != class && self.thresholds.get(prediction).copied().flatten().is_some_and(|least| top >= least)
        })
    }
}

/// Suspicions of all rows from the columns of the `out_of_fold` scorer (`stage` is their prefix, empty or `id.`) and, where it is there, `low_aum`.
/// `expected` is the share of wrong samples; `None` estimates it. `aum_weight` is the log-odds a robust standard deviation of `low_aum` adds.
/// `None` for a row without a label or without a prediction.
///
/// Each modality's probabilities are raised to the power (an inverse temperature) at which their mean confidence is their accuracy, so that one near
/// chance has no say, and divided by how sure they usually are of that class; when all is weighed this is done once more, each sample counting with the
/// probability that its label is right and belongs to that modality, because wrong labels make a good witness look bad. Where other samples hold the same image or clip, the probability of each
/// class by their labels (left out: the sample's own) is multiplied on. With likelihoods `L_m(k) = K p_m(k)`, independent given the class, the
/// cases are: clean `prod_m L_m(y)`; wrong label, the sum over `k != y` of `t_yk prod_m L_m(k)` (with three modalities also with one of them free); one
/// modality from elsewhere, `prod_{n != m} L_n(y)` times the mean of `L_m(k)`; outlier 1. How often labels are wrong and how often each modality is from
/// elsewhere is learned from all samples, and so is how often a label `y` stands for which class `k` (`t_yk`; expectation maximisation), so that a modality whose disagreements are its own mistakes raises no
/// suspicion (without it the mistakes of the weakest modality rank before the mismatches of the others). The joint prediction of several modalities
/// is not among the witnesses: it hides the one that disagrees. A single witness is judged by the rates of its own mistakes and of wrong labels, fitted
/// together; it says nothing of pairs and outliers.
pub fn suspicions(table: &ScoreTable, stage: &str, expected: Option<f64>, aum_weight: f64) -> Vec<Option<Suspicion>> {
    let classes = table.classes() as f64;
    if table.classes() < 2 {
        return vec![None; table.len()];
    }
    let mut voices: Vec<(Modality, Source<'_>)> =
        Modality::ALL.into_iter().filter_map(|m| Some((m, Source::of(table, stage, &format!("{m}_"))?))).collect();
    // Where nothing is known of single modalities (recorded predictions), all of them together are the one witness. Alone it can say nothing of
    // pairs, so that the modality it stands under is never told.
    if voices.is_empty() {
        voices.extend(Source::of(table, stage, "").map(|fused| (Modality::Image, fused)));
    }
    let aum = table.column_of_any("low_aum");
    let spread = aum.and_then(|scores| median_and_mad(&scores.iter().filter_map(Score::get).collect::<Vec<_>>()));
    let late = |row: usize| match (spread, aum.and_then(|scores| scores.get(row)?.get())) {
        (Some((median, mad)), Some(low)) if mad > 1e-9 => ((f64::from(low) - median) / mad).clamp(-2.0, 3.0),
        _ => 0.0,
    };
    if let [(_, witness)] = voices.as_slice() {
        // The runner-up is known of the fused prediction only: where that is all the witness says, it is the witness's too.
        let fused = |what: &str| table.column(&format!("{stage}oof_{what}"));
        let columns = fused("confidence").zip(fused("margin"));
        let other = |row: usize, own: f64| {
            let (confidence, margin) = columns?;
            let (same, margin) = (confidence.get(row)?.get()?, margin.get(row)?.get()?);
            (f64::from(same) == own).then(|| own - f64::from(margin))
        };
        let word = |row: usize, class: usize| {
            let (own, prediction, top) = witness.raw(row)?;
            (class < table.classes()).then_some(Word { class, prediction, own, top, other: other(row, own), late: aum_weight * late(row) })
        };
        let words: Vec<Option<Word>> = table.rows().iter().enumerate().map(|(row, known)| word(row, known.class?)).collect();
        return alone::suspicions(&words, table.classes(), expected);
    }
    let media = Source::of(table, stage, "media_");
    // A caption is what its writer chose to say; the same one stands beside many samples. Images and clips are of one class.
    let shared = PerModality::from_fn(|m| if m == Modality::Text { None } else { Shared::of(table, m) });

    let weigh = |voices: &[(Modality, Source<'_>)]| -> Vec<Option<Cases>> {
        let weigh = |(row, known): (usize, &TableRow)| {
            let class = known.class?;
            let opinion = |(m, source): &(Modality, Source<'_>)| {
                let others = shared[*m].as_ref().and_then(|shared| shared.others(row, class));
                Some((*m, Opinion { others, ..source.opinion(row, class, classes)? }))
            };
            let heard: Vec<(Modality, Opinion)> = voices.iter().filter_map(opinion).collect();
            if heard.is_empty() {
                return None;
            }
            let mut one = Cases::weigh(&heard, class, table.classes());
            one.late = aum_weight * late(row);
            Some(one)
        };
        table.rows().iter().enumerate().map(weigh).collect()
    };
    let wrong = expected.unwrap_or_else(|| expected_share(table, media.as_ref(), &voices));
    let guess = Rates::guess(wrong, voices.iter().map(|(m, _)| *m), table.classes());
    let mut cases = weigh(&voices);
    let mut rates = guess.clone().learn(&mut cases, expected);
    // How good a witness is shows on the samples that are believed; a third time changes next to nothing.
    for (m, source) in &mut voices {
        source.calibrate(table, |row| cases[row].as_ref().map_or(1.0, |one| one.fits(&rates, *m)));
    }
    cases = weigh(&voices);
    rates = guess.learn(&mut cases, expected);
    cases.into_iter().map(|one| one.map(|one| one.judge(&rates))).collect()
}

/// Share of the samples off the diagonal of the confident joint (predictions from everything but the text, else of the first modality), `0.01..=0.3`.
fn expected_share(table: &ScoreTable, media: Option<&Source<'_>>, voices: &[(Modality, Source<'_>)]) -> f64 {
    let Some(source) = media.or(voices.first().map(|(_, source)| source)) else { return 0.05 };
    let labelled = table.rows().iter().enumerate().filter_map(|(row, known)| Some((row, known.class?)));
    let (n, off) = labelled
        .fold((0.0f64, 0.0f64), |(n, off), (row, class)| (n + 1.0, off + f64::from(u8::from(source.confident_elsewhere(row, class)))));
    (off / n.max(1.0)).clamp(0.01, 0.3)
}
