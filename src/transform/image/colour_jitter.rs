//! Light and colours that vary.

use crate::{
    augment::image::{self, Jitter},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes brightness, contrast, saturation and hue together.
///
/// Method: factors of all values, of the distance from the mean luma and from each pixel's luma, then degrees of hue, in this order; at severity `s` a factor `f` is `1 + s (f - 1)`, and the hue is multiplied by `s`. Alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColourJitter {
    /// Factor of the light at severity 1, drawn from this range, 0..=4.
    pub brightness: Range,
    /// Factor of the contrast at severity 1, drawn from this range, 0..=4.
    pub contrast: Range,
    /// Factor of the saturation at severity 1, drawn from this range, 0..=4.
    pub saturation: Range,
    /// Degrees of hue at severity 1, drawn from this range, -180..=180.
    pub hue: Range,
}

impl Default for ColourJitter {
    fn default() -> Self {
        Self { brightness: range(0.7, 1.3), contrast: range(0.7, 1.3), saturation: range(0.6, 1.4), hue: range(-15.0, 15.0) }
    }
}

/// What [`ColourJitter`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColourJitterDraw {
    /// Factor of the light at severity 1.
    pub brightness: f64,
    /// Factor of the contrast at severity 1.
    pub contrast: f64,
    /// Factor of the saturation at severity 1.
    pub saturation: f64,
    /// Degrees of hue at severity 1.
    pub hue: f64,
}

impl Effect for ColourJitter {
    const NAME: &'static str = "colour_jitter";
    const EXAMPLE: &'static str = "{ brightness: [0.7, 1.3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ColourJitterDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("brightness", self.brightness, 0.0..=4.0, "a factor")
            .within("contrast", self.contrast, 0.0..=4.0, "a factor")
            .within("saturation", self.saturation, 0.0..=4.0, "a factor")
            .within("hue", self.hue, -180.0..=180.0, "degrees")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ColourJitterDraw> {
        let mut rng = site.rng();
        Plan::one(ColourJitterDraw {
            brightness: self.brightness.draw(&mut rng),
            contrast: self.contrast.draw(&mut rng),
            saturation: self.saturation.draw(&mut rng),
            hue: self.hue.draw(&mut rng),
        })
    }

    fn apply(draw: &ColourJitterDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let factor = |full: f64| (1.0 + severity * (full - 1.0)) as f32;
        let by = Jitter {
            brightness: factor(draw.brightness),
            contrast: factor(draw.contrast),
            saturation: factor(draw.saturation),
            hue: (draw.hue * severity) as f32,
        };
        scene.edit_image(|picture| image::colour_jitter(picture, &by));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::ImageBuffer,
        transform::testing::{apply, picture},
    };

    #[test]
    fn worked_values() {
        let one = ImageBuffer::new(1, 1, 3, vec![100, 200, 50]).unwrap();
        let draw = ColourJitterDraw { brightness: 0.5, contrast: 1.0, saturation: 1.0, hue: 120.0 };
        assert_eq!(apply::<ColourJitter>(&draw, 1.0, &picture(one.clone())).image.unwrap().pixels(), [25, 50, 100]);
    }
}
