//! One round of stages over a data set, as a checked, immutable plan.

mod build;
mod builder;
mod check;
mod data;
mod dropout;
mod evaluation;
mod generation;
mod ledger;
mod objective;
mod plan;
mod predicted;
mod schema;
mod scoring;
mod stop;
mod training;

pub use build::{FAMILIES, operator, stage_ids};
pub use builder::PlanBuilder;
pub use data::{Opening, Split, open_extra, open_splits};
pub use dropout::{BalancePlan, DropoutAim, DropoutPlan, Scheme};
pub use generation::{Generation, Harvest, Quota, Routing};
pub use ledger::{Ledger, LeftOut};
pub use objective::{
    Balls, Compared, Consistency, FgsmRs, Focal, Free, FreeLb, Madry, Ohem, On, SuperLoss, Trades, TrainingObjective, Villa,
};
pub use plan::{Arm, Budget, ComparePlan, DataPlan, EvaluatePlan, OnError, Plan, PlanStage, RobustPlan, SliceFile, Stages, TrainPlan};
pub use schema::schema;
pub use scoring::{Figures, Scored, column_name, diagnose, embed, kept, logits, mine, score, score_table};
pub use stop::Stop;
pub use training::{MemoryBankPlan, Stale, TrainingMode, WatchdogPlan};
