//! Transforms of samples: a config of limits, a draw that is recorded, and one severity that scales it. What is drawn is applied by pure functions of
//! `augment/`. Generators choose transforms and search their severity; each transform is one file in the folder of what it changes.

pub mod audio;
mod check;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod draws;
mod effect;
mod files;
pub mod image;
mod media;
mod partners;
pub mod scene;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;

pub use check::{Checks, decibels, often, range, share};
pub use effect::{Effect, Magnitude, Plan, Site, Transform, With};
pub use files::{FileRef, Files};
pub use media::{MISMATCHED, Scene};
pub use partners::{PartnerClass, Partners};

use crate::operator::Table;

/// Why another sample is refused whose sound cannot be brought to this one's rate.
const PARTNER_NOT_RESAMPLED: &str = "partner_not_resampled";
/// Why a file is refused whose sound cannot be brought to the sample's rate.
const FILE_NOT_RESAMPLED: &str = "file_not_resampled";

/// The shipped transforms.
pub fn table() -> Table<dyn Transform> {
    let table = image::table(Table::default());
    let table = audio::table(table);
    let table = text::table(table);
    scene::table(table)
}
