//! A grid of holes.

use crate::{
    augment::image::{self, Fill},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Covers a grid of squares.
///
/// Method: squares whose sides are `share` times the severity of a cell, one in every cell of `unit` of the smaller side, with the mean colour; alpha stays.
///
/// Reference: Chen et al. 2020, "GridMask Data Augmentation".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GridMask {
    /// Side of a cell as a share of the picture's smaller side, drawn from this range, 0.01..=1.
    pub unit: Range,
    /// Side of a square at severity 1 as a share of the cell's, drawn from this range, 0..=1.
    pub share: Range,
    /// Where the first cell begins along x, drawn from this range, 0..=1.
    pub x: Range,
    /// Where the first cell begins along y, drawn from this range, 0..=1.
    pub y: Range,
}

impl Default for GridMask {
    fn default() -> Self {
        Self { unit: range(0.15, 0.3), share: range(0.3, 0.6), x: range(0.0, 1.0), y: range(0.0, 1.0) }
    }
}

/// What [`GridMask`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridMaskDraw {
    /// Side of a cell as a share of the picture's smaller side.
    pub unit: f64,
    /// Side of a square at severity 1 as a share of the cell's.
    pub share: f64,
    /// Where the first cell begins along x.
    pub x: f64,
    /// Where the first cell begins along y.
    pub y: f64,
}

impl GridMaskDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for GridMask {
    const NAME: &'static str = "grid_mask";
    const EXAMPLE: &'static str = "{ unit: [0.15, 0.3] }";
    const CHANGES: ModalitySet = ModalitySet::IMAGE;
    type Draw = GridMaskDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("unit", self.unit, 0.01..=1.0, "a share of the smaller side")
            .within("share", self.share, 0.0..=1.0, "a share of the cell")
            .within("x", self.x, 0.0..=1.0, "a share of the cell")
            .within("y", self.y, 0.0..=1.0, "a share of the cell")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<GridMaskDraw> {
        let mut rng = site.rng();
        Plan::one(GridMaskDraw {
            unit: self.unit.draw(&mut rng),
            share: self.share.draw(&mut rng),
            x: self.x.draw(&mut rng),
            y: self.y.draw(&mut rng),
        })
    }

    fn magnitude(draw: &GridMaskDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of each unit"))
    }

    fn apply(draw: &GridMaskDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_image(|picture| {
            let unit = draw.unit * picture.width().min(picture.height()) as f64;
            image::grid_mask(picture, unit, draw.reached(severity), draw.x * unit, draw.y * unit, Fill::Mean);
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
        let draw = GridMaskDraw { unit: 0.3, share: 0.6, x: 0.1, y: 0.2 };
        let change = |severity| {
            let after = apply::<GridMask>(&draw, severity, &picture(before.clone())).image.unwrap();
            after.pixels().iter().zip(before.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(0.0) < change(0.4) && change(0.4) < change(1.0));
    }
}
