//! One round of stages over a data set, as a checked, immutable plan.

mod data;
mod generation;
mod ledger;
mod plan;
mod scoring;

pub use data::{Opening, Split, open_extra, open_splits};
pub use scoring::{Scored, column_name, diagnose, embed, mine, score};
pub use generation::{Generation, Harvest, Quota, Rejected, Routing, StageYield};
pub use ledger::{Ledger, LeftOut};
pub use plan::{
    Arm, Budget, ComparePlan, DataPlan, EvaluatePlan, OnError, Plan, PlanStage, RobustPlan, SliceFile, Stages, TrainPlan, TrainingObjective,
};
