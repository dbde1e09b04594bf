//! Transforms of the whole scene: one draw changes every modality, boxes, events, word times and the words that speak of it.

mod crop;
pub mod crop_objects;
pub mod cutmix;
mod cutout;
pub mod desynchronize;
mod flip;
#[cfg(test)]
mod inverses;
pub mod joint_mix;
mod level;
mod noise;
pub mod paste_object;
pub mod recolour;
mod shift;
pub mod swap_medium;
mod tempo;
#[cfg(test)]
mod tests;
mod time_crop;
pub mod zoom;

pub use crop::{Crop, CropDraw};
pub use cutout::{Cutout, CutoutDraw, Words};
pub use flip::{Flip, FlipDraw, ReadableText, When, exchange_sides, turned_class};
pub use level::{Direction, Level, LevelDraw};
pub use noise::{Noise, NoiseDraw};
pub use shift::{Shift, ShiftDraw};
pub use tempo::{Tempo, TempoDraw};
pub use time_crop::{TimeCrop, TimeCropDraw};

use super::{PARTNER_NOT_RESAMPLED, Scene, Transform};
use crate::{
    augment::{
        audio,
        text::{self, Word},
        timeline::Timeline,
    },
    operator::Table,
    sample::{AudioBuffer, WordTime},
};
use std::borrow::Cow;

/// A partner's sound at this rate, or why there is none: the rates are too far apart.
fn at_rate(sound: &AudioBuffer, rate_hz: u32) -> Result<Cow<'_, AudioBuffer>, &'static str> {
    if sound.sample_rate_hz() == rate_hz {
        return Ok(Cow::Borrowed(sound));
    }
    audio::resample(sound, rate_hz).map(Cow::Owned).map_err(|_| PARTNER_NOT_RESAMPLED)
}

/// Adds the transforms of the scene.
pub(super) fn table(table: Table<dyn Transform>) -> Table<dyn Transform> {
    table
        .with::<Crop>()
        .with::<crop_objects::CropObjects>()
        .with::<cutmix::Cutmix>()
        .with::<Cutout>()
        .with::<desynchronize::Desynchronize>()
        .with::<Flip>()
        .with::<joint_mix::JointMix>()
        .with::<Level>()
        .with::<Noise>()
        .with::<paste_object::PasteObject>()
        .with::<recolour::Recolour>()
        .with::<Shift>()
        .with::<swap_medium::SwapMedium>()
        .with::<Tempo>()
        .with::<TimeCrop>()
        .with::<zoom::Zoom>()
}

/// Drops from the transcript the words whose sound is cut (their middle lies outside), and moves the times of the others; `seconds` is the length of the old
/// sound. A caption without word times
/// stays. Refused where no word is left and where one that would go is protected.
fn drop_unheard(scene: &mut Scene, timeline: Timeline, seconds: f64) -> Result<(), String> {
    let heard = |time: &WordTime| {
        let middle = timeline.seconds((time.start_s + time.end_s) / 2.0, seconds);
        (0.0..=seconds * timeline.ratio()).contains(&middle)
    };
    let lost: Vec<_> = scene.annotations.words.iter().filter(|time| !heard(time)).map(|time| time.start..time.end).collect();
    if let Some(content) = scene.text.as_ref().filter(|_| !lost.is_empty()) {
        let words = scene.words();
        let inside = |word: &Word| lost.iter().any(|range| range.start < word.range.end && word.range.start < range.end);
        let gone: Vec<Word> = words.iter().filter(|word| inside(word)).cloned().collect();
        if gone.len() == words.len() {
            return Err("no_word_left".into());
        }
        let edits = text::drop_words(content, &gone);
        if edits.len() < gone.len() {
            return Err("protected_word".into());
        }
        scene.edit_text(edits)?;
    }
    scene.annotations.words = timeline.words(&scene.annotations.words, seconds);
    Ok(())
}
