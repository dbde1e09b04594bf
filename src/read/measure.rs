//! Sizes of media, and annotations held against them.

use super::Measured;
use crate::{
    codec::audio::Shape,
    error::{Error, Result},
    sample::{Annotations, AudioBuffer, ImageBuffer, Sample},
};

/// What boxes may reach over the edge, for coordinates that were rounded: half a pixel.
const BOX_TOLERANCE: f32 = 0.5;
/// What times may reach over the end, for times that were rounded: ten milliseconds.
const TIME_TOLERANCE: f64 = 0.01;

/// The sizes of decoded media.
pub(super) fn of_sample(sample: &Sample) -> Measured {
    Measured {
        image: sample.image.as_ref().map(|image| (image.get().width(), image.get().height(), image.get().channels())),
        audio: sample.audio.as_ref().map(|audio| {
            let audio = audio.get();
            Shape { sample_rate_hz: audio.sample_rate_hz(), channels: audio.channels(), frames: audio.frames() }
        }),
        text: sample.text.as_ref().map(|text| text.get().content.chars().count()),
    }
}

/// Refuses boxes, keypoints and masks that reach over the image.
pub(super) fn check_boxes(annotations: &Annotations, image: &ImageBuffer) -> Result<()> {
    let (width, height) = (image.width() as f32 + BOX_TOLERANCE, image.height() as f32 + BOX_TOLERANCE);
    let over = annotations.boxes.iter().position(|one| one.x + one.width > width || one.y + one.height > height);
    let Some(at) = over else { return check_shapes(annotations, width, height) };
    let one = &annotations.boxes[at];
    let (right, bottom) = (one.x + one.width, one.y + one.height);
    let told = format!("the box reaches to ({right}, {bottom}); the image is {}x{} pixels", image.width(), image.height());
    Err(Error::data(told).at("field", format!("boxes[{at}]")))
}

fn check_shapes(annotations: &Annotations, width: f32, height: f32) -> Result<()> {
    let points = annotations.keypoints.iter().enumerate().map(|(i, point)| ("keypoints", i, [point.x, point.y]));
    let corners = annotations.masks.iter().enumerate().flat_map(|(i, mask)| mask.outline.iter().map(move |place| ("masks", i, *place)));
    let over = points.chain(corners).find(|(_, _, [x, y])| *x > width || *y > height);
    let Some((field, at, [x, y])) = over else { return Ok(()) };
    let (width, height) = (width - BOX_TOLERANCE, height - BOX_TOLERANCE);
    Err(Error::data(format!("a place at ({x}, {y}); the image is {width}x{height} pixels")).at("field", format!("{field}[{at}]")))
}

/// Refuses times behind the end of the audio.
pub(super) fn check_times(annotations: &Annotations, audio: &AudioBuffer) -> Result<()> {
    let ends = annotations.events.iter().enumerate().map(|(i, event)| ("events", i, event.end_s));
    let ends = ends.chain(annotations.words.iter().enumerate().map(|(i, word)| ("words", i, word.end_s)));
    let over = ends.into_iter().find(|(_, _, end_s)| *end_s > audio.seconds() + TIME_TOLERANCE);
    let Some((field, at, end_s)) = over else { return Ok(()) };
    let told = format!("it ends at {end_s} s; the audio is {:.3} s long", audio.seconds());
    Err(Error::data(told).at("field", format!("{field}[{at}]")))
}
