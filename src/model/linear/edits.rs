//! Edits of a text: an edit changes the few trigrams around it, and the length of all.

use super::features::{each_trigram, euclidean_length, trigram_counts};
use crate::model::TextEdits;
use std::ops::Range;

/// Sums of squares below this are whole numbers that single precision holds, in any order.
const EXACT: f64 = (1u64 << 24) as f64;

/// The trigrams of a text and their product with a slope.
pub(super) struct Counted<'a> {
    text: &'a str,
    slope: &'a [f32],
    counts: Vec<f32>,
    /// Of counts, not of their normalised form.
    product: f64,
    /// The same of the slope's magnitudes.
    magnitude: f64,
    squares: f64,
    length: f64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(text: &'a str, places: usize, slope: &'a [f32]) -> Self {
        let counts = trigram_counts(text, places);
        let sum = |of: &dyn Fn(f64, f64) -> f64| counts.iter().zip(slope).map(|(c, g)| of(f64::from(*c), f64::from(*g))).sum();
        let (product, magnitude) = (sum(&|c, g| c * g), sum(&|c, g| c * g.abs()));
        let squares = counts.iter().map(|c| f64::from(*c).powi(2)).sum();
        let mut counted = Self { text, slope, counts, product, magnitude, squares, length: 0.0 };
        counted.length = counted.length(squares, &[]);
        counted
    }

    /// How the counts change, by place.
    fn changes(&self, range: Range<usize>, replacement: &str) -> Vec<(usize, f32)> {
        // Two letters of the same word on each side: what lies farther shares no trigram with the edit.
        let (left, right) = (&self.text[..range.start], &self.text[range.end..]);
        let near = |(at, letter): (usize, char)| (!letter.is_whitespace()).then_some((at, letter.len_utf8()));
        let from = left.char_indices().rev().take(2).map_while(near).last().map_or(range.start, |(at, _)| at);
        let to = right.char_indices().take(2).map_while(near).last().map_or(0, |(at, size)| at + size);
        let inside = |letter: Option<char>| letter.is_some_and(|letter| !letter.is_whitespace());
        let cut = (inside(self.text[..from].chars().next_back()), inside(right[to..].chars().next()));
        let mut changes: Vec<(usize, f32)> = Vec::new();
        let mut add = |text: &str, by: f32| {
            each_trigram(text, cut, self.counts.len(), &mut |place| match changes.iter_mut().find(|(known, _)| *known == place) {
                Some((_, change)) => *change += by,
                None => changes.push((place, by)),
            });
        };
        add(&self.text[from..range.end + to], -1.0);
        add(&[&self.text[from..range.start], replacement, &right[..to]].concat(), 1.0);
        changes.retain(|(_, by)| *by != 0.0);
        changes
    }

    /// The length as the features have it, bit for bit.
    fn length(&self, squares: f64, changes: &[(usize, f32)]) -> f64 {
        if squares < EXACT {
            return f64::from((squares as f32).sqrt());
        }
        let mut counts = self.counts.clone();
        changes.iter().for_each(|(place, by)| counts[*place] += by);
        f64::from(euclidean_length(counts.into_iter()))
    }
}

impl TextEdits for Counted<'_> {
    fn rise(&self, range: Range<usize>, replacement: &str) -> (f64, f64) {
        let changes = self.changes(range, replacement);
        if changes.is_empty() {
            return (0.0, 0.0);
        }
        let (mut product, mut magnitude, mut squares) = (self.product, self.magnitude, self.squares);
        for (place, by) in &changes {
            let (count, by, g) = (f64::from(self.counts[*place]), f64::from(*by), self.slope.get(*place).copied().map_or(0.0, f64::from));
            product += by * g;
            magnitude += by * g.abs();
            squares += (2.0 * count + by) * by;
        }
        let of = |length: f64, sum: f64| if length > 0.0 { sum / length } else { 0.0 };
        let (before, after) = (self.length, self.length(squares, &changes));
        // Each normalised count is rounded to single precision, half a unit of its last place; the other half is more than enough for the sums.
        let error = (of(before, self.magnitude) + of(after, magnitude.max(0.0))) * f64::from(f32::EPSILON);
        (of(after, product) - of(before, self.product), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_the_trigrams_that_counting_anew_finds() {
        let text = "One  tİny dog,\u{a0}zwölf ÄÖ a\tfoxes  ";
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let slope: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        let counted = Counted::new(text, 64, &slope);
        for (i, from) in starts.iter().enumerate() {
            for to in &starts[i..starts.len().min(i + 6)] {
                for replacement in ["", "x", " ", "İb", "two words", " c ", "\n"] {
                    let edited = [&text[..*from], replacement, &text[*to..]].concat();
                    let mut counts = counted.counts.clone();
                    counted.changes(*from..*to, replacement).iter().for_each(|(place, by)| counts[*place] += by);
                    assert_eq!(counts, trigram_counts(&edited, 64), "{from}..{to} {replacement:?}");
                    let product = |text: &str| -> f64 {
                        super::super::trigrams(text, 64).iter().zip(&slope).map(|(e, g)| f64::from(*e) * f64::from(*g)).sum()
                    };
                    let (rise, error) = counted.rise(*from..*to, replacement);
                    let off = (rise - (product(&edited) - product(text))).abs();
                    assert!(off <= error && error < 2e-6, "{from}..{to} {replacement:?}: {rise} is off by {off}, said {error}");
                }
            }
        }
    }

    #[test]
    fn the_length_of_many_counts_is_that_of_the_features() {
        let text = "three birds sing loudly ".repeat(1500);
        let counted = Counted::new(&text, 16, &[]);
        assert!(counted.squares > EXACT);
        let changes = counted.changes(6..7, "x");
        let edited = trigram_counts(&[&text[..6], "x", &text[7..]].concat(), 16);
        assert_eq!(counted.length(EXACT, &changes), f64::from(euclidean_length(edited.into_iter())));
    }
}
