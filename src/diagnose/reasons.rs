use super::{Diagnoser, NoiseGuard, noise_guard::evidence, suspicions};
use crate::{
    error::{Problem, Result},
    operator::{Configure, Table},
    sample::{Diagnoses, Diagnosis, Modality, ModalitySet, PerModality, Reason, ReasonCode, Score, ScoreTable, metrics::median_and_mad},
    units::{Fraction, Probability},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Says why samples are hard: reason codes with the numbers they rest on.
///
/// Method: from the score table alone; a code whose columns are not there is not given. `audio_degraded`: estimated SNR below `snr_db`, clipping or
/// level beyond their limits, or an SNR that is an outlier of the data set (below 30 dB, and below the median by 15 dB and by three robust
/// standard deviations). `image_degraded`: sharpness, occlusion, cut or contrast beyond their limits. Where the median of the data set itself
/// lies beyond a limit, what is usual there is no fault, and the limit moves three robust standard deviations past the median.
/// `modality_missing`: a modality that at least `expected_modality` of the samples have. `single_modality_reliance`: one modality has more than
/// `over_reliance` of the Shapley values although another alone gives the label `competent`. `near_boundary`: the two largest probabilities
/// (label and best other, out of fold, where that is known) are closer than `boundary`. `rare_class`: fewer samples than `rare` of an
/// equal share. `label_suspect` and `pair_mismatch` are the guard's; where no guard ran they are judged here with its defaults, but nothing is
/// set aside. Strength is 0.5 at a limit and grows to 1; a missing modality is certain (1).
///
/// Reference: robust outliers: Leys et al., Detecting outliers: Do not use standard deviation around the mean, use absolute deviation around the
/// median, 2013.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reasons {
    /// Audio below this estimated SNR is degraded, in dB, -20..=40.
    pub snr_db: f64,
    /// Audio with more than this share of clipped samples is degraded, 0..=1.
    pub clipping: Fraction,
    /// Audio below this level is degraded, in dB of full scale, -120..=0.
    pub level_db: f64,
    /// Images below this sharpness are degraded, 0..=1.
    pub sharpness: Fraction,
    /// Images with a solid block of more than this share are degraded, 0..=1.
    pub occlusion: Fraction,
    /// Images whose drawing is cut off by more than this are degraded, at least 0.
    pub cut: f64,
    /// Images with less contrast are degraded, 0..=1.
    pub contrast: Fraction,
    /// A modality is expected if at least this share of the samples has it, 0..=1.
    pub expected_modality: Fraction,
    /// Share of one modality in the Shapley values from which it is relied on alone, 0..=1.
    pub over_reliance: Fraction,
    /// Probability of the label that another modality alone must give for that, 0..=1.
    pub competent: Probability,
    /// Gap of probabilities below which a sample is near the boundary, 0..=1.
    pub boundary: Fraction,
    /// A class is rare below this fraction of an equal share, 0..=1.
    pub rare: Fraction,
}

impl Default for Reasons {
    fn default() -> Self {
        let share = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            snr_db: 8.0,
            clipping: share(0.01),
            level_db: -50.0,
            sharpness: share(0.3),
            occlusion: share(0.08),
            cut: 2.6,
            contrast: share(0.1),
            expected_modality: share(0.2),
            over_reliance: share(0.9),
            competent: Probability::new(0.5).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            boundary: share(0.2),
            rare: share(0.5),
        }
    }
}

impl Configure<dyn Diagnoser> for Reasons {
    const NAME: &'static str = "reasons";
    const EXAMPLE: &'static str = "{ snr_db: 8, boundary: 0.2 }";

    fn build(self, _: &Table<dyn Diagnoser>) -> Result<Box<dyn Diagnoser>, Vec<Problem>> {
        let mut problems = Vec::new();
        for (name, value, low, high) in
            [("snr_db", self.snr_db, -20.0, 40.0), ("level_db", self.level_db, -120.0, 0.0), ("cut", self.cut, 0.0, 1000.0)]
        {
            if !(low..=high).contains(&value) {
                problems.push(Problem::new(name, format!("expected a number in {low}..={high}, found {value}")));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// SNR in dB from which noise is not heard as such: a data set's outlier above it is no fault.
const CLEAN_SNR_DB: f64 = 30.0;
/// How far in dB below the data set's median an SNR is an outlier.
const SNR_BELOW_USUAL_DB: f64 = 15.0;

/// Where a measure becomes a fault.
struct Limit<'a> {
    name: &'static str,
    scores: &'a [Score],
    /// Faults lie above (1) or below (-1).
    sign: f64,
    limit: f64,
}

impl<'a> Limit<'a> {
    /// The stated limit; past the median by three robust deviations where the median is itself a fault.
    fn new(table: &'a ScoreTable, name: &'static str, stated: f64, sign: f64) -> Option<Self> {
        let scores = table.column_of_any(name)?;
        let (median, spread) = median_and_mad(&known(scores))?;
        let limit = if sign * (median - stated) < 0.0 { stated } else { median + sign * (3.0 * spread).max(0.25 * median.abs()) };
        Some(Self { name, scores, sign, limit })
    }

    /// For the estimated SNR: also an outlier of the data set.
    fn snr(table: &'a ScoreTable, stated: f64) -> Option<Self> {
        let own = Self::new(table, "audio_snr_db", stated, -1.0)?;
        let (median, spread) = median_and_mad(&known(own.scores))?;
        let unusual = (median - (3.0 * spread).max(SNR_BELOW_USUAL_DB)).min(CLEAN_SNR_DB);
        Some(Self { limit: own.limit.max(unusual), ..own })
    }

    /// The value of a row that is a fault, and its strength: 0.5 at the limit, toward 1 at `scale` and more past it.
    fn fault(&self, row: usize, scale: f64) -> Option<(f32, f64)> {
        let value = self.scores[row].get()?;
        let past = self.sign * (f64::from(value) - self.limit);
        (past > 0.0).then(|| (value, 0.5 + 0.5 * (past / scale).min(1.0)))
    }
}

fn known(scores: &[Score]) -> Vec<f32> {
    scores.iter().filter_map(Score::get).collect()
}

/// A reason without a modality.
fn reason(code: ReasonCode, strength: f64, evidence: impl IntoIterator<Item = (String, f32)>) -> Reason {
    Reason { code, strength: strength.clamp(0.0, 1.0) as f32, evidence: evidence.into_iter().collect(), modality: None }
}

impl Diagnoser for Reasons {
    fn diagnose(&self, table: &ScoreTable) -> Result<Diagnoses> {
        let limit = |name, stated: f64, sign| Limit::new(table, name, stated, sign);
        // Each with the distance past its limit at which the fault is plain.
        let audio = [
            (Limit::snr(table, self.snr_db), 15.0),
            (limit("audio_clipping", self.clipping.get(), 1.0), 0.1),
            (limit("audio_level_db", self.level_db, -1.0), 20.0),
        ];
        let image = [
            (limit("image_sharpness", self.sharpness.get(), -1.0), 0.1),
            (limit("image_occlusion", self.occlusion.get(), 1.0), 0.1),
            (limit("image_cut", self.cut, 1.0), 2.0),
            (limit("image_contrast", self.contrast.get(), -1.0), 0.1),
        ];
        let expected = self.expected(table);
        let alone = PerModality::from_fn(|m| {
            table.column_of_any(&format!("alone_{m}")).or_else(|| table.column_of_any(&format!("oof_{m}_confidence")))
        });
        let reliance = table.column_of_any("over_reliance").zip(table.column_of_any("over_relied"));
        let margin = table.column_of_any("oof_margin");
        let small_margin = table.column_of_any("small_margin");
        let rarity = self.rarity(table);
        let guard = NoiseGuard::default();
        let guarded = table.column_of_any("label_suspicion").is_some();
        let suspicion = if guarded || table.column_of_any("out_of_fold").is_none() {
            Vec::new()
        } else {
            let stage = table.columns().find_map(|(c, _)| c.name.strip_suffix("out_of_fold").map(str::to_owned)).unwrap_or_default();
            suspicions(table, &stage, None, guard.aum_weight).into_iter().map(|s| s.map(|s| (s, stage.clone()))).collect()
        };

        let one = |row: usize| {
            let mut diagnosis = Diagnosis::clear();
            let mut add = |reason: Reason| diagnosis.join(Diagnosis { reasons: vec![reason], ..Diagnosis::clear() });
            if let Some(Some((s, stage))) = suspicion.get(row) {
                let cases =
                    [(ReasonCode::LabelSuspect, s.label, guard.label_threshold), (ReasonCode::PairMismatch, s.pair, guard.pair_threshold)];
                for (code, strength, threshold) in cases {
                    if strength >= threshold.get() && s.supports(code) {
                        let modality = s.odd.filter(|_| code == ReasonCode::PairMismatch);
                        add(Reason { modality, ..reason(code, strength, evidence(table, stage, row, s)) });
                    }
                }
            }
            for (code, limits) in [(ReasonCode::AudioDegraded, audio.as_slice()), (ReasonCode::ImageDegraded, image.as_slice())] {
                let faults: Vec<(&str, (f32, f64))> = limits
                    .iter()
                    .filter_map(|(limit, scale)| limit.as_ref().and_then(|limit| Some((limit.name, limit.fault(row, *scale)?))))
                    .collect();
                if let Some(strength) = faults.iter().map(|(_, (_, s))| *s).max_by(f64::total_cmp) {
                    add(reason(code, strength, faults.into_iter().map(|(name, (value, _))| (name.to_owned(), value))));
                }
            }
            let present = table.rows()[row].present;
            for missing in expected.iter().filter(|m| !present.has(*m)) {
                add(Reason { modality: Some(missing), ..reason(ReasonCode::ModalityMissing, 1.0, []) });
            }
            let relied = reliance.and_then(|(share, relied)| self.reliance(row, share[row].get()?, relied[row].get()?, &alone));
            if let Some(found) = relied {
                add(found);
            }
            // Out of fold the label's own margin; without it the gap between the two largest probabilities.
            let gap = margin
                .and_then(|m| m[row].get())
                .map(|m| ("oof_margin", m, m.abs()))
                .or_else(|| small_margin.and_then(|m| m[row].get()).map(|m| ("small_margin", m, 1.0 - m)));
            if let Some((name, value, gap)) = gap.filter(|(_, _, gap)| f64::from(*gap) < self.boundary.get()) {
                // At most 0.9: a nearby boundary is a weaker cause than a fault of the media.
                let strength = 0.5 + 0.4 * (1.0 - f64::from(gap) / self.boundary.get());
                add(reason(ReasonCode::NearBoundary, strength, [(name.to_owned(), value)]));
            }
            if let Some(share) = table.rows()[row].class.and_then(|class| rarity.get(&class)) {
                add(reason(ReasonCode::RareClass, 1.0 - 0.5 * share / self.rare.get(), [("class_share".to_owned(), *share as f32)]));
            }
            diagnosis
        };
        Ok((0..table.len()).map(one).collect())
    }
}

impl Reasons {
    /// Modalities that a sample of this data set is expected to have.
    fn expected(&self, table: &ScoreTable) -> ModalitySet {
        let least = self.expected_modality.get() * table.len() as f64;
        let count = |m: Modality| table.rows().iter().filter(|row| row.present.has(m)).count();
        Modality::ALL.into_iter().filter(|m| count(*m) > 0 && count(*m) as f64 >= least).collect()
    }

    /// Rare classes with their size as a fraction of an equal share.
    fn rarity(&self, table: &ScoreTable) -> BTreeMap<usize, f64> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        table.rows().iter().filter_map(|row| row.class).for_each(|class| *counts.entry(class).or_default() += 1);
        let equal = counts.values().sum::<usize>() as f64 / table.classes().max(1) as f64;
        counts.into_iter().map(|(class, n)| (class, n as f64 / equal)).filter(|(_, share)| *share < self.rare.get()).collect()
    }

    fn reliance(&self, row: usize, share: f32, relied: f32, alone: &PerModality<Option<&[Score]>>) -> Option<Reason> {
        let relied = *Modality::ALL.get(relied as usize)?;
        let others = Modality::ALL.into_iter().filter(|m| *m != relied);
        let best = others.filter_map(|m| alone[m].and_then(|scores| scores[row].get())).max_by(f32::total_cmp)?;
        let limit = self.over_reliance.get();
        if f64::from(share) <= limit || f64::from(best) < self.competent.get() {
            return None;
        }
        let strength = 0.5 + 0.5 * (f64::from(share) - limit) / (1.0 - limit).max(1e-9);
        let evidence = [("over_reliance".to_owned(), share), ("best_other_alone".to_owned(), best)];
        Some(Reason { modality: Some(relied), ..reason(ReasonCode::SingleModalityReliance, strength, evidence) })
    }
}
