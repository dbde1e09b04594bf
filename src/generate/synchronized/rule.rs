use super::{crop::*, cutout::*, flip::*, level::*, noise::*, scene::Scene, shift::*};
use crate::{error::Problem, random::SeedTree, sample::Sample, units::Probability};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A synchronized rule with its limits at severity 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Mirrors left and right in every modality.
    Flip(Flip),
    /// Moves picture and sound by the same share.
    Shift(Shift),
    /// Cuts the same window out of picture, sound and transcript and makes it the whole.
    Crop(Crop),
    /// Covers the same window of picture, sound and caption.
    Cutout(Cutout),
    /// Makes the scene louder and brighter, or quieter and darker, words included.
    Level(Level),
    /// Adds noise to picture and sound at one severity.
    Noise(Noise),
}

/// What one rule drew: with the severity enough to apply it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// See [`Flip`].
    Flip(FlipDraw),
    /// See [`Shift`].
    Shift(ShiftDraw),
    /// See [`Crop`].
    Crop(CropDraw),
    /// See [`Cutout`].
    Cutout(CutoutDraw),
    /// See [`Level`].
    Level(LevelDraw),
    /// See [`Noise`].
    Noise(NoiseDraw),
}

/// What a rule makes of a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// It fires with these numbers.
    Fires(Drawn),
    /// It would change nothing, and why.
    NoOp(String),
    /// It must not be used here, and why.
    Refused(String),
}

/// What is known of a sample besides itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstance<'a> {
    /// Name of its class.
    pub class_name: Option<&'a str>,
}

impl Rule {
    /// Name in a pipeline file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flip(_) => "flip",
            Self::Shift(_) => "shift",
            Self::Crop(_) => "crop",
            Self::Cutout(_) => "cutout",
            Self::Level(_) => "level",
            Self::Noise(_) => "noise",
        }
    }

    /// How often it takes part.
    pub fn probability(&self) -> Probability {
        match self {
            Self::Flip(rule) => rule.probability,
            Self::Shift(rule) => rule.probability,
            Self::Crop(rule) => rule.probability,
            Self::Cutout(rule) => rule.probability,
            Self::Level(rule) => rule.probability,
            Self::Noise(rule) => rule.probability,
        }
    }

    /// Every value out of range.
    pub fn problems(&self) -> Vec<Problem> {
        let found = match self {
            Self::Flip(_) => Vec::new(),
            Self::Shift(rule) => rule.problems(),
            Self::Crop(rule) => rule.problems(),
            Self::Cutout(rule) => rule.problems(),
            Self::Level(rule) => rule.problems(),
            Self::Noise(rule) => rule.problems(),
        };
        found.into_iter().map(|problem| problem.under(self.name())).collect()
    }

    /// Draws for one sample and tries the draw at `severity`, the greatest that will be asked for.
    pub fn plan(&self, sample: &Sample, circumstance: Circumstance<'_>, severity: f64, seeds: &SeedTree) -> Plan {
        let seeds = seeds.child(self.name());
        let scene = Scene::of(sample);
        let drawn = match self {
            Self::Flip(rule) => match rule.fires(sample, &scene, circumstance) {
                Plan::Fires(drawn) => vec![drawn],
                other => return other,
            },
            Self::Shift(rule) => rule.draws(&seeds).into_iter().map(Drawn::Shift).collect(),
            Self::Crop(rule) => rule.draws(&seeds).into_iter().map(Drawn::Crop).collect(),
            Self::Cutout(rule) => rule.draws(&seeds).into_iter().map(Drawn::Cutout).collect(),
            Self::Level(rule) => rule.draws(&seeds).into_iter().map(Drawn::Level).collect(),
            Self::Noise(rule) => vec![Drawn::Noise(rule.draw(&seeds))],
        };
        // Several draws where a place may be refused: the first that holds is taken.
        let mut answer = Plan::NoOp("nothing_to_change".into());
        for drawn in drawn {
            let mut tried = scene.clone();
            match drawn.apply(severity, &mut tried) {
                Ok(()) if tried.changed(sample).is_empty() => {}
                Ok(()) => return Plan::Fires(drawn),
                Err(why) => answer = Plan::Refused(why),
            }
        }
        answer
    }

    /// Whether it takes part in this draw.
    pub fn takes_part(&self, seeds: &SeedTree) -> bool {
        seeds.child(self.name()).child("takes part").rng().random_bool(self.probability().get())
    }
}

impl Drawn {
    /// Changes the scene at a severity in `0..=1`; an error is a refusal with its reason, and the scene is then of no use.
    pub fn apply(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        match self {
            Self::Flip(draw) => draw.apply(scene),
            Self::Shift(draw) => draw.apply(severity, scene),
            Self::Crop(draw) => draw.apply(severity, scene),
            Self::Cutout(draw) => draw.apply(severity, scene),
            Self::Level(draw) => draw.apply(severity, scene),
            Self::Noise(draw) => draw.apply(severity, scene),
        }
    }

    /// Whether the severity matters.
    pub fn scales(&self) -> bool {
        !matches!(self, Self::Flip(_))
    }
}
