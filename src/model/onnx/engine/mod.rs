//! Runs an ONNX graph on host buffers, forward and back.
//!
//! An interpreter of our own, not burn's tensors: their rank is fixed at compile time, they panic on shapes that do not fit, and most of the time of
//! their backend goes into moving data. Here a tensor has any rank, an error is an error, an element-wise step works in place where nothing else needs
//! its input, and the same pass gives the same bits whatever else runs. Convolutions and products with constant weights are put together with what follows
//! them at load (`fuse`) and run over wide registers with their channels side by side (`channels_last`); other matrix products are the `gemm` crate's.
//! Every operator is made of the few steps of `tape`, which know their own gradients, so that an operator needs no gradient code of its own.

mod build;
mod channels_last;
mod cost;
mod fuse;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fused_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod hostile_tests;
mod inline;
mod kernel;
pub(super) mod ops;
mod plan;
mod proto;
mod rooms;
mod tape;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod value;
mod wire;

pub use cost::Cost;
pub use ops::{Operator, Slope};
pub use plan::{Graph, NodeReport, Session};
pub use proto::{Dim, ValueInfo};
pub use tape::Tape;
pub use value::{Kind, Value};

/// Every operator that can be run.
pub fn operators() -> impl Iterator<Item = &'static Operator> {
    ops::families().flatten()
}

/// Reads a tensor file (`TensorProto`), as the official operator tests keep their inputs and outputs.
pub fn read_tensor(bytes: &[u8]) -> crate::error::Result<Value> {
    proto::TensorProto::parse(bytes)?.value(None)
}

impl Session {
    /// The bytes of a loaded file with the numbers inside that it keeps beside it, in `folder`.
    pub fn whole(bytes: Vec<u8>, folder: Option<&std::path::Path>) -> crate::error::Result<Vec<u8>> {
        Ok(inline::whole(&bytes, folder)?.unwrap_or(bytes))
    }

    /// The names of the outputs that a file declares, without making the graph ready.
    pub fn declared(bytes: &[u8]) -> crate::error::Result<Vec<String>> {
        let model = proto::ModelProto::parse(bytes)?;
        Ok(model.graph.iter().flat_map(|g| &g.outputs).map(|o| o.name.clone()).collect())
    }
}

/// Columns of a matrix.
pub(super) fn pick(tape: &mut Tape, of: &Value, columns: &Value) -> crate::error::Result<Value> {
    ops::index::pick(tape, of, columns, 1)
}

/// The steps that a head is made of.
pub(super) mod head_steps {
    use super::{Tape, Value, ops};
    use crate::error::Result;
    pub(in crate::model::onnx) use ops::{elementwise::relu, matrix::matmul};

    /// Rows with mean 0 and mean square 1.
    pub(in crate::model::onnx) fn normal(tape: &mut Tape, x: Value, rows: usize) -> Result<Value> {
        Ok(ops::norm::normal(tape, x, rows, 1e-5, true)?.0)
    }
}
