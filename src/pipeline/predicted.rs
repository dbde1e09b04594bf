//! What stands in the place of a model where the training split brings its predictions along.

use crate::{
    error::Error,
    model::{Capabilities, DataProfile, ModelSource, Opened},
    operator::Built,
    random::SeedTree,
    sample::ModalitySet,
};
use serde_json::json;

/// The model of a split that brings its predictions along.
struct Predicted;

pub(super) fn predicted() -> Built<dyn ModelSource> {
    Built { name: "predictions", version: 1, config: json!({}), operator: Box::new(Predicted) }
}

impl ModelSource for Predicted {
    fn capabilities(&self) -> Capabilities {
        // Which embeddings there are is known when the files are read; a score that lacks them says so.
        Capabilities {
            trainable: false,
            modalities: ModalitySet::ALL,
            gradients: ModalitySet::EMPTY,
            embeddings: ModalitySet::ALL,
            embedding_gradients: ModalitySet::EMPTY,
            decodes: ModalitySet::EMPTY,
            variational: ModalitySet::EMPTY,
        }
    }
    fn open(&self, _: &DataProfile, _: &SeedTree) -> Result<Opened, Error> {
        Err(Error::internal("the predictions of the training split take the place of a model"))
    }
}
