//! A manifest line: never a panic, and what is read keeps its promises.
#![no_main]

use hardmine::read::{Line, WrittenLabel};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = Line::parse(bytes) else { return };
    assert!(line.image.is_some() || line.audio.is_some() || line.text.is_some());
    let text = line.text.unwrap_or_default();
    assert!(line.spans.iter().all(|span| text.get(span.start..span.end).is_some()));
    if let Some(WrittenLabel::Soft(shares)) = line.label {
        assert!((shares.iter().map(|(_, share)| f64::from(*share)).sum::<f64>() - 1.0).abs() <= 2e-3);
    }
});
