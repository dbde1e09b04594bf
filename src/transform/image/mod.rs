//! Transforms of the picture alone; boxes follow.

pub mod affine;
pub mod brightness;
pub mod clahe;
pub mod coarse_dropout;
pub mod colour_jitter;
pub mod contrast;
pub mod corruption;
pub mod defocus_blur;
pub mod downscale;
pub mod elastic;
pub mod equalize;
pub mod flip_vertical;
pub mod fog;
pub mod frost;
pub mod gamma;
pub mod gaussian_blur;
pub mod gaussian_noise;
pub mod glass_blur;
pub mod grayscale;
pub mod grid_mask;
pub mod hue_saturation_value;
pub mod impulse_noise;
pub mod jpeg;
pub mod motion_blur;
pub mod pad;
pub mod perspective;
pub mod posterize;
pub mod rain;
pub mod resized_crop;
pub mod rotate;
pub mod shadow;
pub mod sharpen;
pub mod shot_noise;
pub mod snow;
pub mod solarize;
pub mod speckle_noise;
pub mod turn;
pub mod webp;
pub mod zoom_blur;
pub mod zoom_out;

use super::{
    Scene, Site, Transform,
    scene::{ReadableText, turned_class},
};
use crate::{
    augment::image::{Edge, PointMap, Sampling, move_shapes, warp},
    operator::Table,
};

/// Adds the transforms of the picture.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
        .with::<affine::Affine>()
        .with::<brightness::Brightness>()
        .with::<clahe::Clahe>()
        .with::<coarse_dropout::CoarseDropout>()
        .with::<colour_jitter::ColourJitter>()
        .with::<contrast::Contrast>()
        .with::<corruption::Corruption>()
        .with::<defocus_blur::DefocusBlur>()
        .with::<downscale::Downscale>()
        .with::<elastic::Elastic>()
        .with::<equalize::Equalize>()
        .with::<flip_vertical::FlipVertical>()
        .with::<fog::Fog>()
        .with::<frost::Frost>()
        .with::<gamma::Gamma>()
        .with::<gaussian_blur::GaussianBlur>()
        .with::<gaussian_noise::GaussianNoise>()
        .with::<glass_blur::GlassBlur>()
        .with::<grayscale::Grayscale>()
        .with::<grid_mask::GridMask>()
        .with::<hue_saturation_value::HueSaturationValue>()
        .with::<impulse_noise::ImpulseNoise>()
        .with::<jpeg::Jpeg>()
        .with::<motion_blur::MotionBlur>()
        .with::<pad::Pad>()
        .with::<perspective::Perspective>()
        .with::<posterize::Posterize>()
        .with::<rain::Rain>()
        .with::<resized_crop::ResizedCrop>()
        .with::<rotate::Rotate>()
        .with::<shadow::Shadow>()
        .with::<sharpen::Sharpen>()
        .with::<shot_noise::ShotNoise>()
        .with::<snow::Snow>()
        .with::<solarize::Solarize>()
        .with::<speckle_noise::SpeckleNoise>()
        .with::<turn::Turn>()
        .with::<webp::Webp>()
        .with::<zoom_blur::ZoomBlur>()
        .with::<zoom_out::ZoomOut>()
}

/// Why a turn by so many degrees would make the sample's class another one; see [`turned_class`] and [`Scene::keeps_upright`] for its caption.
fn far_turned(site: &Site<'_>, degrees: f64) -> Option<&'static str> {
    let class = site.class_name.filter(|_| degrees.abs() > 45.0)?;
    turned_class(class, ReadableText::Refuse)
}

/// Moves picture and boxes by a map that keeps the size. Refused where less than `keep` of a box would be left, or an object named by a side would change it.
fn moved(scene: &mut Scene, map: &PointMap, edge: Edge, keep: f64) -> Result<(), String> {
    let Some(picture) = &scene.image else { return Ok(()) };
    let (width, height) = (picture.width(), picture.height());
    let (boxes, least) = map.boxes(&scene.annotations.boxes, width, height);
    let least = least.min(move_shapes(&mut scene.annotations, map, width, height, 0.0));
    if f64::from(least) < keep {
        return Err("object_lost".into());
    }
    scene.keeps_places(&boxes, width, height)?;
    let changed = warp(picture, map, width, height, edge, Sampling::Bilinear).map_err(|error| error.to_string())?;
    scene.image = Some(changed.into());
    scene.annotations.boxes = boxes;
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::sample::{Annotations, BoundingBox};
    use std::sync::Arc;

    /// Annotations of one box.
    pub(crate) fn one_box(x: f32, y: f32, width: f32, height: f32) -> Arc<Annotations> {
        Arc::new(Annotations { boxes: vec![BoundingBox { x, y, width, height, label: "dog".into() }], ..Annotations::default() })
    }
}
