//! Training in rounds: warm-up, folds, arms, the replay of what was generated, and the final evaluation.

mod arms;
mod evaluate;
mod folds;
mod probe;
mod robust;
mod session;

pub use arms::{Deaf, Experiment, Finished, Observer, Round, Splits, Start, seed_of};
pub use evaluate::{SideSlices, accuracy, evaluate, read_slices};
pub use folds::train_teachers;
pub use robust::{budget, robust};
pub use session::{Mix, Session, Spent, Uniform};
