use super::level::db_to_factor;
use crate::{augment::wide::wide, sample::AudioBuffer};

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
    let width = ahead.min(frames) + 1;
    // By how much less than 1 the gain of each frame has to be; nothing after the sound.
    let mut needs = vec![0f32; frames + width - 1];
    if channels == 1 {
        missing(audio.samples(), threshold, &mut needs[..frames]);
    } else {
        let level = |frame: &[f32]| frame.iter().fold(0f32, |peak, s| peak.max(s.abs()));
        let levels: Vec<f32> = audio.samples().chunks_exact(channels).map(level).collect();
        missing(&levels, threshold, &mut needs[..frames]);
    }
    let mut gains = largest_ahead(&needs, width, frames);
    // Held, recovering, and averaged over the last `width` frames: each of their gains is at most what this frame needs. Before the sound the first one held.
    let first = gains.first().copied().unwrap_or(0.0);
    needs[..width].fill(first);
    needs.push(0.0);
    recover(&gains, release, f64::from(first), &mut needs[width..]);
    average(&needs, first, width, &mut gains);
    if channels == 1 {
        apply(audio.samples_mut(), &gains, threshold);
    } else {
        for (frame, gain) in audio.samples_mut().chunks_exact_mut(channels).zip(&gains) {
            frame.iter_mut().for_each(|s| *s = (*s * gain).clamp(-threshold, threshold));
        }
    }
}

wide! {
    fn missing(levels: &[f32], threshold: f32, out: &mut [f32]) {
        let levels = &levels[..out.len()];
        for i in 0..out.len() {
            let level = levels[i].abs();
            let part = 1.0 - threshold / level;
            out[i] = if level > threshold { part } else { 0.0 };
        }
    }
}

wide! {
    fn apply(samples: &mut [f32], gains: &[f32], threshold: f32) {
        let gains = &gains[..samples.len()];
        for i in 0..gains.len() {
            let value = samples[i] * gains[i];
            let value = if value > threshold { threshold } else { value };
            samples[i] = if value < -threshold { -threshold } else { value };
        }
    }
}

wide! {
    fn larger(a: &[f32], b: &[f32], out: &mut [f32]) {
        let (a, b) = (&a[..out.len()], &b[..out.len()]);
        for i in 0..out.len() {
            out[i] = if b[i] > a[i] { b[i] } else { a[i] };
        }
    }
}

/// Frames that a chain of dependent operations takes at once.
const STEP: usize = 4;

#[inline(always)]
fn greater(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

wide! {
    /// `out[i] = max(most[i], release out[i - 1])`, the first one after `before`. Four at once, so that a frame does not wait for the one before.
    fn recover(most: &[f32], release: f64, before: f64, out: &mut [f32]) {
        let squared = release * release;
        let powers = [release, squared, squared * release, squared * squared];
        let mut state = before;
        let (whole, rest) = most.as_chunks::<STEP>();
        let (outs, rest_out) = out[..most.len()].as_chunks_mut::<STEP>();
        let outs = &mut outs[..whole.len()];
        for at in 0..whole.len() {
            let most = &whole[at];
            // As if nothing had been before.
            let a = f64::from(most[0]);
            let b = greater(f64::from(most[1]), release * a);
            let c = greater(f64::from(most[2]), release * b);
            let d = greater(f64::from(most[3]), release * c);
            outs[at] = [
                greater(a, powers[0] * state) as f32,
                greater(b, powers[1] * state) as f32,
                greater(c, powers[2] * state) as f32,
                greater(d, powers[3] * state) as f32,
            ];
            state = greater(d, powers[3] * state);
        }
        let rest_out = &mut rest_out[..rest.len()];
        for at in 0..rest.len() {
            state = greater(f64::from(rest[at]), release * state);
            rest_out[at] = state as f32;
        }
    }
}

wide! {
    /// The gain of each frame: 1 less the mean of the `width` values of `held` that end `width` behind its place. `held` is `width` longer than `gains`;
    /// its first `width` are `first`.
    fn average(held: &[f32], first: f32, width: usize, gains: &mut [f32]) {
        let share = 1.0 / width as f64;
        let mut sum = f64::from(first) * width as f64;
        let (old, new) = (&held[..gains.len()], &held[width..][..gains.len()]);
        let (gains, rest) = gains.as_chunks_mut::<STEP>();
        let (old, old_rest) = old.as_chunks::<STEP>();
        let (new, new_rest) = new.as_chunks::<STEP>();
        let (old, new) = (&old[..gains.len()], &new[..gains.len()]);
        for at in 0..gains.len() {
            let mut moved = [0f64; STEP];
            for i in 0..STEP {
                moved[i] = f64::from(new[at][i]) - f64::from(old[at][i]);
            }
            let pair = moved[0] + moved[1];
            let moved = [moved[0], pair, pair + moved[2], pair + (moved[2] + moved[3])];
            for i in 0..STEP {
                gains[at][i] = (1.0 - (sum + moved[i]) * share) as f32;
            }
            sum += moved[STEP - 1];
        }
        let (old_rest, new_rest) = (&old_rest[..rest.len()], &new_rest[..rest.len()]);
        for at in 0..rest.len() {
            sum += f64::from(new_rest[at]) - f64::from(old_rest[at]);
            rest[at] = (1.0 - sum * share) as f32;
        }
    }
}

/// Windows that are searched at once: what they read stays in the nearest cache.
const WINDOWS: usize = 4096;

/// The largest of the `width` values from each of the first `count` places on: spans are doubled, each the larger of two spans half as long, and two of the
/// longest that fit cover a window. `values` holds `count + width - 1`.
fn largest_ahead(values: &[f32], width: usize, count: usize) -> Vec<f32> {
    let mut out = vec![0f32; count];
    let block = WINDOWS.max(width);
    let (mut from, mut to) = (vec![0f32; block + width], vec![0f32; block + width]);
    for (at, out) in out.chunks_mut(block).enumerate() {
        let mut len = out.len() + width - 1;
        from[..len].copy_from_slice(&values[at * block..][..len]);
        let mut span = 1;
        while 2 * span <= width {
            len -= span;
            larger(&from[..len], &from[span..], &mut to[..len]);
            std::mem::swap(&mut from, &mut to);
            span *= 2;
        }
        larger(&from, &from[width - span..], out);
    }
    out
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

    proptest! {
        /// The loops that take several frames at once, beside the definition.
        #[test]
        fn a_limit_is_as_defined(samples in prop::collection::vec(-1f32..1.0, 1..300), ahead in 0usize..80, release_ms in 0f64..20.0) {
            let (frames, threshold) = (samples.len(), db_to_factor(-12.0) as f32);
            prop_assume!(samples.iter().any(|s| s.abs() > threshold));
            let need = |i: usize| samples.get(i).map_or(0.0, |s| (1.0 - f64::from(threshold) / f64::from(s.abs())).max(0.0));
            let width = ahead.min(frames) + 1;
            let most: Vec<f64> = (0..frames).map(|i| (i..i + width).map(need).fold(0.0, f64::max)).collect();
            let release = if release_ms > 0.0 { keep(release_ms / 1000.0, 8000.0) } else { 0.0 };
            let (mut states, mut state) = (vec![most[0]; width], most[0]);
            for most in &most {
                state = most.max(release * state);
                states.push(state);
            }
            let mut audio = AudioBuffer::new(8000, 1, samples.clone()).unwrap();
            limit(&mut audio, -12.0, ahead as f64 / 8000.0, release_ms / 1000.0);
            for i in 0..frames {
                let gain = 1.0 - states[i + 1..=i + width].iter().sum::<f64>() / width as f64;
                let right = (f64::from(samples[i]) * gain).clamp(-f64::from(threshold), f64::from(threshold));
                prop_assert!((f64::from(audio.samples()[i]) - right).abs() < 1e-5, "{}: {} {}", i, audio.samples()[i], right);
            }
        }
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
