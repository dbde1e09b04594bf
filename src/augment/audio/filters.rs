use super::fft::{change_spectrum, frame_length};
use crate::sample::AudioBuffer;
use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

/// A second-order section `H(z) = (b0 + b1 z^-1 + b2 z^-2) / (1 + a1 z^-1 + a2 z^-2)`, from R. Bristow-Johnson's "Cookbook formulae for
/// audio EQ biquad filter coefficients" (bilinear transform, `w0 = 2 pi f / rate`, `alpha = sin(w0) / 2Q`).
///
/// Frequencies are limited to `0.00001..=0.49` of the rate, qualities to `0.05..=100`, gains to `-60..=60` dB: within these every section is stable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

/// The frequency that is used for one that was asked for: limited to `0.00001..=0.49` of the rate (not a number: the upper end).
pub fn limited_hz(sample_rate_hz: u32, hz: f64) -> f64 {
    let rate = f64::from(sample_rate_hz.max(1));
    if hz.is_nan() { 0.49 * rate } else { hz.clamp(1e-5 * rate, 0.49 * rate) }
}

impl Biquad {
    /// Changes nothing.
    pub const IDENTITY: Self = Self { b: [1.0, 0.0, 0.0], a: [0.0; 2] };

    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|v| v / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
    }
    /// `cos w0` and `alpha`.
    fn angle(sample_rate_hz: u32, hz: f64, q: f64) -> (f64, f64) {
        let w0 = TAU * limited_hz(sample_rate_hz, hz) / f64::from(sample_rate_hz.max(1));
        let q = if q.is_nan() { FRAC_1_SQRT_2 } else { q.clamp(0.05, 100.0) };
        (w0.cos(), w0.sin() / (2.0 * q))
    }
    /// Square root of the amplitude factor.
    fn root(gain_db: f64) -> f64 {
        if gain_db.is_nan() { 1.0 } else { 10f64.powf(gain_db.clamp(-60.0, 60.0) / 40.0) }
    }

    /// Low pass: -3 dB at `hz` with `q` of 0.7071, 12 dB an octave above.
    pub fn low_pass(sample_rate_hz: u32, hz: f64, q: f64) -> Self {
        let (cos, alpha) = Self::angle(sample_rate_hz, hz, q);
        Self::new([(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }
    /// High pass: -3 dB at `hz` with `q` of 0.7071, 12 dB an octave below.
    pub fn high_pass(sample_rate_hz: u32, hz: f64, q: f64) -> Self {
        let (cos, alpha) = Self::angle(sample_rate_hz, hz, q);
        Self::new([(1.0 + cos) / 2.0, -1.0 - cos, (1.0 + cos) / 2.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }
    /// Notch at `hz`; `hz / q` is about its width at -3 dB.
    pub fn notch(sample_rate_hz: u32, hz: f64, q: f64) -> Self {
        let (cos, alpha) = Self::angle(sample_rate_hz, hz, q);
        Self::new([1.0, -2.0 * cos, 1.0], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }
    /// Bell of `gain_db` at `hz`.
    pub fn peaking(sample_rate_hz: u32, hz: f64, gain_db: f64, q: f64) -> Self {
        let ((cos, alpha), a) = (Self::angle(sample_rate_hz, hz, q), Self::root(gain_db));
        Self::new([1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a], [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a])
    }
    /// Shelf of `gain_db` below `hz`, half of it (in dB) at `hz`.
    pub fn low_shelf(sample_rate_hz: u32, hz: f64, gain_db: f64, q: f64) -> Self {
        let ((cos, alpha), a) = (Self::angle(sample_rate_hz, hz, q), Self::root(gain_db));
        let (p, m, root) = (a + 1.0, a - 1.0, 2.0 * a.sqrt() * alpha);
        Self::new(
            [a * (p - m * cos + root), 2.0 * a * (m - p * cos), a * (p - m * cos - root)],
            [p + m * cos + root, -2.0 * (m + p * cos), p + m * cos - root],
        )
    }
    /// Shelf of `gain_db` above `hz`, half of it (in dB) at `hz`.
    pub fn high_shelf(sample_rate_hz: u32, hz: f64, gain_db: f64, q: f64) -> Self {
        let ((cos, alpha), a) = (Self::angle(sample_rate_hz, hz, q), Self::root(gain_db));
        let (p, m, root) = (a + 1.0, a - 1.0, 2.0 * a.sqrt() * alpha);
        Self::new(
            [a * (p + m * cos + root), -2.0 * a * (m + p * cos), a * (p + m * cos - root)],
            [p - m * cos + root, 2.0 * (m - p * cos), p - m * cos - root],
        )
    }

    /// The gain at a frequency in decibels.
    pub fn gain_db(&self, sample_rate_hz: u32, hz: f64) -> f64 {
        let w = TAU * hz / f64::from(sample_rate_hz.max(1));
        let norm = |c: [f64; 3]| {
            let re = c[0] + c[1] * w.cos() + c[2] * (2.0 * w).cos();
            let im = c[1] * w.sin() + c[2] * (2.0 * w).sin();
            re * re + im * im
        };
        10.0 * (norm(self.b) / norm([1.0, self.a[0], self.a[1]])).log10()
    }
}

/// Runs the sound through sections one after another, in place; each begins at rest. States and coefficients are `f64`: low corners at high rates stay exact.
pub fn filter(audio: &mut AudioBuffer, sections: &[Biquad]) {
    // Several sections in one loop: while one waits for its own last value, the next one works.
    let channels = audio.channels();
    let mut rest = sections;
    while !rest.is_empty() {
        for c in 0..channels {
            let samples = audio.samples_mut();
            match rest {
                [a] => run([*a], samples, c, channels),
                [a, b] => run([*a, *b], samples, c, channels),
                [a, b, c2] => run([*a, *b, *c2], samples, c, channels),
                [a, b, c2, d, ..] => run([*a, *b, *c2, *d], samples, c, channels),
                [] => {}
            }
        }
        rest = &rest[rest.len().min(4)..];
    }
}

fn run<const S: usize>(sections: [Biquad; S], samples: &mut [f32], at: usize, channels: usize) {
    if channels == 1 {
        each(sections, samples.iter_mut());
    } else {
        each(sections, samples.iter_mut().skip(at).step_by(channels));
    }
}

fn each<'a, const S: usize>(sections: [Biquad; S], samples: impl Iterator<Item = &'a mut f32>) {
    // The transposed form 2 with its output put into the states: y = b0 x + s, s' = (b1 - a1 b0) x - a1 s + t, t' = (b2 - a2 b0) x - a2 s.
    // From one sample to the next there is one product and one sum to wait for.
    let forward = sections.map(|q| [q.b[0], q.b[1] - q.a[0] * q.b[0], q.b[2] - q.a[1] * q.b[0]]);
    let (mut s, mut t) = ([0f64; S], [0f64; S]);
    for sample in samples {
        let mut x = f64::from(*sample);
        for k in 0..S {
            let ([f0, f1, f2], [a1, a2]) = (forward[k], sections[k].a);
            let y = f0 * x + s[k];
            let next = (f1 * x + t[k]) - a1 * s[k];
            t[k] = f2 * x - a2 * s[k];
            s[k] = next;
            x = y;
        }
        *sample = x as f32;
    }
}

/// Qualities of the sections of a Butterworth filter of even order: `1 / (2 cos(pi (2k + 1) / 2n))`.
fn butterworth(order: usize) -> impl Iterator<Item = f64> {
    let order = order.clamp(2, 16).next_multiple_of(2);
    (0..order / 2).map(move |k| 1.0 / (2.0 * (PI * (2 * k + 1) as f64 / (2 * order) as f64).cos()))
}

/// Sections of a Butterworth low pass: -3 dB at `cutoff_hz`, `6 * order` dB an octave above. Orders are even, `2..=16` (others are brought there).
pub fn low_pass_sections(sample_rate_hz: u32, cutoff_hz: f64, order: usize) -> Vec<Biquad> {
    butterworth(order).map(|q| Biquad::low_pass(sample_rate_hz, cutoff_hz, q)).collect()
}
/// Sections of a Butterworth high pass, like [`low_pass_sections`].
pub fn high_pass_sections(sample_rate_hz: u32, cutoff_hz: f64, order: usize) -> Vec<Biquad> {
    butterworth(order).map(|q| Biquad::high_pass(sample_rate_hz, cutoff_hz, q)).collect()
}

/// Butterworth low pass ([`low_pass_sections`]), in place. A cut-off at or above 0.49 of the rate is taken as 0.49.
pub fn low_pass(audio: &mut AudioBuffer, cutoff_hz: f64, order: usize) {
    let sections = low_pass_sections(audio.sample_rate_hz(), cutoff_hz, order);
    filter(audio, &sections);
}
/// Butterworth high pass, in place, like [`low_pass`].
pub fn high_pass(audio: &mut AudioBuffer, cutoff_hz: f64, order: usize) {
    let sections = high_pass_sections(audio.sample_rate_hz(), cutoff_hz, order);
    filter(audio, &sections);
}
/// A high pass at `low_hz` and a low pass at `high_hz`, each of `order`, in place.
pub fn band_pass(audio: &mut AudioBuffer, low_hz: f64, high_hz: f64, order: usize) {
    let mut sections = high_pass_sections(audio.sample_rate_hz(), low_hz, order);
    sections.extend(low_pass_sections(audio.sample_rate_hz(), high_hz, order));
    filter(audio, &sections);
}
/// A notch between `low_hz` and `high_hz` (about -3 dB there, nothing left at their geometric mean), in place.
pub fn band_stop(audio: &mut AudioBuffer, low_hz: f64, high_hz: f64) {
    let rate = audio.sample_rate_hz();
    let (low, high) = (limited_hz(rate, low_hz.min(high_hz)), limited_hz(rate, high_hz.max(low_hz)));
    let centre = (low * high).sqrt();
    filter(audio, &[Biquad::notch(rate, centre, centre / (high - low).max(1e-9))]);
}
/// A bell of `gain_db` at `centre_hz` ([`Biquad::peaking`]), in place.
pub fn peaking(audio: &mut AudioBuffer, centre_hz: f64, gain_db: f64, q: f64) {
    let section = Biquad::peaking(audio.sample_rate_hz(), centre_hz, gain_db, q);
    filter(audio, &[section]);
}
/// A shelf of `gain_db` below `corner_hz` ([`Biquad::low_shelf`]), in place.
pub fn low_shelf(audio: &mut AudioBuffer, corner_hz: f64, gain_db: f64, q: f64) {
    let section = Biquad::low_shelf(audio.sample_rate_hz(), corner_hz, gain_db, q);
    filter(audio, &[section]);
}
/// A shelf of `gain_db` above `corner_hz` ([`Biquad::high_shelf`]), in place.
pub fn high_shelf(audio: &mut AudioBuffer, corner_hz: f64, gain_db: f64, q: f64) {
    let section = Biquad::high_shelf(audio.sample_rate_hz(), corner_hz, gain_db, q);
    filter(audio, &[section]);
}

/// Corners and centres of the bands of [`seven_bands`], in hertz: an octave apart.
pub const SEVEN_BANDS_HZ: [f64; 7] = [100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0];

/// The sections of [`seven_bands`].
pub fn seven_band_sections(sample_rate_hz: u32, gains_db: [f64; 7]) -> Vec<Biquad> {
    let below_limit = |hz: f64| hz < 0.49 * f64::from(sample_rate_hz);
    let bands = SEVEN_BANDS_HZ.into_iter().zip(gains_db).enumerate().filter(|(_, (hz, gain))| below_limit(*hz) && *gain != 0.0);
    let section = |(at, (hz, gain))| match at {
        0 => Biquad::low_shelf(sample_rate_hz, hz, gain, FRAC_1_SQRT_2),
        6 => Biquad::high_shelf(sample_rate_hz, hz, gain, FRAC_1_SQRT_2),
        _ => Biquad::peaking(sample_rate_hz, hz, gain, std::f64::consts::SQRT_2),
    };
    bands.map(section).collect()
}

/// An equalizer of seven bands at [`SEVEN_BANDS_HZ`]: a low shelf, five bells an octave wide, a high shelf; gains in dB, `-60..=60`. Bands at or above 0.49 of the
/// rate are left out. In place.
pub fn seven_bands(audio: &mut AudioBuffer, gains_db: [f64; 7]) {
    let sections = seven_band_sections(audio.sample_rate_hz(), gains_db);
    filter(audio, &sections);
}

/// Attenuation of a pure tone by air at sea level in dB a metre (ISO 9613-1, equations 3 to 5), at `-20..=50` degrees Celsius and `1..=100` percent
/// relative humidity (clamped).
pub fn air_db_per_metre(hz: f64, temperature_c: f64, humidity_percent: f64) -> f64 {
    let kelvin = 273.15 + temperature_c.clamp(-20.0, 50.0);
    let t = kelvin / 293.15;
    let saturation = 10f64.powf(-6.8346 * (273.16 / kelvin).powf(1.261) + 4.6151);
    let h = humidity_percent.clamp(1.0, 100.0) * saturation;
    let oxygen = 24.0 + 4.04e4 * h * (0.02 + h) / (0.391 + h);
    let nitrogen = t.powf(-0.5) * (9.0 + 280.0 * h * (-4.170 * (t.powf(-1.0 / 3.0) - 1.0)).exp());
    let f2 = hz * hz;
    let relaxation =
        0.01275 * (-2239.1 / kelvin).exp() / (oxygen + f2 / oxygen) + 0.1068 * (-3352.0 / kelvin).exp() / (nitrogen + f2 / nitrogen);
    8.686 * f2 * (1.84e-11 * t.sqrt() + t.powf(-2.5) * relaxation)
}

/// What `distance_m` metres of air (`0..=10000`, clamped) leave of a sound: each frequency loses [`air_db_per_metre`] times the distance, phases stay (a gain
/// on short-time spectra of
/// about 32 ms). The loss by distance itself, `1 / r`, is a gain and not in here. In place.
pub fn air_absorption(audio: &mut AudioBuffer, distance_m: f64, temperature_c: f64, humidity_percent: f64) {
    if [distance_m, temperature_c, humidity_percent].iter().any(|v| v.is_nan()) {
        return;
    }
    let (rate, length) = (audio.sample_rate_hz(), frame_length(audio.sample_rate_hz(), 0.032));
    let gain = |k: usize| {
        let loss =
            distance_m.clamp(0.0, 10_000.0) * air_db_per_metre(k as f64 * f64::from(rate) / length as f64, temperature_c, humidity_percent);
        super::db_to_factor(-loss.min(240.0)) as f32
    };
    let gains: Vec<f32> = (0..=length / 2).map(gain).collect();
    change_spectrum(audio, length, |_, _, bins| bins.iter_mut().zip(&gains).for_each(|(b, g)| *b *= *g));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    const RATE: u32 = 16_000;

    /// The gain in decibels that a long tone gets, measured by correlation after the filter has settled.
    fn measured_db(hz: f64, apply: impl Fn(&mut AudioBuffer)) -> f64 {
        let wave = |n: usize| (TAU * hz * n as f64 / f64::from(RATE)).sin();
        let mut audio = AudioBuffer::new(RATE, 1, (0..24_000).map(|n| (0.5 * wave(n)) as f32).collect()).unwrap();
        apply(&mut audio);
        let (mut sin, mut cos) = (0f64, 0f64);
        for n in 8000..16_000 {
            let (s, c) = (TAU * hz * n as f64 / f64::from(RATE)).sin_cos();
            sin += f64::from(audio.samples()[n]) * s;
            cos += f64::from(audio.samples()[n]) * c;
        }
        20.0 * ((sin * sin + cos * cos).sqrt() / 4000.0 / 0.5).log10()
    }

    #[test]
    fn tones_get_the_analytic_gain() {
        let sum = |sections: &[Biquad], hz: f64| sections.iter().map(|s| s.gain_db(RATE, hz)).sum::<f64>();
        let mut gains = [0.0; 7];
        gains.iter_mut().enumerate().for_each(|(i, g)| *g = [6.0, -6.0, 3.0, -12.0, 9.0, -3.0, 12.0][i]);
        let cases: Vec<(Vec<Biquad>, Box<dyn Fn(&mut AudioBuffer)>)> = vec![
            (low_pass_sections(RATE, 1000.0, 4), Box::new(|a| low_pass(a, 1000.0, 4))),
            (high_pass_sections(RATE, 1000.0, 2), Box::new(|a| high_pass(a, 1000.0, 2))),
            (vec![Biquad::peaking(RATE, 1000.0, 9.0, 2.0)], Box::new(|a| peaking(a, 1000.0, 9.0, 2.0))),
            (vec![Biquad::low_shelf(RATE, 500.0, -9.0, 0.7)], Box::new(|a| low_shelf(a, 500.0, -9.0, 0.7))),
            (vec![Biquad::high_shelf(RATE, 500.0, 9.0, 0.7)], Box::new(|a| high_shelf(a, 500.0, 9.0, 0.7))),
            (seven_band_sections(RATE, gains), Box::new(move |a| seven_bands(a, gains))),
        ];
        for (sections, apply) in &cases {
            for hz in [100.0, 300.0, 1000.0, 2000.0, 4000.0] {
                let (found, right) = (measured_db(hz, apply), sum(sections, hz));
                assert!((found - right).abs() < 0.05, "{hz} Hz: {found} {right}");
            }
        }
        // Butterworth: exactly -3.01 dB at the corner, and 6 dB an octave an order far off it.
        assert!((sum(&low_pass_sections(RATE, 1000.0, 6), 1000.0) + 3.0103).abs() < 1e-3);
        let slope = sum(&high_pass_sections(RATE, 1000.0, 4), 100.0) - sum(&high_pass_sections(RATE, 1000.0, 4), 50.0);
        assert!((slope - 24.08).abs() < 0.02, "{slope}");
        assert!((measured_db(1000.0, |a| band_pass(a, 300.0, 3400.0, 4))).abs() < 0.3);
        assert!(measured_db(1000.0, |a| band_stop(a, 800.0, 1250.0)) < -60.0);
        assert!((measured_db(800.0, |a| band_stop(a, 800.0, 1250.0)) + 3.0).abs() < 0.5);
    }

    #[derive(Deserialize)]
    struct Golden {
        input: Vec<f32>,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        kind: String,
        cutoff_hz: f64,
        order: usize,
        output: Vec<f32>,
    }

    #[test]
    fn butterworth_agrees_with_scipy() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/audio/filters.json")).unwrap();
        for case in golden.cases {
            let mut audio = AudioBuffer::new(RATE, 1, golden.input.clone()).unwrap();
            match case.kind.as_str() {
                "low" => low_pass(&mut audio, case.cutoff_hz, case.order),
                _ => high_pass(&mut audio, case.cutoff_hz, case.order),
            }
            let worst = audio.samples().iter().zip(&case.output).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(worst < 2e-6, "{} {} {}: {worst}", case.kind, case.cutoff_hz, case.order);
        }
    }

    #[test]
    fn air_absorbs_what_the_standard_says() {
        // ISO 9613-2, table 2, dB a kilometre at 250, 1000, 4000 and 8000 Hz.
        for (celsius, percent, table) in
            [(10.0, 70.0, [1.0, 3.7, 32.8, 117.0]), (20.0, 70.0, [1.1, 5.0, 22.9, 76.6]), (15.0, 20.0, [1.2, 8.2, 88.8, 202.0])]
        {
            // The table uses exact midband frequencies, which differ by 0.6 % at most.
            for (hz, right) in [250.0, 1000.0, 4000.0, 8000.0].into_iter().zip(table) {
                let found = 1000.0 * air_db_per_metre(hz, celsius, percent);
                assert!((found - right).abs() < 0.15 + 0.03 * right, "{celsius} {percent} {hz}: {found} {right}");
            }
        }
        for hz in [500.0, 2000.0, 5000.0] {
            let right = -200.0 * air_db_per_metre(hz, 20.0, 40.0);
            let found = measured_db(hz, |a| air_absorption(a, 200.0, 20.0, 40.0));
            assert!((found - right).abs() < 0.3, "{hz}: {found} {right}");
        }
    }

    proptest! {
        #[test]
        fn any_parameter_leaves_finite_samples(hz: f64, q: f64, gain: f64, order: usize, rate in 1u32..200_000, channels in 1usize..4, frames in 1usize..60, high: f64) {
            let mut audio = AudioBuffer::new(rate, channels, (0..channels * frames).map(|i| (i as f32 * 1.7).sin()).collect()).unwrap();
            low_pass(&mut audio, hz, order);
            high_pass(&mut audio, hz, order);
            peaking(&mut audio, hz, gain.clamp(-20.0, 20.0), q);
            low_shelf(&mut audio, hz, gain, q);
            crate::augment::audio::fit(&mut audio);
            high_shelf(&mut audio, hz, gain, q);
            crate::augment::audio::fit(&mut audio);
            band_stop(&mut audio, hz, high);
            seven_bands(&mut audio, [gain; 7]);
            crate::augment::audio::fit(&mut audio);
            air_absorption(&mut audio, hz, gain, q);
            prop_assert!(audio.samples().iter().all(|s| s.is_finite()));
        }

        #[test]
        fn channels_do_not_mix(left in prop::collection::vec(-1f32..1.0, 40), right in prop::collection::vec(-1f32..1.0, 40)) {
            let alone = |samples: &[f32]| {
                let mut audio = AudioBuffer::new(RATE, 1, samples.to_vec()).unwrap();
                low_pass(&mut audio, 2000.0, 4);
                audio.samples().to_vec()
            };
            let mut both = AudioBuffer::new(RATE, 2, left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect()).unwrap();
            low_pass(&mut both, 2000.0, 4);
            let pairs: Vec<f32> = alone(&left).into_iter().zip(alone(&right)).flat_map(|(l, r)| [l, r]).collect();
            prop_assert_eq!(both.samples(), pairs);
        }
    }
}
