//! A sound that is cut off.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Cuts off the loudest samples, as a recording whose input was too loud.
///
/// Method: the drawn share of the samples, times the severity, is cut down to the quantile below them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clipping {
    /// Share of the samples that are cut at severity 1, drawn from this range, 0..=1.
    pub share: Range,
}

impl Default for Clipping {
    fn default() -> Self {
        Self { share: range(0.05, 0.3) }
    }
}

/// What [`Clipping`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClippingDraw {
    /// Share at severity 1.
    pub share: f64,
}

impl ClippingDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for Clipping {
    const NAME: &'static str = "clipping";
    const EXAMPLE: &'static str = "{ share: [0.05, 0.3] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = ClippingDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("share", self.share, 0.0..=1.0, "a share").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ClippingDraw> {
        Plan::one(ClippingDraw { share: self.share.draw(&mut site.rng()) })
    }

    fn magnitude(draw: &ClippingDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the samples"))
    }

    fn apply(draw: &ClippingDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            audio::clip_share(sound, draw.reached(severity));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn the_share_is_cut() {
        let ramp = AudioBuffer::new(8000, 1, (1..=100).map(|i| i as f32 / 100.0).collect()).unwrap();
        let found = apply::<Clipping>(&ClippingDraw { share: 0.4 }, 0.5, &sound(ramp)).audio.unwrap();
        let highest = found.samples()[99];
        assert!((highest - 0.8).abs() < 0.011 && found.samples().iter().filter(|s| **s == highest).count() == 21, "{highest}");
    }
}
