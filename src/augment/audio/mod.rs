//! Waveforms: pure functions on [`AudioBuffer`](crate::sample::AudioBuffer). Times are frames or seconds, levels are decibels; no function leaves a value
//! that is not finite, and every finite parameter is taken: what lies outside its stated range is brought there.
//!
//! A function that keeps the length works in place (`&mut`); the few older ones that return a copy have a twin that does not. One that changes the length
//! returns the new sound, and with it a
//! [`Timeline`](crate::augment::timeline::Timeline) (or its [`Pieces`](crate::augment::timeline::Pieces)) by which words and events follow. [`resample`] keeps
//! all times.
//! Linear functions may overshoot full scale; [`fit`] brings such a sound back.

mod dynamics;
mod fft;
mod filters;
mod formants;
mod level;
mod mix;
mod noise;
mod resample;
mod room;
mod space;
mod stretch;
mod time;
mod transmission;

pub use dynamics::{Compression, compress, limit};
pub use filters::{
    Biquad, SEVEN_BANDS_HZ, air_absorption, air_db_per_metre, band_pass, band_stop, filter, high_pass, high_pass_sections, high_shelf,
    limited_hz, low_pass, low_pass_sections, low_shelf, peaking, seven_band_sections, seven_bands,
};
pub use formants::formant_shift;
pub use level::{
    FadeShape, Measure, clip, clip_db, clip_share, db_to_factor, fade, fit, gain, gain_in_place, gain_transition, headroom_db, invert,
    inverted, normalize, peak, power, soft_clip, swap_channels, swap_channels_in_place, to_mono,
};
pub use mix::{Mixed, Mixture, active_power, babble, background, looped, mix_at_snr, mix_in_place, mix_over_active, overlap, snr_db};
pub use noise::{Colour, add_gaussian, clicks, gaussian, hum, noise};
pub use resample::{resample, speed};
pub use room::{MOST_REFLECTIONS, Room, SPEED_OF_SOUND, room_response, room_with_tail};
pub use space::{Reverb, noise_tail, reverberate};
pub use stretch::{pitch_shift, time_stretch};
pub use time::{
    Retimed, active_range, crop, fix_length, frequency_mask, gap, gap_in_place, pad, repeat_part, reverse, shift, shift_in_place, stretch,
    trim,
};
pub use transmission::{
    Coding, Concealment, a_law_decode, a_law_encode, alias, bandwidth, bit_depth, code, lose_packets, lossy, lost_packets, mu_law_decode,
    mu_law_encode, telephone,
};
