//! Sounds beside audiomentations: the peers' synthetic speech of one and ten seconds, 16 kHz, mono. A call of either side draws its parameters and returns a
//! new sound.
//!
//! Where the peer's work is not ours: its time shift fades at the seam; its room traces rays behind reflections of the first order, ours follows reflections
//! to the 20th; its
//! resampling is soxr's; `add_color_noise` and `air_absorption` there are one transform of the whole sound, here white noise through filters and short-time spectra.

use crate::{Case, Peer, Peers, Wanted};
use hardmine::{
    augment::{
        audio::{self, Colour, Compression, FadeShape, Measure, Reverb, Room},
        image::Edge,
    },
    error::{Error, Result},
    random::SeedTree,
    sample::AudioBuffer,
};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::{hint::black_box, sync::Arc};

const RATE: u32 = 16_000;
const PEERS: &[Peer] = &[
    Peer { script: "audio_ops.py", library: "audiomentations", path: None },
    // An absolute path stays what it is.
    Peer { script: concat!(env!("CARGO_MANIFEST_DIR"), "/benches/media/audio_more.py"), library: "audiomentations", path: None },
];

/// The peers' own clips, or vowels of the same length where there is no Python.
fn clips(peers: Option<&Peers>, seconds: usize) -> Result<Vec<AudioBuffer>> {
    let samples: Vec<f32> = match peers {
        Some(peers) => {
            let code = format!("import sys, common\nfor x in common.speech({seconds}): sys.stdout.buffer.write(x.tobytes())");
            peers.output(&code)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        None => {
            let wave = |i: usize| {
                let t = i as f32 / RATE as f32;
                (1..8).map(|k| (754.0 * k as f32 * t).sin() / k as f32).sum::<f32>() * 0.1 * (0.5 + 0.5 * (18.8 * t).sin())
            };
            (0..8 * seconds * RATE as usize).map(wave).collect()
        }
    };
    samples.chunks_exact(seconds * RATE as usize).map(|clip| AudioBuffer::new(RATE, 1, clip.to_vec()).map_err(Error::data)).collect()
}

type Draws<'a> = &'a mut dyn Rng;
type Operator = Box<dyn Fn(&AudioBuffer, Draws<'_>) -> Result<AudioBuffer> + Send + Sync>;

/// One that works in place, on a copy.
fn here(run: impl Fn(&mut AudioBuffer, Draws<'_>) + Send + Sync + 'static) -> Operator {
    Box::new(move |clip, rng| {
        let mut out = clip.clone();
        run(&mut out, rng);
        Ok(out)
    })
}

fn room(rng: Draws<'_>) -> Room {
    let size_m = [rng.random_range(3.6..5.6), rng.random_range(3.6..3.9), rng.random_range(2.4..3.0)];
    let source_m: [f64; 3] = [rng.random_range(0.1..3.5), rng.random_range(0.1..2.7), rng.random_range(1.0..2.1)];
    let microphone = [(source_m[0] + 0.2).min(3.5), source_m[1] + 0.1, source_m[2]];
    Room { size_m, absorption: [rng.random_range(0.075..0.4); 6], source_m, microphones_m: vec![microphone], reflections: 20 }
}

/// The operators under the peers' names.
fn operators() -> Result<Vec<(&'static str, Operator)>> {
    let background = Arc::new(AudioBuffer::new(RATE, 1, audio::noise(Colour::Pink, RATE, 1, 15 * RATE as usize, 3)).map_err(Error::data)?);
    let response = Arc::new(audio::noise_tail(RATE, 0.4, 0.0, 0.0, 3)?);
    let octaves = |rng: Draws<'_>, low: f64, high: f64| low * (high / low).powf(rng.random());
    let order = |rng: Draws<'_>| 2 * rng.random_range(1..=2usize);
    let any_edge = |rng: Draws<'_>, frames: usize| rng.random_range(0..frames);
    let snr = |clip: &mut AudioBuffer, field: &[f32], rng: Draws<'_>| {
        audio::mix_in_place(clip, field, rng.random_range(5.0..15.0));
    };
    Ok(vec![
        ("add_gaussian_noise", here(|clip, rng| audio::add_gaussian(clip, rng.random_range(0.005..0.02), rng.random()))),
        (
            "add_background_noise_snr",
            Box::new(move |clip, rng| {
                let mut out = clip.clone();
                audio::background(&mut out, &background, rng.random_range(0..background.frames()), rng.random_range(5.0..15.0))?;
                Ok(out)
            }),
        ),
        ("time_stretch", Box::new(|clip, rng| Ok(audio::time_stretch(clip, 1.0 / rng.random_range(0.8..1.25))?.audio))),
        ("pitch_shift", Box::new(|clip, rng| audio::pitch_shift(clip, rng.random_range(-4.0..4.0)))),
        ("gain", Box::new(|clip, rng| Ok(audio::gain(clip, rng.random_range(-12.0..6.0))))),
        ("low_pass", here(move |clip, rng| audio::low_pass(clip, octaves(rng, 500.0, 4000.0), order(rng)))),
        ("high_pass", here(move |clip, rng| audio::high_pass(clip, octaves(rng, 100.0, 1500.0), order(rng)))),
        (
            "room_simulator",
            Box::new(|clip, rng| {
                let response = audio::room_response(&room(rng), RATE)?;
                audio::reverberate(clip, &response, &Reverb { tail: true, align: false, ..Reverb::default() })
            }),
        ),
        ("apply_impulse_response", {
            let reverb = Reverb { tail: true, align: false, keep_level: false, wet: 1.0 };
            Box::new(move |clip, _| audio::reverberate(clip, &response, &reverb))
        }),
        (
            "shift",
            Box::new(|clip, rng| {
                let half = clip.frames() as i64 / 2;
                Ok(audio::shift(clip, rng.random_range(-half..half), Edge::Wrap))
            }),
        ),
        (
            "time_mask",
            here(move |clip, rng| {
                let length = (clip.frames() as f64 * rng.random_range(0.05..0.2)) as usize;
                let start = any_edge(rng, clip.frames() - length);
                audio::gap_in_place(clip, start, start + length, RATE as usize / 200);
            }),
        ),
        (
            "clipping_distortion",
            here(|clip, rng| {
                audio::clip_share(clip, rng.random_range(0.0..0.3));
            }),
        ),
        ("resample_8k_24k", Box::new(|clip, rng| audio::resample(clip, rng.random_range(8000..24_000)))),
        (
            "compose_4",
            Box::new(move |clip, rng| {
                let half = clip.frames() as i64 / 2;
                let mut out = audio::shift(clip, rng.random_range(-half..half), Edge::Wrap);
                audio::add_gaussian(&mut out, rng.random_range(0.001..0.015), rng.random());
                audio::gain_in_place(&mut out, rng.random_range(-12.0..12.0));
                audio::low_pass(&mut out, octaves(rng, 150.0, 7500.0), order(rng));
                Ok(out)
            }),
        ),
        // From here on `audio_more.py`.
        (
            "add_color_noise",
            here(move |clip, rng| {
                let colour = [Colour::White, Colour::Pink, Colour::Brown, Colour::Blue, Colour::Violet][rng.random_range(0..5)];
                let field = audio::noise(colour, RATE, 1, clip.frames(), rng.random());
                snr(clip, &field, rng);
            }),
        ),
        (
            "add_gaussian_snr",
            here(move |clip, rng| {
                let field = audio::gaussian(clip.frames(), rng.random());
                snr(clip, &field, rng);
            }),
        ),
        ("polarity_inversion", Box::new(|clip, _| Ok(audio::inverted(clip)))),
        (
            "normalize",
            here(|clip, _| {
                audio::normalize(clip, Measure::Peak, 0.0);
            }),
        ),
        ("clip", here(|clip, _| audio::clip(clip, 0.2))),
        (
            "gain_transition",
            here(move |clip, rng| {
                let start = any_edge(rng, clip.frames() / 2);
                audio::gain_transition(clip, rng.random_range(-24.0..6.0), rng.random_range(-24.0..6.0), start, start + clip.frames() / 4);
            }),
        ),
        ("reverse", here(|clip, _| drop(audio::reverse(clip)))),
        ("trim", Box::new(|clip, _| Ok(audio::trim(clip, 30.0, 0)?.audio))),
        ("padding", Box::new(|clip, _| Ok(audio::fix_length(clip, clip.frames() * 5 / 4)?.audio))),
        ("adjust_duration", Box::new(|clip, _| Ok(audio::fix_length(clip, clip.frames() * 3 / 4)?.audio))),
        (
            "band_pass",
            here(move |clip, rng| {
                let centre = octaves(rng, 200.0, 4000.0);
                audio::band_pass(clip, centre * 0.7, centre * 1.4, 2);
            }),
        ),
        (
            "band_stop",
            here(move |clip, rng| {
                let centre = octaves(rng, 200.0, 4000.0);
                audio::band_stop(clip, centre * 0.7, centre * 1.4);
            }),
        ),
        ("low_shelf", here(move |clip, rng| audio::low_shelf(clip, octaves(rng, 50.0, 4000.0), rng.random_range(-18.0..18.0), 0.7))),
        ("high_shelf", here(move |clip, rng| audio::high_shelf(clip, octaves(rng, 300.0, 7500.0), rng.random_range(-18.0..18.0), 0.7))),
        ("peaking", here(move |clip, rng| audio::peaking(clip, octaves(rng, 50.0, 7500.0), rng.random_range(-24.0..24.0), 1.0))),
        (
            "seven_bands",
            here(|clip, rng| {
                let gains = std::array::from_fn(|_| rng.random_range(-12.0..12.0));
                audio::seven_bands(clip, gains);
            }),
        ),
        ("air_absorption", here(|clip, rng| audio::air_absorption(clip, rng.random_range(10.0..100.0), 15.0, 50.0))),
        ("aliasing", here(|clip, rng| audio::alias(clip, rng.random_range(2..8)))),
        ("bit_crush", here(|clip, rng| audio::bit_depth(clip, rng.random_range(5..14)))),
        ("tanh_distortion", here(|clip, rng| audio::soft_clip(clip, rng.random_range(3.0..24.0)))),
        ("limiter", here(|clip, rng| audio::limit(clip, rng.random_range(-24.0..-12.0), 0.001, 0.1))),
        (
            "repeat_part",
            Box::new(move |clip, rng| {
                let start = any_edge(rng, clip.frames() / 2);
                Ok(audio::repeat_part(clip, start, start + clip.frames() / 10, 2, RATE as usize / 200)?.0)
            }),
        ),
        ("lossy_coding", here(|clip, rng| audio::lossy(clip, rng.random_range(2000.0..7000.0), 6.0))),
        // No peer.
        (
            "hum",
            here(move |clip, rng| {
                let field = audio::hum(RATE, 1, clip.frames(), 50.0, 5, 6.0, rng.random());
                snr(clip, &field, rng);
            }),
        ),
        ("frequency_mask", here(|clip, rng| audio::frequency_mask(clip, 800.0, 1600.0, 0.0, rng.random_range(0.3..1.0)))),
        ("telephone", Box::new(|clip, _| audio::telephone(clip, audio::Coding::MuLaw))),
        ("speed", Box::new(|clip, rng| Ok(audio::speed(clip, rng.random_range(0.8..1.25))?.audio))),
        ("fade", here(|clip, _| audio::fade(clip, RATE as usize / 4, RATE as usize / 4, FadeShape::Cosine))),
        (
            "compressor",
            here(|clip, rng| {
                let threshold_db = rng.random_range(-40.0..-20.0);
                let compression = Compression { threshold_db, ratio: 4.0, knee_db: 6.0, attack_s: 0.005, release_s: 0.1, makeup_db: 6.0 };
                audio::compress(clip, &compression);
            }),
        ),
    ])
}

/// All audio cases that are wanted; `two_threads/..` is `compose_4` over a set of 64 clips on one thread and on two, by wall clock.
pub fn cases(peers: Option<&Peers>, wanted: &Wanted) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for seconds in [1, 10] {
        let fresh: Vec<_> =
            operators()?.into_iter().map(|(name, run)| (format!("audio/{name}/{seconds}s"), run)).filter(|c| wanted.has(&c.0)).collect();
        if fresh.is_empty() {
            continue;
        }
        let clips = Arc::new(clips(peers, seconds)?);
        for (name, run) in fresh {
            let clips = clips.clone();
            let mut rng = SeedTree::new(1).child(&name).rng();
            let run = move |i: usize| {
                black_box(run(&clips[i % clips.len()], &mut rng)?);
                Ok(())
            };
            cases.push(Case { name, peers: PEERS, items: 1, run: Box::new(run) });
        }
    }
    Ok(cases)
}

/// How much faster two threads are than one, by wall clock, over a set of 64 clips of ten seconds.
pub fn two_threads(peers: Option<&Peers>, wanted: &Wanted) -> Result<()> {
    const NAMES: [&str; 3] = ["compose_4", "time_stretch", "apply_impulse_response"];
    let run: Vec<_> =
        operators()?.into_iter().filter(|(name, _)| NAMES.contains(name) && wanted.has(&format!("audio/{name}/threads"))).collect();
    if run.is_empty() {
        return Ok(());
    }
    let set: Vec<AudioBuffer> = clips(peers, 10)?.into_iter().cycle().take(64).collect();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| Error::usage(error.to_string()));
    let pools = [pool(1)?, pool(2)?];
    for (name, run) in run {
        let one = |at: usize, clip: &AudioBuffer| run(clip, &mut SeedTree::new(1).child(name).variant(at).rng()).map(drop);
        let mut best = [f64::INFINITY; 2];
        for _ in 0..4 {
            for (pool, best) in pools.iter().zip(&mut best) {
                let start = std::time::Instant::now();
                pool.install(|| set.par_iter().enumerate().try_for_each(|(at, clip)| one(at, clip)))?;
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        println!("audio/{name}/threads: two threads {:.2} times one (64 clips of 10 s, best of four by turns)", best[0] / best[1]);
    }
    Ok(())
}
