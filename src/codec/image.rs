//! Images: PNG, JPEG, GIF (first frame), WebP, BMP, TIFF and PNM in; PNG out. Eight bits a channel.

use super::{
    first_bytes, guarded,
    limits::{MAX_IMAGE_BYTES, MAX_IMAGE_SIDE},
};
use crate::{
    error::{Error, Result},
    sample::{Encoded, Format, ImageBuffer, Media},
};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use std::io::Cursor;

/// Width, height and channels of an image, in this order.
pub type Size = (usize, usize, usize);

const KNOWN: &str = "PNG, JPEG, GIF, WebP, BMP, TIFF or PNM";

/// Decodes an image. Gray stays one channel, gray with alpha becomes RGBA, palettes become RGB or RGBA, 16 bits are rounded to 8,
/// and an EXIF orientation is applied. Errors: no known format, truncated or damaged data, 0 pixels, a size beyond [`super::limits`].
pub fn decode(bytes: &[u8]) -> Result<Media<ImageBuffer>> {
    let (buffer, format) = guarded("image", || decode_buffer(bytes))?;
    let extension = match format {
        ImageFormat::Jpeg => "jpg",
        other => other.extensions_str().first().copied().unwrap_or("img"),
    };
    let kind = match format {
        ImageFormat::Png => Format::Png,
        ImageFormat::Jpeg => Format::Jpeg,
        _ => Format::OtherImage,
    };
    Ok(Media::from_file(Encoded { bytes: bytes.to_vec(), format: kind, extension: extension.into() }, buffer))
}

/// Size that [`decode`] would give, from the header alone.
pub fn size(bytes: &[u8]) -> Result<Size> {
    guarded("image", || {
        let (mut decoder, format) = open(bytes)?;
        let (mut width, mut height) = decoder.dimensions();
        if decoder.orientation().is_ok_and(swaps_sides) {
            (width, height) = (height, width);
        }
        let channels = channels_of(decoder.color_type()).ok_or_else(|| damaged(format, "unknown colour type"))?;
        Ok((width as usize, height as usize, channels))
    })
}

fn swaps_sides(orientation: image::metadata::Orientation) -> bool {
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn channels_of(color: image::ColorType) -> Option<usize> {
    use image::ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgb32F, Rgba8, Rgba16, Rgba32F};
    match color {
        L8 | L16 => Some(1),
        Rgb8 | Rgb16 | Rgb32F => Some(3),
        La8 | La16 | Rgba8 | Rgba16 | Rgba32F => Some(4),
        _ => None,
    }
}

fn open(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, ImageFormat)> {
    if bytes.is_empty() {
        return Err(Error::data(format!("the image file is empty (0 bytes); expected {KNOWN}")));
    }
    let format = image::guess_format(bytes)
        .map_err(|_| Error::data(format!("not an image that is known: it begins with {}; expected {KNOWN}", first_bytes(bytes))))?;
    // The PNG decoder refuses a size of 0 without naming it.
    if let (ImageFormat::Png, Some(header)) = (format, bytes.get(16..24)) {
        let side = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| header[at + i]));
        check_size(side(0), side(4))?;
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_IMAGE_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(|error| explain(format, &error))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    if decoder.total_bytes() > MAX_IMAGE_BYTES {
        let found = format!("decoding {width}x{height} pixels takes {} bytes; at most {MAX_IMAGE_BYTES} are given", decoder.total_bytes());
        return Err(Error::data(found));
    }
    limits.max_image_width = Some(MAX_IMAGE_SIDE);
    limits.max_image_height = Some(MAX_IMAGE_SIDE);
    decoder.set_limits(limits).map_err(|error| explain(format, &error))?;
    Ok((decoder, format))
}

fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::data(format!("the image is {width}x{height} pixels; it needs at least 1x1")));
    }
    if width > MAX_IMAGE_SIDE || height > MAX_IMAGE_SIDE {
        return Err(Error::data(format!("the image is {width}x{height} pixels; at most {MAX_IMAGE_SIDE}x{MAX_IMAGE_SIDE} are read")));
    }
    Ok(())
}

fn decode_buffer(bytes: &[u8]) -> Result<(ImageBuffer, ImageFormat)> {
    let (mut decoder, format) = open(bytes)?;
    // The JPEG decoder fills up what is missing with gray.
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(damaged(format, "it is truncated: the end marker is missing"));
    }
    let orientation = decoder.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| explain(format, &error))?;
    if let Ok(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let channels = channels_of(picture.color()).ok_or_else(|| damaged(format, "unknown colour type"))?;
    let pixels = match channels {
        1 => picture.into_luma8().into_raw(),
        3 => picture.into_rgb8().into_raw(),
        _ => picture.into_rgba8().into_raw(),
    };
    Ok((ImageBuffer::new(width, height, channels, pixels).map_err(Error::data)?, format))
}

/// Whether the scan of a JPEG file is followed by an end marker.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Over the segments to the scan, so that the end marker of an embedded thumbnail does not count.
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xda {
            break;
        }
        at += if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    bytes.get(at..).is_some_and(|scan| scan.windows(2).any(|pair| pair == [0xff, 0xd9]))
}

fn name(format: ImageFormat) -> String {
    format!("{format:?}").to_uppercase()
}

fn damaged(format: ImageFormat, why: &str) -> Error {
    Error::data(format!("the {} image cannot be decoded: {why}", name(format)))
}

fn explain(format: ImageFormat, error: &ImageError) -> Error {
    let text = error.to_string();
    let lower = text.to_lowercase();
    let why = match error {
        ImageError::Limits(_) => format!("it needs more than {MAX_IMAGE_BYTES} bytes of memory or is beyond {MAX_IMAGE_SIDE} pixels a side"),
        _ if lower.contains("unexpected end") || lower.contains("failed to fill whole buffer") || lower.contains("eof") => {
            "it is truncated: the data end before the picture does".into()
        }
        _ => text,
    };
    damaged(format, &why)
}

/// Encodes as PNG: the same pixels give the same bytes, every time.
pub fn encode(image: &ImageBuffer) -> Result<Encoded> {
    let color = match image.channels() {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (width, height) = (side(image.width()), side(image.height()));
    check_size(width, height)?;
    let mut bytes = Vec::with_capacity(image.pixels().len() / 2 + 128);
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(image.pixels(), width, height, color)
        .map_err(|error| Error::data(format!("the image cannot be written as PNG: {error}")))?;
    Ok(Encoded { bytes, format: Format::Png, extension: "png".into() })
}
