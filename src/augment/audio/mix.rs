use super::level::{peak, power};
use crate::{
    augment::wide::wide,
    error::{Error, Result},
    sample::AudioBuffer,
};
use std::borrow::Cow;

/// A signal with noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// Signal plus noise.
    pub audio: AudioBuffer,
    /// What the noise was multiplied with before the sum.
    pub noise_factor: f64,
    /// What signal and noise were multiplied with so that no sample lies beyond 1; 1 where none did.
    pub scale: f64,
    /// The ratio that was reached, measured on the mixed samples.
    pub snr_db: f64,
}

/// How a sum was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    /// What the added sound was multiplied with before the sum.
    pub noise_factor: f64,
    /// What all was multiplied with so that no sample lies beyond 1; 1 where none did.
    pub scale: f64,
    /// The ratio that was reached, measured on the mixed samples (over the frames that the ratio is about).
    pub snr_db: f64,
}

/// Adds noise at a signal-to-noise ratio in decibels over the whole sound and all channels: factor `sqrt(P_x / (P_n 10^(s/10)))`. If a
/// sample came to lie beyond 1, signal and noise are scaled together, which keeps the ratio. `None` where the signal or the noise is silent, and so no ratio
/// exists, or where `field` has another length than the sound.
pub fn mix_at_snr(audio: &AudioBuffer, field: &[f32], snr_db: f64) -> Option<Mixed> {
    let mut out = audio.clone();
    let Mixture { noise_factor, scale, snr_db } = mix_in_place(&mut out, field, snr_db)?;
    Some(Mixed { audio: out, noise_factor, scale, snr_db })
}

/// [`mix_at_snr`] on the sound itself, which stays as it is where there is no ratio.
pub fn mix_in_place(audio: &mut AudioBuffer, field: &[f32], snr_db: f64) -> Option<Mixture> {
    let signal = power(audio.samples());
    if field.len() != audio.samples().len() {
        return None;
    }
    add(audio, field, 0, signal, power(field), snr_db)
}

/// [`mix_in_place`] with a ratio over the active part: the power of the signal is [`active_power`], that of the noise its mean over the
/// whole sound. Pauses do not raise the noise.
pub fn mix_over_active(audio: &mut AudioBuffer, field: &[f32], snr_db: f64) -> Option<Mixture> {
    let signal = active_power(audio);
    if field.len() != audio.samples().len() {
        return None;
    }
    add(audio, field, 0, signal, power(field), snr_db)
}

/// Mean power over the active part: those 20 ms blocks whose power is at most 40 dB below the loudest one's. 0 for silence. (A plain
/// stand-in for the active speech level of ITU-T P.56.)
pub fn active_power(audio: &AudioBuffer) -> f64 {
    let block = (audio.sample_rate_hz() as usize / 50).max(1) * audio.channels();
    let powers: Vec<(f64, usize)> = audio.samples().chunks(block).map(|b| (power(b), b.len())).collect();
    let least = powers.iter().map(|p| p.0).fold(0f64, f64::max) * 1e-4;
    let (sum, count) = powers.iter().filter(|p| p.0 >= least).fold((0f64, 0usize), |(sum, n), p| (sum + p.0 * p.1 as f64, n + p.1));
    sum / count.max(1) as f64
}

/// Adds `field` from sample `start` on, so that `signal` and the field's power `loudness` have this ratio. The reached ratio takes `signal` as the
/// signal's power, and the power of what was really added.
fn add(audio: &mut AudioBuffer, field: &[f32], start: usize, signal: f64, loudness: f64, snr_db: f64) -> Option<Mixture> {
    if signal.is_nan() || signal <= 0.0 || loudness.is_nan() || loudness <= 0.0 || !snr_db.is_finite() {
        return None;
    }
    let noise_factor = (signal / (loudness * 10f64.powf(snr_db / 10.0))).sqrt();
    if !(noise_factor.is_finite() && noise_factor * f64::from(peak(field)) < f64::from(f32::MAX)) {
        return None;
    }
    let end = (start + field.len()).min(audio.samples().len());
    let part = audio.samples().get(start..end)?;
    let outside = peak(&audio.samples()[..start]).max(peak(&audio.samples()[end..]));
    let peak = peak_of_sum(part, field, noise_factor).max(f64::from(outside));
    let scale = if peak > 1.0 { 1.0 / peak } else { 1.0 };
    let samples = audio.samples_mut();
    if scale < 1.0 {
        let (before, rest) = samples.split_at_mut(start);
        let after = &mut rest[end - start..];
        before.iter_mut().chain(after).for_each(|s| *s = (f64::from(*s) * scale) as f32);
    }
    let added = add_scaled(&mut samples[start..end], field, scale, noise_factor * scale) / (end - start) as f64;
    let reached = 10.0 * (signal * scale * scale / added).log10();
    (added > 0.0).then_some(Mixture { noise_factor, scale, snr_db: reached })
}

/// Lanes of the sums below.
const LANES: usize = 8;

wide! {
    /// The largest absolute value of `part + factor * field`.
    fn peak_of_sum(part: &[f32], field: &[f32], factor: f64) -> f64 {
        let larger = |a: f64, b: f64| if b > a { b } else { a };
        let value = |s: f32, n: f32| (f64::from(s) + factor * f64::from(n)).abs();
        let ((parts, part), (fields, field)) = (part.as_chunks::<LANES>(), field[..part.len()].as_chunks::<LANES>());
        let mut largest = [0f64; LANES];
        let fields = &fields[..parts.len()];
        for t in 0..parts.len() {
            for i in 0..LANES {
                largest[i] = larger(largest[i], value(parts[t][i], fields[t][i]));
            }
        }
        let rest = part.iter().zip(field).fold(0f64, |peak, (s, n)| larger(peak, value(*s, *n)));
        largest.into_iter().fold(rest, larger)
    }
}

wide! {
    /// `part = scale * part + factor * field`; returns the sum of the squares of what was really added.
    fn add_scaled(part: &mut [f32], field: &[f32], scale: f64, factor: f64) -> f64 {
        let one = |s: &mut f32, n: f32| {
            let clean = f64::from(*s) * scale;
            *s = (clean + factor * f64::from(n)) as f32;
            let added = f64::from(*s) - clean;
            added * added
        };
        let (fields, field) = field[..part.len()].as_chunks::<LANES>();
        let (parts, part) = part.as_chunks_mut::<LANES>();
        let mut sums = [0f64; LANES];
        let fields = &fields[..parts.len()];
        for t in 0..parts.len() {
            for i in 0..LANES {
                sums[i] += one(&mut parts[t][i], fields[t][i]);
            }
        }
        sums.iter().sum::<f64>() + part.iter_mut().zip(field).map(|(s, n)| one(s, *n)).sum::<f64>()
    }
}

/// The signal-to-noise ratio of `mixed` in decibels, where `scale * clean` is its signal; `None` where the lengths differ, the signal is silent or nothing was
/// added.
pub fn snr_db(clean: &AudioBuffer, mixed: &AudioBuffer, scale: f64) -> Option<f64> {
    if clean.samples().len() != mixed.samples().len() {
        return None;
    }
    let (mut signal, mut added) = (0f64, 0f64);
    for (c, m) in clean.samples().iter().zip(mixed.samples()) {
        let c = f64::from(*c) * scale;
        signal += c * c;
        added += (f64::from(*m) - c).powi(2);
    }
    (signal > 0.0 && added > 0.0).then(|| 10.0 * (signal / added).log10())
}

/// `frames` frames of a clip from frame `offset` on (taken modulo its length), begun again where it ends, in `channels` channels: one channel
/// goes to all, and otherwise the mean of the clip's channels where their numbers differ. Borrowed where nothing has to change.
pub fn looped(clip: &AudioBuffer, channels: usize, frames: usize, offset: usize) -> Cow<'_, [f32]> {
    let length = clip.frames();
    let offset = offset % length;
    let same = clip.channels() == channels;
    if same && offset + frames <= length {
        return Cow::Borrowed(&clip.samples()[offset * channels..(offset + frames) * channels]);
    }
    let mono = if same { Cow::Borrowed(clip.samples()) } else { Cow::Owned(clip.mono()) };
    let width = if same { channels } else { 1 };
    let mut out = Vec::with_capacity(frames * channels);
    let mut at = offset;
    while out.len() < frames * channels {
        let take = (length - at).min(frames - out.len() / channels.max(1));
        let part = &mono[at * width..(at + take) * width];
        if same {
            out.extend_from_slice(part);
        } else {
            part.iter().for_each(|s| out.extend(std::iter::repeat_n(*s, channels)));
        }
        at = 0;
    }
    Cow::Owned(out)
}

fn same_rate(audio: &AudioBuffer, clip: &AudioBuffer) -> Result<()> {
    if audio.sample_rate_hz() == clip.sample_rate_hz() {
        return Ok(());
    }
    Err(Error::data(format!(
        "a sound of {} Hz is mixed with one of {} Hz: resample it first",
        audio.sample_rate_hz(),
        clip.sample_rate_hz()
    )))
}

/// Adds a clip as background at a ratio over the whole sound ([`mix_in_place`]); the clip is read from frame `offset` on and begun again where it ends ([`looped`]).
/// `Ok(None)`, and nothing changes, where sound or clip is silent. Errors where the rates differ.
pub fn background(audio: &mut AudioBuffer, clip: &AudioBuffer, offset: usize, snr_db: f64) -> Result<Option<Mixture>> {
    same_rate(audio, clip)?;
    let field = looped(clip, audio.channels(), audio.frames(), offset);
    Ok(mix_in_place(audio, &field, snr_db))
}

/// Adds babble at a ratio over the whole sound: the clips, each from its own offset on and begun again where it ends, brought to equal power and
/// summed. Silent clips take no part; `Ok(None)` where none is left or the sound is silent. Errors where the rates differ.
pub fn babble(audio: &mut AudioBuffer, clips: &[(&AudioBuffer, usize)], snr_db: f64) -> Result<Option<Mixture>> {
    let mut field = vec![0f32; audio.samples().len()];
    for (clip, offset) in clips {
        same_rate(audio, clip)?;
        let voice = looped(clip, audio.channels(), audio.frames(), *offset);
        let loudness = power(&voice);
        if loudness > 0.0 {
            let factor = (1.0 / loudness.sqrt()) as f32;
            field.iter_mut().zip(voice.iter()).for_each(|(f, v)| *f += v * factor);
        }
    }
    Ok(mix_in_place(audio, &field, snr_db))
}

/// Adds another speaker over `share` (`0..=1`, clamped; at least one frame) of the sound, at its end (the other one interrupts) or at its start, at a
/// signal-to-interference ratio in decibels **over the frames that overlap**. The clip is read from its start and begun again where it ends. `Ok(None)`, and
/// nothing changes, where one of the two is silent there. Errors where the rates differ. The second value is the overlap in frames, for the time of the event.
pub fn overlap(
    audio: &mut AudioBuffer,
    other: &AudioBuffer,
    share: f64,
    at_end: bool,
    sir_db: f64,
) -> Result<Option<(Mixture, std::ops::Range<usize>)>> {
    same_rate(audio, other)?;
    let (channels, frames) = (audio.channels(), audio.frames());
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let count = ((share * frames as f64).round() as usize).clamp(1, frames);
    let range = if at_end { frames - count..frames } else { 0..count };
    let field = looped(other, channels, count, 0);
    let signal = power(&audio.samples()[range.start * channels..range.end * channels]);
    Ok(add(audio, &field, range.start * channels, signal, power(&field), sir_db).map(|mixture| (mixture, range)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::audio::{Colour, gaussian, noise};
    use proptest::prelude::*;

    fn tone(frames: usize, channels: usize, level: f32) -> AudioBuffer {
        let samples = (0..frames * channels).map(|i| level * ((i / channels) as f32 * 0.37).sin()).collect();
        AudioBuffer::new(8000, channels, samples).unwrap()
    }

    #[test]
    fn silence_has_no_ratio() {
        let silent = AudioBuffer::new(8000, 1, vec![0.0; 8]).unwrap();
        assert_eq!(mix_at_snr(&silent, &[0.5; 8], 10.0), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.0; 8], 10.0), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.1; 7], 10.0), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.1; 8], f64::NAN), None);
        assert_eq!(mix_at_snr(&tone(8, 1, 0.5), &[0.1; 8], -1e9), None);
        let other = AudioBuffer::new(16_000, 1, vec![0.1; 8]).unwrap();
        assert!(background(&mut tone(8, 1, 0.5), &other, 0, 10.0).is_err());
    }

    #[test]
    fn clips_are_looped_from_their_offset() {
        let clip = AudioBuffer::new(8000, 1, vec![0.1, 0.2, 0.3]).unwrap();
        assert_eq!(*looped(&clip, 1, 7, 4), [0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2]);
        assert!(matches!(looped(&clip, 1, 2, 1), Cow::Borrowed([0.2, 0.3])));
        assert_eq!(*looped(&clip, 2, 2, 2), [0.3, 0.3, 0.1, 0.1]);
        let stereo = AudioBuffer::new(8000, 2, vec![0.1, 0.3, 0.2, 0.4]).unwrap();
        assert!(looped(&stereo, 1, 2, 0).iter().zip([0.2, 0.3]).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(*looped(&stereo, 2, 3, 1), [0.2, 0.4, 0.1, 0.3, 0.2, 0.4]);
    }

    #[test]
    fn an_overlap_stays_where_it_is() {
        let clean = tone(1000, 1, 0.3);
        let other = AudioBuffer::new(8000, 1, gaussian(130, 4).iter().map(|v| v * 0.1).collect()).unwrap();
        let mut mixed = clean.clone();
        let (report, range) = overlap(&mut mixed, &other, 0.25, true, 5.0).unwrap().unwrap();
        assert_eq!(range, 750..1000);
        assert_eq!(mixed.samples()[..750], clean.samples()[..750]);
        let part = |audio: &AudioBuffer| AudioBuffer::new(8000, 1, audio.samples()[750..].to_vec()).unwrap();
        assert!((snr_db(&part(&clean), &part(&mixed), report.scale).unwrap() - 5.0).abs() < 0.01);
        // A tone begins with a sample of 0: no signal, no ratio.
        assert_eq!(overlap(&mut tone(100, 1, 1.0), &other, 0.0, false, -20.0).unwrap(), None);
        // A loud interruption scales the whole sound, also where nothing was added.
        let (mut loud, clean) = (tone(1000, 1, 1.0), tone(1000, 1, 1.0));
        let (report, _) = overlap(&mut loud, &other, 0.5, true, -20.0).unwrap().unwrap();
        assert!(report.scale < 0.5 && (report.snr_db + 20.0).abs() < 0.01);
        assert!((0..500).all(|i| (f64::from(loud.samples()[i]) - report.scale * f64::from(clean.samples()[i])).abs() < 1e-6));
    }

    #[test]
    fn pauses_do_not_count_as_active() {
        let mut samples = tone(8000, 1, 0.5).samples().to_vec();
        samples.extend(vec![0.0; 8000]);
        let audio = AudioBuffer::new(8000, 1, samples).unwrap();
        assert!((active_power(&audio) - 2.0 * power(audio.samples())).abs() < 1e-9);
        let field = gaussian(16_000, 1);
        let (mut whole, mut active) = (audio.clone(), audio.clone());
        let a = mix_in_place(&mut whole, &field, 10.0).unwrap();
        let b = mix_over_active(&mut active, &field, 10.0).unwrap();
        assert!((20.0 * (b.noise_factor / a.noise_factor).log10() - 3.0103).abs() < 1e-6);
        assert_eq!(active_power(&AudioBuffer::new(10, 1, vec![0.0; 3]).unwrap()), 0.0);
    }

    proptest! {
        #[test]
        fn the_ratio_is_exact_after_mixing(snr in -15.0f64..45.0, seed: u64, channels in 1usize..3, level in 0.01f32..1.0, colour in prop::sample::select(vec![Colour::White, Colour::Pink, Colour::Brown, Colour::Blue, Colour::Violet])) {
            let clean = tone(3000, channels, level);
            let mixed = mix_at_snr(&clean, &noise(colour, 8000, channels, 3000, seed), snr).unwrap();
            let again = snr_db(&clean, &mixed.audio, mixed.scale).unwrap();
            prop_assert!((again - snr).abs() < 0.01, "{again} {snr}");
            prop_assert!((mixed.snr_db - again).abs() < 1e-9);
            prop_assert!(mixed.audio.samples().iter().all(|s| s.abs() <= 1.0));
        }

        #[test]
        fn babble_and_background_are_exact_too(snr in -10.0f64..40.0, seed: u64, channels in 1usize..3, offset: usize) {
            let clean = tone(2000, channels, 0.8);
            let clips: Vec<AudioBuffer> = (0..3).map(|i| AudioBuffer::new(8000, 1, gaussian(700 + i, seed ^ i as u64).iter().map(|v| v * 0.1f32.powi(i as i32)).collect()).unwrap()).collect();
            let mut one = clean.clone();
            let report = background(&mut one, &clips[1], offset, snr).unwrap().unwrap();
            prop_assert!((snr_db(&clean, &one, report.scale).unwrap() - snr).abs() < 0.01);
            let mut many = clean.clone();
            let report = babble(&mut many, &[(&clips[0], 0), (&clips[1], offset), (&clips[2], 5)], snr).unwrap().unwrap();
            prop_assert!((snr_db(&clean, &many, report.scale).unwrap() - snr).abs() < 0.01);
        }
    }
}
