use crate::{
    error::{Error, Result},
    sample::AudioBuffer,
};
use std::f64::consts::PI;

/// Speed of sound in air at 20 degrees Celsius, in metres a second.
pub const SPEED_OF_SOUND: f64 = 343.2;
/// The highest order of reflection that is followed.
pub const MOST_REFLECTIONS: usize = 40;
/// Samples of the fractional delay's kernel on each side.
const HALF: i64 = 40;

/// A box-shaped room with one source and microphones, all lengths in metres from one corner.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// Lengths of the sides.
    pub size_m: [f64; 3],
    /// Share of the energy that a wall swallows, `0..=1`: at x = 0, x = size, then y, then z (floor, ceiling).
    pub absorption: [f64; 6],
    /// Where the source stands.
    pub source_m: [f64; 3],
    /// Where the microphones stand: one gives one channel.
    pub microphones_m: Vec<[f64; 3]>,
    /// How many reflections a path has at most, `0..=40`.
    pub reflections: usize,
}

impl Room {
    /// The absorption, the same on all walls, with which the sound of a room of this size loses 60 dB in `rt60_s` seconds by Sabine's formula `T = 24 ln(10) V
    /// / (c S a)`; at most 1.
    pub fn absorption_for(size_m: [f64; 3], rt60_s: f64) -> f64 {
        let [x, y, z] = size_m;
        let share = 24.0 * 10f64.ln() * x * y * z / (SPEED_OF_SOUND * 2.0 * (x * y + y * z + z * x) * rt60_s);
        if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) }
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::data(what));
        if !self.size_m.iter().all(|l| (0.1..=1000.0).contains(l)) {
            return wrong(format!("the sides of a room are 0.1..=1000 m, found {:?}", self.size_m));
        }
        if !self.absorption.iter().all(|a| (0.0..=1.0).contains(a)) {
            return wrong(format!("walls swallow a share in 0..=1, found {:?}", self.absorption));
        }
        if self.reflections > MOST_REFLECTIONS || self.microphones_m.is_empty() {
            return wrong(format!(
                "a room has at most {MOST_REFLECTIONS} reflections and at least one microphone, found {} and {}",
                self.reflections,
                self.microphones_m.len()
            ));
        }
        let inside = |place: &[f64; 3]| place.iter().zip(&self.size_m).all(|(p, l)| (0.0..=*l).contains(p));
        match std::iter::once(&self.source_m).chain(&self.microphones_m).find(|place| !inside(place)) {
            Some(place) => wrong(format!("{place:?} is not inside a room of {:?}", self.size_m)),
            None => Ok(()),
        }
    }
}

/// One axis of an image source: its coordinate, how many reflections lie behind it, and what is left of the amplitude.
struct Image {
    place: f64,
    count: usize,
    amplitude: f64,
}

/// The images of a source along one axis (Allen and Berkley 1979, eq. 8 to 10): `(1 - 2p) s + 2 r l` with `|r - p|` reflections at the near wall and `|r|` at
/// the far one.
fn images(source: f64, length: f64, near: f64, far: f64, most: usize) -> Vec<Image> {
    let (reach, mut out) = (most as i64 / 2 + 1, Vec::new());
    for r in -reach..=reach {
        for p in 0..2i64 {
            let (a, b) = ((r - p).unsigned_abs() as usize, r.unsigned_abs() as usize);
            if a + b <= most {
                let amplitude = near.powi(a as i32) * far.powi(b as i32);
                out.push(Image { place: (1 - 2 * p) as f64 * source + 2.0 * r as f64 * length, count: a + b, amplitude });
            }
        }
    }
    out
}

/// The impulse response of a box-shaped room by the image source method (Allen and Berkley, "Image method for efficiently simulating small-room acoustics", J.
/// Acoust. Soc. Am. 65 (4), 1979): each path of length `d` arrives
/// after `d / c` with amplitude `1 / d` (`d` at least 0.1 m) times `sqrt(1 - absorption)` a reflection. Arrivals between samples are written with a sinc under
/// a Hann window of 81 samples (Peterson 1986). One
/// channel a microphone, all with the same time 0: the moment the source sounds.
///
/// Errors for a room that cannot be: see [`Room`].
pub fn room_response(room: &Room, sample_rate_hz: u32) -> Result<AudioBuffer> {
    room.check()?;
    let rate = f64::from(sample_rate_hz);
    let beta: Vec<f64> = room.absorption.iter().map(|a| (1.0 - a).sqrt()).collect();
    let axes: Vec<Vec<Image>> =
        (0..3).map(|i| images(room.source_m[i], room.size_m[i], beta[2 * i], beta[2 * i + 1], room.reflections)).collect();
    let channels = room.microphones_m.len();
    let mut lines: Vec<Vec<f32>> = vec![Vec::new(); channels];
    for (line, microphone) in lines.iter_mut().zip(&room.microphones_m) {
        for x in &axes[0] {
            for y in axes[1].iter().filter(|y| x.count + y.count <= room.reflections) {
                for z in axes[2].iter().filter(|z| x.count + y.count + z.count <= room.reflections) {
                    let amplitude = x.amplitude * y.amplitude * z.amplitude;
                    if amplitude > 0.0 {
                        let offset = [x.place - microphone[0], y.place - microphone[1], z.place - microphone[2]];
                        let distance = offset.iter().map(|v| v * v).sum::<f64>().sqrt();
                        arrive(line, distance / SPEED_OF_SOUND * rate, amplitude / distance.max(0.1));
                    }
                }
            }
        }
    }
    let frames = lines.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut samples = vec![0f32; frames * channels];
    for (c, line) in lines.iter().enumerate() {
        super::fft::put_channel(&mut samples, channels, c, line);
    }
    AudioBuffer::new(sample_rate_hz, channels, samples).map_err(Error::data)
}

/// [`room_response`] up to where the reflections of the asked order are complete (none of a higher one comes earlier), and from there on the late
/// reverberation: gaussian noise that continues at the level of the last
/// 10 ms and loses 60 dB every `rt60_s` seconds (`0.01..=20`, clamped), independent in every channel, until it is 60 dB weaker. The seed alone decides the
/// noise. Errors like [`room_response`].
pub fn room_with_tail(room: &Room, sample_rate_hz: u32, rt60_s: f64, seed: u64) -> Result<AudioBuffer> {
    let early = room_response(room, sample_rate_hz)?;
    let (rate, channels) = (f64::from(sample_rate_hz), early.channels());
    let rt60 = if rt60_s.is_nan() { 0.01 } else { rt60_s.clamp(0.01, 20.0) };
    let shortest = room.size_m.iter().copied().fold(f64::INFINITY, f64::min);
    let complete = (room.reflections as f64 * shortest / SPEED_OF_SOUND * rate) as usize;
    // The direct sound is never cut.
    let nearest = |microphone: &[f64; 3]| microphone.iter().zip(&room.source_m).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let direct = room.microphones_m.iter().map(nearest).fold(0f64, f64::max) / SPEED_OF_SOUND * rate;
    let complete = complete.max(direct as usize + HALF as usize).clamp(1, early.frames());
    let window = ((0.01 * rate) as usize).clamp(1, complete);
    let tail = ((rt60 * rate) as usize).min(1 << 22);
    let mut samples = Vec::with_capacity((complete + tail) * channels);
    samples.extend_from_slice(&early.samples()[..complete * channels]);
    let level = super::power(&samples[(complete - window) * channels..]).sqrt();
    let mut noise = super::gaussian(tail * channels, seed);
    // 60 dB are a factor of 1000 in amplitude.
    let (mut factor, keep) = (level, (-(1000f64.ln()) / (rt60 * rate)).exp());
    for frame in noise.chunks_exact_mut(channels) {
        frame.iter_mut().for_each(|s| *s *= factor as f32);
        factor *= keep;
    }
    samples.append(&mut noise);
    AudioBuffer::new(sample_rate_hz, channels, samples).map_err(Error::data)
}

/// Adds an impulse at a time in samples: `amplitude sinc(n - at) (1 + cos(pi (n - at) / 41)) / 2`; what would lie before time 0 is left out.
fn arrive(line: &mut Vec<f32>, at: f64, amplitude: f64) {
    let middle = at.round() as i64;
    let end = (middle + HALF + 1) as usize;
    if line.len() < end {
        line.resize(end, 0.0);
    }
    let width = (HALF + 1) as f64;
    // sin(pi (n - at)) only changes its sign from one sample to the next, and the cosine turns by a constant angle.
    let first = (middle - HALF).max(0);
    let mut sine = (PI * (first as f64 - at)).sin();
    let (mut window_sin, mut window_cos) = (PI * (first as f64 - at) / width).sin_cos();
    let (step_sin, step_cos) = (PI / width).sin_cos();
    for (n, sample) in (first..).zip(&mut line[first as usize..end]) {
        let t = n as f64 - at;
        let sinc = if t.abs() < 1e-9 { 1.0 } else { sine / (PI * t) };
        *sample += (amplitude * sinc * 0.5 * (1.0 + window_cos)) as f32;
        sine = -sine;
        (window_sin, window_cos) = (window_sin * step_cos + window_cos * step_sin, window_cos * step_cos - window_sin * step_sin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(reflections: usize) -> Room {
        Room {
            size_m: [6.0, 5.0, 3.0],
            absorption: [0.19; 6],
            source_m: [1.0, 2.0, 1.5],
            microphones_m: vec![[4.0, 2.0, 1.5]],
            reflections,
        }
    }

    fn peak_at(samples: &[f32]) -> usize {
        (0..samples.len()).max_by(|a, b| samples[*a].abs().total_cmp(&samples[*b].abs())).unwrap()
    }

    #[test]
    fn the_direct_path_comes_in_time_and_falls_with_distance() {
        // At 34,320 Hz sound travels 1 cm a sample.
        for distance in [0.5, 1.0, 2.0, 3.0] {
            let mut room = room(0);
            room.microphones_m = vec![[1.0 + distance, 2.0, 1.5]];
            let response = room_response(&room, 34_320).unwrap();
            let at = peak_at(response.samples());
            assert_eq!(at, (100.0 * distance) as usize);
            assert!((f64::from(response.samples()[at]) - 1.0 / distance).abs() < 1e-5);
            let sum: f64 = response.samples().iter().map(|s| f64::from(*s)).sum();
            assert!((sum - 1.0 / distance).abs() < 1e-4);
        }
    }

    #[test]
    fn reflections_are_images() {
        let response = room_response(&room(1), 34_320).unwrap();
        // Path by path: direct 3 m; walls at x = 0 (1 + 4 = 5 m) and x = 6 (5 + 2 = 7 m); y, z by Pythagoras. Amplitude 0.9 a reflection.
        let paths = [(3.0, 1.0), (5.0, 0.9), (7.0, 0.9), (5.0, 0.9), (45f64.sqrt(), 0.9), (18f64.sqrt(), 0.9), (18f64.sqrt(), 0.9)];
        let mut right = Vec::new();
        paths.iter().for_each(|(d, a)| arrive(&mut right, d / SPEED_OF_SOUND * 34_320.0, a / d));
        assert_eq!(right.len(), response.frames());
        assert!(right.iter().zip(response.samples()).all(|(a, b)| (a - b).abs() < 1e-5));
        // An order n shell has 4 n^2 + 2 images.
        let count = |n: usize| {
            let axis = images(1.0, 6.0, 0.9, 0.9, n);
            let all = axis.iter().flat_map(|a| {
                axis.iter().flat_map(|b| axis.iter().map(|c| a.count + b.count + c.count).collect::<Vec<_>>()).collect::<Vec<_>>()
            });
            all.filter(|total| *total == n).count()
        };
        assert_eq!((count(0), count(1), count(2), count(3)), (1, 6, 18, 38));
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        rate_hz: u32,
        images: Vec<(f64, f64)>,
        reflections: usize,
    }

    #[test]
    fn delays_and_amplitudes_agree_with_pyroomacoustics() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/audio/room.json")).unwrap();
        let room = Room {
            size_m: [6.3, 4.1, 2.7],
            absorption: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            source_m: [1.1, 2.2, 1.4],
            microphones_m: vec![[4.7, 1.3, 1.1]],
            reflections: golden.reflections,
        };
        let response = room_response(&room, golden.rate_hz).unwrap();
        let mut right = Vec::new();
        golden
            .images
            .iter()
            .for_each(|(distance, damping)| arrive(&mut right, distance / SPEED_OF_SOUND * f64::from(golden.rate_hz), damping / distance));
        assert_eq!(right.len(), response.frames());
        assert!(right.iter().zip(response.samples()).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn the_tail_goes_on_where_the_images_end() {
        let mut room = Room { absorption: [Room::absorption_for([6.0, 5.0, 3.0], 0.6); 6], ..room(12) };
        room.microphones_m.push([2.0, 4.0, 1.0]);
        let (early, found) = (room_response(&room, 8000).unwrap(), room_with_tail(&room, 8000, 0.6, 1).unwrap());
        // 12 times 3 m are 105 ms.
        let complete = (36.0 / SPEED_OF_SOUND * 8000.0) as usize;
        assert_eq!(early.samples()[..2 * complete], found.samples()[..2 * complete]);
        assert_eq!(found.frames(), complete + 4800);
        let level = |from: usize| 10.0 * crate::augment::audio::power(&found.samples()[2 * from..2 * (from + 400)]).log10();
        // No step at the seam beyond what 50 ms decay, and 60 dB in 0.6 s behind it.
        assert!((level(complete - 400) - level(complete) - 5.0).abs() < 4.0, "{} {}", level(complete - 400), level(complete));
        assert!((level(complete) - level(complete + 2400) - 30.0).abs() < 1.5);
        assert_ne!(found, room_with_tail(&room, 8000, 0.6, 2).unwrap());
    }

    #[test]
    fn sabine_is_inverted() {
        // V = 90, S = 126: T = 0.161 V / (S a).
        assert!((Room::absorption_for([6.0, 5.0, 3.0], 0.5) - 0.161 * 90.0 / (126.0 * 0.5)).abs() < 1e-3);
        assert_eq!(Room::absorption_for([6.0, 5.0, 3.0], 0.0), 1.0);
        let bad = [
            Room { size_m: [0.0, 5.0, 3.0], ..room(1) },
            Room { absorption: [f64::NAN; 6], ..room(1) },
            Room { source_m: [7.0, 1.0, 1.0], ..room(1) },
            Room { microphones_m: vec![], ..room(1) },
            Room { reflections: 41, ..room(1) },
        ];
        assert!(bad.iter().all(|room| room_response(room, 8000).is_err()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn walls_that_swallow_all_leave_the_direct_path(rate in 1u32..50_000, x in 0.0f64..6.0, y in 0.0f64..5.0, z in 0.0f64..3.0, reflections in 0usize..5) {
            let dead = Room { absorption: [1.0; 6], microphones_m: vec![[x, y, z], [z, x.min(5.0), 1.0]], reflections, ..room(0) };
            let direct = Room { reflections: 0, ..dead.clone() };
            prop_assert_eq!(room_response(&dead, rate).unwrap(), room_response(&direct, rate).unwrap());
        }
    }
}
