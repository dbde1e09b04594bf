//! Image functions beside albumentations: the photographs that the peers' script makes, of 224 and 512 pixels a side.

use crate::{Case, Peer, Peers, Wanted};
use hardmine::{
    augment::image::{self, Affine, Edge, Fill, Filter, Jitter, PixelRect, Rain, Sides, Snow, Tone},
    error::{Error, Result},
    random::SeedTree,
    sample::ImageBuffer,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::{hint::black_box, rc::Rc, time::Instant};

/// `PEERS_ALB208` names the folder of `pip install --target` that holds albumentations 2.0.8, whose module has the same name.
const PEERS: &[Peer] = &[
    Peer { script: "image_ops.py", library: "albumentations", path: Some("PEERS_ALB208") },
    Peer { script: "image_ops.py", library: "albumentationsx", path: None },
    // An absolute path stays what it is.
    Peer { script: MORE, library: "albumentations", path: Some("PEERS_ALB208") },
    Peer { script: MORE, library: "albumentationsx", path: None },
];
const MORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/media/image_more.py");

/// The peers' own pictures, or smooth ones of the same size where there is no Python.
fn pictures(peers: Option<&Peers>, size: usize) -> Result<Vec<ImageBuffer>> {
    let bytes = match peers {
        Some(peers) => {
            peers.output(&format!("import sys, common\nfor x in common.image_set({size}): sys.stdout.buffer.write(x.tobytes())"))?
        }
        None => (0..24 * size * size * 3).map(|i| (128.0 + 120.0 * (i as f64 * 0.0021).sin()) as u8).collect(),
    };
    bytes.chunks_exact(size * size * 3).map(|one| ImageBuffer::new(size, size, 3, one.to_vec()).map_err(Error::data)).collect()
}

type Make = Box<dyn Fn(&ImageBuffer, &mut ChaCha8Rng) -> Result<ImageBuffer> + Send + Sync>;

/// A function that works in place, with the copy that the peers make, too.
fn changed(change: impl Fn(&mut ImageBuffer, &mut ChaCha8Rng) + Send + Sync + 'static) -> Make {
    Box::new(move |image, rng| {
        let mut out = image.clone();
        change(&mut out, rng);
        Ok(out)
    })
}

/// What is timed on pictures of `size` pixels a side.
fn operators(size: usize) -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = Vec::new();
    let mut add = |name, run: Make| all.push((name, run));
    let side = size as f64;
    add("hflip", Box::new(|image, _| Ok(image::flip_horizontal(image))));
    add("rotate_bilinear_30", Box::new(|image, rng| image::rotate(image, rng.random_range(-30.0..30.0), Edge::Zero)));
    add(
        "affine",
        Box::new(move |image, rng| {
            let by = Affine {
                rotate: rng.random_range(-15.0..15.0),
                scale: (rng.random_range(0.8..1.2), rng.random_range(0.8..1.2)),
                shear: (rng.random_range(-8.0..8.0), rng.random_range(-8.0..8.0)),
                translate: (side * rng.random_range(-0.1..0.1), side * rng.random_range(-0.1..0.1)),
            };
            image::affine(image, &by, Edge::Zero)
        }),
    );
    add(
        "perspective",
        Box::new(move |image, rng| {
            let mut near = || side * rng.random_range(0.0..0.1);
            let corners = [(near(), near()), (side - near(), near()), (side - near(), side - near()), (near(), side - near())];
            image::perspective(image, corners, Edge::Zero)
        }),
    );
    add("elastic", Box::new(|image, rng| image::elastic(image, 2.0, 7.0, rng.random(), Edge::Mirror)));
    add(
        "random_resized_crop_224",
        Box::new(move |image, rng| {
            let share = rng.random_range(0.3f64..1.0).sqrt();
            let cut = share * side;
            let (x, y) = (rng.random_range(0.0..=side - cut), rng.random_range(0.0..=side - cut));
            // As the peers: without a wider filter where it shrinks.
            image::crop_resize_by(image, PixelRect { x, y, width: cut, height: cut }, 224, 224, Filter::Bilinear)
        }),
    );
    add("gaussian_blur_k7", Box::new(|image, _| Ok(image::gaussian_blur_cut(image, 1.5, 3))));
    add("gauss_noise", changed(|image, rng| image::gaussian_noise(image, 0.1, false, rng.random())));
    add("gauss_noise_per_channel", changed(|image, rng| image::gaussian_noise(image, 0.1, false, rng.random())));
    add(
        "color_jitter",
        changed(|image, rng| {
            let mut factor = || rng.random_range(0.8..1.2);
            let (brightness, contrast, saturation) = (factor(), factor(), factor());
            image::colour_jitter(image, &Jitter { brightness, contrast, saturation, hue: rng.random_range(-36.0..36.0) });
        }),
    );
    add("brightness_contrast", changed(|image, rng| image::linear(image, rng.random_range(0.8..1.2), rng.random_range(-0.2..0.2))));
    add(
        "hue_saturation_value",
        changed(|image, rng| {
            // 20 of OpenCV's 180 steps, 30 and 20 of 255.
            let (hue, saturation, value) = (rng.random_range(-40.0..40.0), rng.random_range(-0.12..0.12), rng.random_range(-0.08..0.08));
            image::hue_saturation_value(image, hue, saturation, value);
        }),
    );
    add("jpeg_compression_q50", changed(|image, _| image::jpeg(image, 50.0)));
    add(
        "coarse_dropout_8",
        changed(move |image, rng| {
            let hole = side / 10.0;
            let rects: [PixelRect; 8] = std::array::from_fn(|_| PixelRect {
                x: rng.random_range(0.0..side - hole),
                y: rng.random_range(0.0..side - hole),
                width: hole,
                height: hole,
            });
            image::cutouts(image, &rects, Fill::Black);
        }),
    );
    add(
        "random_rain",
        changed(move |image, rng| {
            // The peers draw 20 pixel streaks, one in 600 pixels of the picture (the newer one in 1000), and darken by 0.7.
            let by = Rain { count: size * size / 600, length: 20.0, slant: rng.random_range(-10.0..10.0), opacity: 0.7, light: 0.7 };
            image::rain(image, &by, rng.random());
        }),
    );
    add("random_fog", changed(|image, rng| image::fog(image, rng.random_range(0.3..1.0), 2.0, rng.random())));
    add(
        "compose_5",
        Box::new(move |image, rng| {
            let angle = rng.random_range(-15.0..15.0);
            let mut out = image::rotate(image, angle, Edge::Zero)?;
            if rng.random_bool(0.5) {
                image::flip_horizontal_in_place(&mut out);
            }
            image::linear(&mut out, rng.random_range(0.8..1.2), rng.random_range(-0.2..0.2));
            let mut out = image::gaussian_blur(&out, rng.random_range(0.5..3.0));
            let rects: [PixelRect; 2] = std::array::from_fn(|_| {
                let (width, height) = (side * rng.random_range(0.1..0.2), side * rng.random_range(0.1..0.2));
                PixelRect { x: rng.random_range(0.0..side - width), y: rng.random_range(0.0..side - height), width, height }
            });
            image::cutouts(&mut out, &rects, Fill::Black);
            Ok(out)
        }),
    );
    all
}

/// The operators of `image_more.py`.
fn more(size: usize) -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = Vec::new();
    let mut add = |name, run: Make| all.push((name, run));
    let side = size as f64;
    add("webp_compression_q50", changed(|image, _| image::webp(image, 50.0)));
    add("vflip", Box::new(|image, _| Ok(image::flip_vertical(image))));
    let sides = Sides { left: 16, right: 16, top: 16, bottom: 16 };
    add("pad_16", Box::new(move |image, _| image::pad(image, sides, Edge::Zero, [0; 4])));
    add("downscale_half", Box::new(|image, _| image::resize_down_up(image, 0.5, Filter::Area, Filter::Bilinear)));
    add("motion_blur_k7", Box::new(|image, rng| Ok(image::motion_blur(image, 7.0, rng.random_range(0.0..180.0)))));
    add("defocus_r3", Box::new(|image, _| Ok(image::defocus_blur(image, 3.0))));
    add("zoom_blur", Box::new(|image, rng| Ok(image::zoom_blur(image, rng.random_range(1.0..1.31)))));
    add("glass_blur", Box::new(|image, rng| Ok(image::glass_blur(image, 0.7, 4.0, 2, rng.random()))));
    // The peers' scale is the share of full light that one photon makes.
    add("shot_noise", changed(|image, rng| image::shot_noise(image, 1.0 / rng.random_range(0.1f32..0.3), rng.random())));
    add("salt_and_pepper", changed(|image, rng| image::impulse_noise(image, rng.random_range(0.01..0.06), rng.random())));
    add("gamma", Box::new(|image, rng| Ok(image::toned(image, &[Tone::Gamma(rng.random_range(0.8..1.2))]))));
    add("to_gray", changed(|image, _| image::grayscale(image, 1.0)));
    add("solarize", Box::new(|image, _| Ok(image::toned(image, &[Tone::Solarize(0.5)]))));
    add("invert", Box::new(|image, _| Ok(image::toned(image, &[Tone::Solarize(0.0)]))));
    add("posterize_4", Box::new(|image, _| Ok(image::toned(image, &[Tone::Posterize(16)]))));
    add("equalize", changed(|image, _| image::equalize(image, 1.0)));
    add("clahe_8x8", changed(|image, _| image::clahe(image, 4.0, 8, 8, 1.0)));
    add("sharpen", changed(|image, rng| image::sharpen(image, rng.random_range(0.2..0.5), 1.0)));
    add(
        "grid_dropout",
        changed(move |image, rng| {
            let unit = side / 8.0;
            image::grid_mask(image, unit, 0.25, rng.random_range(0.0..unit), rng.random_range(0.0..unit), Fill::Black);
        }),
    );
    add(
        "random_snow",
        changed(|image, rng| {
            let by = Snow { density: 0.05, size: 2.0, trace: 6.0, degrees: rng.random_range(225.0..315.0), pale: 0.3 };
            image::snow(image, &by, rng.random());
        }),
    );
    add(
        "random_shadow",
        changed(move |image, rng| {
            for _ in 0..rng.random_range(1..=2) {
                let corners: [(f64, f64); 5] = std::array::from_fn(|_| (rng.random_range(0.0..side), rng.random_range(side / 2.0..side)));
                image::shadow(image, &corners, 0.5);
            }
        }),
    );
    add(
        "tones_4",
        Box::new(|image, rng| {
            let linear = Tone::Linear(rng.random_range(0.8..1.2), rng.random_range(-0.2..0.2));
            Ok(image::toned(image, &[linear, Tone::Gamma(rng.random_range(0.8..1.2)), Tone::Solarize(0.5), Tone::Posterize(16)]))
        }),
    );
    all
}

/// All image cases that are wanted.
pub fn cases(peers: Option<&Peers>, wanted: &Wanted) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for size in [224, 512] {
        let fresh: Vec<_> =
            operators(size).into_iter().chain(more(size)).map(|(name, run)| (format!("image/{name}/{size}"), run)).collect();
        if !fresh.iter().any(|(name, _)| wanted.has(name)) {
            continue;
        }
        let pictures = Rc::new(pictures(peers, size)?);
        for (name, run) in fresh {
            let pictures = pictures.clone();
            let mut rng = SeedTree::new(1).child(&name).rng();
            let run = move |i: usize| {
                black_box(run(&pictures[i % pictures.len()], &mut rng)?);
                Ok(())
            };
            cases.push(Case { name, peers: PEERS, items: 1, run: Box::new(run) });
        }
    }
    Ok(cases)
}

/// How much faster two threads are than one, by wall clock, over a set of pictures: every operator, and all of them together.
pub fn two_threads(peers: Option<&Peers>, wanted: &Wanted) -> Result<()> {
    const SIZE: usize = 512;
    let run: Vec<_> =
        operators(SIZE).into_iter().chain(more(SIZE)).filter(|(name, _)| wanted.has(&format!("image/{name}/threads"))).collect();
    if run.is_empty() {
        return Ok(());
    }
    let set = pictures(peers, SIZE)?;
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| Error::usage(error.to_string()));
    let pools = [pool(1)?, pool(2)?];
    let mut sums = [0.0; 2];
    for (name, run) in run {
        let one = |at: usize| {
            let mut rng = SeedTree::new(1).child(name).variant(at).rng();
            run(&set[at % set.len()], &mut rng).map(|made| drop(black_box(made)))
        };
        // As many pictures as one thread does in a tenth of a second.
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed().as_secs_f64() < 0.1 {
            one(count)?;
            count += 1;
        }
        let mut best = [f64::INFINITY; 2];
        for _ in 0..5 {
            for (pool, best) in pools.iter().zip(&mut best) {
                let start = Instant::now();
                pool.install(|| (0..count).into_par_iter().try_for_each(one))?;
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        sums.iter_mut().zip(best).for_each(|(sum, best)| *sum += best);
        println!(
            "image/{name}/threads: two threads {:.2} times one ({count} pictures of {SIZE} pixels, best of five by turns)",
            best[0] / best[1]
        );
    }
    println!("all of these: two threads {:.2} times one", sums[0] / sums[1]);
    Ok(())
}
