//! Rain.

use crate::{
    augment::image,
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets it rain.
///
/// Method: the picture darkens to `light` and streaks of pale gray fall, in number and opacity as the severity says; a greater severity keeps the streaks. Alpha stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rain {
    /// Streaks a thousand pixels at severity 1, drawn from this range, 0..=20.
    pub drops: Range,
    /// Length of a streak as a share of the height, drawn from this range, 0.01..=1.
    pub length: Range,
    /// How far a streak leans to the right for its length, drawn from this range, -4..=4.
    pub slant: Range,
    /// Factor of the light at severity 1, drawn from this range, 0..=1.
    pub light: Range,
}

impl Default for Rain {
    fn default() -> Self {
        Self { drops: range(0.5, 2.0), length: range(0.05, 0.15), slant: range(-0.4, 0.4), light: range(0.6, 0.9) }
    }
}

/// What [`Rain`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RainDraw {
    /// Streaks a thousand pixels at severity 1.
    pub drops: f64,
    /// Length of a streak as a share of the height.
    pub length: f64,
    /// How far a streak leans to the right for its length.
    pub slant: f64,
    /// Factor of the light at severity 1.
    pub light: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for Rain {
    const NAME: &'static str = "rain";
    const EXAMPLE: &'static str = "{ drops: [0.5, 2] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = RainDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("drops", self.drops, 0.0..=20.0, "streaks a thousand pixels")
            .within("length", self.length, 0.01..=1.0, "a share of the height")
            .within("slant", self.slant, -4.0..=4.0, "a slope")
            .within("light", self.light, 0.0..=1.0, "a factor")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<RainDraw> {
        let mut rng = site.rng();
        Plan::one(RainDraw {
            drops: self.drops.draw(&mut rng),
            length: self.length.draw(&mut rng),
            slant: self.slant.draw(&mut rng),
            light: self.light.draw(&mut rng),
            seed: site.seed(),
        })
    }

    fn apply(draw: &RainDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            let (width, height) = (picture.width() as f64, picture.height() as f64);
            let length = (draw.length * height).max(1.0);
            let by = image::Rain {
                count: (draw.drops * severity * width * height / 1000.0).ceil() as usize,
                length: length as f32,
                slant: (draw.slant * length) as f32,
                opacity: (0.7 * severity) as f32,
                light: (1.0 - (1.0 - draw.light) * severity) as f32,
            };
            image::rain(picture, &by, SeedTree::at(&draw.seed).number());
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
    fn more_severity_is_more_change() {
        let bytes = (0..40 * 30 * 3).map(|i| (128.0 + 90.0 * (i as f32 * 0.05).sin()) as u8).collect();
        let before = ImageBuffer::new(40, 30, 3, bytes).unwrap();
        let draw = RainDraw { drops: 5.0, length: 0.2, slant: 0.2, light: 0.8, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<Rain>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
