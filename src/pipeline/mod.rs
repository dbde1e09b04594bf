//! One round of stages over a data set, as a checked, immutable plan.

mod build;
mod check;
mod plan;

pub use build::{FAMILIES, stage_ids};
pub use plan::{
    Arm, Budget, ComparePlan, DataPlan, EvaluatePlan, OnError, Plan, PlanStage, RobustPlan, SliceFile, Stages, TrainPlan, TrainingObjective,
};
