//! Falling snow.

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

/// Lets it snow.
///
/// Method: the picture pales by `pale` and flakes fall on a share `density` of its points, both times the severity; flakes leave traces of `trace` of the smaller side. Alpha stays.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Snow {
    /// Share of the points at severity 1, drawn from this range, 0..=0.5.
    pub density: Range,
    /// How far the picture pales at severity 1, drawn from this range, 0..=1.
    pub pale: Range,
    /// Length of a trace as a share of the smaller side, drawn from this range, 0..=0.5.
    pub trace: Range,
    /// Direction of the fall, counter-clockwise from the x axis, drawn from this range, -180..=180.
    pub degrees: Range,
}

impl Default for Snow {
    fn default() -> Self {
        Self { density: range(0.03, 0.15), pale: range(0.1, 0.4), trace: range(0.02, 0.06), degrees: range(-135.0, -45.0) }
    }
}

/// What [`Snow`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnowDraw {
    /// Share of the points at severity 1.
    pub density: f64,
    /// How far the picture pales at severity 1.
    pub pale: f64,
    /// Length of a trace as a share of the smaller side.
    pub trace: f64,
    /// Direction of the fall, counter-clockwise from the x axis.
    pub degrees: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for Snow {
    const NAME: &'static str = "snow";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ density: [0.03, 0.15] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = SnowDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("density", self.density, 0.0..=0.5, "a share of the points")
            .within("pale", self.pale, 0.0..=1.0, "a share of the way")
            .within("trace", self.trace, 0.0..=0.5, "a share of the smaller side")
            .within("degrees", self.degrees, -180.0..=180.0, "degrees")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<SnowDraw> {
        let mut rng = site.rng();
        Plan::one(SnowDraw {
            density: self.density.draw(&mut rng),
            pale: self.pale.draw(&mut rng),
            trace: self.trace.draw(&mut rng),
            degrees: self.degrees.draw(&mut rng),
            seed: site.seed(),
        })
    }

    fn apply(draw: &SnowDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            let side = picture.width().min(picture.height()) as f64;
            let by = image::Snow {
                density: (draw.density * severity) as f32,
                size: (side / 100.0).max(1.0) as f32,
                trace: (draw.trace * side) as f32,
                degrees: draw.degrees as f32,
                pale: (draw.pale * severity) as f32,
            };
            image::snow(picture, &by, SeedTree::at(&draw.seed).number());
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
        let draw = SnowDraw { density: 0.2, pale: 0.3, trace: 0.05, degrees: -90.0, seed: SeedTree::new(1).path().clone() };
        let change = |severity| {
            let after = apply::<Snow>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
