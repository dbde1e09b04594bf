//! Edits of a text: an edit changes the characters of its place, and those behind it move on.

use super::shape::{CHARACTERS, numbers_of};
use crate::model::TextEdits;
use std::ops::Range;

/// Moves of what lies behind an edit for which sums are at hand: one to the left, none, one to the right.
const MOVES: [isize; 3] = [-1, 0, 1];

/// The characters of a text, and what each character would add to the product at each place.
pub(super) struct Placed {
    length: usize,
    /// Of the whole text.
    numbers: Vec<i64>,
    /// For each byte at which a character begins, and for the end, how many numbers lie before it.
    before: Vec<usize>,
    /// The product of each character with the slope at each place: `length x CHARACTERS`.
    products: Vec<f64>,
    /// The first places together, the text being as it is.
    heads: Vec<f64>,
    /// For each of [`MOVES`] the places from each on together, the text being moved.
    tails: [Vec<f64>; 3],
    error: f64,
}

impl Placed {
    /// `table` has a row for each number of a character's vector.
    pub(super) fn new(text: &str, length: usize, table: &[f32], slope: &[f32]) -> Self {
        let size = table.len() / CHARACTERS;
        let (mut numbers, mut before) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        for letter in text.chars() {
            before.resize(before.len() + letter.len_utf8(), numbers.len());
            numbers.extend(numbers_of(letter));
        }
        before.push(numbers.len());
        let mut products = vec![0.0; length * CHARACTERS];
        let mut most = 0.0;
        for (row, slope) in products.chunks_exact_mut(CHARACTERS).zip(slope.chunks_exact(size.max(1))) {
            let mut magnitudes = [0.0f64; CHARACTERS];
            for (g, values) in slope.iter().zip(table.chunks_exact(CHARACTERS)) {
                for ((product, magnitude), value) in row.iter_mut().zip(&mut magnitudes).zip(values) {
                    let one = f64::from(*value) * f64::from(*g);
                    *product += one;
                    *magnitude += one.abs();
                }
            }
            most += magnitudes.iter().copied().fold(0.0, f64::max);
        }
        // Sums of as many numbers, in any order, in double precision; eight of them meet in a rise.
        let error = 8.0 * (length * size) as f64 * f64::EPSILON * most;
        let mut placed = Self { length, numbers, before, products, heads: Vec::new(), tails: Default::default(), error };
        let mut sum = 0.0;
        placed.heads = std::iter::once(0.0)
            .chain((0..length).map(|at| {
                sum += placed.product(at, placed.number(at as isize));
                sum
            }))
            .collect();
        placed.tails = MOVES.map(|by| {
            let mut tail = vec![0.0; length + 1];
            for at in (0..length).rev() {
                tail[at] = tail[at + 1] + placed.product(at, placed.number(at as isize - by));
            }
            tail
        });
        placed
    }

    /// 0 behind the end.
    fn number(&self, at: isize) -> i64 {
        usize::try_from(at).ok().and_then(|at| self.numbers.get(at)).copied().unwrap_or(0)
    }

    fn product(&self, at: usize, number: i64) -> f64 {
        self.products[at * CHARACTERS + number as usize]
    }
}

impl TextEdits for Placed {
    fn rise(&self, range: Range<usize>, replacement: &str) -> (f64, f64) {
        let (from, to) = (self.before[range.start], self.before[range.end]);
        let new: Vec<i64> = replacement.chars().flat_map(numbers_of).collect();
        if from >= self.length || self.numbers[from..to] == new[..] {
            return (0.0, 0.0);
        }
        let (by, end) = ((from + new.len()) as isize - to as isize, (from + new.len()).min(self.length));
        let edited: f64 = (from..end).zip(&new).map(|(at, number)| self.product(at, *number)).sum();
        let behind: f64 = match MOVES.iter().position(|known| *known == by) {
            Some(known) => self.tails[known][end],
            None => (end..self.length).map(|at| self.product(at, self.number(at as isize - by))).sum(),
        };
        (self.heads[from] + edited + behind - self.heads[self.length], self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shape::characters, *};

    #[test]
    fn an_edit_rises_as_the_text_embedded_anew() {
        let text = "One  tİny dog, zwölf ÄÖ";
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let size = 3;
        let table: Vec<f32> = (0..size * CHARACTERS).map(|i| (i as f32 * 1.3).sin()).collect();
        for length in [8, 24, 40] {
            let slope: Vec<f32> = (0..length * size).map(|i| (i as f32 * 0.7).cos()).collect();
            let embedded = |text: &str| -> Vec<f32> {
                characters(text, length)
                    .into_iter()
                    .flat_map(|n| (0..size).map(move |row| row * CHARACTERS + n as usize))
                    .map(|at| table[at])
                    .collect()
            };
            let product = |text: &str| -> f64 { embedded(text).iter().zip(&slope).map(|(e, g)| f64::from(*e) * f64::from(*g)).sum() };
            let placed = Placed::new(text, length, &table, &slope);
            let mut met = 0;
            for (i, from) in starts.iter().enumerate() {
                for to in &starts[i..starts.len().min(i + 6)] {
                    for replacement in ["", "x", " ", "İb", "two words", "O"] {
                        let edited = [&text[..*from], replacement, &text[*to..]].concat();
                        let (rise, error) = placed.rise(*from..*to, replacement);
                        let off = (rise - (product(&edited) - product(text))).abs();
                        assert!(
                            off <= error && error < 1e-9,
                            "{length} {from}..{to} {replacement:?}: {rise} is off by {off}, said {error}"
                        );
                        assert!(error > 0.0 || embedded(&edited) == embedded(text), "{length} {from}..{to} {replacement:?}");
                        met += usize::from(error > 0.0);
                    }
                }
            }
            assert!(met > 100, "{met}");
        }
    }
}
