//! What a model file is: for people, before a pipeline names it.

use super::{Outcome, print};
use crate::{
    error::{Error, Result},
    model::{load, onnx::engine::Session},
};
use clap::Args;
use std::{fmt::Write, path::PathBuf};

/// Say what a model file has: inputs, outputs, operators, gradients
#[derive(Debug, Args)]
pub(super) struct Model {
    /// An ONNX file, or a safetensors file that a run saved
    file: PathBuf,
}

impl Model {
    pub(super) fn execute(self) -> Outcome {
        if self.file.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
            let model = load::open(&self.file)?;
            let spec = serde_json::to_string_pretty(model.spec()).map_err(|e| Error::internal(e.to_string()))?;
            return print(&format!("{spec}\n"));
        }
        let text = self.told().map_err(|e| e.at("file", self.file.display()))?;
        print(&text)
    }

    fn told(&self) -> Result<String> {
        let bytes = std::fs::read(&self.file).map_err(|e| Error::io(&self.file, e))?;
        let report = Session::report(&bytes)?;
        let mut out = String::new();
        match Session::load(&bytes, self.file.parent(), None) {
            Ok(session) => {
                let told = |values: &[crate::model::onnx::engine::ValueInfo]| values.iter().map(|v| format!("  {v}\n")).collect::<String>();
                let _ = write!(out, "inputs:\n{}outputs:\n{}", told(session.inputs()), told(session.outputs()));
                let _ = writeln!(out, "{} numbers in constants, {} steps a pass", session.weights(), session.steps());
                for (key, value) in session.metadata() {
                    let _ = writeln!(out, "note {key}: {value}");
                }
            }
            Err(error) => {
                let _ = writeln!(out, "this file cannot be run: {error}");
            }
        }
        let _ = writeln!(out, "operators:");
        for line in report {
            let support = if line.supported { format!("gradient: {}", line.gradient) } else { "NOT SUPPORTED".to_owned() };
            let _ = writeln!(out, "  {:>5} x {:<24} {support}", line.count, line.operator);
        }
        Ok(out)
    }
}
