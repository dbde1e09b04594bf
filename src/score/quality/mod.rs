//! The quality of media, measured without a model.

mod audio;
mod cut;
mod image;

pub use audio::{AudioQuality, audio_quality, estimated_snr_db};
pub use image::{ImageQuality, image_quality};

use super::{Scorer, columns_of};
use crate::{
    context::ScoreContext,
    error::{Problem, Result},
    operator::{Configure, Table},
    sample::{Column, Sample, Score},
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Noise, clipping and level of the audio; sharpness, occlusion and contrast of the image; without a model.
///
/// Method: `audio_snr_db` takes for noise what lies below 60 Hz, where no voice is, and the power of the quietest 2 % of the frames (16 ms) of the rest, so
/// that it needs no silence before or after the words; absent for clips of less than about 60 ms; `audio_clipping` is the share of samples in flat runs at the peak, `audio_level_db` the
/// level of the whole in dB below full scale. `image_sharpness` is the share of the neighbour differences that a second blur takes away
/// (0 blurred, 1 sharp), `image_occlusion` the share of the image under the largest solid rectangle that is not background, `image_cut` how
/// much of the drawing ends on the straight sides of an empty rectangle (a block in the colour of the background; 0..), `image_contrast`
/// the range of brightness between its 0.5 and 99.5 % quantiles. `audio_degradation` and `image_degradation` (0..=1) are 0.5 where the
/// worst of them reaches its limit: 8 dB of SNR, 1 % clipped, -50 dB of level; sharpness 0.3, occlusion 0.08, cut 2.6, contrast 0.1.
///
/// Reference: Martin, Noise Power Spectral Density Estimation Based on Optimal Smoothing and Minimum Statistics, 2001 (noise from minima
/// over time); Crete et al., The Blur Effect: Perception and Estimation with a New No-Reference Perceptual Blur Metric, 2007.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {}

impl Configure<dyn Scorer> for Quality {
    const NAME: &'static str = "quality";
    const EXAMPLE: &'static str = "{}";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Scorer for Quality {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::measure("audio_snr_db", "estimated signal-to-noise ratio in dB, -20..=40"),
            Column::measure("audio_clipping", "share of samples in flat runs at the peak, 0..=1"),
            Column::measure("audio_level_db", "root mean square level in dB of full scale, -120..=0"),
            Column::measure("image_sharpness", "share of neighbour differences lost to a second blur, 0..=1; low is blurred"),
            Column::measure("image_occlusion", "share of the image under the largest solid rectangle that is not background, 0..=1"),
            Column::measure("image_cut", "how much of the drawing ends on the sides of an empty rectangle, at least 0"),
            Column::measure("image_contrast", "range of brightness, 0..=1"),
            Column::hardness("audio_degradation", "0..=1; 0.5 where the worst audio measure reaches its limit"),
            Column::hardness("image_degradation", "0..=1; 0.5 where the worst image measure reaches its limit"),
        ]
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let rows: Vec<[Score; 9]> = context.forwards.samples().par_iter().map(of).collect();
        Ok(columns_of(rows))
    }
}

fn of(sample: &Sample) -> [Score; 9] {
    let no_audio = || Score::absent("the audio is missing");
    let no_image = || Score::absent("the image is missing");
    let audio = sample.audio.as_ref().map(|media| audio_quality(media.get()));
    let image = sample.image.as_ref().map(|media| image_quality(media.get()));
    let of_audio = |f: fn(&AudioQuality) -> f64| audio.as_ref().map_or_else(no_audio, |q| Score::Known(f(q) as f32));
    let of_image = |f: fn(&ImageQuality) -> f64| image.as_ref().map_or_else(no_image, |q| Score::Known(f(q) as f32));
    let snr = audio
        .as_ref()
        .map_or_else(no_audio, |q| q.snr_db.map_or(Score::absent("the audio is silent or too short"), |db| Score::Known(db as f32)));
    [
        snr,
        of_audio(|q| q.clipping),
        of_audio(|q| q.level_db),
        of_image(|q| q.sharpness),
        of_image(|q| q.occlusion),
        of_image(|q| q.cut),
        of_image(|q| q.contrast),
        of_audio(AudioQuality::degradation),
        of_image(ImageQuality::degradation),
    ]
}

/// 0.5 at `limit`, toward 1 on the side of `scale`'s sign, softened over `|scale|`.
fn beyond(value: f64, limit: f64, scale: f64) -> f64 {
    1.0 / (1.0 + (-(value - limit) / scale).exp())
}
