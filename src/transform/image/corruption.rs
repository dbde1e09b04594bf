//! The common corruptions.

use super::moved;
use crate::{
    augment::image::{self, Corruption as Kind, Edge},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the fifteen common corruptions, at a level of 1 to 5.
///
/// Method: the corruption is drawn from `kinds` and its level from `level`; the severity multiplies the level, and between two levels the parameters lie on a
/// straight line. Lengths are scaled to the picture's smaller side. Frost is grown instead of pasted. Boxes follow the elastic transform; alpha stays but for blurs.
///
/// Reference: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Corruption {
    /// Corruptions, one of which is drawn; at least one.
    pub kinds: Vec<Kind>,
    /// Level at severity 1, drawn from this range, 0..=5.
    pub level: Range,
}

impl Default for Corruption {
    fn default() -> Self {
        Self { kinds: Kind::ALL.to_vec(), level: range(1.0, 5.0) }
    }
}

/// What [`Corruption`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionDraw {
    /// The corruption.
    pub kind: Kind,
    /// Level at severity 1.
    pub level: f64,
    /// Where its random numbers come from.
    pub seed: SeedPath,
}

impl CorruptionDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.level * severity
    }
}

impl Effect for Corruption {
    const NAME: &'static str = "corruption";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ kinds: [fog, pixelate, jpeg_compression], level: [1, 5] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = CorruptionDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .that(!self.kinds.is_empty(), "kinds", "expected at least one corruption")
            .within("level", self.level, 0.0..=5.0, "a level")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CorruptionDraw> {
        let mut rng = site.rng();
        match self.kinds.choose(&mut rng) {
            Some(kind) => Plan::one(CorruptionDraw { kind: *kind, level: self.level.draw(&mut rng), seed: site.seed() }),
            None => Plan::no_op("no_kinds"),
        }
    }

    fn magnitude(draw: &CorruptionDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of 5"))
    }

    fn apply(draw: &CorruptionDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(picture) = &scene.image else { return Ok(()) };
        let (level, seed) = (draw.reached(severity), SeedTree::at(&draw.seed).number());
        if draw.kind == Kind::ElasticTransform {
            let map = image::corruption_map(draw.kind, picture.width(), picture.height(), level, seed);
            return moved(scene, &map, Edge::Mirror, 0.0);
        }
        scene.map_image(|picture| image::corrupt(picture, draw.kind, level, seed));
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
    fn the_severity_multiplies_the_level() {
        let bytes = (0..40 * 30).map(|i| (128.0 + 90.0 * (i as f32 * 0.05).sin()) as u8).collect();
        let before = ImageBuffer::new(40, 30, 1, bytes).unwrap();
        for kind in Kind::ALL {
            let seed = SeedTree::new(2);
            let draw = CorruptionDraw { kind, level: 4.0, seed: seed.path().clone() };
            let after = apply::<Corruption>(&draw, 0.5, &picture(before.clone())).image.unwrap();
            assert_eq!(*after, image::corrupt(&before, kind, 2.0, seed.number()), "{kind:?}");
        }
    }
}
