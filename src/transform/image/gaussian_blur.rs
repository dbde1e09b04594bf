//! A blurred picture.

use crate::{
    augment::image,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Blurs the picture as a lens out of focus does.
///
/// Method: convolution with a Gaussian whose standard deviation is drawn from `sigma` and multiplied by the severity; edges extended, alpha blurred too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianBlur {
    /// Standard deviation at severity 1 in pixels, drawn from this range, 0..=64.
    pub sigma: Range,
}

impl Default for GaussianBlur {
    fn default() -> Self {
        Self { sigma: range(1.0, 4.0) }
    }
}

/// What [`GaussianBlur`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianBlurDraw {
    /// Standard deviation at severity 1 in pixels.
    pub sigma: f64,
}

impl GaussianBlurDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.sigma * severity
    }
}

impl Effect for GaussianBlur {
    const NAME: &'static str = "gaussian_blur";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ sigma: [1, 4] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GaussianBlurDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("sigma", self.sigma, 0.0..=64.0, "pixels").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GaussianBlurDraw> {
        Plan::one(GaussianBlurDraw { sigma: self.sigma.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &GaussianBlurDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "pixels"))
    }

    fn apply(draw: &GaussianBlurDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.map_image(|picture| image::gaussian_blur(picture, (draw.reached(severity)) as f32));
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
    fn the_severity_scales_the_deviation() {
        let mut point = ImageBuffer::filled(9, 9, 1, 0).unwrap();
        point.pixel_mut(4, 4)[0] = 255;
        let blurred = |sigma, severity| apply::<GaussianBlur>(&GaussianBlurDraw { sigma }, severity, &picture(point.clone()));
        assert_eq!(blurred(2.0, 0.5).image, Some(image::gaussian_blur(&point, 1.0).into()));
        assert_eq!(blurred(2.0, 0.0).image, Some(point.clone().into()));
    }
}
