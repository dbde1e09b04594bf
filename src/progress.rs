//! How long work tells where it is: the library reports steps, the command line draws bars. Silent by default.

/// Receives progress. Words go to people, never into results.
pub trait Progress: Send + Sync {
    /// A step of `total` units (samples, batches) begins.
    fn begin(&self, what: &str, total: u64) -> Box<dyn Step>;
    /// A line worth reading once.
    fn note(&self, line: &str);
    /// Something is off and the run goes on.
    fn warn(&self, line: &str);
}

/// A running step; dropping it ends it.
pub trait Step: Send + Sync {
    /// `units` more are done.
    fn advance(&self, units: u64);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) -> Box<dyn Step> {
        Box::new(Self)
    }
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

impl Step for Silent {
    fn advance(&self, _: u64) {}
}
