//! A sound that comes and goes.

use crate::{
    augment::audio::{self, FadeShape},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fades the sound in and out.
///
/// Method: lengths drawn from `in_s` and `out_s`, times the severity, at most the length of the sound; one of the shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fade {
    /// Fade in at severity 1 in seconds, drawn from this range, 0..=60.
    pub in_s: Range,
    /// Fade out at severity 1 in seconds, drawn from this range, 0..=60.
    pub out_s: Range,
    /// Shapes, one of which is drawn: linear, equal_power, cosine, exponential; at least one.
    pub shapes: Vec<FadeShape>,
}

impl Default for Fade {
    fn default() -> Self {
        Self { in_s: range(0.05, 0.4), out_s: range(0.05, 0.4), shapes: vec![FadeShape::Linear, FadeShape::Cosine, FadeShape::Exponential] }
    }
}

/// What [`Fade`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FadeDraw {
    /// Fade in at severity 1.
    pub in_s: f64,
    /// Fade out at severity 1.
    pub out_s: f64,
    /// The shape.
    pub shape: FadeShape,
}

impl Effect for Fade {
    const NAME: &'static str = "fade";
    const EXAMPLE: &'static str = "{ in_s: [0.05, 0.4], out_s: [0.05, 0.4] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = FadeDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("in_s", self.in_s, 0.0..=60.0, "seconds")
            .within("out_s", self.out_s, 0.0..=60.0, "seconds")
            .that(!self.shapes.is_empty(), "shapes", "expected at least one of linear, equal_power, cosine, exponential")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<FadeDraw> {
        let mut rng = site.rng();
        let shape = self.shapes.choose(&mut rng).copied().unwrap_or_default();
        Plan::one(FadeDraw { in_s: self.in_s.draw(&mut rng), out_s: self.out_s.draw(&mut rng), shape })
    }

    fn apply(draw: &FadeDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let frames = |seconds: f64| (seconds * severity * f64::from(sound.sample_rate_hz())).round() as usize;
            let (before, behind) = (frames(draw.in_s), frames(draw.out_s));
            audio::fade(sound, before, behind, draw.shape);
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
    fn the_severity_scales_the_lengths() {
        let sample = sound(AudioBuffer::new(8, 1, vec![1.0; 8]).unwrap());
        let draw = FadeDraw { in_s: 1.0, out_s: 0.5, shape: FadeShape::Linear };
        let found = apply::<Fade>(&draw, 0.5, &sample).audio.unwrap();
        assert_eq!(found.samples(), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]);
    }
}
