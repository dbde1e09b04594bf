//! Transforms of the whole scene: one draw changes every modality, boxes, events, word times and the words that speak of it.

mod crop;
pub mod crop_objects;
mod cutout;
pub mod desynchronize;
mod flip;
pub mod joint_mix;
mod level;
mod noise;
pub mod paste_object;
pub mod recolour;
mod shift;
#[cfg(test)]
mod tests;
pub mod zoom;

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
        .with::<crop_objects::CropObjects>()
        .with::<Cutout>()
        .with::<desynchronize::Desynchronize>()
        .with::<Flip>()
        .with::<joint_mix::JointMix>()
        .with::<Level>()
        .with::<Noise>()
        .with::<paste_object::PasteObject>()
        .with::<recolour::Recolour>()
        .with::<Shift>()
        .with::<zoom::Zoom>()
}
