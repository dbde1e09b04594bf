//! The operators: one line each in the table, one family a file.

pub(in crate::model::onnx) mod channels_last;
mod control;
mod conv;
pub(in crate::model::onnx) mod elementwise;
mod image;
pub(in crate::model::onnx) mod index;
mod loss;
pub(in crate::model::onnx) mod matrix;
pub(in crate::model::onnx) mod norm;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod shape;
mod signal;

use super::{
    plan::{Attribute, Graph, Node},
    tape::Tape,
    value::Value,
};
use crate::error::{Error, Result};

/// What a gradient does at an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// It is the operator's derivative.
    Exact,
    /// It goes straight through a step function.
    Straight,
    /// It ends: the result is an integer, a shape, or constant almost everywhere.
    Ends,
}

impl Slope {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Exact => "yes",
            Self::Straight => "straight through",
            Self::Ends => "no",
        }
    }
}

pub(super) type Run = fn(&Node, &mut Tape, Inputs) -> Result<Vec<Value>>;

/// An operator of the table.
pub struct Operator {
    /// Domain; empty for the standard one.
    pub domain: &'static str,
    /// Name.
    pub name: &'static str,
    /// What a gradient does there.
    pub slope: Slope,
    pub(super) run: Run,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a node is given.
pub(super) struct Inputs {
    pub(super) values: Vec<Option<Value>>,
    /// What the graphs in its attributes see: attribute, place, value.
    pub(super) seen: Vec<(String, usize, Value)>,
}

impl Inputs {
    /// Input `i`, given up; an error where it is missing.
    fn take(&mut self, i: usize) -> Result<Value> {
        self.opt(i).ok_or_else(|| Error::model(format!("its input {i} is missing")))
    }
    /// Input `i`, given up, where it is there.
    fn opt(&mut self, i: usize) -> Option<Value> {
        self.values.get_mut(i).and_then(Option::take)
    }
    /// All that are there, given up.
    fn all(&mut self) -> Vec<Value> {
        self.values.iter_mut().filter_map(Option::take).collect()
    }
}

impl Node {
    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(Attribute::Int(v)) => *v,
            _ => default,
        }
    }
    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        match self.attribute(name) {
            Some(Attribute::Float(v)) => *v,
            _ => default,
        }
    }
    fn text(&self, name: &str, default: &'static str) -> &str {
        match self.attribute(name) {
            Some(Attribute::Text(v)) => v,
            _ => default,
        }
    }
    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(Attribute::Ints(v)) => Some(v),
            _ => None,
        }
    }
    fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.attribute(name) {
            Some(Attribute::Floats(v)) => Some(v),
            _ => None,
        }
    }
    fn graph(&self, name: &str) -> Result<&Graph> {
        match self.attribute(name) {
            Some(Attribute::Graph(v)) => Ok(v),
            _ => Err(Error::model(format!("the attribute `{name}` should be a graph"))),
        }
    }
    /// Sizes of an attribute, at least `least` each.
    fn sizes(&self, name: &str, count: usize, default: usize, least: usize) -> Result<Vec<usize>> {
        let Some(found) = self.ints(name).filter(|v| !v.is_empty()) else { return Ok(vec![default; count]) };
        let sizes: Option<Vec<usize>> = found.iter().map(|v| usize::try_from(*v).ok().filter(|v| *v >= least && *v <= 1 << 24)).collect();
        sizes
            .filter(|s| s.len() == count)
            .ok_or_else(|| Error::model(format!("expected {count} sizes of at least {least} in `{name}`, found {found:?}")))
    }
}

/// The operator of a name.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    families().flatten().find(|o| o.domain == domain && o.name == name)
}

/// Every operator that can be run.
pub fn families() -> impl Iterator<Item = &'static [Operator]> {
    [
        control::TABLE,
        conv::TABLE,
        elementwise::TABLE,
        image::TABLE,
        index::TABLE,
        loss::TABLE,
        matrix::TABLE,
        norm::TABLE,
        pool::TABLE,
        quantize::TABLE,
        recurrent::TABLE,
        reduce::TABLE,
        shape::TABLE,
        signal::TABLE,
    ]
    .into_iter()
}

/// Lines of a table: operators of the standard domain with what a gradient does there.
macro_rules! table {
    ($($name:literal $slope:ident $run:expr),* $(,)?) => {
        pub(super) const TABLE: &[super::Operator] =
            &[$(super::Operator { domain: "", name: $name, slope: super::Slope::$slope, run: $run }),*];
    };
}
use table;
