//! Training.

mod folds;
mod session;
