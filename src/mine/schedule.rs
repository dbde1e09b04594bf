use super::{
    Band, Miner,
    draw::draw_without_replacement,
    rank::{Eligible, USUAL_BAND, Weighting, eligible, frozen_band, is_valuable, selection, unit},
    weighted::drawn_by_rank,
};
use crate::{
    context::MineContext,
    error::{Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Diagnosis, ScoreTable, Selection},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a phase of the training looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// Every sample alike.
    Uniform,
    /// Ranks of hardness between these two, in `0..=1`.
    Band {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// A draw by rank as of [`super::selective_backprop`].
    Selective {
        /// Share to keep.
        keep: f64,
    },
}

/// How a schedule goes by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// A band of ranks that slides from easy to hard, until the last tenth.
    #[default]
    Slide,
    /// Composer's selective backprop: from half to nine tenths of the training, every second step uniform.
    Composer,
}

/// What moves a schedule from easy to hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The share of the training that is over.
    #[default]
    Progress,
    /// Plateaus of the training loss: a step harder whenever the model has learnt what it was given.
    Plateau,
    /// The share of the training that is over, held back by the share of the samples that seem wrong.
    Noise,
}

/// How often `losses` (means of epochs, in order) came to a plateau: `patience` (at least 1) values in a row, none of them below the best before by more than
/// the share `least_gain` of it. After a plateau the last value is the new best, because what is trained on changes. A loss that is no number is no gain.
///
/// Source: the rule of PyTorch's `ReduceLROnPlateau` with a relative threshold.
pub fn plateaus(losses: &[f64], patience: usize, least_gain: f64) -> usize {
    let (mut best, mut waited, mut count) = (f64::INFINITY, 0, 0);
    for loss in losses.iter().map(|loss| if loss.is_nan() { f64::INFINITY } else { *loss }) {
        if loss < best - if best.is_finite() { least_gain * best.abs() } else { 0.0 } {
            (best, waited) = (loss, 0);
            continue;
        }
        waited += 1;
        if waited >= patience.max(1) {
            (best, waited, count) = (loss, 0, count + 1);
        }
    }
    count
}

/// The hardness in `0..=1` after `count` plateaus: `None` (uniform) before the first, 0 after it, 1 from number `to_hard` on.
pub fn hardness_of_plateaus(count: usize, to_hard: usize) -> Option<f64> {
    let steps = to_hard.saturating_sub(1).max(1) as f64;
    Some((count.checked_sub(1)? as f64 / steps).min(1.0))
}

/// The hardness held back by noise: `hardness (1 - noise / most)`, 0 from `most` on. `noise` is the estimated share of wrong samples, `0..=1`; `most` is above 0. The
/// hardest ranks are where wrong samples gather, the more of them the more there are.
pub fn hardness_with_noise(hardness: f64, noise: f64, most: f64) -> f64 {
    hardness * (1.0 - noise / most).clamp(0.0, 1.0)
}

/// When the training looks at what, for a trainer's own loop as well.
///
/// Uniform before `start`, from `end` on, and at every `interrupt`-th step; in between the hardness `h = (t - start) / (end - start)` moves a
/// band of ranks, or a share is drawn by rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timetable {
    /// Share of the training before which it is uniform, `0..=1`.
    pub start: f64,
    /// Share of the training from which on it is uniform, `0..=1`, above `start`.
    pub end: f64,
    /// Every so many steps one is uniform; 0 for none.
    pub interrupt: usize,
    /// What happens in between.
    pub between: Between,
}

/// What a [`Timetable`] does between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Between {
    /// A band of ranks whose ends move from the first number to the second.
    Slide {
        /// Lower end, easy to hard.
        low: (f64, f64),
        /// Upper end, easy to hard.
        high: (f64, f64),
    },
    /// A share drawn by rank.
    Selective {
        /// The share.
        keep: f64,
    },
}

impl Timetable {
    /// A band from ranks 0.2..0.7 to 0.6..0.95, uniform in the last tenth.
    pub const SLIDE: Self = Self { start: 0.0, end: 0.9, interrupt: 0, between: Between::Slide { low: (0.2, 0.6), high: (0.7, 0.95) } };
    /// Composer's defaults.
    pub const COMPOSER: Self = Self { start: 0.5, end: 0.9, interrupt: 2, between: Between::Selective { keep: 0.5 } };

    /// The phase at a share `progress` (`0..=1`) of the training, in the step numbered `step` from 0 (an epoch's batch, or a round).
    pub fn phase(&self, progress: f64, step: usize) -> Phase {
        self.hardness(progress, step).map_or(Phase::Uniform, |hardness| self.phase_of(hardness))
    }

    /// How far the way from easy to hard is gone by then, `0..=1`; `None` where the training is uniform.
    pub fn hardness(&self, progress: f64, step: usize) -> Option<f64> {
        let interrupted = self.interrupt > 0 && (step + 1).is_multiple_of(self.interrupt);
        if !(self.start <= progress && progress < self.end) || interrupted {
            return None;
        }
        Some((progress - self.start) / (self.end - self.start))
    }

    /// The phase at a hardness in `0..=1`.
    pub fn phase_of(&self, hardness: f64) -> Phase {
        match self.between {
            Between::Selective { keep } => Phase::Selective { keep },
            Between::Slide { low, high } => {
                let at = |(easy, hard): (f64, f64)| (easy + (hard - easy) * hardness).clamp(0.0, 1.0);
                Phase::Band { low: at(low), high: at(high) }
            }
        }
    }
}

/// Changes what is chosen as the training goes on: uniform, then easy, then a band, then hard, then uniform again.
///
/// Method: `t` is the share of the rounds that are over. Before `start` and from `end` on, and in every `interrupt`-th round, all valuable samples
/// are chosen. In between, `slide` takes the samples whose rank lies in `low..=high` (as `band` does), both moving with
/// `h = (t - start) / (end - start)` from their first to their second number; the band for neighbours moves along. `composer` draws the share
/// `keep` by rank (as `weighted` does). `limit` is a uniform draw among all in a uniform
/// round and among the drawn with `composer`, and the hardest in turns of the classes in a band.
///
/// `pace: plateau` goes by the mean training loss of the epochs in place of `t`: uniform until its first plateau (`patience` epochs without a loss lower by the share
/// `least_gain`), then at `h = 0`, and each further plateau a step harder, until `plateaus` of them make `h = 1`; from `end` on it is uniform all the same. `pace: noise`
/// multiplies `h` by `1 - n / most_noise` (0 at least), `n` the share of the samples that the guard holds for wrong: the more noise, the longer what is hardest waits.
///
/// Reference: Bengio et al., Curriculum Learning, 2009; MosaicML Composer, Selective Backprop (start 0.5, end 0.9, keep 0.5, interrupt 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Score column to rank by; larger is harder.
    pub by: String,
    /// Where the parameters that are absent come from, and what happens between start and end.
    pub preset: Preset,
    /// What moves it from easy to hard: `progress`, `plateau` or (with `slide`) `noise`.
    pub pace: Pace,
    /// With `pace: plateau`: epochs in a row without a gain, at least 1. Absent for 2.
    pub patience: Option<usize>,
    /// With `pace: plateau`: least gain that counts, a share of the best loss. Absent for 0.01.
    pub least_gain: Option<Fraction>,
    /// With `pace: plateau`: plateaus until the hardest, at least 2. Absent for 3.
    pub plateaus: Option<usize>,
    /// With `pace: noise`: share of wrong samples at which it stays with the easy ones, above 0. Absent for 0.2.
    pub most_noise: Option<Fraction>,
    /// Share of the rounds before which it is uniform, a fraction below `end`. Absent for 0 (`slide`) or 0.5 (`composer`); not with `pace: plateau`.
    pub start: Option<Fraction>,
    /// Share of the rounds from which on it is uniform, a fraction. Absent for 0.9.
    pub end: Option<Fraction>,
    /// Every so many rounds one is uniform; 0 for none, never 1. Absent for 0 (`slide`) or 2 (`composer`).
    pub interrupt: Option<usize>,
    /// With `slide`: lower end of the ranks at the start and at the end, in 0..=1. Absent for [0.2, 0.6].
    pub low_range: Option<Range>,
    /// With `slide`: upper end of the ranks at the start and at the end, in 0..=1. Absent for [0.7, 0.95].
    pub high_range: Option<Range>,
    /// With `slide`: rank within each class. Absent for true.
    pub per_class: Option<bool>,
    /// With `composer`: share to draw, above 0 and at most 1. Absent for 0.5.
    pub keep: Option<Fraction>,
    /// Most samples to take, at least 1. Absent for no limit.
    pub limit: Option<usize>,
    /// Weight of the chosen in training, where they are not all.
    pub weights: Weighting,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            by: "out_of_fold".into(),
            preset: Preset::Slide,
            pace: Pace::Progress,
            patience: None,
            least_gain: None,
            plateaus: None,
            most_noise: None,
            start: None,
            end: None,
            interrupt: None,
            low_range: None,
            high_range: None,
            per_class: None,
            keep: None,
            limit: None,
            weights: Weighting::Neutral,
        }
    }
}

impl Schedule {
    /// The timetable that the fields and the preset make.
    pub fn timetable(&self) -> Timetable {
        let usual = match self.preset {
            Preset::Slide => Timetable::SLIDE,
            Preset::Composer => Timetable::COMPOSER,
        };
        let ends = |range: Option<Range>, usual: (f64, f64)| range.map_or(usual, |range| (range.low(), range.high()));
        let between = match usual.between {
            Between::Slide { low, high } => Between::Slide { low: ends(self.low_range, low), high: ends(self.high_range, high) },
            Between::Selective { keep } => Between::Selective { keep: self.keep.map_or(keep, Fraction::get) },
        };
        // The first plateau is the start.
        let usual = if self.pace == Pace::Plateau { Timetable { start: 0.0, ..usual } } else { usual };
        Timetable {
            start: self.start.map_or(usual.start, Fraction::get),
            end: self.end.map_or(usual.end, Fraction::get),
            interrupt: self.interrupt.unwrap_or(usual.interrupt),
            between,
        }
    }

    /// The phase of a round: what the timetable says, at the schedule's own pace.
    fn phase(&self, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Phase {
        let times = self.timetable();
        let by_time = times.hardness(context.progress(), context.round.saturating_sub(1));
        let hardness = by_time.and_then(|hardness| match self.pace {
            Pace::Progress => Some(hardness),
            Pace::Plateau => {
                let least_gain = self.least_gain.map_or(0.01, Fraction::get);
                hardness_of_plateaus(plateaus(context.losses, self.patience.unwrap_or(2), least_gain), self.plateaus.unwrap_or(3))
            }
            Pace::Noise => {
                let wrong = (0..diagnoses.len()).filter(|row| !is_valuable(diagnoses, *row)).count();
                let noise = wrong as f64 / diagnoses.len().max(1) as f64;
                Some(hardness_with_noise(hardness, noise, self.most_noise.map_or(0.2, Fraction::get)))
            }
        });
        hardness.map_or(Phase::Uniform, |hardness| times.phase_of(hardness))
    }

    fn uniform(&self, table: &ScoreTable, rows: Vec<Eligible>, context: &MineContext<'_>) -> Vec<Eligible> {
        match self.limit {
            None => rows,
            Some(limit) => {
                // Apart from the numbers that a draw by rank has used.
                let seeds = context.seeds.child("limit");
                let uniform = |i: usize| unit(&seeds, &table.rows()[rows[i].row].id);
                draw_without_replacement(&vec![0.0; rows.len()], limit, uniform).into_iter().map(|i| rows[i]).collect()
            }
        }
    }
}

impl Configure<dyn Miner> for Schedule {
    const NAME: &'static str = "schedule";
    const EXAMPLE: &'static str = "{ by: out_of_fold, preset: slide, end: 0.9 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut foreign = |name: &str, written: bool, preset: &str| {
            if written {
                problems.push(Problem::new(name, format!("only the preset `{preset}` has this parameter")));
            }
        };
        match self.preset {
            Preset::Slide => foreign("keep", self.keep.is_some(), "composer"),
            Preset::Composer => {
                foreign("low_range", self.low_range.is_some(), "slide");
                foreign("high_range", self.high_range.is_some(), "slide");
                foreign("per_class", self.per_class.is_some(), "slide");
            }
        }
        let mut paced = |name: &str, written: bool, pace: &str| {
            if written {
                problems.push(Problem::new(name, format!("only `pace: {pace}` has this parameter")));
            }
        };
        if self.pace != Pace::Plateau {
            paced("patience", self.patience.is_some(), "plateau");
            paced("least_gain", self.least_gain.is_some(), "plateau");
            paced("plateaus", self.plateaus.is_some(), "plateau");
        }
        if self.pace != Pace::Noise {
            paced("most_noise", self.most_noise.is_some(), "noise");
        }
        if self.pace == Pace::Noise && self.preset == Preset::Composer {
            problems.push(Problem::new("pace", "only the preset `slide` has a hardness that noise could hold back"));
        }
        if self.pace == Pace::Plateau && self.start.is_some() {
            problems.push(Problem::new("start", "with `pace: plateau` the first plateau is the start; leave it out"));
        }
        if self.patience == Some(0) {
            problems.push(Problem::new("patience", "expected at least 1, found 0"));
        }
        if self.plateaus.is_some_and(|plateaus| plateaus < 2) {
            problems.push(Problem::new("plateaus", format!("expected at least 2, found {}", self.plateaus.unwrap_or_default())));
        }
        if self.most_noise.is_some_and(|most| most.get() == 0.0) {
            problems.push(Problem::new("most_noise", "expected a fraction above 0 and at most 1, found 0"));
        }
        let times = self.timetable();
        if times.start >= times.end {
            problems.push(Problem::new("start", format!("expected a share below `end` ({}), found {}", times.end, times.start)));
        }
        if times.interrupt == 1 {
            problems.push(Problem::new("interrupt", "every round would be uniform; expected 0 or at least 2, found 1"));
        }
        if self.keep.is_some_and(|keep| keep.get() == 0.0) {
            problems.push(Problem::new("keep", "nothing would be drawn; expected a fraction above 0 and at most 1"));
        }
        if self.limit == Some(0) {
            problems.push(Problem::new("limit", "expected at least 1, or no limit, found 0"));
        }
        if let Between::Slide { low, high } = times.between {
            for (name, ends) in [("low_range", low), ("high_range", high)] {
                if ends.0 < 0.0 || ends.1 > 1.0 {
                    problems.push(Problem::new(name, format!("expected ranks in 0..=1, found [{}, {}]", ends.0, ends.1)));
                }
            }
            if low.0 >= high.0 || low.1 >= high.1 {
                let what = format!("expected ranks below `high_range` ([{}, {}]), found [{}, {}]", high.0, high.1, low.0, low.1);
                problems.push(Problem::new("low_range", what));
            }
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Miner for Schedule {
    fn requirements(&self) -> Requirements {
        Requirements { columns: vec![self.by.clone()], ..Requirements::default() }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let rows = eligible(table, diagnoses, &self.by)?;
        let (chosen, weights) = match self.phase(diagnoses, context) {
            Phase::Uniform => (self.uniform(table, rows, context), Weighting::Neutral),
            Phase::Band { low, high } => {
                let rank = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("the phase clamps its ranks to 0..=1"));
                let per_class = self.per_class.unwrap_or(true);
                let band =
                    Band { by: self.by.clone(), low: rank(low), high: rank(high), per_class, limit: self.limit, weights: self.weights };
                return band.mine(table, diagnoses, context);
            }
            Phase::Selective { keep } => {
                let drawn = drawn_by_rank(table, rows, keep, context);
                (self.uniform(table, drawn, context), self.weights)
            }
        };
        let band = frozen_band(table, diagnoses, &self.by, USUAL_BAND.0, USUAL_BAND.1);
        Ok(selection(table, chosen, weights, context.stage, band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timetable_of_composer() {
        let phases: Vec<bool> = [(0.4, 0), (0.5, 0), (0.5, 1), (0.7, 2), (0.7, 3), (0.9, 4)]
            .map(|(t, step)| Timetable::COMPOSER.phase(t, step) != Phase::Uniform)
            .into();
        assert_eq!(phases, [false, true, false, true, false, false]);
        assert_eq!(Timetable::COMPOSER.phase(0.6, 0), Phase::Selective { keep: 0.5 });
    }

    #[test]
    fn the_band_slides_from_easy_to_hard() {
        assert_eq!(Timetable::SLIDE.phase(0.0, 0), Phase::Band { low: 0.2, high: 0.7 });
        // Half of the way: 0.2 + 0.4 / 2 and 0.7 + 0.25 / 2.
        let Phase::Band { low, high } = Timetable::SLIDE.phase(0.45, 9) else { panic!("a band") };
        assert!((low - 0.4).abs() < 1e-12 && (high - 0.825).abs() < 1e-12);
        assert_eq!((Timetable::SLIDE.phase(0.9, 0), Timetable::SLIDE.phase(f64::NAN, 0)), (Phase::Uniform, Phase::Uniform));
    }

    #[test]
    fn plateaus_are_counted_by_hand() {
        // 2, 1.5, 1 fall; 0.995 and 0.999 do not by a hundredth: one. Then 0.5 falls from 0.999, 0.5 and 0.5 do not: two.
        let losses = [2.0, 1.5, 1.0, 0.995, 0.999, 0.5, 0.5, 0.5];
        let counts: Vec<usize> = (0..=8).map(|n| plateaus(&losses[..n], 2, 0.01)).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 1, 1, 1, 2]);
        assert_eq!((plateaus(&losses, 1, 0.01), plateaus(&[f64::NAN; 4], 2, 0.0), plateaus(&[], 1, 0.1)), (4, 2, 0));
        let hardness: Vec<Option<f64>> = (0..5).map(|n| hardness_of_plateaus(n, 3)).collect();
        assert_eq!(hardness, [None, Some(0.0), Some(0.5), Some(1.0), Some(1.0)]);
        let held = [0.0, 0.05, 0.1, 0.4].map(|noise| hardness_with_noise(0.8, noise, 0.2));
        assert!(held.iter().zip([0.8, 0.6, 0.4, 0.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{held:?}");
    }

    #[test]
    fn the_pace_is_that_of_the_losses_or_of_the_noise() {
        let paced = |pace, losses: &[f64], wrong: usize| {
            let diagnoses: Vec<Diagnosis> = (0..10)
                .map(|i| Diagnosis {
                    judgement: if i < wrong { crate::sample::Judgement::SuspectLabel } else { crate::sample::Judgement::Valuable },
                    ..Diagnosis::clear()
                })
                .collect();
            let answers = crate::context::Answers::default();
            let context =
                MineContext { stage: "m", round: 6, rounds: 10, losses, answers: &answers, seeds: crate::random::SeedTree::new(1) };
            Schedule { pace, ..Schedule::default() }.phase(&diagnoses, &context)
        };
        let near = |phase: Phase, low: f64, high: f64| {
            let Phase::Band { low: a, high: b } = phase else { panic!("{phase:?}") };
            assert!((a - low).abs() < 1e-12 && (b - high).abs() < 1e-12, "{phase:?}");
        };
        assert_eq!(paced(Pace::Plateau, &[3.0, 2.0, 1.0], 0), Phase::Uniform);
        near(paced(Pace::Plateau, &[1.0, 1.0, 1.0], 0), 0.2, 0.7);
        near(paced(Pace::Plateau, &[1.0; 7], 0), 0.6, 0.95);
        // t = 0.5, h = 0.5 / 0.9; a tenth is wrong, half of what holds it back.
        let h = 0.5 / 0.9;
        near(paced(Pace::Noise, &[], 0), 0.2 + 0.4 * h, 0.7 + 0.25 * h);
        near(paced(Pace::Noise, &[], 1), 0.2 + 0.2 * h, 0.7 + 0.125 * h);
        near(paced(Pace::Noise, &[], 3), 0.2, 0.7);
        let problems = |written| {
            let found = super::super::table().build(&serde_json::json!({ "schedule": written })).err().unwrap_or_default();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            problems(serde_json::json!({ "pace": "plateau", "start": 0.1, "patience": 0, "plateaus": 1, "most_noise": 0.1 })),
            [
                "schedule.most_noise: only `pace: noise` has this parameter",
                "schedule.start: with `pace: plateau` the first plateau is the start; leave it out",
                "schedule.patience: expected at least 1, found 0",
                "schedule.plateaus: expected at least 2, found 1",
            ]
        );
        assert_eq!(
            problems(serde_json::json!({ "pace": "noise", "preset": "composer" })),
            ["schedule.pace: only the preset `slide` has a hardness that noise could hold back"]
        );
        assert!(problems(serde_json::json!({ "pace": "plateau", "preset": "composer", "patience": 1 })).is_empty());
    }
}
