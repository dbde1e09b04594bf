//! What a run writes down: the types of `run.json`, `scores.jsonl`, `generated/lineage.jsonl` (a
//! [`crate::sample::Lineage`] a line), `rejected.jsonl` and `report.json`, and of `guard_check.json`. `run/` fills them in, `report/` reads only them and
//! media.
//!
//! Accuracies, shares and differences of them are fractions in `0..=1` (differences `-1..=1`), losses are nats. Every field keeps its place, every map
//! is sorted, and wall times stand in [`Timing`] alone, so that the same run gives the same bytes.

mod balance;
mod guard_check;
mod lines;
mod report;
mod results;
mod run;
mod training;

pub use balance::{CandidateBalance, Magnitudes, SampleBalance, SetAside, Splits, TransformBalance, Yield};
pub use guard_check::{DetectorCheck, Fault, GUARD, GuardCheck, NoiseKind};
pub use lines::{RejectedLine, ScoreLine, SelectedIn, each_line, read_lines, write_each, write_lines};
pub use report::{Example, Histogram, ReasonCount, RejectedCount, Report, Shown, VerdictWords};
pub use results::{
    Accuracy, ArmResult, ClassAccuracy, Comparison, EpochRecord, Helped, MaskingCheck, Metric, Results, RobustAccuracy, RobustBudget,
    WHOLE_SET_MARGIN,
};
pub use run::{BandRecord, FigureRecord, ModelRecord, ModelRole, RunRecord, SharedMedia, Timing, TimingStep};
pub use training::{
    Alarm, Drift, DriftRecord, ObjectiveRecord, OverfittingCheck, Response, RoundRecord, ScoreDrift, TrainingRecord, TrainingTime,
    WatchdogRecord,
};

/// Version of the formats in this module, raised when a field changes its meaning.
pub const VERSION: u32 = 1;
