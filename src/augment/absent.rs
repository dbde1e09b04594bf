//! Media, or parts of them, that are taken away, and what stands in their place: patches of an image, spans of a waveform, words of a text. Pure; which
//! parts go and the random numbers of a noise are handed in.
//!
//! Reference: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout"; Park et al. 2019, "SpecAugment"; Iyyer et al.
//! 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification" (word dropout).

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};

/// Patches along one side of an image.
pub const PATCHES_A_SIDE: usize = 7;
/// Patches of an image.
pub const PATCHES: usize = PATCHES_A_SIDE * PATCHES_A_SIDE;
/// Spans of a waveform, of equal length.
pub const SPANS: usize = 20;

/// What stands in the place of what is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill<'a> {
    /// 0: black, or silence.
    Zero,
    /// The mean of each channel of the medium itself.
    Mean,
    /// Noise of the medium's own kind: uniform in `0..=1` for pixels, Gaussian of the same root mean square for waveforms.
    Noise,
    /// What another medium of the same number of channels has at the same place, its length stretched to this one's. Without such a medium: 0.
    Other(&'a [f32]),
}

/// So many parts of `n` that a share of them is gone: rounded, at least one and at most all, drawn without replacement, in ascending order.
pub fn parts<R: Rng + ?Sized>(n: usize, share: f64, rng: &mut R) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let many = ((share * n as f64).round() as usize).clamp(1, n);
    let mut gone = rand::seq::index::sample(rng, n, many).into_vec();
    gone.sort_unstable();
    gone
}

fn mask(n: usize, gone: &[usize]) -> Vec<bool> {
    let mut mask = vec![false; n];
    gone.iter().filter_map(|part| mask.get_mut(*part).map(|hole| *hole = true)).count();
    mask
}

/// Blanks the patches `gone` (of [`PATCHES`], rows from the top) of interleaved pixels in `0..=1`: `height * width * channels` values. Opacity, the fourth
/// channel, stays.
pub fn patches<R: Rng + ?Sized>(values: &mut [f32], width: usize, channels: usize, gone: &[usize], fill: Fill<'_>, rng: &mut R) {
    let (mask, height) = (mask(PATCHES, gone), values.len().checked_div(width * channels).unwrap_or(0));
    let hole = |frame: usize| {
        let (row, column) = (frame / width, frame % width);
        mask[(row * PATCHES_A_SIDE / height.max(1)).min(PATCHES_A_SIDE - 1) * PATCHES_A_SIDE + column * PATCHES_A_SIDE / width]
    };
    blank(values, channels, channels.min(3), hole, fill, |_, rng: &mut R| rng.random::<f32>(), rng);
}

/// Blanks the spans `gone` (of [`SPANS`]) of an interleaved waveform.
pub fn spans<R: Rng + ?Sized>(values: &mut [f32], channels: usize, gone: &[usize], fill: Fill<'_>, rng: &mut R) {
    let (mask, frames) = (mask(SPANS, gone), values.len().checked_div(channels).unwrap_or(0));
    let power = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64;
    let normal = Normal::new(0.0, power.sqrt()).ok();
    let draw = |_, rng: &mut R| normal.map_or(0.0, |normal| (normal.sample(rng) as f32).clamp(-1.0, 1.0));
    blank(values, channels, channels, |frame| mask[(frame * SPANS / frames.max(1)).min(SPANS - 1)], fill, draw, rng);
}

fn blank<R: Rng + ?Sized>(
    values: &mut [f32],
    channels: usize,
    coloured: usize,
    hole: impl Fn(usize) -> bool,
    fill: Fill<'_>,
    draw: impl Fn(usize, &mut R) -> f32,
    rng: &mut R,
) {
    if channels == 0 {
        return;
    }
    let frames = values.len() / channels;
    let mean = |channel: usize| {
        let sum: f64 = values.iter().skip(channel).step_by(channels).map(|v| f64::from(*v)).sum();
        (sum / frames.max(1) as f64) as f32
    };
    let means: Vec<f32> = if fill == Fill::Mean { (0..coloured).map(mean).collect() } else { vec![0.0; coloured] };
    for (frame, of_frame) in values.chunks_exact_mut(channels).enumerate().filter(|(frame, _)| hole(*frame)) {
        for (channel, value) in of_frame.iter_mut().take(coloured).enumerate() {
            *value = match fill {
                Fill::Zero | Fill::Mean => means[channel],
                Fill::Noise => draw(channel, rng),
                Fill::Other(other) => {
                    let theirs = other.len() / channels;
                    let at = (frame * theirs).checked_div(frames).unwrap_or(0);
                    other.get(at * channels + channel).copied().unwrap_or(0.0)
                }
            };
        }
    }
}

/// The text without the words `gone`, by their place among the words between white space. With `noise` their letters become others at random instead; with
/// `other` they become the words at the same place of that text, as often as it has to begin anew. At least one word stays where one is taken out.
pub fn words<R: Rng + ?Sized>(text: &str, gone: &[usize], noise: bool, other: Option<&str>, rng: &mut R) -> String {
    let own: Vec<&str> = text.split_whitespace().collect();
    let others: Vec<&str> = other.map(|other| other.split_whitespace().collect()).unwrap_or_default();
    let mask = mask(own.len(), gone);
    let replaces = noise || !others.is_empty();
    let all = mask.iter().all(|hole| *hole);
    let mut kept: Vec<String> = Vec::with_capacity(own.len());
    for (i, word) in own.iter().enumerate() {
        if !mask[i] || (all && !replaces && i == 0) {
            kept.push((*word).to_owned());
        } else if noise {
            kept.push(word.chars().map(|c| if c.is_alphanumeric() { char::from(b'a' + rng.random_range(0..26u8)) } else { c }).collect());
        } else if let Some(other) = others.get(i % others.len().max(1)) {
            kept.push((*other).to_owned());
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use proptest::prelude::*;

    #[test]
    fn patches_spans_and_words_of_worked_media() {
        let rng = &mut SeedTree::new(1).rng();
        // 14 x 7 pixels: a patch is two columns of one row. The mean of 0, 1, 2, ... 97 is 48.5.
        let mut image: Vec<f32> = (0..98).map(|v| v as f32).collect();
        patches(&mut image, 14, 1, &[0, 8], Fill::Mean, rng);
        assert_eq!((image[..3].to_vec(), image[14..19].to_vec()), (vec![48.5, 48.5, 2.0], vec![14.0, 15.0, 48.5, 48.5, 18.0]));
        // Opacity stays.
        let mut clear = vec![0.5f32; 7 * 7 * 4];
        patches(&mut clear, 7, 4, &[48], Fill::Zero, rng);
        assert_eq!(clear[192..], [0.0, 0.0, 0.0, 0.5]);
        let mut wave = vec![1.0f32; 40];
        spans(&mut wave, 2, &[1, 19], Fill::Zero, rng);
        assert_eq!((&wave[..6], &wave[36..]), (&[1.0, 1.0, 0.0, 0.0, 1.0, 1.0][..], &[1.0, 1.0, 0.0, 0.0][..]));
        let other: Vec<f32> = (0..10).map(|v| v as f32).collect();
        spans(&mut wave, 2, &[0, 10], Fill::Other(&other), rng);
        assert_eq!((&wave[..2], &wave[20..22]), (&[0.0, 1.0][..], &[4.0, 5.0][..]));
        assert_eq!(words("a  red dog", &[1], false, None, rng), "a dog");
        assert_eq!(words("a red dog", &[0, 1, 2], false, None, rng), "a");
        assert_eq!(words("a red dog", &[0, 2], false, Some("two cats"), rng), "two red two");
        assert_eq!((words("", &[0], true, None, rng), words("x", &[7], true, None, rng)), (String::new(), "x".into()));
        assert_eq!((parts(0, 0.5, rng), parts(3, 0.0, rng).len(), parts(3, 1.0, rng)), (vec![], 1, vec![0, 1, 2]));
    }

    proptest! {
        #[test]
        fn only_what_is_gone_changes(
            width in 1usize..20, height in 1usize..20, channels in prop::sample::select(vec![1usize, 3, 4]), share in 0f64..1.0, seed: u64, kind in 0usize..4,
        ) {
            let rng = &mut SeedTree::new(seed).rng();
            let before = vec![0.25f32; width * height * channels];
            let other = [0.75f32; 12];
            let fill = [Fill::Zero, Fill::Mean, Fill::Noise, Fill::Other(&other)][kind];
            let gone = parts(PATCHES, share, rng);
            prop_assert!(gone.windows(2).all(|pair| pair[0] < pair[1]) && gone.len() == ((share * 49.0).round() as usize).max(1));
            let mut image = before.clone();
            patches(&mut image, width, channels, &gone, fill, rng);
            let changed = image.iter().zip(&before).filter(|(a, b)| a != b).count();
            // A patch has at most its rounded-up share of the pixels.
            prop_assert!(changed <= gone.len() * width.div_ceil(7) * height.div_ceil(7) * channels.min(3));
            prop_assert!(image.iter().all(|v| (0.0..=1.0).contains(v)));
            let mut wave = before.clone();
            spans(&mut wave, channels, &[], fill, rng);
            prop_assert_eq!(&wave, &before);
            spans(&mut wave, channels, &(0..SPANS).collect::<Vec<_>>(), fill, rng);
            prop_assert!(wave.iter().all(|v| (-1.0..=1.0).contains(v)) && (kind != 0 || wave.iter().all(|v| *v == 0.0)));
        }

        #[test]
        fn words_keep_their_number_where_they_are_replaced(text in "[a-z ]{0,30}", share in 0f64..1.0, seed: u64) {
            let rng = &mut SeedTree::new(seed).rng();
            let n = text.split_whitespace().count();
            let gone = parts(n, share, rng);
            let count = |text: String| text.split_whitespace().count();
            prop_assert_eq!(count(words(&text, &gone, true, None, rng)), n);
            prop_assert_eq!(count(words(&text, &gone, false, Some("x y"), rng)), n);
            prop_assert_eq!(count(words(&text, &gone, false, None, rng)), (n - gone.len()).max(n.min(1)));
        }
    }
}
