//! A room around the sound.

use crate::{
    augment::audio::{self, Room},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Puts the sound into a drawn room.
///
/// Method: a box-shaped room with source and microphones (as many as the sound has channels, 20 cm apart) at drawn places; reflections to the 12th are
/// followed as image sources, and from where they are no longer complete, noise goes on that decays with
/// the drawn reverberation time. All walls swallow what Sabine's formula asks for that time. Convolution with it, without the delay of the direct sound, so
/// that events and words keep their times, and at the power of the dry sound; the severity is
/// the share of the room in the result. The length stays; where samples would lie beyond full scale, all is scaled down.
///
/// Reference: Allen and Berkley 1979, "Image method for efficiently simulating small-room acoustics".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reverb {
    /// Time in which the sound of the room loses 60 dB in seconds, drawn from this range, 0.05..=5.
    pub rt60_s: Range,
    /// Length of the floor's sides in metres, drawn from this range, 2..=50.
    pub side_m: Range,
    /// Height in metres, drawn from this range, 2..=20.
    pub height_m: Range,
}

impl Default for Reverb {
    fn default() -> Self {
        Self { rt60_s: range(0.2, 0.9), side_m: range(3.0, 9.0), height_m: range(2.4, 4.0) }
    }
}

/// What [`Reverb`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReverbDraw {
    /// Sides of the room.
    pub size_m: [f64; 3],
    /// Where the source stands.
    pub source_m: [f64; 3],
    /// Where the first microphone stands.
    pub microphone_m: [f64; 3],
    /// Reverberation time.
    pub rt60_s: f64,
    /// Where the late reverberation comes from.
    pub seed: SeedPath,
}

impl Effect for Reverb {
    const NAME: &'static str = "reverb";
    const EXAMPLE: &'static str = "{ rt60_s: [0.2, 0.9] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = ReverbDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("rt60_s", self.rt60_s, 0.05..=5.0, "seconds")
            .within("side_m", self.side_m, 2.0..=50.0, "metres")
            .within("height_m", self.height_m, 2.0..=20.0, "metres")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<ReverbDraw> {
        let mut rng = site.rng();
        let size_m = [self.side_m.draw(&mut rng), self.side_m.draw(&mut rng), self.height_m.draw(&mut rng)];
        let mut place = || size_m.map(|side| side * rng.random_range(0.15..0.85));
        let (source_m, microphone_m) = (place(), place());
        Plan::one(ReverbDraw { size_m, source_m, microphone_m, rt60_s: self.rt60_s.draw(&mut rng), seed: site.seed() })
    }

    fn magnitude(_: &ReverbDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(severity, "wet"))
    }

    fn apply(draw: &ReverbDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let next_to = |channel: usize| {
            let [x, y, z] = draw.microphone_m;
            [(x + 0.2 * channel as f64).min(draw.size_m[0]), y, z]
        };
        let room = Room {
            size_m: draw.size_m,
            absorption: [Room::absorption_for(draw.size_m, draw.rt60_s); 6],
            source_m: draw.source_m,
            microphones_m: (0..sound.channels()).map(next_to).collect(),
            reflections: 12,
        };
        let seed = SeedTree::at(&draw.seed).child("tail").number();
        let response = audio::room_with_tail(&room, sound.sample_rate_hz(), draw.rt60_s, seed).map_err(|error| error.to_string())?;
        let reverb = audio::Reverb { wet: severity, ..audio::Reverb::default() };
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
    use crate::transform::testing::{apply, draw, sound};

    #[test]
    fn a_click_stays_in_its_place_and_rings_on() {
        let mut click = AudioBuffer::new(8000, 2, vec![0.0; 8000]).unwrap();
        click.samples_mut()[2000..2002].fill(1.0);
        let sample = sound(click);
        let Plan::Fires(draws) = draw(&Reverb { rt60_s: range(0.5, 0.5), ..Reverb::default() }, &sample, 3) else { panic!("it fires") };
        let found = apply::<Reverb>(&draws[0], 1.0, &sample).audio.unwrap();
        assert_eq!((found.frames(), found.channels()), (4000, 2));
        let energy = |range: std::ops::Range<usize>| audio::power(&found.samples()[2 * range.start..2 * range.end]);
        assert!(energy(0..900) < 1e-9 && energy(1000..1400) > 10.0 * energy(2600..3000));
        // 60 dB in half a second: 18 dB from the middle of one window to the other, 0.15 s later.
        let fall = 10.0 * (energy(1800..2200) / energy(3000..3400)).log10();
        assert!((fall - 18.0).abs() < 4.0, "{fall}");
    }
}
