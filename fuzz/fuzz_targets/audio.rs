//! Audio bytes: never a panic, and what decodes lies in -1..=1 and can be written as WAV.
#![no_main]

use hardmine::codec::audio;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(media) = audio::decode(bytes) else { return };
    let sound = media.get();
    assert!(sound.samples().iter().all(|sample| (-1.0..=1.0).contains(sample)));
    let written = audio::encode(sound).expect("what was decoded can be encoded");
    assert_eq!(audio::decode(&written.bytes).expect("what was encoded can be decoded").get().frames(), sound.frames());
});
