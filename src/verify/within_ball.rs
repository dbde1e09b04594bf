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
/// and held against the stated radius without tolerance: pixels are those of 8 bits, and a sound beyond -1..=1 is clipped when it is read. A medium that is gone or has another size fails. A candidate without such a claim passes. The value
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::{Bench, expected, sample};

    fn ball(modality: Modality, norm: Norm, epsilon: f64) -> Claim {
        Claim::WithinBall { modality, norm, epsilon }
    }

    #[test]
    fn the_written_media_are_measured() {
        let bench = Bench::new();
        let child = || sample("c", [53, 51, 51, 52], [0.25, 0.0, 0.0, 0.0]);
        let image = |norm, epsilon| (child(), vec![ball(Modality::Image, norm, epsilon)]);
        let mut small = child();
        small.image = Some(crate::sample::Media::new(crate::sample::ImageBuffer::filled(4, 1, 1, 51).unwrap()));
        let mut gone = child();
        gone.audio = None;
        let found = bench.reasons(
            &WithinBall {},
            vec![
                image(Norm::Linf, 2.0 / 255.0),
                image(Norm::Linf, 1.99 / 255.0),
                image(Norm::L2, 5f64.sqrt() / 255.0),
                image(Norm::L2, 2.2 / 255.0),
                (child(), vec![ball(Modality::Audio, Norm::Linf, 0.25)]),
                (child(), vec![ball(Modality::Audio, Norm::Linf, 0.2499)]),
                (small, vec![ball(Modality::Image, Norm::Linf, 1.0)]),
                (gone, vec![ball(Modality::Audio, Norm::Linf, 1.0)]),
                (child(), vec![Claim::LabelKept]),
            ],
        );
        let (yes, no) = ((true, "within_ball"), (false, "outside_ball"));
        let rest = [(false, "dimensions_changed"), (false, "medium_missing"), (true, "not_applicable")];
        assert_eq!(found, expected([yes, no, yes, no, yes, no, rest[0], rest[1], rest[2]]));
    }

    #[test]
    fn the_worst_claim_is_told() {
        let claims = vec![ball(Modality::Image, Norm::Linf, 8.0 / 255.0), ball(Modality::Audio, Norm::Linf, 0.3)];
        let verdict = Bench::new().judge(&WithinBall {}, vec![(sample("c", [53, 51, 51, 52], [0.25, 0.0, 0.0, 0.0]), claims)]).remove(0);
        assert_eq!((verdict.value, verdict.limit), (Some(0.25), Some(0.3)));
        // The worst is the one that leaves its ball, not the one that moved farthest.
        let claims = vec![ball(Modality::Audio, Norm::Linf, 0.3), ball(Modality::Image, Norm::Linf, 1.0 / 255.0)];
        let moved = sample("c", [53, 51, 51, 51], [0.25, 0.0, 0.0, 0.0]);
        assert!(!Bench::new().judge(&WithinBall {}, vec![(moved, claims)])[0].passed);
        // A radius of 0 is left by any change.
        let claims = vec![ball(Modality::Audio, Norm::Linf, 0.3), ball(Modality::Image, Norm::Linf, 0.0)];
        assert!(!Bench::new().judge(&WithinBall {}, vec![(sample("c", [52, 51, 51, 51], [0.0; 4]), claims)])[0].passed);
    }
}
