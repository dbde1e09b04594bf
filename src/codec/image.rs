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
        ImageError::Limits(_) => {
            format!("it needs more than {MAX_IMAGE_BYTES} bytes of memory or is beyond {MAX_IMAGE_SIDE} pixels a side")
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, ImageBuffer as Buffer, Luma, Rgb, RgbImage};
    use proptest::prelude::*;

    fn write(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn speckled(width: usize, height: usize, channels: usize) -> ImageBuffer {
        let pixels = (0..width * height * channels).map(|i| (i * 37 % 251) as u8).collect();
        ImageBuffer::new(width, height, channels, pixels).unwrap()
    }

    fn message(bytes: &[u8]) -> String {
        let error = decode(bytes).unwrap_err();
        assert!(size(bytes).is_err() || error.message().contains("truncated") || error.message().contains("cannot"));
        error.message().to_owned()
    }

    /// A PNG that says it has this size and holds nothing.
    fn png_of_size(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = encode(&speckled(3, 2, 1)).unwrap().bytes;
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
        })
    }

    #[test]
    fn png_gives_back_every_pixel_and_the_same_bytes() {
        for channels in [1, 3, 4] {
            let image = speckled(29, 31, channels);
            let written = encode(&image).unwrap();
            assert_eq!(written.bytes, encode(&image).unwrap().bytes);
            let read = decode(&written.bytes).unwrap();
            assert_eq!(*read.get(), image);
            assert_eq!((read.encoded().unwrap().format, read.encoded().unwrap().extension.as_str()), (Format::Png, "png"));
            assert_eq!(size(&written.bytes).unwrap(), (29, 31, channels));
        }
    }

    #[test]
    fn colours_become_one_three_or_four_channels_of_eight_bits() {
        let deep: Buffer<Luma<u16>, Vec<u16>> = Buffer::from_vec(3, 1, vec![0, 257 * 9, 65_535]).unwrap();
        let read = decode(&write(deep, ImageFormat::Png)).unwrap();
        assert_eq!((read.get().channels(), read.get().pixels()), (1, [0, 9, 255].as_slice()));
        let alpha = GrayAlphaImage::from_vec(1, 1, vec![7, 200]).unwrap();
        let read = decode(&write(alpha, ImageFormat::Png)).unwrap();
        assert_eq!((read.get().channels(), read.get().pixels()), (4, [7, 7, 7, 200].as_slice()));
        let deep: Buffer<Rgb<u16>, Vec<u16>> = Buffer::from_vec(1, 1, vec![257, 514, 771]).unwrap();
        assert_eq!(decode(&write(deep, ImageFormat::Tiff)).unwrap().get().pixels(), [1, 2, 3]);
        for format in [ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Pnm] {
            let read = decode(&write(RgbImage::from_pixel(2, 1, Rgb([255, 0, 0])), format)).unwrap();
            assert_eq!(read.get().pixel(1, 0)[..3], [255, 0, 0], "{format:?}");
            assert_eq!(read.encoded().unwrap().format, Format::OtherImage);
        }
    }

    #[test]
    fn an_exif_orientation_is_applied() {
        let plain = write(RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 255 } else { 0 }; 3])), ImageFormat::Jpeg);
        // APP1 with one TIFF entry: orientation 6, turn right.
        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = plain[..2].to_vec();
        turned.extend([0xff, 0xe1, 0, exif.len() as u8 + 2]);
        turned.extend(exif);
        turned.extend(&plain[2..]);
        let read = decode(&turned).unwrap();
        assert_eq!((read.get().width(), read.get().height()), (8, 16));
        assert_eq!(size(&turned).unwrap(), (8, 16, 3));
        assert!(read.get().pixel(4, 2)[0] > 240 && read.get().pixel(4, 13)[0] < 15);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(message(&[]), "the image file is empty (0 bytes); expected PNG, JPEG, GIF, WebP, BMP, TIFF or PNM");
        assert_eq!(
            message(b"RIFF1234WAVEfmt "),
            "not an image that is known: it begins with 52 49 46 46 31 32 33 34; expected PNG, JPEG, GIF, WebP, BMP, TIFF or PNM"
        );
        assert_eq!(message(&png_of_size(0, 0)), "the image is 0x0 pixels; it needs at least 1x1");
        assert_eq!(message(&png_of_size(100_000, 100_000)), "the image is 100000x100000 pixels; at most 16384x16384 are read");
        // Inside the limits on the sides, beyond the one on memory.
        let mut wide = png_of_size(16_384, 16_384);
        wide[24..26].copy_from_slice(&[16, 6]);
        let sum = crc32(&wide[12..29]);
        wide[29..33].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(message(&wide), "decoding 16384x16384 pixels takes 2147483648 bytes; at most 536870912 are given");
    }

    #[test]
    fn truncated_files_are_refused_at_every_length() {
        let image = speckled(40, 40, 3);
        let png = encode(&image).unwrap().bytes;
        let jpeg = write(RgbImage::from_vec(40, 40, image.pixels().to_vec()).unwrap(), ImageFormat::Jpeg);
        let told = "the PNG image cannot be decoded: it is truncated: the data end before the picture does";
        assert_eq!(message(&png[..png.len() / 2]), told);
        // The last chunk (12 bytes) holds nothing of the picture.
        for length in 40..png.len() - 16 {
            assert!(decode(&png[..length]).is_err(), "{length} of {}", png.len());
        }
        for length in 2..jpeg.len() - 1 {
            assert!(decode(&jpeg[..length]).is_err(), "{length} of {}", jpeg.len());
        }
        assert_eq!(
            decode(&jpeg[..jpeg.len() - 2]).unwrap_err().message(),
            "the JPEG image cannot be decoded: it is truncated: the end marker is missing"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn changed_bytes_never_panic(
            format in prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = write(RgbImage::from_fn(9, 7, |x, y| Rgb([(x * y * 5) as u8, x as u8, y as u8])), format);
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(cut.index(bytes.len() * 2) + 1);
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(read.get().pixels().len(), read.get().width() * read.get().height() * read.get().channels());
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = size(&bytes);
        }
    }
}
