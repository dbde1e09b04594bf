//! Transforms of the sound alone; events and word times follow.

pub mod add_noise;
pub mod babble;
pub mod background;
pub mod band_pass;
pub mod bit_depth;
pub mod channel_swap;
pub mod clicks;
pub mod clipping;
pub mod compressor;
pub mod distance;
pub mod equalizer;
pub mod fade;
pub mod formant_shift;
pub mod frequency_mask;
pub mod gain;
pub mod gain_ramp;
pub mod high_pass;
pub mod hum;
pub mod impulse_response;
pub mod interrupt;
pub mod limiter;
pub mod lossy_coding;
pub mod low_pass;
pub mod overdrive;
pub mod packet_loss;
pub mod pad_silence;
pub mod pitch_shift;
pub mod polarity;
pub mod reverb;
pub mod speed;
pub mod telephone;
#[cfg(test)]
mod tests;
pub mod time_mask;
pub mod time_shift;
pub mod time_stretch;
pub mod trim;

use super::{Scene, Transform};
use crate::{
    augment::{audio, timeline::Timeline},
    operator::Table,
    sample::AudioBuffer,
    units::Range,
};
use rand::{Rng, RngExt};
use std::{ops, sync::Arc};

/// Adds the transforms of the sound.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
        .with::<add_noise::AddNoise>()
        .with::<babble::Babble>()
        .with::<background::Background>()
        .with::<band_pass::BandPass>()
        .with::<bit_depth::BitDepth>()
        .with::<channel_swap::ChannelSwap>()
        .with::<clicks::Clicks>()
        .with::<clipping::Clipping>()
        .with::<compressor::Compressor>()
        .with::<distance::Distance>()
        .with::<equalizer::Equalizer>()
        .with::<fade::Fade>()
        .with::<formant_shift::FormantShift>()
        .with::<frequency_mask::FrequencyMask>()
        .with::<gain::Gain>()
        .with::<gain_ramp::GainRamp>()
        .with::<high_pass::HighPass>()
        .with::<hum::Hum>()
        .with::<impulse_response::ImpulseResponse>()
        .with::<interrupt::Interrupt>()
        .with::<limiter::Limiter>()
        .with::<lossy_coding::LossyCoding>()
        .with::<low_pass::LowPass>()
        .with::<overdrive::Overdrive>()
        .with::<packet_loss::PacketLoss>()
        .with::<pad_silence::PadSilence>()
        .with::<pitch_shift::PitchShift>()
        .with::<polarity::Polarity>()
        .with::<reverb::Reverb>()
        .with::<speed::Speed>()
        .with::<telephone::Telephone>()
        .with::<time_mask::TimeMask>()
        .with::<time_shift::TimeShift>()
        .with::<time_stretch::TimeStretch>()
        .with::<trim::Trim>()
}

/// Places that are drawn where one may be refused.
const PLACES: usize = 6;
/// Names of sound files end so.
const EXTENSIONS: &[&str] = &["wav", "flac", "ogg", "mp3"];

/// A value drawn from a range above 0, each octave as probable as the other.
fn octaves(range: Range, rng: &mut impl Rng) -> f64 {
    let low = range.low().max(f64::MIN_POSITIVE);
    low * (range.high() / low).powf(rng.random_range(0.0..=1.0))
}

/// The ratio at a severity for one at severity 1: the noise's amplitude grows with the severity.
fn stronger(ratio_db: f64, severity: f64) -> f64 {
    ratio_db - 20.0 * severity.log10()
}

/// From one frequency to another, evenly in octaves.
fn toward_hz(from: f64, to: f64, severity: f64) -> f64 {
    from * (to / from).powf(severity)
}

/// The sound at this rate; `None` where the rates are too far apart.
fn at_rate(sound: &Arc<AudioBuffer>, sample_rate_hz: u32) -> Option<Arc<AudioBuffer>> {
    if sound.sample_rate_hz() == sample_rate_hz {
        return Some(sound.clone());
    }
    audio::resample(sound, sample_rate_hz).ok().map(Arc::new)
}

/// Puts the sound in the place of the old one; events and word times follow. Refused where less than `keep` of an event is left and where a spoken word is gone.
fn retime(scene: &mut Scene, sound: AudioBuffer, timeline: Timeline, keep: f64) -> Result<(), String> {
    let Some(old) = &scene.audio else { return Ok(()) };
    let (events, least) = timeline.events(&scene.annotations.events, old.seconds());
    if least < keep {
        return Err("event_lost".into());
    }
    let words = timeline.words(&scene.annotations.words, old.seconds());
    if words.len() < scene.annotations.words.len() {
        return Err("word_lost".into());
    }
    (scene.annotations.events, scene.annotations.words) = (events, words);
    scene.audio = Some(sound.into());
    Ok(())
}

/// Whether silence over these seconds leaves at least `keep` of every event and spoken word.
fn hides(scene: &Scene, silent: ops::Range<f64>, keep: f64) -> Result<(), String> {
    let heard = |start_s: f64, end_s: f64| {
        let hidden = (end_s.min(silent.end) - start_s.max(silent.start)).max(0.0);
        let length = end_s - start_s;
        if length > 0.0 { 1.0 - hidden / length } else { f64::from(u8::from(!silent.contains(&start_s))) }
    };
    if scene.annotations.events.iter().any(|event| heard(event.start_s, event.end_s) < keep) {
        return Err("event_lost".into());
    }
    if scene.annotations.words.iter().any(|word| heard(word.start_s, word.end_s) < keep) {
        return Err("word_lost".into());
    }
    Ok(())
}
