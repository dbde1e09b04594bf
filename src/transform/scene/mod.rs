//! Transforms of the whole scene: one draw changes every modality, boxes, events, word times and the words that speak of it.

mod crop;
mod cutout;
pub mod desynchronize;
mod flip;
mod level;
mod noise;
mod shift;
#[cfg(test)]
mod tests;

pub use crop::{Crop, CropDraw};
pub use cutout::{Cutout, CutoutDraw, Words};
pub use flip::{Flip, FlipDraw, ReadableText, When};
pub use level::{Direction, Level, LevelDraw};
pub use noise::{Noise, NoiseDraw};
pub use shift::{Shift, ShiftDraw};

use super::Transform;
use crate::operator::Table;

/// Adds the transforms of the scene.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
        .with::<Crop>()
        .with::<Cutout>()
        .with::<desynchronize::Desynchronize>()
        .with::<Flip>()
        .with::<Level>()
        .with::<Noise>()
        .with::<Shift>()
}
