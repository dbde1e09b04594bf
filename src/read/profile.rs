use super::{Measured, Source};
use crate::{
    error::{Error, Result},
    model::DataProfile,
    sample::{Classes, ModalitySet},
};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Most entries whose media are measured.
const MEASURED: usize = 512;

/// What a model needs to know of a data set: classes, modalities, the most common image size and sample rate, quantiles of the lengths of
/// audio (95 %) and text (99 %). Modalities come from all entries, the rest from at most 512, evenly spaced. A medium
/// that cannot be read is passed over here (reading it later is an error); an error where not one of them can be read.
pub fn profile(source: &dyn Source, classes: &Classes) -> Result<DataProfile> {
    let count = source.entries().len();
    let measured = count.min(MEASURED);
    let results: Vec<Result<Measured>> = (0..measured).into_par_iter().map(|i| source.measure(i * count / measured)).collect();
    if let (true, Some(Err(first))) = (results.iter().all(Result::is_err), results.first()) {
        return Err(Error::data(format!("no sample can be read; the first problem: {first}")).at("file", source.name()));
    }
    let found: Vec<Measured> = results.into_iter().flatten().collect();
    let lengths = |sorted: Vec<f64>, share: f64| quantile(sorted, share);
    let image = most_common(found.iter().filter_map(|one| one.image));
    let audio = most_common(found.iter().filter_map(|one| one.audio.map(|audio| audio.sample_rate_hz))).and_then(|rate| {
        let seconds = found.iter().filter_map(|one| one.audio).map(|audio| audio.frames as f64 / f64::from(audio.sample_rate_hz));
        Some((rate, lengths(seconds.collect(), 0.95)?))
    });
    let text = lengths(found.iter().filter_map(|one| one.text).map(|chars| chars as f64).collect(), 0.99).map(|chars| chars as usize);
    let modalities = source.entries().iter().fold(ModalitySet::EMPTY, |all, entry| all.or(entry.present));
    Ok(DataProfile { classes: classes.clone(), modalities, image, audio, text })
}

/// The value met most often; the smallest among equals.
fn most_common<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let most = counts.values().copied().max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(value, _)| value)
}

/// The least value that at least `share` of the values do not exceed.
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        read::MemorySource,
        sample::{AudioBuffer, ImageBuffer, Media, Sample, Text},
    };

    #[test]
    fn a_profile_counts_what_is_there() {
        let mut samples = Vec::new();
        for i in 0..40usize {
            let mut sample = Sample::new(format!("s{i:02}").as_str());
            let side = if i % 3 == 0 { 10 } else { 28 };
            sample.image = Some(Media::new(ImageBuffer::filled(side, 28, 1, i as u8).unwrap()));
            if i < 20 {
                // 0.1 s to 2 s: the 95 % quantile of twenty is the nineteenth.
                sample.audio = Some(Media::new(AudioBuffer::new(8000, 1, vec![0.0; 800 * (i + 1)]).unwrap()));
            }
            sample.text = (i == 7).then(|| Media::new(Text::new("zwölf")));
            samples.push((sample, None));
        }
        let found = profile(&MemorySource::new(samples).unwrap(), &Classes::default()).unwrap();
        assert_eq!((found.image, found.audio, found.text), (Some((28, 28, 1)), Some((8000, 1.9)), Some(5)));
        assert_eq!(found.modalities, ModalitySet::ALL);
    }

    #[test]
    fn the_built_in_digits_have_a_profile() {
        use crate::read::{LabelIndex, Manifest, Reader};
        let source = Manifest::new("builtin:digits/train.jsonl").open(std::path::Path::new("")).unwrap();
        let labels = LabelIndex::of(source.entries());
        let found = profile(source.as_ref(), labels.classes()).unwrap();
        assert_eq!((found.classes.len(), found.image), (10, Some((28, 28, 1))));
        assert!(found.audio.is_some_and(|(rate, seconds)| rate == 8000 && (0.3..1.5).contains(&seconds)), "{:?}", found.audio);
    }
}
