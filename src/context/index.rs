//! Embeddings of a round, and what is computed from all of them once.

use crate::{error::Result, sample::PerModality};
use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Embeddings of the subject model: of each modality of train and of validation samples.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingIndex {
    /// By row of the score table; `None` where the modality is missing.
    pub train: Vec<PerModality<Option<Arc<[f32]>>>>,
    /// Of the validation split.
    pub validation: Vec<PerModality<Option<Arc<[f32]>>>>,
    /// What operators computed from them.
    pub derived: Derived,
}

impl EmbeddingIndex {
    /// What `make` computes from these embeddings and the score table of their round: computed once for each `key`, however many parts of the round ask.
    /// The key names the operator and everything else that the value depends on.
    pub fn once<T: Send + Sync + 'static>(&self, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let known = self.derived.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok()) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        self.derived.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), made.clone());
        Ok(made)
    }
}

/// Values by key. A copy begins empty, since what it belongs to may change.
#[derive(Default)]
pub struct Derived(Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>);

impl Clone for Derived {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_value_is_computed_once_and_an_error_is_not_kept() {
        let index = EmbeddingIndex::default();
        assert!(index.once::<u32>("a", || Err(Error::internal("no"))).is_err());
        assert_eq!(*index.once("a", || Ok(7u32)).unwrap(), 7);
        assert_eq!(*index.once("a", || Ok(8u32)).unwrap(), 7);
        assert_eq!(*index.once("b", || Ok(9u32)).unwrap(), 9);
        assert_eq!(*index.clone().once("a", || Ok(8u32)).unwrap(), 8);
    }
}
