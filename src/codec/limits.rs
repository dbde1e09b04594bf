//! The largest media that are read. A file beyond a limit is refused before memory is taken for it.

/// Most pixels of an image in either direction.
pub const MAX_IMAGE_SIDE: u32 = 16_384;
/// Most bytes that decoding an image may take.
pub const MAX_IMAGE_BYTES: u64 = 512 * 1024 * 1024;
/// Longest audio in seconds.
pub const MAX_AUDIO_SECONDS: u64 = 30 * 60;
/// Most sample values of a decoded audio file, over all channels (1 GiB of 32-bit numbers).
pub const MAX_AUDIO_VALUES: usize = 1 << 28;
/// Lowest sample rate in Hz.
pub const MIN_SAMPLE_RATE_HZ: u32 = 1_000;
/// Highest sample rate in Hz.
pub const MAX_SAMPLE_RATE_HZ: u32 = 384_000;
/// Most channels of an audio file.
pub const MAX_AUDIO_CHANNELS: usize = 32;
/// Largest absolute value of a floating-point sample; up to here it is overshoot and clipped to `-1..=1`, beyond it the file is
/// scaled to something else.
pub const MAX_FLOAT_SAMPLE: f32 = 16.0;
/// Most bytes of a file that holds one medium.
pub const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Most bytes of a text.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
