//! Image bytes: never a panic, and what decodes is written as PNG and read back the same.
#![no_main]

use hardmine::codec::image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let size = image::size(bytes);
    let Ok(media) = image::decode(bytes) else { return };
    let picture = media.get();
    assert_eq!(size.ok(), Some((picture.width(), picture.height(), picture.channels())));
    let written = image::encode(picture).expect("what was decoded can be encoded");
    assert_eq!(image::decode(&written.bytes).expect("what was encoded can be decoded").get(), picture);
});
