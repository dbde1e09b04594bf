//! A recorded room.

use super::at_rate;
use crate::{
    augment::audio::{self, Reverb},
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, FILE_NOT_RESAMPLED, FileRef, Files, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Puts the sound into a recorded room, or through a recorded device: convolution with impulse responses from files of the user.
///
/// Method: one of the files at `path` is drawn and brought to the sound's rate; the delay before its strongest sample is removed, so that events and words
/// keep their times, and the convolution is
/// brought to the power of the dry sound. `wet` times the severity is the share of it in the result. The length stays; where samples would lie beyond full
/// scale, all is scaled down. Refuses where the rates are too far apart (`file_not_resampled`).
///
/// Reference: Ko et al. 2017, "A study on data augmentation of reverberant speech for robust speech recognition".
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImpulseResponse {
    /// A sound file, or a folder of them (wav, flac, ogg, mp3); relative to the pipeline file.
    pub path: String,
    #[serde(default = "usual_wet")]
    /// Share of the room at severity 1, drawn from this range, 0..=1; 0.5 to 1 where it is left out.
    pub wet: Range,
    #[serde(skip)]
    files: Files,
}

/// What [`ImpulseResponse`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImpulseResponseDraw {
    /// The file.
    pub file: FileRef,
    /// Share of the room at severity 1.
    pub wet: f64,
}

impl ImpulseResponseDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.wet * severity
    }
}

fn usual_wet() -> Range {
    range(0.5, 1.0)
}

impl Effect for ImpulseResponse {
    const NAME: &'static str = "impulse_response";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ path: rooms, wet: [0.5, 1] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = ImpulseResponseDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new().within("wet", self.wet, 0.0..=1.0, "a share").done()
    }

    fn bind(&mut self, base: &Path) -> Result<(), Problem> {
        self.files = Files::list(base, &self.path, "path", super::EXTENSIONS)?;
        Ok(())
    }

    fn files(&self) -> Option<&Files> {
        Some(&self.files)
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ImpulseResponseDraw> {
        let mut rng = site.rng();
        let Some(file) = self.files.all().choose(&mut rng).cloned() else { return Plan::no_op("no_files") };
        Plan::one(ImpulseResponseDraw { file, wet: self.wet.draw(&mut rng) })
    }

    fn magnitude(draw: &ImpulseResponseDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "wet"))
    }

    fn apply(draw: &ImpulseResponseDraw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let file = with.files.ok_or("no_files")?.audio(&draw.file)?;
        let mut response = at_rate(&file, sound.sample_rate_hz()).ok_or(FILE_NOT_RESAMPLED)?;
        if response.channels() != sound.channels() {
            response = audio::to_mono(&response).into();
        }
        let reverb = Reverb { wet: draw.reached(severity), ..Reverb::default() };
        let mut out = audio::reverberate(sound, &response, &reverb).map_err(|error| error.to_string())?;
        audio::fit(&mut out);
        scene.audio = Some(out.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{draw, sound, tone};

    #[test]
    fn a_recorded_delta_leaves_the_sound_alone_and_an_echo_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut samples = vec![0f32; 500];
        (samples[20], samples[420]) = (0.9, 0.45);
        let echo = AudioBuffer::new(8000, 1, samples).unwrap();
        std::fs::write(folder.path().join("echo.wav"), crate::codec::audio::encode(&echo).unwrap().bytes).unwrap();
        let mut effect: ImpulseResponse = serde_json::from_value(serde_json::json!({ "path": "echo.wav", "wet": 1.0 })).unwrap();
        effect.bind(folder.path()).unwrap();
        let mut click = AudioBuffer::new(8000, 2, vec![0.0; 2000]).unwrap();
        click.samples_mut()[100] = 0.5;
        let Plan::Fires(draws) = draw(&effect, &sound(click.clone()), 1) else { panic!("it fires") };
        let mut scene = Scene::of(&sound(click));
        ImpulseResponse::apply(&draws[0], 1.0, &mut scene, &With { partners: &[], files: effect.files() }).unwrap();
        let found = scene.audio.unwrap();
        // The click stays at frame 50 of the left channel; its echo is 400 frames later and half as loud.
        let (first, second) = (found.samples()[100], found.samples()[900]);
        let mut slow = Scene::of(&sound(tone(1, 1, 9, 0.3)));
        let told = ImpulseResponse::apply(&draws[0], 1.0, &mut slow, &With { partners: &[], files: effect.files() });
        assert_eq!(told, Err("file_not_resampled".into()));
        assert!(first > 0.4 && (second / first - 0.5).abs() < 0.01 && found.samples()[901].abs() < 1e-6, "{first} {second}");
    }
}
