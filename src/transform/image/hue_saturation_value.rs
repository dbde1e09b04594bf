//! Other colours.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns the hues and changes how strong and light the colours are.
///
/// Method: adds to hue, saturation and value of the hexcone model (HSV), each times the severity; gray pixels stay gray, gray pictures take the value alone, alpha stays.
///
/// Reference: Smith 1978, "Color Gamut Transform Pairs".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HueSaturationValue {
    /// Degrees of hue at severity 1, drawn from this range, -180..=180.
    pub hue: Range,
    /// Saturation added at severity 1, drawn from this range, -1..=1.
    pub saturation: Range,
    /// Value added at severity 1, drawn from this range, -1..=1.
    pub value: Range,
}

impl Default for HueSaturationValue {
    fn default() -> Self {
        Self { hue: range(-20.0, 20.0), saturation: range(-0.2, 0.2), value: range(-0.1, 0.1) }
    }
}

/// What [`HueSaturationValue`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HueSaturationValueDraw {
    /// Degrees of hue at severity 1.
    pub hue: f64,
    /// Saturation added at severity 1.
    pub saturation: f64,
    /// Value added at severity 1.
    pub value: f64,
}

impl Effect for HueSaturationValue {
    const NAME: &'static str = "hue_saturation_value";
    const EXAMPLE: &'static str = "{ hue: [-20, 20] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = HueSaturationValueDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("hue", self.hue, -180.0..=180.0, "degrees")
            .within("saturation", self.saturation, -1.0..=1.0, "a share of the full range")
            .within("value", self.value, -1.0..=1.0, "a share of the full range")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<HueSaturationValueDraw> {
        let mut rng = site.rng();
        Plan::one(HueSaturationValueDraw {
            hue: self.hue.draw(&mut rng),
            saturation: self.saturation.draw(&mut rng),
            value: self.value.draw(&mut rng),
        })
    }

    fn apply(draw: &HueSaturationValueDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            image::hue_saturation_value(
                picture,
                (draw.hue * severity) as f32,
                (draw.saturation * severity) as f32,
                (draw.value * severity) as f32,
            )
        });
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
        let draw = HueSaturationValueDraw { hue: 120.0, saturation: 0.0, value: 0.0 };
        assert_eq!(apply::<HueSaturationValue>(&draw, 1.0, &picture(one.clone())).image.unwrap().pixels(), [50, 100, 200]);
        assert_eq!(apply::<HueSaturationValue>(&draw, 0.5, &picture(one.clone())).image.unwrap().pixels(), [50, 200, 150]);
    }
}
