//! The search for a magnitude whose child lands in the difficulty band: all parents in lockstep, one batched forward pass a try, on the child
//! as its files would give it.

use super::Outcome;
use crate::{
    codec,
    error::Result,
    model::{Input, Model, Target, measure},
    sample::{DifficultyBand, Sample},
};

/// How a parent is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The loss rises with the magnitude: each draw begins at its start (usually 1) and is bisected toward the band; a draw that stays below
    /// the band at magnitude 1, or is exhausted, gives way to the next, up to `draws` of them.
    Monotone {
        /// Independent draws, at least 1.
        draws: usize,
    },
    /// Nothing is known: every try is a draw of its own at magnitude 1, and those inside are taken.
    FirstInside,
}

/// A bounded search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandSearch {
    /// How to move.
    pub path: Path,
    /// Tries a parent, at least 1; each costs one forward evaluation.
    pub tries: usize,
    /// Children wanted of each parent, at least 1. After the first inside, a monotone search goes on to milder ones.
    pub variants: usize,
}

/// A child that is to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Which parent.
    pub item: usize,
    /// Which draw, from 0.
    pub draw: usize,
    /// How far to go, in `0..=1`.
    pub magnitude: f64,
}

/// What became of a trial.
#[derive(Debug, Clone)]
pub enum Made {
    /// A child.
    Child(Sample),
    /// A labelled negative: it has no class, so no loss of it is measured, and it is taken as it is.
    Negative(Sample),
    /// The child would be its parent.
    Unchanged,
    /// It cannot be made, and why.
    Refused(String),
}

/// A child inside the band.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The child, settled: its changed media are those of the written and re-read files.
    pub child: Sample,
    /// Which draw made it.
    pub draw: usize,
    /// How far it went.
    pub magnitude: f64,
    /// Its loss by the subject, in nats; `None` where nothing is measured: without a band, and of a labelled negative.
    pub loss: Option<f32>,
}

/// What the search found for one parent.
#[derive(Debug, Clone)]
pub struct Found {
    /// Children, the preferred one first: in the order they were met, from hard to mild on one draw.
    pub hits: Vec<Hit>,
    /// What to report of the attempt.
    pub outcome: Outcome,
}

/// A bracket narrower than this is exhausted: finer magnitudes round to the same files.
const NARROWEST: f64 = 1.0 / 512.0;

/// By how much each further variant is milder where there is no band to aim at.
const MILDER: f64 = 0.7;

struct State {
    draw: usize,
    low: f64,
    high: f64,
    magnitude: f64,
    tried: usize,
    hits: Vec<Hit>,
    met: Option<(f32, f32)>,
    refused: Option<String>,
    done: bool,
}

impl BandSearch {
    /// Searches for all parents at once. `targets` holds a label a parent; `starts` the first magnitude of each parent's first draw, where
    /// something is known (empty for 1). `make` makes the children of one try, in order. Without a band the children of magnitude 1, 0.7, 0.49,
    /// ... (or of one draw each) are taken as they are.
    pub fn run(
        &self,
        subject: &dyn Model,
        targets: &[Target],
        band: Option<DifficultyBand>,
        starts: &[f64],
        mut make: impl FnMut(&[Trial]) -> Result<Vec<Made>>,
    ) -> Result<Vec<Found>> {
        let begin = |item: usize| State {
            draw: 0,
            low: 0.0,
            high: 1.0,
            magnitude: starts.get(item).copied().unwrap_or(1.0),
            tried: 0,
            hits: Vec::new(),
            met: None,
            refused: None,
            done: self.tries == 0 || self.variants == 0,
        };
        let mut states: Vec<State> = (0..targets.len()).map(begin).collect();
        loop {
            let open: Vec<usize> = (0..states.len()).filter(|&i| !states[i].done).collect();
            if open.is_empty() {
                break;
            }
            let trials: Vec<Trial> = open
                .iter()
                .map(|&item| {
                    let state = &mut states[item];
                    if band.is_none() {
                        state.magnitude = if self.path == Path::FirstInside { 1.0 } else { MILDER.powi(state.tried as i32) };
                    }
                    Trial { item, draw: state.draw, magnitude: state.magnitude }
                })
                .collect();
            let made = make(&trials)?;
            let mut children = Vec::new();
            for (trial, made) in trials.iter().zip(made) {
                let state = &mut states[trial.item];
                state.tried += 1;
                match made {
                    Made::Child(child) => children.push((*trial, codec::settle(child)?)),
                    Made::Negative(child) => {
                        let child = codec::settle(child)?;
                        if state.hits.iter().all(|hit| hit.child.digests() != child.digests()) {
                            state.hits.push(Hit { child, draw: trial.draw, magnitude: trial.magnitude, loss: None });
                        }
                        self.go_on(state, band.is_some(), Side::Inside);
                    }
                    Made::Unchanged => self.go_on(state, band.is_some(), Side::Below),
                    Made::Refused(why) => {
                        state.refused = Some(why);
                        self.go_on(state, band.is_some(), Side::Nowhere);
                    }
                }
            }
            let losses = match band {
                None => vec![None; children.len()],
                Some(_) => {
                    let inputs: Vec<Input> = children.iter().map(|(_, child)| Input::of(child)).collect();
                    let logits = if inputs.is_empty() { Default::default() } else { subject.forward(&inputs)?.logits };
                    // A child may say itself what it is (a mix of two classes).
                    let loss = |(row, (trial, child)): (usize, &(Trial, Sample))| {
                        Some(measure::cross_entropy(logits.row(row), child.label.as_ref().unwrap_or(&targets[trial.item])))
                    };
                    children.iter().enumerate().map(loss).collect()
                }
            };
            for ((trial, child), loss) in children.into_iter().zip(losses) {
                let state = &mut states[trial.item];
                let side = match (band, loss) {
                    (Some(_), Some(loss)) if !loss.is_finite() => {
                        state.refused = Some("loss_not_finite".into());
                        Side::Nowhere
                    }
                    (Some(band), Some(loss)) => {
                        let (least, greatest) = state.met.unwrap_or((loss, loss));
                        state.met = Some((least.min(loss), greatest.max(loss)));
                        if loss < band.low {
                            Side::Below
                        } else if loss > band.high {
                            Side::Above
                        } else {
                            Side::Inside
                        }
                    }
                    _ => Side::Inside,
                };
                // Two magnitudes may round to the same files.
                if side == Side::Inside && state.hits.iter().all(|hit| hit.child.digests() != child.digests()) {
                    state.hits.push(Hit { child, draw: trial.draw, magnitude: trial.magnitude, loss });
                }
                self.go_on(state, band.is_some(), side);
            }
        }
        Ok(states.into_iter().map(State::finish).collect())
    }

    /// Moves on after a try that ended on `side` of the band.
    fn go_on(&self, state: &mut State, searching: bool, side: Side) {
        state.done = state.tried >= self.tries || state.hits.len() >= self.variants;
        let Path::Monotone { draws } = self.path else {
            state.draw += 1;
            return;
        };
        if !searching {
            state.done |= state.tried >= self.variants || side == Side::Nowhere;
            return;
        }
        match side {
            Side::Below => state.low = state.magnitude,
            Side::Above | Side::Inside => state.high = state.magnitude,
            Side::Nowhere => state.low = state.high,
        }
        if state.high - state.low < NARROWEST {
            state.draw += 1;
            state.done |= state.draw >= draws;
            (state.low, state.high, state.magnitude) = (0.0, 1.0, 1.0);
        } else {
            state.magnitude = (state.low + state.high) / 2.0;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Inside,
    Above,
    Nowhere,
}

impl State {
    fn finish(self) -> Found {
        let outcome = match (self.hits.is_empty(), self.met, self.refused) {
            (false, ..) => Outcome::Made,
            (true, Some((least, greatest)), _) => Outcome::NotReached { least, greatest },
            (true, None, Some(why)) => Outcome::Refused(why),
            (true, None, None) => Outcome::NoOp,
        };
        Found { hits: self.hits, outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            counted::Counted,
            linear::{LinearModel, RawImage},
        },
        sample::{Classes, ImageBuffer, Media},
    };
    use std::sync::Arc;

    /// Loss of class 0 is `ln(1 + e^(4 x - 2))` for one pixel x: 0.127 at 0, 2.127 at 1.
    fn counted() -> Counted {
        let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![0.0, 4.0] };
        let classes = Classes::from_names(["0", "1"].map(String::from));
        Counted::new(Arc::new(LinearModel::from_weights(classes, vec![2.0, 0.0], Some(image), None).unwrap()))
    }

    fn pixel(value: f64) -> Made {
        let mut child = Sample::new("child");
        child.image = Some(Media::new(ImageBuffer::filled(1, 1, 1, value.round() as u8).unwrap()));
        Made::Child(child)
    }

    const BAND: DifficultyBand = DifficultyBand { low: 0.7, high: 0.75 };

    fn search(path: Path, tries: usize, variants: usize) -> BandSearch {
        BandSearch { path, tries, variants }
    }

    #[test]
    fn bisection_finds_the_band_with_one_pass_a_try() {
        let model = counted();
        let bisect = search(Path::Monotone { draws: 1 }, 10, 1);
        // The second parent is twice as sensitive; the third cannot reach the band.
        let make = |trials: &[Trial]| Ok(trials.iter().map(|t| pixel([255.0, 510.0, 60.0][t.item] * t.magnitude)).collect());
        let found = bisect.run(&model, &vec![Target::Class(0); 3], Some(BAND), &[1.0, 0.3, 1.0], make).unwrap();
        assert!(found[..2].iter().all(|f| f.outcome == Outcome::Made && f.hits.len() == 1 && BAND.holds(f.hits[0].loss.unwrap())));
        assert!((found[0].hits[0].magnitude - 0.506).abs() < 0.02, "{}", found[0].hits[0].magnitude);
        assert!((found[1].hits[0].magnitude - 0.253).abs() < 0.02, "{}", found[1].hits[0].magnitude);
        assert!(matches!(found[2].outcome, Outcome::NotReached { least, greatest } if least == greatest && greatest < 0.4));
        assert!(model.counts().forward() <= 2 * 10 + 1);
        // What else is searched at the same time changes nothing.
        let alone =
            bisect.run(&model, &[Target::Class(0)], Some(BAND), &[], |t| Ok(t.iter().map(|t| pixel(255.0 * t.magnitude)).collect()));
        assert_eq!(alone.unwrap()[0].hits[0].magnitude, found[0].hits[0].magnitude);
    }

    #[test]
    fn further_variants_are_milder_and_different() {
        let wide = DifficultyBand { low: 0.3, high: 1.5 };
        let make = |trials: &[Trial]| Ok(trials.iter().map(|t| pixel(255.0 * t.magnitude)).collect());
        let found = search(Path::Monotone { draws: 1 }, 12, 3).run(&counted(), &[Target::Class(0)], Some(wide), &[], make).unwrap();
        let magnitudes: Vec<f64> = found[0].hits.iter().map(|hit| hit.magnitude).collect();
        assert_eq!(magnitudes.len(), 3);
        assert!(magnitudes.windows(2).all(|pair| pair[1] < pair[0]), "{magnitudes:?}");
    }

    #[test]
    fn a_draw_that_stays_below_gives_way_to_the_next() {
        let make = |trials: &[Trial]| Ok(trials.iter().map(|t| pixel([20.0, 40.0, 255.0][t.draw] * t.magnitude)).collect());
        let run = |draws| search(Path::Monotone { draws }, 12, 1).run(&counted(), &[Target::Class(0)], Some(BAND), &[], make).unwrap();
        assert_eq!(run(3)[0].hits[0].draw, 2);
        assert!(matches!(run(2)[0].outcome, Outcome::NotReached { least, greatest } if least < greatest));
    }

    #[test]
    fn the_first_inside_is_taken_in_order() {
        let make = |trials: &[Trial]| Ok(trials.iter().map(|t| pixel([10.0, 129.0, 240.0, 130.0][t.draw])).collect());
        let found = search(Path::FirstInside, 4, 2).run(&counted(), &[Target::Class(0)], Some(BAND), &[], make).unwrap();
        assert_eq!(found[0].hits.iter().map(|hit| hit.draw).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn nothing_made_is_told_apart() {
        let run = |made: Made| {
            let once = search(Path::Monotone { draws: 2 }, 5, 1);
            once.run(&counted(), &[Target::Class(0)], Some(BAND), &[], |t| Ok(vec![made.clone(); t.len()])).unwrap().remove(0).outcome
        };
        assert_eq!(run(Made::Unchanged), Outcome::NoOp);
        assert_eq!(run(Made::Refused("why".into())), Outcome::Refused("why".into()));
        let none = search(Path::FirstInside, 3, 1).run(&counted(), &[], Some(BAND), &[], |_| Ok(Vec::new())).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_labelled_negative_is_taken_unmeasured() {
        let model = counted();
        let make = |trials: &[Trial]| {
            let negative = |made: Made| if let Made::Child(child) = made { Made::Negative(child) } else { made };
            Ok(trials.iter().map(|t| negative(pixel(255.0 * t.magnitude))).collect())
        };
        let found = search(Path::Monotone { draws: 1 }, 8, 1).run(&model, &[Target::Class(0)], Some(BAND), &[], make).unwrap();
        assert_eq!((found[0].hits.len(), found[0].hits[0].loss, model.counts().forward()), (1, None, 0));
    }

    #[test]
    fn without_a_band_nothing_is_measured() {
        let model = counted();
        let make = |trials: &[Trial]| Ok(trials.iter().map(|t| pixel(255.0 * t.magnitude)).collect());
        let found = search(Path::Monotone { draws: 1 }, 8, 3).run(&model, &[Target::Class(0)], None, &[], make).unwrap();
        let magnitudes: Vec<f64> = found[0].hits.iter().map(|hit| (hit.magnitude * 100.0).round()).collect();
        assert_eq!((magnitudes, model.counts().forward()), (vec![100.0, 70.0, 49.0], 0));
        assert!(found[0].hits.iter().all(|hit| hit.loss.is_none()));
    }
}
