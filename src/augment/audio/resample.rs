use super::{
    fft::{channel, put_channel},
    time::Retimed,
};
use crate::{
    augment::{timeline::Timeline, wide::wide},
    error::{Error, Result},
    sample::AudioBuffer,
};
use std::{f64::consts::PI, sync::OnceLock};

/// Zero crossings of the kernel on each side.
const ZEROS: usize = 32;
/// Places of the stored kernel between two zero crossings; between places it is interpolated linearly, which is exact to about 4e-7.
const PLACES: usize = 1024;
/// Shape of the Kaiser window: about 90 dB of attenuation.
const BETA: f64 = 9.0;
/// Cut-off as a share of the lower of the two Nyquist frequencies; with the window's slope nothing above it comes through at more than -80 dB.
const ROLL_OFF: f64 = 0.93;
/// Positions between two samples for which a kernel is made; between them results are interpolated linearly, which is exact to -84 dB at the Nyquist frequency
/// and 12 dB more an octave below. Where the
/// rate falls, fewer do as well: the table stays in the nearest cache.
const PHASES: usize = 128;
/// The most that a rate may change by.
const MOST: f64 = 256.0;

/// Modified Bessel function of order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-17 * sum {
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}

/// The right half of the kernel `ROLL_OFF sinc(ROLL_OFF t)` times a Kaiser window over `-ZEROS..=ZEROS`, at multiples of `1 / PLACES`.
fn kernel() -> &'static [f32] {
    static KERNEL: OnceLock<Vec<f32>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let at = |i: usize| {
            let t = i as f64 / PLACES as f64;
            let inside = (1.0 - (t / ZEROS as f64).powi(2)).max(0.0);
            let x = PI * ROLL_OFF * t;
            let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
            (ROLL_OFF * sinc * bessel(BETA * inside.sqrt()) / bessel(BETA)) as f32
        };
        (0..=ZEROS * PLACES).map(at).chain([0.0, 0.0]).collect()
    })
}

/// Lanes of a sum of products.
const LANES: usize = 16;

/// So many taps of a kernel, on one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Taps([f32; LANES]);

/// Kernels for evenly spaced positions between two samples and one more for the position 1, each `lines` of [`Taps`] long.
struct Phases {
    lines: usize,
    count: usize,
    /// Samples before the current one that a kernel begins at.
    before: usize,
    values: Vec<Taps>,
    /// Whether every position that comes up is one of them.
    exact: bool,
}

impl Phases {
    /// For steps of `step` samples of a sound of `frames`; `exact` is the number of positions that come up.
    fn new(step: f64, exact: Option<usize>, frames: usize) -> Self {
        let scale = step.max(1.0);
        let half = ((ZEROS as f64 * scale).ceil() as usize).min(frames + 1);
        let lines = (2 * half).div_ceil(LANES);
        // At extreme ratios the table is kept small: there one position is like the next.
        let most = (1usize << 22).div_ceil(lines * LANES);
        let count = exact.filter(|n| *n <= 4 * PHASES && *n <= most);
        let between = ((PHASES as f64 / scale).ceil() as usize).clamp(1, most);
        let (count, exact) = (count.unwrap_or(between), count.is_some());
        let mut values = vec![Taps([0.0; LANES]); (count + 1) * lines];
        values.chunks_exact_mut(lines).enumerate().for_each(|(at, row)| kernel_at(row, at as f64 / count as f64, half, scale));
        Self { lines, count, before: half - 1, values, exact }
    }

    fn taps(&self) -> usize {
        self.lines * LANES
    }

    /// The usual case of a rate that rises: always the same table.
    fn rising() -> &'static Self {
        static RISING: OnceLock<Phases> = OnceLock::new();
        RISING.get_or_init(|| Phases::new(1.0, None, usize::MAX - 1))
    }
}

/// The kernel for a position `phase` (`0..=1`) behind the tap `half - 1`.
fn kernel_at(row: &mut [Taps], phase: f64, half: usize, scale: f64) {
    let (kernel, places) = (kernel(), PLACES as f64 / scale);
    let offset = phase + (half - 1) as f64;
    let mut sum = 0f64;
    for (k, value) in row.iter_mut().flat_map(|taps| &mut taps.0).enumerate() {
        let place = (k as f64 - offset).abs() * places;
        let whole = (place as usize).min(ZEROS * PLACES + 1);
        let (a, b) = (kernel[whole], kernel[whole + 1]);
        *value = a + (b - a) * (place - whole as f64).min(1.0) as f32;
        sum += f64::from(*value);
    }
    // A constant stays exactly what it is.
    let factor = (1.0 / sum) as f32;
    row.iter_mut().flat_map(|taps| &mut taps.0).for_each(|v| *v *= factor);
}

#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn halves<const N: usize, const H: usize>(sums: [f32; N]) -> [f32; H] {
    let mut out = [0.0; H];
    for i in 0..H {
        out[i] = sums[i] + sums[i + H];
    }
    out
}

/// The sum of all lanes, in pairs.
#[inline(always)]
fn total(sums: [f32; LANES]) -> f32 {
    let [a, b] = halves::<4, 2>(halves::<8, 4>(halves::<LANES, 8>(sums)));
    a + b
}

/// Where the next sample is read: whole samples, and parts of `up`; and how far the one after it is.
struct Place {
    whole: usize,
    part: u64,
    by: usize,
    by_part: u64,
    up: u64,
}

/// Reads `out.len()` samples at steps of `down / up`, kernels as exact as the positions.
fn read_exactly(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { x86::read_exactly(padded, phases, down, up, out) };
    }
    read_exactly_plain(padded, phases, down, up, out);
}

/// The same between kernels.
fn read_between(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::augment::wide::has_avx512() {
        // SAFETY: as above.
        return unsafe { x86::read_between(padded, phases, down, up, out) };
    }
    read_between_plain(padded, phases, down, up, out);
}

/// The samples and the kernel of a place that is a position of the table.
#[inline(always)]
fn exact<'a>(padded: &'a [f32], phases: &'a Phases, place: &Place) -> (&'a [[f32; LANES]], &'a [Taps]) {
    let (taps, lines) = (phases.taps(), phases.lines);
    let x = padded[place.whole.min(padded.len() - taps)..][..taps].as_chunks().0;
    (x, &phases.values[place.part as usize * lines..][..lines])
}

/// The samples and the two kernels that a place lies between, and the share of the second.
#[inline(always)]
fn between<'a>(padded: &'a [f32], phases: &'a Phases, place: &Place, scale: f64) -> (&'a [[f32; LANES]], [&'a [Taps]; 2], f32) {
    let (taps, lines) = (phases.taps(), phases.lines);
    let exact = place.part as f64 * scale;
    let row = (exact as usize).min(phases.count - 1);
    let x = padded[place.whole.min(padded.len() - taps)..][..taps].as_chunks().0;
    let (this, next) = phases.values[row * lines..][..2 * lines].split_at(lines);
    (x, [this, next], (exact - row as f64) as f32)
}

wide! {
    fn read_exactly_plain(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
        let mut place = Place::new(down, up);
        for out in out {
            let (x, row) = exact(padded, phases, &place);
            let row = &row[..x.len()];
            let mut sums = [0f32; LANES];
            for t in 0..x.len() {
                for i in 0..LANES {
                    sums[i] += x[t][i] * row[t].0[i];
                }
            }
            *out = total(sums);
            place.step();
        }
    }
}

wide! {
    fn read_between_plain(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
        let mut place = Place::new(down, up);
        let scale = phases.count as f64 / up as f64;
        for out in out {
            let (x, [this, next], share) = between(padded, phases, &place, scale);
            let (this, next) = (&this[..x.len()], &next[..x.len()]);
            let (mut sums, mut more) = ([0f32; LANES], [0f32; LANES]);
            for t in 0..x.len() {
                for i in 0..LANES {
                    sums[i] += x[t][i] * this[t].0[i];
                    more[i] += x[t][i] * next[t].0[i];
                }
            }
            for i in 0..LANES {
                sums[i] += share * (more[i] - sums[i]);
            }
            *out = total(sums);
            place.step();
        }
    }
}

/// The same in registers of 512 bits, sixteen samples at a time: their lanes are summed together.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop)]
mod x86 {
    use super::{LANES, Phases, Place, Taps, between, exact};
    use std::arch::x86_64::{
        __m512, _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_pd, _mm512_unpacklo_pd,
    };

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(values: &[f32; LANES]) -> __m512 {
        // SAFETY: it reads the 64 bytes of the array.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn products(x: &[[f32; LANES]], row: &[Taps]) -> __m512 {
        let row = &row[..x.len()];
        let mut sum = _mm512_setzero_ps();
        for t in 0..x.len() {
            sum = _mm512_add_ps(sum, _mm512_mul_ps(load(&x[t]), load(&row[t].0)));
        }
        sum
    }

    /// The total of each of sixteen registers, lanes added in the order of [`super::total`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn totals(v: &[__m512; LANES]) -> __m512 {
        // Lane i and lane i + 8: two sums of eight lanes.
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn eights(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b))
        }
        // Lane i and lane i + 4: four sums of four lanes.
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn fours(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b))
        }
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn twos(a: __m512, b: __m512) -> __m512 {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
        }
        let mut quarters = [_mm512_setzero_ps(); 4];
        for i in 0..4 {
            quarters[i] = fours(eights(v[i], v[i + 4]), eights(v[i + 8], v[i + 12]));
        }
        let [a, b, c, d] = quarters;
        let (a, b) = (twos(a, b), twos(c, d));
        _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(sums: &[__m512; LANES], out: &mut [f32]) {
        let mut totals_of = [0f32; LANES];
        // SAFETY: it writes the 64 bytes of the array.
        unsafe { _mm512_storeu_ps(totals_of.as_mut_ptr(), totals(sums)) };
        let count = out.len();
        out.copy_from_slice(&totals_of[..count]);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn read_exactly(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
        let mut place = Place::new(down, up);
        for out in out.chunks_mut(LANES) {
            let mut sums = [_mm512_setzero_ps(); LANES];
            for sum in &mut sums[..out.len()] {
                let (x, row) = exact(padded, phases, &place);
                *sum = products(x, row);
                place.step();
            }
            store(&sums, out);
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn read_between(padded: &[f32], phases: &Phases, down: u64, up: u64, out: &mut [f32]) {
        let mut place = Place::new(down, up);
        let scale = phases.count as f64 / up as f64;
        for out in out.chunks_mut(LANES) {
            let mut sums = [_mm512_setzero_ps(); LANES];
            for sum in &mut sums[..out.len()] {
                let (x, [this, next], share) = between(padded, phases, &place, scale);
                let (mut first, mut second) = (_mm512_setzero_ps(), _mm512_setzero_ps());
                let (this, next) = (&this[..x.len()], &next[..x.len()]);
                for t in 0..x.len() {
                    let x = load(&x[t]);
                    first = _mm512_add_ps(first, _mm512_mul_ps(x, load(&this[t].0)));
                    second = _mm512_add_ps(second, _mm512_mul_ps(x, load(&next[t].0)));
                }
                *sum = _mm512_add_ps(first, _mm512_mul_ps(_mm512_set1_ps(share), _mm512_sub_ps(second, first)));
                place.step();
            }
            store(&sums, out);
        }
    }
}

impl Place {
    fn new(down: u64, up: u64) -> Self {
        Self { whole: 0, part: 0, by: (down / up) as usize, by_part: down % up, up }
    }

    /// Without a branch: which steps carry over is hard to foresee.
    #[inline(always)]
    fn step(&mut self) {
        let part = self.part.wrapping_add(self.by_part);
        let carry = part >= self.up;
        self.part = if carry { part.wrapping_sub(self.up) } else { part };
        self.whole = self.whole.wrapping_add(self.by).wrapping_add(usize::from(carry));
    }
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// One channel read at positions `i * step.0 / step.1`, `frames` of them, band-limited to the lower rate. Beyond its ends the sound is silent.
pub(super) fn resample_channel(input: &[f32], step: (u64, u64), frames: usize) -> Vec<f32> {
    let common = divisor(step.0, step.1).max(1);
    let (up, down) = ((step.1 / common).max(1), (step.0 / common).max(1));
    if up == down {
        return (0..frames).map(|i| input.get(i).copied().unwrap_or(0.0)).collect();
    }
    let own;
    let rising = up > down && up > 4 * PHASES as u64 && input.len() >= ZEROS;
    let phases = if rising {
        Phases::rising()
    } else {
        own = Phases::new(down as f64 / up as f64, usize::try_from(up).ok(), input.len());
        &own
    };
    // Silence around the sound, so that every kernel lies inside.
    let mut padded = vec![0f32; phases.before + input.len() + 2 * phases.taps()];
    padded[phases.before..phases.before + input.len()].copy_from_slice(input);
    let mut out = vec![0f32; frames];
    if phases.exact {
        read_exactly(&padded, phases, down, up, &mut out);
    } else {
        read_between(&padded, phases, down, up, &mut out);
    }
    out
}

/// Every channel through [`resample_channel`].
pub(super) fn resample_frames(audio: &AudioBuffer, rate: u32, step: (u64, u64), frames: usize) -> Result<AudioBuffer> {
    let channels = audio.channels();
    if channels == 1 {
        return AudioBuffer::new(rate, 1, resample_channel(audio.samples(), step, frames)).map_err(Error::data);
    }
    let mut samples = vec![0f32; frames * channels];
    for c in 0..channels {
        put_channel(&mut samples, channels, c, &resample_channel(&channel(audio, c), step, frames));
    }
    AudioBuffer::new(rate, channels, samples).map_err(Error::data)
}

/// Brings the sound to another rate: the same duration, pitch and times, `round(frames * to / from)` frames, at least 1. A windowed sinc of 32 zero crossings
/// (Kaiser, beta 9) in
/// polyphase form (J. O. Smith, "Digital audio resampling", 2002): flat to 0.8 of the lower Nyquist frequency, -80 dB above it. May overshoot 1 slightly
/// ([`fit`](super::fit)).
///
/// Errors for a rate of 0 and where the rate changes by more than 256 times.
pub fn resample(audio: &AudioBuffer, to_hz: u32) -> Result<AudioBuffer> {
    let (from, to) = (u64::from(audio.sample_rate_hz()), u64::from(to_hz));
    let ratio = to as f64 / from as f64;
    if !(1.0 / MOST..=MOST).contains(&ratio) {
        return Err(Error::data(format!("expected a rate within 1/256..=256 of {from} Hz, found {to} Hz")));
    }
    if from == to {
        return Ok(audio.clone());
    }
    let frames = (audio.frames() as f64 * ratio).round().max(1.0) as usize;
    resample_frames(audio, to_hz, (from, to), frames)
}

/// Plays the sound `factor` times as fast (`1/16..=16`, clamped; not a number: 1): duration shrinks and pitch rises by the factor, like a tape. Exactly
/// `round(frames / factor)` frames,
/// at least 1.
pub fn speed(audio: &AudioBuffer, factor: f64) -> Result<Retimed> {
    let factor = if factor.is_nan() { 1.0 } else { factor.clamp(1.0 / 16.0, 16.0) };
    let length = audio.frames();
    let frames = (length as f64 / factor).round().max(1.0) as usize;
    let timeline = Timeline::stretch(frames as f64 / length as f64).unwrap_or_default();
    if frames == length {
        return Ok(Retimed { audio: audio.clone(), timeline });
    }
    let audio = resample_frames(audio, audio.sample_rate_hz(), (length as u64, frames as u64), frames)?;
    Ok(Retimed { audio, timeline })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    fn tone(rate: u32, hz: f64, frames: usize) -> AudioBuffer {
        let samples = (0..frames).map(|n| (0.5 * (2.0 * PI * hz * n as f64 / f64::from(rate)).sin()) as f32).collect();
        AudioBuffer::new(rate, 1, samples).unwrap()
    }

    #[test]
    fn a_tone_is_the_same_tone_at_any_rate() {
        for to in [8000, 11_025, 17_231, 22_050, 44_100, 48_000, 24_001] {
            let found = resample(&tone(16_000, 1000.0, 8000), to).unwrap();
            let right = tone(to, 1000.0, found.frames());
            let inside = found.frames() / 8..found.frames() * 7 / 8;
            let worst = inside.map(|i| (found.samples()[i] - right.samples()[i]).abs()).fold(0f32, f32::max);
            assert!(worst < 2e-5, "{to}: {worst}");
            assert_eq!(found.frames(), (8000.0 * f64::from(to) / 16_000.0).round() as usize);
        }
    }

    #[test]
    fn what_does_not_fit_is_removed() {
        // 5 kHz is above the new Nyquist frequency of 4 kHz.
        let found = resample(&tone(16_000, 5000.0, 16_000), 8000).unwrap();
        let rest = found.samples()[1000..7000].iter().fold(0f32, |p, s| p.max(s.abs()));
        assert!(rest < 1e-4, "{rest}");
        // 3.2 kHz, 0.8 of it, stays.
        let found = resample(&tone(16_000, 3200.0, 16_000), 8000).unwrap();
        let worst = (1000..7000).map(|i| (found.samples()[i] - tone(8000, 3200.0, 8000).samples()[i]).abs()).fold(0f32, f32::max);
        assert!(worst < 1e-3, "{worst}");
    }

    #[derive(Deserialize)]
    struct Golden {
        input: Vec<f32>,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        to_hz: u32,
        output: Vec<f32>,
    }

    #[test]
    fn band_limited_noise_agrees_with_the_reference() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/audio/resample.json")).unwrap();
        for case in golden.cases {
            let found = resample(&AudioBuffer::new(16_000, 1, golden.input.clone()).unwrap(), case.to_hz).unwrap();
            assert!(found.frames().abs_diff(case.output.len()) <= 1);
            let (n, mut error, mut power) = (case.output.len(), 0f64, 0f64);
            for i in n / 8..n * 7 / 8 {
                error += f64::from(found.samples()[i] - case.output[i]).powi(2);
                power += f64::from(case.output[i]).powi(2);
            }
            let db = 10.0 * (error / power).log10();
            assert!(db < -70.0, "{} Hz: {db} dB", case.to_hz);
        }
    }

    #[test]
    fn extremes_are_refused_or_served() {
        let one = AudioBuffer::new(16_000, 1, vec![0.5]).unwrap();
        assert!(resample(&one, 0).is_err() && resample(&one, 16_000 * 257).is_err());
        assert_eq!(resample(&one, 63).unwrap().frames(), 1);
        assert_eq!(resample(&one, 16_000 * 256).unwrap().frames(), 256);
        assert_eq!(resample(&tone(16_000, 3.0, 16_000), 63).unwrap().frames(), 63);
    }

    #[test]
    fn speed_moves_pitch_and_length() {
        let found = speed(&tone(16_000, 1000.0, 16_000), 1.25).unwrap();
        assert_eq!(found.audio.frames(), 12_800);
        let right = tone(16_000, 1250.0, 12_800);
        let worst = (1000..11_000).map(|i| (found.audio.samples()[i] - right.samples()[i]).abs()).fold(0f32, f32::max);
        assert!(worst < 2e-5, "{worst}");
        assert!((found.timeline.seconds(0.5, 1.0) - 0.4).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn any_ratio_and_length(frames in 1usize..80, channels in 1usize..3, from in 1u32..100_000, to in 1u32..100_000, factor: f64) {
            let audio = AudioBuffer::new(from, channels, (0..frames * channels).map(|i| (i as f32).sin()).collect()).unwrap();
            if let Ok(found) = resample(&audio, to) {
                prop_assert_eq!(found.sample_rate_hz(), to);
                prop_assert!(found.samples().iter().all(|s| s.abs() < 4.0));
            }
            prop_assert_eq!(resample(&audio, from).unwrap(), audio.clone());
            prop_assert_eq!(speed(&audio, 1.0).unwrap().audio, audio.clone());
            prop_assert!(speed(&audio, factor).is_ok());
        }

        /// Wide registers give the bytes that plain loops give.
        #[test]
        fn both_versions_agree(frames in 1usize..200, down in 1u64..900, up in 1u64..900, seed in 0u32..99) {
            let input: Vec<f32> = (0..frames).map(|i| ((i as u32 + seed) as f32 * 1.7).sin()).collect();
            let phases = Phases::new(down as f64 / up as f64, None, frames);
            let mut padded = vec![0f32; phases.before + frames + 2 * phases.taps()];
            padded[phases.before..phases.before + frames].copy_from_slice(&input);
            let (mut a, mut b) = (vec![0f32; frames + 5], vec![0f32; frames + 5]);
            read_between(&padded, &phases, down, up, &mut a);
            read_between_plain(&padded, &phases, down, up, &mut b);
            prop_assert_eq!(&a, &b);
            let phases = Phases::new(down as f64 / up as f64, Some(up as usize), frames);
            if phases.exact {
                read_exactly(&padded, &phases, down, up, &mut a);
                read_exactly_plain(&padded, &phases, down, up, &mut b);
                prop_assert_eq!(&a, &b);
            }
        }

        #[test]
        fn a_constant_stays_one(to in 4000u32..64_000) {
            let audio = AudioBuffer::new(16_000, 1, vec![0.5; 2000]).unwrap();
            let found = resample(&audio, to).unwrap();
            let inside = found.frames() / 4..found.frames() * 3 / 4;
            prop_assert!(found.samples()[inside].iter().all(|s| (s - 0.5).abs() < 1e-4));
        }
    }
}
