//! The integration tests, in one binary: each further one would link burn again.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod architecture;
mod behaviour;
mod cli;
mod contract;
mod data;
mod docs;
mod examples;
mod golden;
mod misuse;
mod onnx;
mod pipelines;
mod run;
mod scenes;
mod score;
mod spec;
