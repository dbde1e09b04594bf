//! Other voices in the background.

use super::at_rate;
use super::stronger;
use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, PARTNER_NOT_RESAMPLED, PartnerClass, Partners, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mixes the sounds of other samples under this one: the babble of a crowd.
///
/// Method: each partner is mixed down to one channel, brought to the same power, turned round by a drawn share and repeated to the length; their sum is mixed
/// in so that the ratio of the mean squares of
/// sound and babble is the drawn one at severity 1; its amplitude grows with the severity. Partners of another sample rate are resampled. Refuses where
/// one of them is silent (`silent`) or has a rate too far from this one's to be resampled (`partner_not_resampled`), and captions that call a place quiet where the ratio is 10 dB or less (`quiet_place`).
///
/// Reference: Snyder et al. 2015, "MUSAN: A Music, Speech, and Noise Corpus" (babble from several speakers).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Babble {
    /// Ratio of sound to babble at severity 1 in decibels, drawn from this range, -30..=60.
    pub snr_db: Range,
    /// How many others are heard, 1..=16.
    pub voices: usize,
    /// Of which class they are.
    pub class: PartnerClass,
}

impl Default for Babble {
    fn default() -> Self {
        Self { snr_db: range(0.0, 15.0), voices: 3, class: PartnerClass::Any }
    }
}

/// What [`Babble`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BabbleDraw {
    /// Ratio at severity 1.
    pub snr_db: f64,
    /// Where each partner begins, as a share of its length.
    pub turns: Vec<f64>,
}

impl BabbleDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.snr_db, severity)
    }
}

impl Effect for Babble {
    const NAME: &'static str = "babble";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ snr_db: [0, 15], voices: 3 }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = BabbleDraw;

    fn problems(&self) -> Vec<Problem> {
        let checks = Checks::new().within("snr_db", self.snr_db, -30.0..=60.0, "decibels");
        checks.within("voices", self.voices, 1.0..=16.0, "voices").done()
    }

    fn partners(&self) -> Option<Partners> {
        Some(Partners { count: self.voices, class: self.class, has: ModalitySet::AUDIO })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<BabbleDraw> {
        let mut rng = site.rng();
        let snr_db = self.snr_db.draw(&mut rng);
        Plan::one(BabbleDraw { snr_db, turns: site.partners.iter().map(|_| rng.random_range(0.0..1.0)).collect() })
    }

    fn magnitude(draw: &BabbleDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SNR"))
    }

    fn apply(draw: &BabbleDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let mut field = vec![0f32; sound.samples().len()];
        for (partner, turn) in with.partners.iter().zip(&draw.turns) {
            let Some(voice) = &partner.audio else { return Err("partner_without_audio".into()) };
            let voice = at_rate(&voice.shared(), sound.sample_rate_hz()).ok_or(PARTNER_NOT_RESAMPLED)?.mono();
            let power = audio::power(&voice);
            if power <= 0.0 {
                return Err("silent".into());
            }
            let factor = power.sqrt().recip() as f32;
            let from = (turn * voice.len() as f64) as usize;
            let turned = voice.iter().cycle().skip(from);
            for (frame, value) in field.chunks_exact_mut(sound.channels()).zip(turned) {
                frame.iter_mut().for_each(|sum| *sum += value * factor);
            }
        }
        let snr_db = draw.reached(severity);
        scene.stays_quiet(snr_db)?;
        let mixed = audio::mix_at_snr(sound, &field, snr_db).ok_or("silent")?;
        scene.audio = Some(mixed.audio.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sample::AudioBuffer,
        transform::testing::{sound, tone},
    };

    #[test]
    fn the_voices_lie_under_the_sound_at_the_drawn_ratio() {
        let clean = tone(8000, 2, 900, 0.3);
        let voices = [tone(8000, 1, 400, 0.01), tone(8000, 1, 2000, 0.9)].map(sound);
        let draw = BabbleDraw { snr_db: 6.0, turns: vec![0.0, 0.5] };
        let heard = |partners: &[crate::sample::Sample]| {
            let mut scene = Scene::of(&sound(clean.clone()));
            Babble::apply(&draw, 1.0, &mut scene, &With { partners, files: None }).map(|()| scene.audio.unwrap())
        };
        let mixed = heard(&voices).unwrap();
        assert!((audio::snr_db(&clean, &mixed, 1.0).unwrap() - 6.0).abs() < 0.01);
        // Each is as loud as the other, however it was recorded.
        let quieter = [sound(audio::gain(voices[0].audio.as_ref().unwrap().get(), -10.0)), voices[1].clone()];
        let difference = heard(&quieter).unwrap().samples().iter().zip(mixed.samples()).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(difference < 1e-5, "{difference}");
        // One of another rate is brought to this one.
        let resampled = heard(&[sound(tone(16000, 1, 400, 0.1)), voices[1].clone()]).unwrap();
        assert!((audio::snr_db(&clean, &resampled, 1.0).unwrap() - 6.0).abs() < 0.01);
        assert_eq!(heard(&[sound(AudioBuffer::new(8000, 1, vec![0.0; 9]).unwrap())]), Err("silent".into()));
        assert_eq!(heard(&[sound(tone(1, 1, 9, 0.1))]), Err("partner_not_resampled".into()));
    }
}
