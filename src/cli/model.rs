//! What a model file is: for people, before a pipeline names it.

use super::{Outcome, print};
use crate::{
    error::{Error, Result},
    model::{
        load,
        onnx::engine::{Cost, Session},
    },
};
use clap::Args;
use std::{fmt::Write, path::PathBuf};

/// Say what a model file has: inputs, outputs, operators, gradients, cost
#[derive(Debug, Args)]
pub(super) struct Model {
    /// An ONNX file, or a safetensors file that a run saved
    file: PathBuf,
    /// A size that the file leaves free, for the cost: its name, or `input.axis`; may be given several times
    #[arg(long, value_name = "NAME=N", value_parser = size)]
    size: Vec<(String, usize)>,
}

fn size(text: &str) -> std::result::Result<(String, usize), String> {
    let (name, n) = text.rsplit_once('=').ok_or("expected NAME=N, as in `height=224`")?;
    match n.parse() {
        Ok(n) if (1..=1 << 24).contains(&n) && !name.is_empty() => Ok((name.to_owned(), n)),
        _ => Err(format!("expected NAME=N with a size of 1..=16777216, found `{text}`")),
    }
}

/// A number with a prefix of thousands.
fn short(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.3} billion", n as f64 / 1e9),
        1_000_000.. => format!("{:.2} million", n as f64 / 1e6),
        _ => n.to_string(),
    }
}

impl Model {
    pub(super) fn execute(self) -> Outcome {
        if let Some((at, (name, _))) = self.size.iter().enumerate().find(|(at, one)| self.size[..*at].iter().any(|other| other.0 == one.0))
        {
            return Err(Error::usage(format!("`--size` names `{name}` twice (the second time in place {})", at + 1)).into());
        }
        if self.file.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
            if !self.size.is_empty() {
                return Err(Error::usage("`--size` is for the free sizes of an ONNX file; a saved model has none").into());
            }
            let model = load::open(&self.file)?;
            let spec = serde_json::to_string_pretty(model.spec()).map_err(|e| Error::internal(e.to_string()))?;
            return print(&format!("{spec}\n"));
        }
        let bytes = std::fs::read(&self.file).map_err(|e| Error::io(&self.file, e))?;
        let text = self.told(&bytes).map_err(|e| e.at("file", self.file.display()))?;
        print(&text)
    }

    fn told(&self, bytes: &[u8]) -> Result<String> {
        let report = Session::report(bytes)?;
        let mut out = String::new();
        match Session::load(bytes, self.file.parent(), None) {
            Ok(session) => {
                let told = |values: &[crate::model::onnx::engine::ValueInfo]| values.iter().map(|v| format!("  {v}\n")).collect::<String>();
                let _ = write!(out, "inputs:\n{}outputs:\n{}", told(session.inputs()), told(session.outputs()));
                let (count, size) = (session.weights(), session.weight_bytes() as f64 / 1e6);
                let _ = writeln!(out, "weights: {count} numbers, {size:.2} MB; {} steps a pass", session.steps());
                match Session::cost(bytes, self.file.parent(), &self.size.iter().cloned().collect()) {
                    Ok(Cost { samples, products, memory, assumed }) => {
                        let mut pass = if samples == 1 { "one sample".to_owned() } else { format!("a pass of {samples} samples") };
                        assumed.iter().for_each(|(name, n)| {
                            let _ = write!(pass, ", with {name} = {n} since the file leaves it free (`--size {name}=N`)");
                        });
                        let memory = memory as f64 / 1e6;
                        let _ = writeln!(out, "cost of {pass}: {} multiply-adds, {memory:.2} MB of activations", short(products));
                    }
                    Err(error) => {
                        let _ = writeln!(out, "cost: unknown ({error}); sizes are given as `--size NAME=N`");
                    }
                }
                if !session.mixing().is_empty() {
                    let names = session.mixing().join(", ");
                    let _ = writeln!(out, "samples go one at a time: {names} would let the samples of a pass change each other");
                }
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
