//! Training in rounds: warm-up, folds, arms, the replay of what was generated, and the final evaluation.

mod arms;
mod folds;
mod replay;
mod session;

pub use arms::{Deaf, Experiment, Finished, Observer, Round, Splits, Start, seed_of};
pub use folds::train_teachers;
pub use replay::Replay;
pub use session::{Mix, Session, Spent};
