use crate::sample::AudioBuffer;

/// The amplitude factor of a gain in decibels.
pub fn db_to_factor(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// Mean square of all samples, summed in order in `f64`.
pub fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

/// The gain in decibels that brings the largest absolute sample to 1; infinite for silence, negative where samples lie beyond 1.
pub fn headroom_db(audio: &AudioBuffer) -> f64 {
    let peak = audio.samples().iter().fold(0f32, |peak, s| peak.max(s.abs()));
    -20.0 * f64::from(peak).log10()
}

/// Multiplies by `gain_db` decibels (`-240..=240`, clamped), cut at `-1..=1` like a converter.
pub fn gain(audio: &AudioBuffer, gain_db: f64) -> AudioBuffer {
    let factor = db_to_factor(gain_db.clamp(-240.0, 240.0)) as f32;
    let mut out = audio.clone();
    out.samples_mut().iter_mut().for_each(|s| *s = (*s * factor).clamp(-1.0, 1.0));
    out
}

/// Swaps the channels in pairs: left and right, and with more than two the pairs of the usual orders (front, back, side); a centre and
/// a bass channel keep their place. Mono stays as it is.
pub fn swap_channels(audio: &AudioBuffer) -> AudioBuffer {
    let pairs: &[(usize, usize)] = match audio.channels() {
        0 | 1 => &[],
        2 | 3 => &[(0, 1)],
        4 => &[(0, 1), (2, 3)],
        5 => &[(0, 1), (3, 4)],
        6 | 7 => &[(0, 1), (4, 5)],
        _ => &[(0, 1), (4, 5), (6, 7)],
    };
    let mut out = audio.clone();
    for frame in out.samples_mut().chunks_exact_mut(audio.channels()) {
        pairs.iter().for_each(|(a, b)| frame.swap(*a, *b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values() {
        let audio = AudioBuffer::new(8000, 2, vec![0.5, -0.25, 0.1, 0.0]).unwrap();
        assert!((headroom_db(&audio) - 6.0206).abs() < 1e-4);
        let half = gain(&audio, -20.0 * 2f64.log10());
        assert!(half.samples().iter().zip(audio.samples()).all(|(h, a)| (h - a / 2.0).abs() < 1e-7));
        assert_eq!(gain(&audio, 20.0).samples(), [1.0, -1.0, 1.0, 0.0]);
        assert_eq!(gain(&audio, f64::INFINITY).samples()[3], 0.0);
        assert_eq!(swap_channels(&audio).samples(), [-0.25, 0.5, 0.0, 0.1]);
        assert_eq!(swap_channels(&swap_channels(&audio)), audio);
        assert_eq!(power(&[1.0, -1.0, 0.0, 0.0]), 0.5);
    }
}
