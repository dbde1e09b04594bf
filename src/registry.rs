//! All operators, as a value. Extend it with your own: `Registry { generators: generate::table().with::<Mine>(), ..Registry::default() }`.

use crate::{
    diagnose::{self, Diagnoser},
    feed::{self, Feeder},
    generate::{self, Generator},
    mine::{self, Miner},
    model::{self, ModelSource},
    operator::Table,
    read::{self, Reader},
    score::{self, Scorer},
    transform::{self, Transform},
    verify::{self, Verifier},
};

/// The tables of all families.
pub struct Registry {
    /// `model:`.
    pub models: Table<dyn ModelSource>,
    /// `data:`.
    pub readers: Table<dyn Reader>,
    /// `- score:`.
    pub scorers: Table<dyn Scorer>,
    /// `- diagnose:`.
    pub diagnosers: Table<dyn Diagnoser>,
    /// `- mine:`.
    pub miners: Table<dyn Miner>,
    /// `- generate:`. The table holds the transforms that its generators choose from: `generate::table().with_part::<dyn Transform, Mine>()` adds one.
    pub generators: Table<dyn Generator>,
    /// `- verify:`.
    pub verifiers: Table<dyn Verifier>,
    /// `- feed:`.
    pub feeders: Table<dyn Feeder>,
}

impl Registry {
    /// What generators choose from: the parts of [`Registry::generators`].
    pub fn transforms(&self) -> Option<&Table<dyn Transform>> {
        self.generators.parts()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            models: model::table(),
            readers: read::table(),
            scorers: score::table(),
            diagnosers: diagnose::table(),
            miners: mine::table(),
            generators: generate::table().with_parts(transform::table()),
            verifiers: verify::table(),
            feeders: feed::table(),
        }
    }
}
