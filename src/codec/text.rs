//! Text: UTF-8 without a byte order mark.

use super::limits::MAX_TEXT_BYTES;
use crate::{
    error::{Error, Result},
    sample::{Encoded, Format, Media, Text},
};

/// The medium of a text: its encoded form is its UTF-8 bytes.
pub fn media(text: Text) -> Media<Text> {
    let bytes = text.content.clone().into_bytes();
    Media::from_file(Encoded { bytes, format: Format::Utf8, extension: "txt".into() }, text)
}

/// Reads a text file. A byte order mark and line ends at the very end are not part of the text.
pub fn decode(bytes: &[u8]) -> Result<Media<Text>> {
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(Error::data(format!("a text of {} bytes; at most {MAX_TEXT_BYTES} are read", bytes.len())));
    }
    let content = std::str::from_utf8(bytes)
        .map_err(|error| Error::data(format!("not UTF-8 text: byte {} does not continue a character", error.valid_up_to())))?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(content).trim_end_matches(['\r', '\n']);
    let encoded = Encoded { bytes: bytes.to_vec(), format: Format::Utf8, extension: "txt".into() };
    Ok(Media::from_file(encoded, Text::new(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_files_lose_their_frame() {
        assert_eq!(decode("\u{feff}zwei\r\n".as_bytes()).unwrap().get().content, "zwei");
        assert_eq!(decode(b"ab\xff").unwrap_err().message(), "not UTF-8 text: byte 2 does not continue a character");
    }
}
