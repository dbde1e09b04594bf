//! Bytes to buffers and back: images, audio, text. Every limit on the size of a medium lives here, in [`limits`].
//!
//! A decoder never panics and never gives half a medium: what is truncated, lies about its size or is larger than a limit is
//! an error that says what was found and what would be right.

pub mod audio;
mod compressed;
pub mod image;
pub mod limits;
pub mod npy;
pub mod text;
mod wav;

use crate::{
    error::{Error, Result},
    sample::{Bytes, Encoded, Media, Modality, Sample},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Encodes every medium of `sample` that has no encoded bytes, and replaces its buffer by what those bytes decode to. What
/// came from a file stays as it is.
pub fn settle(mut sample: Sample) -> Result<Sample> {
    let at = |modality: Modality| {
        let id = sample.id.clone();
        move |error: Error| error.at("modality", modality).at("sample", id)
    };
    let (of_image, of_audio) = (at(Modality::Image), at(Modality::Audio));
    sample.image = sample.image.map(|media| settle_one(media, image::encode, image::decode)).transpose().map_err(of_image)?;
    sample.audio = sample.audio.map(|media| settle_one(media, audio::encode, audio::decode)).transpose().map_err(of_audio)?;
    sample.text = sample.text.map(|media| if media.encoded().is_some() { media } else { text::media(media.get().clone()) });
    Ok(sample)
}

fn settle_one<T: Bytes>(
    media: Media<T>,
    encode: impl Fn(&T) -> Result<Encoded>,
    decode: impl Fn(&[u8]) -> Result<Media<T>>,
) -> Result<Media<T>> {
    if media.encoded().is_some() { Ok(media) } else { decode(&encode(media.get())?.bytes) }
}

/// Runs a decoder of another crate: were it to panic on some bytes, that is an unreadable medium and not the end of a run.
fn guarded<T>(what: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Error::data(format!("the {what} decoder broke down on these bytes; the file is damaged"))))
}

/// The first bytes in hexadecimal, for messages.
fn first_bytes(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{AudioBuffer, ImageBuffer, Text};

    #[test]
    fn settling_gives_what_the_written_files_will_hold() {
        let mut sample = Sample::new("a");
        sample.image = Some(Media::new(ImageBuffer::new(2, 1, 3, vec![1, 2, 3, 4, 5, 6]).unwrap()));
        sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, vec![0.3, -1.0, 1.0]).unwrap()));
        sample.text = Some(Media::new(Text::new("zwölf")));
        let settled = settle(sample).unwrap();
        let (image, audio, text) = (settled.image.as_ref().unwrap(), settled.audio.as_ref().unwrap(), settled.text.as_ref().unwrap());
        assert_eq!(image.get().pixels(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(audio.get().samples(), [9830.0 / 32768.0, -1.0, 32767.0 / 32768.0]);
        assert_eq!(text.encoded().unwrap().bytes, "zwölf".as_bytes());
        // Settled once, nothing moves any more.
        let again = settle(settled.clone()).unwrap();
        assert_eq!(again.digests(), settled.digests());
        assert_eq!(image::decode(&image.encoded().unwrap().bytes).unwrap().digest(), image.digest());
    }

    #[test]
    fn a_breakdown_is_an_error() {
        let error = guarded::<()>("test", || panic!("inside")).unwrap_err();
        assert_eq!(error.message(), "the test decoder broke down on these bytes; the file is damaged");
    }
}
