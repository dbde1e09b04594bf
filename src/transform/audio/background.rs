//! A recorded background.

use super::{at_rate, stronger};
use crate::{
    augment::audio,
    error::Problem,
    sample::{AudioBuffer, ModalitySet},
    transform::{Checks, Effect, FILE_NOT_RESAMPLED, FileRef, Files, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Mixes a recorded background under the sound: rain, traffic, a kitchen, from files of the user.
///
/// Method: one of the files at `path` is drawn and read from a drawn place on, brought to the sound's rate, begun again where it ends, and scaled so that the
/// ratio of the mean squares of sound and background is the drawn one
/// at severity 1; its amplitude grows with the severity. Where the sum would clip, both are scaled down together. Refuses where one of them is silent (`silent`), where their rates are too far apart (`file_not_resampled`), and captions that call a place quiet where the ratio is 10 dB or less (`quiet_place`).
///
/// Reference: Snyder et al. 2015, "MUSAN: A Music, Speech, and Noise Corpus".
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// A sound file, or a folder of them (wav, flac, ogg, mp3); relative to the pipeline file.
    pub path: String,
    #[serde(default = "usual_snr")]
    /// Ratio of sound to background at severity 1 in decibels, drawn from this range, -30..=60; 0 to 15 where it is left out.
    pub snr_db: Range,
    #[serde(skip)]
    files: Files,
}

/// What [`Background`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackgroundDraw {
    /// The file.
    pub file: FileRef,
    /// Where it is read from, as a share of its length.
    pub from: f64,
    /// Ratio at severity 1.
    pub snr_db: f64,
}

impl BackgroundDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        stronger(self.snr_db, severity)
    }
}

fn usual_snr() -> Range {
    range(0.0, 15.0)
}

impl Effect for Background {
    const NAME: &'static str = "background";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ path: backgrounds, snr_db: [0, 15] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = BackgroundDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("snr_db", self.snr_db, -30.0..=60.0, "decibels").done()
    }

    fn bind(&mut self, base: &Path) -> Result<(), Problem> {
        self.files = Files::list(base, &self.path, "path", super::EXTENSIONS)?;
        Ok(())
    }

    fn files(&self) -> Option<&Files> {
        Some(&self.files)
    }

    fn draw(&self, site: &Site<'_>) -> Plan<BackgroundDraw> {
        let mut rng = site.rng();
        let Some(file) = self.files.all().choose(&mut rng).cloned() else { return Plan::no_op("no_files") };
        Plan::one(BackgroundDraw { file, from: rng.random_range(0.0..1.0), snr_db: self.snr_db.draw(&mut rng) })
    }

    fn magnitude(draw: &BackgroundDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "dB SNR"))
    }

    fn apply(draw: &BackgroundDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let clip = at_rate(&with.files.ok_or("no_files")?.audio(&draw.file)?, sound.sample_rate_hz()).ok_or(FILE_NOT_RESAMPLED)?;
        let (mut out, from) = (AudioBuffer::clone(sound), (draw.from * clip.frames() as f64) as usize);
        scene.stays_quiet(draw.reached(severity))?;
        let mixed = audio::background(&mut out, &clip, from, draw.reached(severity)).map_err(|error| error.to_string())?;
        mixed.ok_or("silent")?;
        scene.audio = Some(out.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{draw, sound, tone};

    #[test]
    fn a_file_lies_under_the_sound_at_the_drawn_ratio() {
        let folder = tempfile::tempdir().unwrap();
        // Another rate than the sound's.
        let rain = AudioBuffer::new(4000, 1, audio::gaussian(3000, 1).iter().map(|v| v * 0.1).collect()).unwrap();
        std::fs::write(folder.path().join("rain.wav"), crate::codec::audio::encode(&rain).unwrap().bytes).unwrap();
        let mut effect: Background = serde_json::from_value(serde_json::json!({ "path": "." })).unwrap();
        assert_eq!(draw(&effect, &sound(tone(8000, 1, 50, 0.3)), 1), Plan::no_op("no_files"));
        effect.bind(folder.path()).unwrap();
        let clean = tone(8000, 2, 4000, 0.3);
        let Plan::Fires(draws) = draw(&effect, &sound(clean.clone()), 1) else { panic!("it fires") };
        let mut scene = Scene::of(&sound(clean.clone()));
        Background::apply(&draws[0], 0.5, &mut scene, &With { partners: &[], files: effect.files() }).unwrap();
        let ratio = audio::snr_db(&clean, &scene.audio.unwrap(), 1.0).unwrap();
        assert!((ratio - draws[0].snr_db - 6.0206).abs() < 0.05, "{ratio} {}", draws[0].snr_db);
        let mut slow = Scene::of(&sound(tone(1, 1, 9, 0.3)));
        let told = Background::apply(&draws[0], 1.0, &mut slow, &With { partners: &[], files: effect.files() });
        assert_eq!(told, Err("file_not_resampled".into()));
    }
}
