//! Against OpenCV and scikit-image: `tests/golden/image/make.py` says how the numbers were made.

use super::*;
use crate::sample::ImageBuffer;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<u8> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u8).collect()
}

/// Greatest and mean distance of what `f` makes from a case.
fn distance(case: &str, f: impl Fn(&ImageBuffer, &Value) -> ImageBuffer) -> (u8, f64) {
    let file: Value = serde_json::from_str(include_str!("../../../tests/golden/image/references.json")).unwrap();
    let wanted = numbers(&file["cases"][case]);
    let gray = case.starts_with("clahe") || case == "equalize";
    let (name, channels) = if gray { ("gray", 1) } else { ("picture", 3) };
    let picture = ImageBuffer::new(16, 12, channels, numbers(&file[name])).unwrap();
    let found = f(&picture, &file);
    assert_eq!(found.pixels().len(), wanted.len(), "{case}");
    let apart: Vec<u8> = found.pixels().iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = apart.iter().map(|d| f64::from(*d)).sum::<f64>() / apart.len() as f64;
    (apart.into_iter().max().unwrap(), mean)
}

fn changed(f: impl Fn(&mut ImageBuffer)) -> impl Fn(&ImageBuffer, &Value) -> ImageBuffer {
    move |picture, _| {
        let mut out = picture.clone();
        f(&mut out);
        out
    }
}

#[test]
fn geometry_is_scikit_images() {
    let (most, mean) = distance("rotate_20", |p, _| rotate(p, 20.0, Edge::Extend).unwrap());
    assert!(most <= 1 && mean < 0.3, "{most} {mean}");
    let (most, mean) = distance("projective", |p, file| {
        let matrix: Vec<f64> = file["projective"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        warp(p, &PointMap::Projective(matrix.try_into().unwrap()), 16, 12, Edge::Extend, Sampling::Bilinear).unwrap()
    });
    assert!(most <= 1 && mean < 0.3, "{most} {mean}");
}

#[test]
fn sizes_and_blurs_are_opencvs() {
    let (most, mean) = distance("bilinear_25x7", |p, _| resize(p, 25, 7, Filter::Bilinear).unwrap());
    assert!(most <= 1 && mean < 0.2, "{most} {mean}");
    let (most, mean) = distance("area_5x4", |p, _| resize(p, 5, 4, Filter::Area).unwrap());
    assert!(most <= 1 && mean < 0.2, "{most} {mean}");
    let (most, mean) = distance("gaussian_7", |p, _| gaussian_blur_cut(p, 1.5, 3));
    assert!(most <= 1 && mean < 0.2, "{most} {mean}");
}

#[test]
fn tones_and_colours_are_theirs() {
    let (most, mean) = distance("equalize", changed(|p| equalize(p, 1.0)));
    assert!(most <= 1 && mean < 0.1, "{most} {mean}");
    let (most, mean) = distance("clahe_4x3", changed(|p| clahe(p, 2.0, 4, 3, 1.0)));
    assert!(most <= 1 && mean < 0.1, "{most} {mean}");
    let (most, mean) = distance("clahe_5x5", changed(|p| clahe(p, 40.0, 5, 5, 1.0)));
    assert!(most <= 1 && mean < 0.1, "{most} {mean}");
    let (most, mean) = distance("hexcone", changed(|p| hue_saturation_value(p, 50.0, 0.1, -0.05)));
    assert!(most <= 1 && mean < 0.1, "{most} {mean}");
}

#[test]
fn a_jpeg_file_is_libjpegs() {
    for (case, quality) in [("jpeg_50", 50.0), ("jpeg_15", 15.0)] {
        let (most, mean) = distance(case, changed(|p| jpeg(p, quality)));
        assert!(most <= 12 && mean < 1.0, "{case}: {most} {mean}");
    }
}

/// `tests/golden/image/webp.py`: libwebp's loss of the same picture at the same quality.
#[test]
fn what_webp_leaves_is_libwebps() {
    let file: Value = serde_json::from_str(include_str!("../../../tests/golden/image/webp.json")).unwrap();
    let (width, height) = (96i64, 64i64);
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let grain = ((x * 7919 + y * 104_729) % 251 * 31) % 23;
            let ring = ((x - 60).pow(2) + (y - 30).pow(2)) / 90 % 2 * 60;
            let check = if x < 32 && y < 32 { (x / 4 + y / 4) % 2 * 90 } else { 0 };
            let light = 30 + x / 2 + grain + ring + check / 2;
            pixels.extend([light + y / 4, light, light + 30 - x / 8].map(|value| value as u8));
        }
    }
    assert_eq!(file["sum"].as_i64().unwrap(), pixels.iter().map(|p| i64::from(*p)).sum::<i64>(), "another picture");
    let picture = ImageBuffer::new(width as usize, height as usize, 3, pixels).unwrap();
    for row in file["rows"].as_array().unwrap() {
        let (quality, right) = (row["quality"].as_f64().unwrap(), row["psnr_db"].as_f64().unwrap());
        let mut out = picture.clone();
        webp(&mut out, quality);
        let square = out.pixels().iter().zip(picture.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>();
        let psnr = 10.0 * (255f64.powi(2) * out.pixels().len() as f64 / square).log10();
        assert!((psnr - right).abs() < 1.0, "quality {quality}: {psnr} dB, libwebp {right}");
    }
}
