//! One round of stages over a data set, as a checked, immutable plan.

mod build;
mod builder;
mod check;
mod plan;
mod schema;

pub use build::{FAMILIES, stage_ids};
pub use builder::PlanBuilder;
pub use plan::{
    Arm, Budget, ComparePlan, DataPlan, EvaluatePlan, OnError, Plan, PlanStage, RobustPlan, SliceFile, Stages, TrainPlan, TrainingObjective,
};
pub use schema::schema;
