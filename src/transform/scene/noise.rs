//! Noise at one severity on picture and sound.

use crate::{
    augment::{
        audio::{self, Colour},
        image,
        text::{self, Scale, Sense},
    },
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Effect, Plan, Scene, Site, With, decibels, range},
    units::{Decibels, Range},
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds noise to sound and picture by one severity, and the caption says so.
///
/// Method: noise of a drawn colour is added to the sound at an exact signal-to-noise ratio and to the picture with a standard deviation, both set by the severity. A place that the caption calls quiet becomes noisy
/// from `swap_db` on; a quiet bell stays a quiet bell. A silent sound has no ratio and stays as it is.
///
/// Refuses where a word of quiet about a place may mean something else or has no opposite ("silence") once the noise is that loud (`unsure_word`), or is protected (`protected_word`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Signal-to-noise ratio in decibels: the low end at severity 1, the high end toward severity 0, -30..=60.
    pub snr_db: Range,
    /// Standard deviation of the picture's noise as a share of full white: the low end toward severity 0, the high end at severity 1, 0..=1.
    pub sigma: Range,
    /// Colours of the sound's noise, one of which is drawn.
    pub colours: Vec<Colour>,
    /// Ratio in decibels from which on, downward, a quiet place is a noisy one.
    pub swap_db: Decibels,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            snr_db: range(0.0, 35.0),
            sigma: range(0.0, 0.2),
            colours: vec![Colour::White, Colour::Pink, Colour::Brown],
            swap_db: decibels(10.0),
        }
    }
}

/// What [`Noise`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseDraw {
    /// Colour of the sound's noise.
    pub colour: Colour,
    /// Ratio at severity 1 and toward 0.
    pub snr_db: Range,
    /// Deviation toward severity 0 and at 1.
    pub sigma: Range,
    /// From which ratio on a quiet place is noisy.
    pub swap_db: f64,
    /// Where both noises come from.
    pub seed: SeedPath,
}

impl NoiseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.snr_db.at(1.0 - severity)
    }
}

impl Effect for Noise {
    const NAME: &'static str = "noise";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = NoiseDraw;

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.snr_db.low() < -30.0 || self.snr_db.high() > 60.0 {
            let message = format!("expected decibels in -30..=60, found [{}, {}]", self.snr_db.low(), self.snr_db.high());
            found.push(Problem::new("snr_db", message));
        }
        if self.sigma.low() < 0.0 || self.sigma.high() > 1.0 {
            found.push(Problem::new("sigma", format!("expected shares in 0..=1, found [{}, {}]", self.sigma.low(), self.sigma.high())));
        }
        if self.colours.is_empty() {
            found.push(Problem::new("colours", "expected at least one of white, pink, brown"));
        }
        found
    }

    fn draw(&self, site: &Site<'_>) -> Plan<NoiseDraw> {
        let at = site.rng().random_range(0..self.colours.len().max(1));
        Plan::one(NoiseDraw {
            colour: self.colours.get(at).copied().unwrap_or_default(),
            snr_db: self.snr_db,
            sigma: self.sigma,
            swap_db: self.swap_db.get(),
            seed: site.seed(),
        })
    }

    fn apply(draw: &NoiseDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(severity, scene)
    }
}

impl NoiseDraw {
    fn change(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let seeds = SeedTree::at(&self.seed);
        if let Some(picture) = &scene.image {
            let sigma = self.sigma.at(severity);
            let field = image::gaussian_field(picture.pixels().len(), &mut seeds.child("image").rng());
            scene.image = Some(image::add_field(picture, &field, sigma as f32).into());
        }
        let Some(sound) = &scene.audio else { return Ok(()) };
        let snr_db = self.reached(severity);
        let field = audio::noise(self.colour, sound.sample_rate_hz(), sound.channels(), sound.frames(), seeds.child("audio").number());
        let Some(mixed) = audio::mix_at_snr(sound, &field, snr_db) else { return Ok(()) };
        scene.audio = Some(mixed.audio.into());
        if snr_db > self.swap_db {
            return Ok(());
        }
        let mut edits = Vec::new();
        for word in text::level_words(&scene.words()) {
            let quiet_place = word.scale == Scale::Loudness && !word.high && (word.of_place || word.opposite.is_none());
            match word.sense {
                Sense::Scene if quiet_place => edits.extend(scene.replace_word(word.range, "noisy")),
                Sense::Unsure if quiet_place => return Err("unsure_word".into()),
                _ => {}
            }
        }
        scene.edit_text(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::{AudioBuffer, ImageBuffer, Media, Sample},
        transform::{
            Transform,
            testing::{picture, plan, sound},
        },
    };

    #[test]
    fn where_nothing_has_a_ratio_none_is_named() {
        let silent = AudioBuffer::new(8000, 1, vec![0.0; 90]).unwrap();
        let image = picture(ImageBuffer::filled(6, 5, 1, 99).unwrap());
        assert_eq!(plan(&Noise::default(), &sound(silent.clone()), None, &SeedTree::new(1)), Plan::no_op("nothing_to_change"));
        let mute = Sample { audio: Some(Media::new(silent)), ..image.clone() };
        for sample in [image, mute] {
            let Plan::Fires(draws) = plan(&Noise::default(), &sample, None, &SeedTree::new(1)) else { panic!("it fires") };
            let mut scene = Scene::of(&sample);
            Noise::default().perform(&draws[0], 1.0, &mut scene, &[]).unwrap();
            assert_eq!(scene.changed(&sample), ModalitySet::IMAGE);
            assert_eq!(Noise::default().magnitude_of(&draws[0], 1.0), None);
        }
    }
}
