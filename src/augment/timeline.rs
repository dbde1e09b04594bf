//! One crop, shift or stretch for everything that lies along a line: columns of pixels, samples, tokens, word times, events. The map lives in
//! shares of the medium's own extent, so that one draw means the same for all of them.

use crate::sample::{Event, WordTime};
use std::ops::Range;

/// `u' = scale * u + offset` on shares (`0..=1` is the whole medium), and how much longer the new medium is than the old one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeline {
    scale: f64,
    offset: f64,
    ratio: f64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::IDENTITY
    }
}

impl Timeline {
    /// Changes nothing.
    pub const IDENTITY: Self = Self { scale: 1.0, offset: 0.0, ratio: 1.0 };

    /// Everything `share` of the extent later (to the right); the length stays.
    pub fn shift(share: f64) -> Self {
        Self { scale: 1.0, offset: share, ratio: 1.0 }
    }
    /// Keeps `start..end` (shares, `start < end`) and makes it the whole; `None` for an empty window or one that is not finite.
    pub fn crop(start: f64, end: f64) -> Option<Self> {
        let window = end - start;
        (start.is_finite() && end.is_finite() && window > 0.0).then(|| Self { scale: 1.0 / window, offset: -start / window, ratio: window })
    }
    /// Makes the medium `factor` times as long (slower where it is above 1); `None` unless finite and above 0.
    pub fn stretch(factor: f64) -> Option<Self> {
        (factor.is_finite() && factor > 0.0).then_some(Self { scale: 1.0, offset: 0.0, ratio: factor })
    }
    /// This map, and then `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { scale: self.scale * next.scale, offset: self.offset * next.scale + next.offset, ratio: self.ratio * next.ratio }
    }
    /// The map back.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self { scale: 1.0 / self.scale, offset: -self.offset / self.scale, ratio: 1.0 / self.ratio }
    }

    /// Where a share of the old medium lies in the new one; outside `0..=1` it is cut off.
    pub fn share(self, u: f64) -> f64 {
        self.scale * u + self.offset
    }
    /// How much longer the new medium is.
    pub fn ratio(self) -> f64 {
        self.ratio
    }
    /// The shares of the old medium that are still seen, as `start..end` within `0..=1`.
    pub fn window(self) -> Range<f64> {
        let back = self.inverse();
        back.share(0.0).clamp(0.0, 1.0)..back.share(1.0).clamp(0.0, 1.0)
    }

    /// Length of the new medium for one of `length` frames: rounded, at least 1.
    pub fn frames(self, length: usize) -> usize {
        (length as f64 * self.ratio).round().max(1.0) as usize
    }
    /// A time in seconds of a medium that was `length_s` long, as a time of the new one.
    pub fn seconds(self, time_s: f64, length_s: f64) -> f64 {
        if length_s > 0.0 { self.share(time_s / length_s) * length_s * self.ratio } else { time_s }
    }
    /// Whole places (frames, pixels) by which a shift moves a medium of `length` places.
    pub fn places(self, length: usize) -> i64 {
        (self.offset * length as f64).round() as i64
    }
    /// Frames or pixels of an old medium of `length` places that are still seen: edges rounded to the nearest.
    pub fn kept(self, length: usize) -> Range<usize> {
        place_range(self.window(), length)
    }
    /// Tokens of an old text of `count` that are still seen: those whose middle is inside the window.
    pub fn tokens(self, count: usize) -> Range<usize> {
        token_range(self.window(), count)
    }

    /// Events of a sound that was `length_s` long, cut at the ends of the new one; those outside are gone. With them the least share of an
    /// event's duration that is left, 1 where there is none.
    pub fn events(self, events: &[Event], length_s: f64) -> (Vec<Event>, f64) {
        let mut least = 1f64;
        let mut out = Vec::with_capacity(events.len());
        for event in events {
            let (span, share) = self.cut(event.start_s, event.end_s, length_s);
            least = least.min(share);
            if share > 0.0 {
                out.push(Event { start_s: span.start, end_s: span.end, label: event.label.clone() });
            }
        }
        (out, least)
    }
    /// Word times, like [`Timeline::events`]; byte ranges stay as they are.
    pub fn words(self, words: &[WordTime], length_s: f64) -> Vec<WordTime> {
        let cut = |word: &WordTime| {
            let (span, share) = self.cut(word.start_s, word.end_s, length_s);
            (share > 0.0).then(|| WordTime { start_s: span.start, end_s: span.end, ..word.clone() })
        };
        words.iter().filter_map(cut).collect()
    }
    fn cut(self, start_s: f64, end_s: f64, length_s: f64) -> (Range<f64>, f64) {
        let (start, end) = (self.seconds(start_s, length_s), self.seconds(end_s, length_s));
        let limit = length_s * self.ratio;
        let cut = start.clamp(0.0, limit)..end.clamp(0.0, limit);
        let share = if end > start { (cut.end - cut.start) / (end - start) } else { f64::from(u8::from((0.0..=limit).contains(&start))) };
        (cut, share)
    }
}

/// A stretch of the old medium and where it lies in the new one; both in seconds and equally long.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Times of the old medium.
    pub from: Range<f64>,
    /// Times of the new one.
    pub to: Range<f64>,
    /// Whether it runs backwards there.
    pub backward: bool,
}

impl Piece {
    /// A piece that keeps its direction and begins at `to_s`.
    pub fn forward(from: Range<f64>, to_s: f64) -> Self {
        let to = to_s..to_s + (from.end - from.start);
        Self { from, to, backward: false }
    }
    /// What is left of a span in this piece, as times of the new medium.
    fn cut(&self, start_s: f64, end_s: f64) -> Option<Range<f64>> {
        let (start, end) = (start_s.max(self.from.start), end_s.min(self.from.end));
        let inside = start < end || start_s == end_s && start == end && end_s < self.from.end;
        let place = |t: f64| if self.backward { self.to.end - (t - self.from.start) } else { self.to.start + (t - self.from.start) };
        inside.then(|| if self.backward { place(end)..place(start) } else { place(start)..place(end) })
    }
}

/// A map in pieces, for what one [`Timeline`] cannot say: a part that comes twice, a sound that runs backwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    pieces: Vec<Piece>,
    seconds: f64,
}

impl Pieces {
    /// Of these pieces, in the order of the new medium, which is `seconds` long.
    pub fn new(pieces: Vec<Piece>, seconds: f64) -> Self {
        Self { pieces, seconds }
    }
    /// Of a medium of `seconds` that is turned round by `by_s`, later where it is above 0: what leaves at one end comes in at the other.
    pub fn turned(seconds: f64, by_s: f64) -> Self {
        let by = if seconds > 0.0 { by_s.rem_euclid(seconds) } else { 0.0 };
        let pieces = [Piece::forward(seconds - by..seconds, 0.0), Piece::forward(0.0..seconds - by, by)];
        Self::new(pieces.into_iter().filter(|piece| piece.from.end > piece.from.start).collect(), seconds)
    }
    /// Length of the new medium in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
    /// The spans that one becomes; those that touch are one.
    fn spans(&self, start_s: f64, end_s: f64) -> Vec<Range<f64>> {
        let mut out: Vec<Range<f64>> = Vec::new();
        for span in self.pieces.iter().filter_map(|piece| piece.cut(start_s, end_s)) {
            match out.last_mut() {
                Some(last) if end_s > start_s && (span.start - last.end).abs() < 1e-9 => last.end = span.end,
                _ => out.push(span),
            }
        }
        out
    }
    /// Events in the new medium by their beginning, one as often as it comes. With them the least share of an event's duration that its longest
    /// coming has, 1 where there is none.
    pub fn events(&self, events: &[Event]) -> (Vec<Event>, f64) {
        let (mut out, mut least) = (Vec::with_capacity(events.len()), 1f64);
        for event in events {
            let spans = self.spans(event.start_s, event.end_s);
            let length = event.end_s - event.start_s;
            let longest = spans.iter().map(|s| s.end - s.start).fold(0f64, f64::max);
            least = least.min(if length > 0.0 { (longest / length).min(1.0) } else { f64::from(u8::from(!spans.is_empty())) });
            out.extend(spans.into_iter().map(|s| Event { start_s: s.start, end_s: s.end, label: event.label.clone() }));
        }
        out.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        (out, least)
    }
    /// Word times, like [`Pieces::events`]; byte ranges stay as they are, so that a word said twice has two times.
    pub fn words(&self, words: &[WordTime]) -> Vec<WordTime> {
        let all = |word: &WordTime| {
            self.spans(word.start_s, word.end_s)
                .into_iter()
                .map(|s| WordTime { start_s: s.start, end_s: s.end, ..word.clone() })
                .collect::<Vec<_>>()
        };
        let mut out: Vec<WordTime> = words.iter().flat_map(all).collect();
        out.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        out
    }
}

/// The places of `length` (frames, columns) that a window of shares covers: edges rounded to the nearest.
pub fn place_range(window: Range<f64>, length: usize) -> Range<usize> {
    let place = |u: f64| (u.clamp(0.0, 1.0) * length as f64).round() as usize;
    let start = place(window.start);
    start..place(window.end).max(start)
}

/// The tokens of `count` whose middle lies in a window of shares.
pub fn token_range(window: Range<f64>, count: usize) -> Range<usize> {
    // Token i has its middle at (i + 1/2) / count.
    let first = |u: f64| (u * count as f64 - 0.5).ceil().clamp(0.0, count as f64) as usize;
    let start = first(window.start);
    start..first(window.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_values() {
        let half = Timeline::crop(0.25, 0.75).unwrap();
        assert_eq!((half.share(0.25), half.share(0.5), half.share(0.75)), (0.0, 0.5, 1.0));
        assert_eq!((half.frames(8000), half.kept(8000), half.tokens(4)), (4000, 2000..6000, 1..3));
        assert_eq!(half.seconds(0.5, 1.0), 0.25);
        let later = Timeline::shift(0.1);
        assert_eq!((later.places(64), later.seconds(0.5, 2.0), later.frames(10)), (6, 0.7, 10));
        let slow = Timeline::stretch(2.0).unwrap();
        assert_eq!((slow.seconds(0.5, 1.0), slow.frames(10), slow.share(0.3)), (1.0, 20, 0.3));
        assert_eq!(token_range(0.0..0.5, 5), 0..2);
        assert_eq!(token_range(0.4..0.6, 5), 2..3);
        assert!(Timeline::crop(0.5, 0.5).is_none() && Timeline::stretch(0.0).is_none());
        assert_eq!(Timeline::shift(2.0).kept(10), 0..0);
    }

    #[test]
    fn what_leaves_at_one_end_comes_in_at_the_other() {
        let event = |start_s, end_s| Event { start_s, end_s, label: "bell".into() };
        let spans = |by_s, start_s, end_s| {
            let found = Pieces::turned(1.0, by_s).events(&[event(start_s, end_s)]).0;
            found.iter().map(|e| ((e.start_s * 1e6).round() / 1e6, (e.end_s * 1e6).round() / 1e6)).collect::<Vec<_>>()
        };
        assert_eq!(spans(0.4, 0.8, 0.9), [(0.2, 0.3)]);
        assert_eq!(spans(-0.4, 0.8, 0.9), [(0.4, 0.5)]);
        assert_eq!(spans(0.4, 0.5, 0.7), [(0.0, 0.1), (0.9, 1.0)]);
        assert_eq!(spans(0.0, 0.5, 0.7), [(0.5, 0.7)]);
    }

    #[test]
    fn events_are_cut_at_the_ends() {
        let events = [(0.0, 0.2, "bark"), (0.4, 0.6, "horn"), (0.9, 1.0, "bell")].map(|(start_s, end_s, label)| Event {
            start_s,
            end_s,
            label: label.into(),
        });
        let (cut, least) = Timeline::crop(0.5, 1.0).unwrap().events(&events, 1.0);
        assert_eq!((cut.len(), least), (2, 0.0));
        assert!((cut[0].start_s - 0.0).abs() < 1e-12 && (cut[0].end_s - 0.1).abs() < 1e-12);
        assert!((cut[1].start_s - 0.4).abs() < 1e-12 && (cut[1].end_s - 0.5).abs() < 1e-12);
        let (_, least) = Timeline::shift(-0.1).events(&events[..1], 1.0);
        assert!((least - 0.5).abs() < 1e-12);
    }

    #[test]
    fn pieces_turn_and_repeat() {
        let event = |start_s, end_s| Event { start_s, end_s, label: "a".into() };
        let turned = Pieces::new(vec![Piece { from: 0.0..2.0, to: 0.0..2.0, backward: true }], 2.0);
        assert_eq!(turned.events(&[event(0.25, 0.5), event(1.5, 2.0)]), (vec![event(0.0, 0.5), event(1.5, 1.75)], 1.0));
        let twice = Pieces::new(vec![Piece::forward(0.0..1.0, 0.0), Piece::forward(0.5..1.0, 1.0), Piece::forward(1.0..2.0, 1.5)], 2.5);
        let (found, least) = twice.events(&[event(0.75, 1.25)]);
        // The beginning comes alone first, then again together with what follows it.
        assert_eq!(found, vec![event(0.75, 1.0), event(1.25, 1.75)]);
        assert_eq!((least, twice.seconds()), (1.0, 2.5));
        let words = twice.words(&[WordTime { start: 3, end: 7, start_s: 0.5, end_s: 0.75 }]);
        assert_eq!(words.iter().map(|w| (w.start, w.start_s)).collect::<Vec<_>>(), [(3, 0.5), (3, 1.0)]);
        assert_eq!(Pieces::new(vec![Piece::forward(0.0..1.0, 0.0)], 1.0).events(&[event(1.5, 2.0)]), (vec![], 0.0));
        assert_eq!(Pieces::new(vec![Piece::forward(0.0..1.0, 0.0)], 1.0).events(&[event(0.5, 0.5)]).0.len(), 1);
    }

    fn any_map() -> impl Strategy<Value = Timeline> {
        let one = prop_oneof![
            (-1.0f64..1.0).prop_map(Timeline::shift),
            (0.0f64..0.5, 0.05f64..0.5).prop_map(|(a, w)| Timeline::crop(a, a + w).unwrap()),
            (0.2f64..5.0).prop_map(|f| Timeline::stretch(f).unwrap()),
        ];
        prop::collection::vec(one, 1..4).prop_map(|maps| maps.into_iter().fold(Timeline::IDENTITY, Timeline::then))
    }

    proptest! {
        #[test]
        fn maps_invert(map in any_map(), u in 0.0f64..1.0, length_s in 0.1f64..20.0) {
            let tolerance = 1e-9 * (1.0 + map.scale.abs() + (1.0 / map.scale).abs() + map.offset.abs());
            prop_assert!((map.inverse().share(map.share(u)) - u).abs() < tolerance);
            let there = map.seconds(u * length_s, length_s);
            let back = map.inverse().seconds(there, length_s * map.ratio());
            prop_assert!((back - u * length_s).abs() < tolerance * 20.0, "{back} {}", u * length_s);
            let twice = map.then(map.inverse());
            prop_assert!((twice.share(u) - u).abs() < tolerance && (twice.ratio() - 1.0).abs() < 1e-9);
        }

        #[test]
        fn a_chain_is_one_after_the_other(a in any_map(), b in any_map(), u in 0.0f64..1.0) {
            let (chain, steps) = (a.then(b).share(u), b.share(a.share(u)));
            prop_assert!((chain - steps).abs() <= 1e-9 * (1.0 + steps.abs()));
        }

        #[test]
        fn tokens_pixels_and_samples_agree(map in any_map(), count in 1usize..40) {
            // A token is kept exactly if its middle is in the window: the same rule for any medium cut in `count` pieces.
            let (window, kept) = (map.window(), map.tokens(count));
            for i in 0..count {
                let middle = (i as f64 + 0.5) / count as f64;
                let clear = (middle - window.start).abs() > 1e-9 && (middle - window.end).abs() > 1e-9;
                if clear {
                    prop_assert_eq!(kept.contains(&i), window.contains(&middle));
                }
            }
            let frames = map.kept(count * 100);
            prop_assert!((frames.start as f64 / (count * 100) as f64 - window.start).abs() <= 0.5 / (count * 100) as f64 + 1e-12);
        }
    }
}
