//! Waveforms: pure functions on [`AudioBuffer`](crate::sample::AudioBuffer). Times are frames, levels are decibels; no function leaves a value
//! that is not finite.

mod level;
mod noise;
mod time;

pub use level::{db_to_factor, gain, headroom_db, power, swap_channels};
pub use noise::{Colour, Mixed, mix_at_snr, noise, snr_db};
pub use time::{crop, gap, shift, stretch};
