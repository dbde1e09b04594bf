//! One round of stages over a data set, as a checked, immutable plan.

mod plan;

pub use plan::{
    Arm, Budget, ComparePlan, DataPlan, EvaluatePlan, OnError, Plan, PlanStage, RobustPlan, SliceFile, Stages, TrainPlan, TrainingObjective,
};
