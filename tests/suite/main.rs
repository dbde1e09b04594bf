//! The integration tests, in one binary: each further one would link burn again.

mod architecture;
mod cli;
mod contract;
mod data;
mod docs;
mod golden;
mod pipelines;
mod spec;
