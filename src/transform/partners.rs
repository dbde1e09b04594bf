use crate::sample::ModalitySet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of which class a partner must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartnerClass {
    /// Of any class, or without a label.
    #[default]
    Any,
    /// Of the sample's class.
    Same,
    /// Of another class.
    Other,
}

/// Other samples of the training set that a transform asks for: they are drawn by id among those that no guard set aside and that share no group with the
/// sample, and stand in the lineage as further parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partners {
    /// How many different ones.
    pub count: usize,
    /// Of which class.
    pub class: PartnerClass,
    /// Which modalities each must have.
    pub has: ModalitySet,
}
