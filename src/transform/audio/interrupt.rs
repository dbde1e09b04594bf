//! Another speaker who talks over the end or the beginning.

use super::{at_rate, stronger};
use crate::{
    augment::audio,
    error::Problem,
    sample::{AudioBuffer, ModalitySet},
    transform::{Checks, Effect, Magnitude, PARTNER_NOT_RESAMPLED, PartnerClass, Partners, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets another sample's sound overlap the beginning or the end of this one, as a speaker who interrupts or has not finished.
///
/// Method: the partner is brought to the sound's rate and mixed over a drawn share of the sound, at its end or its beginning, so that the ratio of the mean
/// squares over the frames that overlap is the drawn one at severity 1; its
/// amplitude grows with the severity. Where the sum would clip, all is scaled down together. Refuses where one of the two is silent there (`silent`), where their rates are too far apart (`partner_not_resampled`), and captions that call a place quiet where the ratio is 10 dB or less (`quiet_place`).
///
/// Reference: Cosentino et al. 2020, "LibriMix: An Open-Source Dataset for Generalizable Speech Separation" (mixtures by ratio and overlap).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Interrupt {
    /// Ratio of sound to interruption over the overlap at severity 1 in decibels, drawn from this range, -30..=60.
    pub sir_db: Range,
    /// Share of the sound that overlaps, drawn from this range, 0.01..=1.
    pub overlap: Range,
    /// Of which class the other sample is.
    pub class: PartnerClass,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { sir_db: range(0.0, 12.0), overlap: range(0.15, 0.5), class: Default::default() }
    }
}

/// What [`Interrupt`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterruptDraw {
    /// Ratio at severity 1.
    pub sir_db: f64,
    /// Share of the sound that overlaps.
    pub overlap: f64,
    /// Whether the end is overlapped, or the beginning.
    pub at_end: bool,
}

impl InterruptDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.sir_db, severity)
    }
}

impl Effect for Interrupt {
    const NAME: &'static str = "interrupt";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ sir_db: [0, 12], overlap: [0.15, 0.5] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = InterruptDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("sir_db", self.sir_db, -30.0..=60.0, "decibels").within("overlap", self.overlap, 0.01..=1.0, "a share").done()
    }

    fn partners(&self) -> Option<Partners> {
        Some(Partners { count: 1, class: self.class, has: ModalitySet::AUDIO })
    }

    fn draw(&self, site: &Site<'_>) -> Plan<InterruptDraw> {
        let mut rng = site.rng();
        Plan::one(InterruptDraw { sir_db: self.sir_db.draw(&mut rng), overlap: self.overlap.draw(&mut rng), at_end: rng.random() })
    }

    fn magnitude(draw: &InterruptDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SIR"))
    }

    fn apply(draw: &InterruptDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let other = with.partners.first().and_then(|partner| partner.audio.as_ref()).ok_or("partner_without_audio")?;
        let other = at_rate(&other.shared(), sound.sample_rate_hz()).ok_or(PARTNER_NOT_RESAMPLED)?;
        let mut out = AudioBuffer::clone(sound);
        let ratio = draw.reached(severity);
        scene.stays_quiet(ratio)?;
        audio::overlap(&mut out, &other, draw.overlap, draw.at_end, ratio).map_err(|error| error.to_string())?.ok_or("silent")?;
        scene.audio = Some(out.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{sound, tone};

    #[test]
    fn the_ratio_holds_over_the_overlap() {
        let clean = tone(8000, 1, 4000, 0.3);
        let draw = InterruptDraw { sir_db: 3.0, overlap: 0.25, at_end: true };
        let heard = |other: AudioBuffer| {
            let mut scene = Scene::of(&sound(clean.clone()));
            Interrupt::apply(&draw, 0.5, &mut scene, &With { partners: &[sound(other)], files: None }).map(|()| scene.audio.unwrap())
        };
        let found = heard(AudioBuffer::new(16_000, 1, audio::gaussian(9000, 2).iter().map(|v| v * 0.1).collect()).unwrap()).unwrap();
        assert_eq!(found.samples()[..3000], clean.samples()[..3000]);
        let part = |audio: &AudioBuffer| AudioBuffer::new(8000, 1, audio.samples()[3000..].to_vec()).unwrap();
        assert!((audio::snr_db(&part(&clean), &part(&found), 1.0).unwrap() - 9.0206).abs() < 0.05);
        assert_eq!(heard(AudioBuffer::new(8000, 1, vec![0.0; 9]).unwrap()), Err("silent".into()));
        assert_eq!(heard(tone(1, 1, 9, 0.1)), Err("partner_not_resampled".into()));
        let nobody = Interrupt::apply(&draw, 1.0, &mut Scene::of(&sound(clean.clone())), &With::default());
        assert_eq!(nobody, Err("partner_without_audio".into()));
    }
}
