//! Stored corruptions of a test split, for `evaluate: { extra: ... }`: recorded background noise at 10, 5 and 0 dB, and a covered picture.
//! Every sample draws its noise and its place by its id, so that the same command writes the same files.
//!
//! `cargo run --release --example corrupt_split -- TEST.jsonl NOISE_FOLDER OUT`

use hardmine::{
    augment::{
        audio::mix_at_snr,
        image::{Fill, PixelRect, cutout},
    },
    codec,
    error::{Error, Result},
    model::{Waveform, preprocess::Canonical},
    random::SeedTree,
    read::{Manifest, Reader},
};
use rand::RngExt;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const SNR_DB: [f64; 3] = [10.0, 5.0, 0.0];
/// Share of the picture's sides that is covered.
const COVERED: f64 = 0.45;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(test), Some(noise), Some(out)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(Error::usage("expected: corrupt_split TEST.jsonl NOISE_FOLDER OUT"));
    };
    let read = |path: &Path| fs::read(path).map_err(|error| Error::io(path, error));
    let mut noises: Vec<PathBuf> =
        fs::read_dir(&noise).map_err(|error| Error::io(&noise, error))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    noises.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    noises.sort();
    let noises = noises.iter().map(|path| Ok(Waveform::from(codec::audio::decode(&read(path)?)?.get()))).collect::<Result<Vec<_>>>()?;
    let source = Manifest::new(test.to_string_lossy()).open(Path::new("."))?;
    let lines = String::from_utf8_lossy(&read(&test)?).into_owned();
    let base = fs::canonicalize(test.parent().unwrap_or(Path::new("."))).map_err(|error| Error::io(&test, error))?;
    let seeds = SeedTree::new(7).child("stored corruptions");
    let mut manifests = vec![String::new(); SNR_DB.len() + 1];
    for (i, line) in lines.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        let mut row: Value = serde_json::from_str(line).map_err(|error| Error::data(error.to_string()).at("line", i + 1))?;
        for medium in ["image", "audio"] {
            if let Some(path) = row[medium].as_str().map(|path| base.join(path)) {
                row[medium] = path.to_string_lossy().into();
            }
        }
        let sample = source.fetch(i)?;
        let mut rng = seeds.sample(&sample.id).rng();
        let (which, at, x, y): (f64, f64, f64, f64) = rng.random();
        if let Some(clean) = sample.audio.as_ref().map(|media| media.get()) {
            let noise = &noises[(which * noises.len() as f64) as usize];
            let field = Canonical::new(None, Some((clean.sample_rate_hz(), None))).audio(noise)?.apply(&noise.values);
            let from = (at * field.len().saturating_sub(clean.frames()) as f64) as usize;
            let field: Vec<f32> =
                field.iter().skip(from).take(clean.frames()).flat_map(|v| std::iter::repeat_n(*v, clean.channels())).collect();
            for (snr, manifest) in SNR_DB.iter().zip(&mut manifests) {
                let mixed =
                    mix_at_snr(clean, &field, *snr).ok_or_else(|| Error::data("silent, no ratio exists").at("sample", &sample.id))?;
                let name = format!("snr_{snr}/{}.wav", sample.id);
                write(&out.join(&name), &codec::audio::encode(&mixed.audio)?.bytes)?;
                manifest.push_str(&with(&row, "audio", &name));
            }
        }
        if let Some(clean) = sample.image.as_ref().map(|media| media.get()) {
            let (width, height) = (COVERED * clean.width() as f64, COVERED * clean.height() as f64);
            let rect = PixelRect { x: x * (clean.width() as f64 - width), y: y * (clean.height() as f64 - height), width, height };
            let name = format!("occluded/{}.png", sample.id);
            write(&out.join(&name), &codec::image::encode(&cutout(clean, rect, Fill::Gray))?.bytes)?;
            manifests[SNR_DB.len()].push_str(&with(&row, "image", &name));
        }
    }
    let names = SNR_DB.iter().map(|snr| format!("snr_{snr}.jsonl")).chain(["occluded.jsonl".to_owned()]);
    names.zip(manifests).try_for_each(|(name, lines)| write(&out.join(name), lines.as_bytes()))
}

fn with(row: &Value, medium: &str, path: &str) -> String {
    let mut row = row.clone();
    row[medium] = path.into();
    format!("{row}\n")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes)).map_err(|error| Error::io(path, error))
}
