//! Too few pixels.

use crate::{
    augment::image::{self, Filter},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Takes away the detail, as a camera of too few pixels.
///
/// Method: shrinks both sides to `1 - (1 - share) s` at severity `s` by the mean of the covered area, and enlarges by the nearest pixel.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Downscale {
    /// Share of the sides that is left at severity 1, drawn from this range, 0.01..=1.
    pub share: Range,
}

impl Default for Downscale {
    fn default() -> Self {
        Self { share: range(0.25, 0.6) }
    }
}

/// What [`Downscale`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownscaleDraw {
    /// Share of the sides that is left at severity 1.
    pub share: f64,
}

impl DownscaleDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        1.0 - (1.0 - self.share) * severity
    }
}

impl Effect for Downscale {
    const NAME: &'static str = "downscale";
    const EXAMPLE: &'static str = "{ share: [0.25, 0.6] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = DownscaleDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.01..=1.0, "a share of the sides").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<DownscaleDraw> {
        let mut rng = site.rng();
        Plan::one(DownscaleDraw { share: self.share.draw(&mut rng) })
    }

    fn magnitude(draw: &DownscaleDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the sides"))
    }

    fn apply(draw: &DownscaleDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let share = draw.reached(severity);
        let small = image::resize_down_up(picture, share, Filter::Area, Filter::Nearest).map_err(|error| error.to_string())?;
        scene.image = Some(small.into());
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
        let draw = DownscaleDraw { share: 0.25 };
        let change = |severity| {
            let after = apply::<Downscale>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
