use super::{
    Band, Miner,
    draw::draw_without_replacement,
    rank::{Eligible, USUAL_BAND, Weighting, eligible, frozen_band, selection, unit},
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
        let interrupted = self.interrupt > 0 && (step + 1).is_multiple_of(self.interrupt);
        if !(self.start <= progress && progress < self.end) || interrupted {
            return Phase::Uniform;
        }
        match self.between {
            Between::Selective { keep } => Phase::Selective { keep },
            Between::Slide { low, high } => {
                let hardness = (progress - self.start) / (self.end - self.start);
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
/// Reference: Bengio et al., Curriculum Learning, 2009; MosaicML Composer, Selective Backprop (start 0.5, end 0.9, keep 0.5, interrupt 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Score column to rank by; larger is harder.
    pub by: String,
    /// Where the parameters that are absent come from, and what happens between start and end.
    pub preset: Preset,
    /// Share of the rounds before which it is uniform, a fraction below `end`. Absent for 0 (`slide`) or 0.5 (`composer`).
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
        Timetable {
            start: self.start.map_or(usual.start, Fraction::get),
            end: self.end.map_or(usual.end, Fraction::get),
            interrupt: self.interrupt.unwrap_or(usual.interrupt),
            between,
        }
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
        let (chosen, weights) = match self.timetable().phase(context.progress(), context.round.saturating_sub(1)) {
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
}
