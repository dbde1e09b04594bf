use super::{
    crop::Crop,
    cutout::Cutout,
    flip::Flip,
    level::{Direction, Level},
    noise::Noise,
    rule::Rule,
    shift::Shift,
};
use crate::{
    augment::audio::Colour,
    units::{Decibels, Fraction, Probability, Range},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules that go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// A little of each: flip, shift, crop, cutout, level, noise.
    Mild,
    /// A busy street: low-frequency noise down to -5 dB, things in the way, everything a little off its place.
    Street,
    /// By night: dark and quiet, with the noise of a camera and a microphone turned up.
    Night,
}

fn often(value: f64) -> Probability {
    Probability::new(value).unwrap_or_else(|_| unreachable!("a constant probability"))
}
fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap_or_else(|_| unreachable!("a constant fraction"))
}
fn db(value: f64) -> Decibels {
    Decibels::new(value).unwrap_or_else(|_| unreachable!("a constant level"))
}
fn range(low: f64, high: f64) -> Range {
    Range::new(low, high).unwrap_or_else(|_| unreachable!("a constant range"))
}

impl Preset {
    /// Its rules in the order they are applied: what moves, then what covers, then levels, then noise.
    pub fn rules(self) -> Vec<Rule> {
        match self {
            Self::Mild => vec![
                Rule::Flip(Flip { probability: often(0.5), ..Flip::default() }),
                Rule::Shift(Shift { probability: often(0.6), ..Shift::default() }),
                Rule::Crop(Crop { probability: often(0.3), ..Crop::default() }),
                Rule::Cutout(Cutout { probability: often(0.4), ..Cutout::default() }),
                Rule::Level(Level { probability: often(0.5), ..Level::default() }),
                Rule::Noise(Noise { probability: often(0.6), ..Noise::default() }),
            ],
            Self::Street => vec![
                Rule::Shift(Shift { probability: often(0.5), ..Shift::default() }),
                Rule::Cutout(Cutout { probability: often(0.7), share: share(0.45), ..Cutout::default() }),
                Rule::Noise(Noise {
                    snr_db: range(-5.0, 25.0),
                    sigma: range(0.0, 0.1),
                    colours: vec![Colour::Pink, Colour::Brown],
                    ..Noise::default()
                }),
            ],
            Self::Night => vec![
                Rule::Level(Level { direction: Direction::Down, gain_db: db(15.0), stops: 2.5, ..Level::default() }),
                Rule::Noise(Noise { snr_db: range(3.0, 30.0), sigma: range(0.0, 0.12), colours: vec![Colour::White], ..Noise::default() }),
            ],
        }
    }
}
