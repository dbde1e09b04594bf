use super::level::db_to_factor;
use crate::sample::AudioBuffer;

/// What a [`compress`] does above its threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compression {
    /// Level in dB of full scale from which on it works, `-120..=0`.
    pub threshold_db: f64,
    /// So many dB above the threshold become one, `1..=1000`.
    pub ratio: f64,
    /// Width in dB of the bend around the threshold, `0..=48`.
    pub knee_db: f64,
    /// Time constant in seconds with which the gain falls, `0..=10`.
    pub attack_s: f64,
    /// Time constant in seconds with which it recovers, `0..=10`.
    pub release_s: f64,
    /// Gain in dB after it, `-60..=60`.
    pub makeup_db: f64,
}

impl Compression {
    fn bounded(self) -> Self {
        let keep = |v: f64, low: f64, high: f64| if v.is_nan() { low } else { v.clamp(low, high) };
        Self {
            threshold_db: keep(self.threshold_db, -120.0, 0.0),
            ratio: keep(self.ratio, 1.0, 1000.0),
            knee_db: keep(self.knee_db, 0.0, 48.0),
            attack_s: keep(self.attack_s, 0.0, 10.0),
            release_s: keep(self.release_s, 0.0, 10.0),
            makeup_db: if self.makeup_db.is_nan() { 0.0 } else { self.makeup_db.clamp(-60.0, 60.0) },
        }
    }

    /// By how many dB a steady level is turned down: `(1 - 1 / ratio) * over` beyond the knee, a parabola inside it.
    pub fn reduction_db(&self, level_db: f64) -> f64 {
        let Self { threshold_db, ratio, knee_db, .. } = self.bounded();
        let (over, slope) = (level_db - threshold_db, 1.0 - 1.0 / ratio);
        if 2.0 * over <= -knee_db {
            0.0
        } else if 2.0 * over < knee_db {
            slope * (over + knee_db / 2.0).powi(2) / (2.0 * knee_db)
        } else {
            slope * over
        }
    }
}

/// The factor by which a state keeps its value over one frame.
fn keep(seconds: f64, rate: f64) -> f64 {
    if seconds > 0.0 { (-1.0 / (seconds * rate)).exp() } else { 0.0 }
}

/// A feed-forward compressor in the log domain with a smooth branching peak detector (Giannoulis, Massberg and Reiss, "Digital dynamic range compressor
/// design", JAES 60 (6), 2012, eq. 4
/// and 17). The loudest channel of a frame decides for all. In place, cut at `-1..=1`.
pub fn compress(audio: &mut AudioBuffer, compression: &Compression) {
    let bounded = compression.bounded();
    let (channels, rate) = (audio.channels(), f64::from(audio.sample_rate_hz()));
    let (attack, release) = (keep(bounded.attack_s, rate), keep(bounded.release_s, rate));
    let start = db_to_factor(bounded.threshold_db - bounded.knee_db / 2.0) as f32;
    let makeup = db_to_factor(bounded.makeup_db);
    let mut state = 0f64;
    for frame in audio.samples_mut().chunks_exact_mut(channels) {
        let level = frame.iter().fold(0f32, |peak, s| peak.max(s.abs()));
        // Most frames of most sounds are below the bend and need no logarithm.
        let wanted = if level > start { bounded.reduction_db(20.0 * f64::from(level).log10()) } else { 0.0 };
        let by = if wanted > state { attack } else { release };
        state = by * state + (1.0 - by) * wanted;
        let factor = if state > 1e-6 { makeup * db_to_factor(-state) } else { makeup } as f32;
        frame.iter_mut().for_each(|s| *s = (*s * factor).clamp(-1.0, 1.0));
    }
}

/// Holds the sound at or below `threshold_db` dB of full scale (`-120..=0`, clamped) without cutting waves: the gain that each frame needs is held for
/// `attack_s` seconds before it
/// (`0..=1`), recovers with time constant `release_s` (`0..=10`), and is averaged over the attack, so that it has arrived when the peak comes. No delay; the
/// loudest channel of a frame decides for
/// all. In place.
pub fn limit(audio: &mut AudioBuffer, threshold_db: f64, attack_s: f64, release_s: f64) {
    let (channels, frames, rate) = (audio.channels(), audio.frames(), f64::from(audio.sample_rate_hz()));
    let threshold = if threshold_db.is_nan() { 1.0 } else { db_to_factor(threshold_db.clamp(-120.0, 0.0)) } as f32;
    let ahead = if attack_s > 0.0 { (attack_s.min(1.0) * rate).round() as usize } else { 0 };
    let release = if release_s > 0.0 { keep(release_s.min(10.0), rate) } else { 0.0 };
    if super::peak(audio.samples()) <= threshold {
        return;
    }
    // By how much less than 1 the gain of each frame has to be.
    let missing = |level: f32| if level > threshold { 1.0 - threshold / level } else { 0.0 };
    let width = ahead.min(frames) + 1;
    let mut needs = vec![0f32; (frames + width).next_multiple_of(width)];
    if channels == 1 {
        needs.iter_mut().zip(audio.samples()).for_each(|(n, s)| *n = missing(s.abs()));
    } else {
        let level = |frame: &[f32]| frame.iter().fold(0f32, |peak, s| peak.max(s.abs()));
        needs.iter_mut().zip(audio.samples().chunks_exact(channels)).for_each(|(n, frame)| *n = missing(level(frame)));
    }
    let most = largest_ahead(needs, width, frames);
    // Held, recovering, and averaged over the last `width` frames: each of their gains is at most what this frame needs. Before the sound the first one held.
    let first = f64::from(most.first().copied().unwrap_or(0.0));
    let (mut state, mut sum, share) = (0f64, first * width as f64, 1.0 / width as f64);
    let mut held = vec![first; width];
    let mut place = 0;
    for (frame, need) in audio.samples_mut().chunks_exact_mut(channels).zip(&most) {
        state = f64::from(*need).max(release * state);
        sum += state - held[place];
        held[place] = state;
        place = if place + 1 == width { 0 } else { place + 1 };
        let factor = (1.0 - sum * share) as f32;
        frame.iter_mut().for_each(|s| *s = (*s * factor).clamp(-threshold, threshold));
    }
}

/// The largest of the `width` values from each of the first `count` places on: blocks of `width` are searched from either end, and a window is the end of one
/// and the beginning of the next
/// (van Herk 1992). `values` is a multiple of `width` long and reaches `width` beyond `count`.
fn largest_ahead(values: Vec<f32>, width: usize, count: usize) -> Vec<f32> {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (mut from_end, mut from_start) = (values.clone(), values);
    for (back, front) in from_end.chunks_exact_mut(width).zip(from_start.chunks_exact_mut(width)) {
        let mut most = 0f32;
        for value in front {
            most = larger(most, *value);
            *value = most;
        }
        most = 0.0;
        for value in back.iter_mut().rev() {
            most = larger(most, *value);
            *value = most;
        }
    }
    from_end.truncate(count);
    from_end.iter_mut().zip(&from_start[width - 1..]).for_each(|(a, b)| *a = larger(*a, *b));
    from_end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HARD: Compression =
        Compression { threshold_db: -20.0, ratio: 4.0, knee_db: 0.0, attack_s: 0.002, release_s: 0.05, makeup_db: 0.0 };

    #[test]
    fn the_curve_is_that_of_the_paper() {
        for (level, right) in [(-30.0, 0.0), (-20.0, 0.0), (-12.0, 6.0), (0.0, 15.0)] {
            assert!((HARD.reduction_db(level) - right).abs() < 1e-12);
        }
        let soft = Compression { knee_db: 10.0, ..HARD };
        assert_eq!((soft.reduction_db(-25.0), soft.reduction_db(-15.0)), (0.0, 3.75));
        assert!((soft.reduction_db(-20.0) - 0.75 * 25.0 / 20.0).abs() < 1e-12);
    }

    #[test]
    fn a_steady_level_settles_on_the_curve() {
        // A square wave has one level all the time.
        let mut audio = AudioBuffer::new(8000, 1, (0..8000).map(|i| if i / 20 % 2 == 0 { 0.5 } else { -0.5 }).collect()).unwrap();
        let level = 20.0 * 0.5f64.log10();
        compress(&mut audio, &HARD);
        let settled = 20.0 * f64::from(audio.samples()[7999].abs()).log10();
        assert!((settled - (level - HARD.reduction_db(level))).abs() < 1e-3, "{settled}");
        // After one attack constant 1 - 1/e of the reduction is there.
        let part = level - 20.0 * f64::from(audio.samples()[15].abs()).log10();
        assert!((part / HARD.reduction_db(level) - (1.0 - (-1f64).exp())).abs() < 0.03, "{part}");
    }

    #[test]
    fn a_limit_leaves_quiet_sounds_alone() {
        let quiet = AudioBuffer::new(8000, 1, vec![0.1, -0.2, 0.05]).unwrap();
        let mut same = quiet.clone();
        limit(&mut same, -6.0, 0.005, 0.05);
        assert_eq!(same, quiet);
        let mut loud = AudioBuffer::new(8000, 1, (0..4000).map(|i| if i == 2000 { 1.0 } else { 0.2 }).collect()).unwrap();
        limit(&mut loud, -6.0206, 0.005, 0.02);
        assert!((loud.samples()[2000] - 0.5).abs() < 1e-4 && (loud.samples()[1900] - 0.2).abs() < 1e-6);
        assert!((loud.samples()[2000 - 20] - 0.15).abs() < 0.005 && loud.samples()[3900] > 0.199);
    }

    proptest! {
        #[test]
        fn nothing_is_above_the_threshold(samples in prop::collection::vec(-1f32..1.0, 1..200), channels in 1usize..3, threshold in -60.0f64..0.0, attack in 0.0f64..0.02, release in 0.0f64..0.1) {
            let samples: Vec<f32> = samples.iter().flat_map(|s| vec![*s; channels]).collect();
            let mut audio = AudioBuffer::new(8000, channels, samples.clone()).unwrap();
            limit(&mut audio, threshold, attack, release);
            let most = db_to_factor(threshold) as f32;
            prop_assert!(audio.samples().iter().all(|s| s.abs() <= most * 1.0001));
            // Not by cutting: every frame is turned down by the least factor of its neighbourhood at most.
            let deepest = samples.iter().fold(0f32, |p, s| p.max(s.abs())).max(most);
            prop_assert!(audio.samples().iter().zip(&samples).all(|(a, b)| a.abs() >= b.abs() * (most / deepest) * 0.999));
        }

        #[test]
        fn any_number_is_taken(samples in prop::collection::vec(-1f32..1.0, 1..40), a: f64, b: f64, c: f64) {
            let mut audio = AudioBuffer::new(8000, 1, samples).unwrap();
            limit(&mut audio, a, b, c);
            compress(&mut audio, &Compression { threshold_db: a, ratio: b, knee_db: c, attack_s: a, release_s: b, makeup_db: c });
            prop_assert!(audio.samples().iter().all(|s| s.abs() <= 1.0));
        }
    }
}
