//! Whether a written medium lies where its generator says.

use super::Verifier;
use crate::{
    augment::ball,
    context::{Judged, VerifyContext},
    error::{Problem, Result},
    operator::{Configure, Table},
    sample::{Claim, Modality, Norm, Sample, Verdict},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The written media lie in the norm balls that the generator claimed.
///
/// Method: for each claim the distance between the decoded child and the decoded parent is measured on the native media, in the stated norm,
/// and held against the stated radius without tolerance. A medium that is gone or has another size fails. A candidate without such a claim passes. The value
/// and limit are those of the claim with the largest ratio of the two.
///
/// Reference: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithinBall {}

impl Configure<dyn Verifier> for WithinBall {
    const NAME: &'static str = "within_ball";
    const EXAMPLE: &'static str = "{}";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl Verifier for WithinBall {
    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        Ok(candidates.iter().map(|judged| inspect(judged).verdict(context.stage)).collect())
    }
}

/// What the balls of one candidate's claims say.
pub(super) enum Balls {
    /// No ball is claimed.
    None,
    /// The worst of them.
    Measured { distance: f64, epsilon: f64 },
    /// A claim that cannot be measured, and why.
    Broken(&'static str),
}

impl Balls {
    fn verdict(&self, stage: &str) -> Verdict {
        match self {
            Self::None => Verdict::pass(stage, "not_applicable", None, None),
            Self::Broken(why) => Verdict::fail(stage, why, None, None),
            Self::Measured { distance, epsilon } if distance <= epsilon => {
                Verdict::pass(stage, "within_ball", Some(*distance), Some(*epsilon))
            }
            Self::Measured { distance, epsilon } => Verdict::fail(stage, "outside_ball", Some(*distance), Some(*epsilon)),
        }
    }
}

/// Measures every ball that a candidate claims.
pub(super) fn inspect(judged: &Judged<'_>) -> Balls {
    let mut worst = Balls::None;
    for claim in &judged.candidate.lineage.claims {
        let Claim::WithinBall { modality, norm, epsilon } = claim else { continue };
        match (measure(*modality, *norm, &judged.candidate.sample, &judged.parent.sample), &worst) {
            (Err(why), _) => return Balls::Broken(why),
            // Compared without a division: a radius may be 0.
            (Ok(found), Balls::Measured { distance, epsilon: limit }) if found * limit <= distance * epsilon => {}
            (Ok(distance), _) => worst = Balls::Measured { distance, epsilon: *epsilon },
        }
    }
    worst
}

fn measure(modality: Modality, norm: Norm, child: &Sample, parent: &Sample) -> Result<f64, &'static str> {
    match modality {
        Modality::Image => {
            let (Some(child), Some(parent)) = (&child.image, &parent.image) else { return Err("medium_missing") };
            let (child, parent) = (child.get(), parent.get());
            let shape = |image: &crate::sample::ImageBuffer| (image.width(), image.height(), image.channels());
            if shape(child) != shape(parent) {
                return Err("dimensions_changed");
            }
            Ok(ball::pixel_distance(norm, parent.pixels(), child.pixels()))
        }
        Modality::Audio => {
            let (Some(child), Some(parent)) = (&child.audio, &parent.audio) else { return Err("medium_missing") };
            let (child, parent) = (child.get(), parent.get());
            let shape = |audio: &crate::sample::AudioBuffer| (audio.sample_rate_hz(), audio.channels(), audio.frames());
            if shape(child) != shape(parent) {
                return Err("dimensions_changed");
            }
            Ok(ball::distance(norm, parent.samples(), child.samples()))
        }
        Modality::Text => Err("text_has_no_ball"),
    }
}
