//! A picture of rubber.

use super::moved;
use crate::{
    augment::image::{self, Edge},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range, share},
    units::{Fraction, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pushes the places of the picture about, smoothly.
///
/// Method: a field of normal displacements, smoothed by a Gaussian of `sigma` and with a root mean square of `alpha` times the severity, both as shares of the smaller side; bilinear.
///
/// Boxes follow. Refuses where less than `keep` of a box would be left (`object_lost`) and where an object named by a side changes its side (`side_changed`, `side_unknown`).
///
/// Reference: Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Elastic {
    /// Root mean square of the displacements at severity 1, drawn from this range, 0..=0.2.
    pub alpha: Range,
    /// Standard deviation of the smoothing, drawn from this range, 0.005..=0.5.
    pub sigma: Range,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: Fraction,
}

impl Default for Elastic {
    fn default() -> Self {
        Self { alpha: range(0.005, 0.02), sigma: range(0.03, 0.06), edge: Edge::Extend, keep: share(0.5) }
    }
}

/// What [`Elastic`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticDraw {
    /// Root mean square of the displacements at severity 1.
    pub alpha: f64,
    /// Standard deviation of the smoothing.
    pub sigma: f64,
    /// What stands where the picture leaves a hole.
    pub edge: Edge,
    /// Least share of every box that must stay, 0..=1.
    pub keep: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl Effect for Elastic {
    const NAME: &'static str = "elastic";
    const EXAMPLE: &'static str = "{ alpha: [0.005, 0.02] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = ElasticDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("alpha", self.alpha, 0.0..=0.2, "a share of the smaller side")
            .within("sigma", self.sigma, 0.005..=0.5, "a share of the smaller side")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ElasticDraw> {
        let mut rng = site.rng();
        Plan::one(ElasticDraw {
            alpha: self.alpha.draw(&mut rng),
            sigma: self.sigma.draw(&mut rng),
            edge: self.edge,
            keep: self.keep.get(),
            seed: site.seed(),
        })
    }

    fn apply(draw: &ElasticDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (width, height) = (picture.width(), picture.height());
        let side = width.min(height) as f64;
        let map = image::elastic_field(width, height, draw.alpha * severity * side, draw.sigma * side, SeedTree::at(&draw.seed).number());
        moved(scene, &map, draw.edge, draw.keep)
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
    fn boxes_follow_and_may_be_refused() {
        let mut sample = picture(ImageBuffer::filled(40, 30, 3, 90).unwrap());
        sample.annotations = crate::transform::image::testing::one_box(12.0, 9.0, 8.0, 6.0);
        let draw = ElasticDraw { alpha: 0.05, sigma: 0.1, seed: SeedTree::new(3).path().clone(), edge: Edge::Zero, keep: 0.5 };
        let scene = apply::<Elastic>(&draw, 1.0, &sample);
        let found = &scene.annotations.boxes[0];
        assert!((found.x, found.y) != (12.0, 9.0) && found.width > 4.0 && found.height > 3.0, "{found:?}");
        sample.annotations = crate::transform::image::testing::one_box(-20.0, -15.0, 20.5, 15.5);
        let mut scene = Scene::of(&sample);
        assert_eq!(Elastic::apply(&draw, 1.0, &mut scene, &With::default()), Err("object_lost".into()));
    }
}
