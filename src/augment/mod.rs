//! augment

pub mod ball;
