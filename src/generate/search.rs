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
    /// Its loss by the subject, in nats; `None` without a band, where nothing is measured.
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
                    let loss =
                        |(row, (trial, _)): (usize, &(Trial, Sample))| Some(measure::cross_entropy(logits.row(row), &targets[trial.item]));
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
