//! A sound with less dynamics.

use crate::{
    augment::audio::{self, Compression, Measure},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Turns loud passages down, as broadcast and recording chains do.
///
/// Method: a feed-forward compressor in the log domain with a smooth peak detector; the threshold falls with the severity from full scale to the drawn level.
/// With `keep_power` the result is brought back to the power of the sound before.
///
/// Reference: Giannoulis, Massberg and Reiss 2012, "Digital dynamic range compressor design".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compressor {
    /// Level at severity 1 from which on it works in decibels of full scale, drawn from this range, -80..=0.
    pub threshold_db: Range,
    /// So many decibels above the threshold become one, drawn from this range, 1..=100.
    pub ratio: Range,
    /// Time constant with which the gain falls in seconds, 0..=1.
    pub attack_s: f64,
    /// Time constant with which it recovers in seconds, 0..=5.
    pub release_s: f64,
    /// Whether the power of the sound before is restored, as far as full scale allows.
    pub keep_power: bool,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { threshold_db: range(-40.0, -20.0), ratio: range(2.0, 10.0), attack_s: 0.005, release_s: 0.1, keep_power: true }
    }
}

/// What [`Compressor`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressorDraw {
    /// Threshold at severity 1.
    pub threshold_db: f64,
    /// Ratio.
    pub ratio: f64,
    /// Attack.
    pub attack_s: f64,
    /// Release.
    pub release_s: f64,
    /// Whether the power is restored.
    pub keep_power: bool,
}

impl Effect for Compressor {
    const NAME: &'static str = "compressor";
    const EXAMPLE: &'static str = "{ threshold_db: [-40, -20], ratio: [2, 10] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = CompressorDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("threshold_db", self.threshold_db, -80.0..=0.0, "decibels")
            .within("ratio", self.ratio, 1.0..=100.0, "a ratio")
            .within("attack_s", self.attack_s, 0.0..=1.0, "seconds")
            .within("release_s", self.release_s, 0.0..=5.0, "seconds")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<CompressorDraw> {
        let mut rng = site.rng();
        Plan::one(CompressorDraw {
            threshold_db: self.threshold_db.draw(&mut rng),
            ratio: self.ratio.draw(&mut rng),
            attack_s: self.attack_s,
            release_s: self.release_s,
            keep_power: self.keep_power,
        })
    }

    fn apply(draw: &CompressorDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| {
            let before = audio::power(sound.samples());
            let compression = Compression {
                threshold_db: draw.threshold_db * severity,
                ratio: draw.ratio,
                knee_db: 6.0,
                attack_s: draw.attack_s,
                release_s: draw.release_s,
                makeup_db: 0.0,
            };
            audio::compress(sound, &compression);
            if draw.keep_power && before > 0.0 {
                audio::normalize(sound, Measure::Rms, 10.0 * before.log10());
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_loud_half_comes_nearer_to_the_quiet_one() {
        let samples = tone(8000, 1, 8000, 0.9).samples().iter().enumerate().map(|(i, s)| if i < 4000 { *s } else { s * 0.1 }).collect();
        let sample = sound(AudioBuffer::new(8000, 1, samples).unwrap());
        let draw = CompressorDraw { threshold_db: -30.0, ratio: 4.0, attack_s: 0.005, release_s: 0.05, keep_power: true };
        let range_db = |scene: &Scene| {
            let samples = scene.audio.as_ref().unwrap().samples();
            10.0 * (audio::power(&samples[2000..4000]) / audio::power(&samples[6000..])).log10()
        };
        let (some, all) = (range_db(&apply::<Compressor>(&draw, 0.5, &sample)), range_db(&apply::<Compressor>(&draw, 1.0, &sample)));
        assert!(all < some && some < 19.0 && (all - 5.0).abs() < 2.5, "{some} {all}");
    }
}
