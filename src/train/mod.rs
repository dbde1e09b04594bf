//! Training in rounds: warm-up, folds, arms, the memory bank, the watchdog, the replay of what was generated, and the final evaluation.

mod aimed;
mod arms;
mod blame;
mod bootstrap;
pub mod door;
mod draw;
mod drift;
mod evaluate;
mod folds;
mod gap;
mod masking;
pub mod memory_bank;
mod mined;
mod objective;
mod probe;
mod robust;
mod round;
mod session;
mod step;
#[cfg(test)]
mod tests;
mod thin;
mod watchdog;

pub use arms::{Deaf, Experiment, Finished, Observer, Round, Splits, Start, seed_of};
pub use bootstrap::GrowingSet;
pub use draw::Mix;
pub use drift::drift;
pub use evaluate::{SideSlices, accuracy, evaluate, read_slices};
pub use folds::{Folds, train_teachers};
pub use objective::{AsMany, OwnLoop, Teaching, Treated};
pub use robust::{budget, robust};
pub use session::{Epoch, Session, Spent, Uniform};
pub use thin::Dropout;
pub use watchdog::{Trip, Watchdog};
