//! hardmine finds the samples of a multimodal training set (image, audio, text) that a model finds hard, says why each is
//! hard, and makes verified, replayable neighbours of the ones worth it.
//!
//! The modules are the pipeline: [`read`] -> [`score`] -> [`diagnose`] -> [`mine`] -> [`generate`] -> [`verify`] -> [`feed`].
//! `ARCHITECTURE.md` has the map.

#![warn(missing_docs)]

pub mod augment;
pub mod cli;
pub mod codec;
pub mod context;
pub mod diagnose;
pub mod error;
pub mod feed;
pub mod generate;
pub mod mine;
pub mod model;
pub mod nearest;
pub mod operator;
pub mod pipeline;
pub mod progress;
pub mod random;
pub mod read;
pub mod record;
pub mod registry;
pub mod report;
pub mod run;
pub mod sample;
pub mod score;
pub mod train;
pub mod transform;
pub mod units;
pub mod verify;
