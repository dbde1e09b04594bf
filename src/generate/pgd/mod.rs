//! Projected gradient descent on pixels and waveforms: the generator, and the ascent as a library function for trainers and evaluations.

#[cfg(test)]
mod tests;

pub use crate::model::ascent::{Ascent, AttackConfig, Budget, Radius, Until, ascend};

use super::{
    Generated, Generator, Outcome,
    search::{BandSearch, Found, Made, Path},
};
use crate::{
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{
        Input, Objective, Target,
        ascent::{Terrain, Walk, retrace},
    },
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{AudioBuffer, Claim, DifficultyBand, ImageBuffer, Media, Modality, ModalitySet, Norm, PerModality, ReasonCode, Sample},
    units::{Decibels, Epsilon},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Projected gradient descent (PGD) on image pixels and audio samples, searched to the difficulty band.
///
/// Method: from a random point of the ball around the sample, step along the sign (`linf`) or the unit direction (`l2`) of the gradient of the
/// objective with respect to the native pixels and samples, and project back, until the loss passes the upper end of the band or the steps
/// are spent. Then the perturbation found is scaled by a magnitude in 0..=1, bisected by forward passes on the written child until its loss
/// lies in the band: one ascent a parent, and no gradient is spent on the search. Every value is rounded toward the parent's, so that the file
/// stays in the ball, whose stated radius is the certified budget of the label. One backward pass serves all listed modalities (`joint: true`), or each listed
/// modality is attacked alone (`joint: false`: the children are variants of one attempt, the first modality drawn at random); a modality that is
/// missing stays missing. `steps: 1` with `random_start: false` is FGSM.
///
/// Reference: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"; Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pgd {
    /// What is perturbed: `image`, `audio` or both.
    pub modalities: Vec<Modality>,
    /// Norm of the balls.
    pub norm: Norm,
    /// Radius for pixels in `0..=1`, at least 1/255 (one level of an 8-bit file). Default 8/255 for `linf`, 1 for `l2`.
    pub epsilon: Option<Epsilon>,
    /// Radius for the waveform in `-1..=1`, at least 1/32768. Default 0.002 for `linf`; for `l2` a ratio of 30 dB.
    pub audio_epsilon: Option<Epsilon>,
    /// Radius for the waveform as a ratio of the signal to the perturbation in the norm, in dB (`l2`: signal-to-noise ratio); instead of `audio_epsilon`.
    pub audio_snr_db: Option<Decibels>,
    /// Gradient steps, 1..=1000.
    pub steps: usize,
    /// Length of a step for pixels, in their units. Default 2.5 radius / steps.
    pub step_size: Option<Epsilon>,
    /// Length of a step for the waveform, in its units. Default 2.5 radius / steps.
    pub audio_step_size: Option<Epsilon>,
    /// Begins at a random point of the ball instead of the sample.
    pub random_start: bool,
    /// Random starts, 1..=100; the first that reaches the band is kept, else the one with the largest objective. More than 1 needs `random_start`.
    pub restarts: usize,
    /// Perturbs all listed modalities together, from one backward pass; otherwise each alone.
    pub joint: bool,
    /// What is ascended.
    pub objective: Objective,
    /// Forward passes of the search for the magnitude, 1..=64.
    pub tries: usize,
    /// Children of one attempt, 1..=16: the first that is verified is fed.
    pub variants: usize,
}

impl Default for Pgd {
    fn default() -> Self {
        Self {
            modalities: vec![Modality::Image, Modality::Audio],
            norm: Norm::Linf,
            epsilon: None,
            audio_epsilon: None,
            audio_snr_db: None,
            steps: 10,
            step_size: None,
            audio_step_size: None,
            random_start: true,
            restarts: 1,
            joint: true,
            objective: Objective::CrossEntropy,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for Pgd {
    const NAME: &'static str = "pgd";
    const EXAMPLE: &'static str = "{ modalities: [image, audio], norm: linf, epsilon: 8/255, steps: 10 }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// What a lineage keeps: enough to walk the same way again and to go as far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Walked {
    modalities: ModalitySet,
    image: Option<Terrain>,
    audio: Option<Terrain>,
    objective: Objective,
    random_start: bool,
    restart: usize,
    steps: usize,
    magnitude: f64,
    gradients: u64,
}

impl Pgd {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let set: ModalitySet = self.modalities.iter().copied().collect();
        if set.is_empty() || set.has(Modality::Text) || set.len() != self.modalities.len() {
            problems
                .push(Problem::new("modalities", format!("expected image, audio or both, each once, found [{}]", names(&self.modalities))));
        }
        let between =
            [("steps", self.steps, 1000), ("restarts", self.restarts, 100), ("tries", self.tries, 64), ("variants", self.variants, 16)];
        for (field, found, most) in between {
            if !(1..=most).contains(&found) {
                problems.push(Problem::new(field, format!("expected a whole number in 1..={most}, found {found}")));
            }
        }
        if self.restarts > 1 && !self.random_start {
            problems.push(Problem::new("restarts", "without `random_start` every restart is the same; expected 1"));
        }
        let radii = [
            ("epsilon", self.epsilon, 1.0 / 255.0, "1/255, one level of an 8-bit image"),
            ("audio_epsilon", self.audio_epsilon, 1.0 / 32768.0, "1/32768, one level of a 16-bit file"),
        ];
        for (field, found, least, what) in radii {
            if let Some(found) = found.filter(|found| found.get() < least) {
                problems.push(Problem::new(field, format!("expected at least {what}, found {found}")));
            }
        }
        for (field, found) in [("step_size", self.step_size), ("audio_step_size", self.audio_step_size)] {
            if found.is_some_and(|found| found.get() == 0.0) {
                problems.push(Problem::new(field, "expected a step longer than 0"));
            }
        }
        if self.audio_epsilon.is_some() && self.audio_snr_db.is_some() {
            problems.push(Problem::new("audio_snr_db", "`audio_epsilon` states the same radius; expected one of the two"));
        }
        let listed = [
            ("epsilon", Modality::Image, self.epsilon.is_some()),
            ("step_size", Modality::Image, self.step_size.is_some()),
            ("audio_epsilon", Modality::Audio, self.audio_epsilon.is_some()),
            ("audio_snr_db", Modality::Audio, self.audio_snr_db.is_some()),
            ("audio_step_size", Modality::Audio, self.audio_step_size.is_some()),
        ];
        for (field, modality, written) in listed {
            if written && !set.has(modality) {
                problems.push(Problem::new(field, format!("has no effect: `modalities` does not list {modality}")));
            }
        }
        problems
    }

    /// The attack on those of `modalities` that are listed.
    pub fn attack(&self, modalities: ModalitySet, until: Until) -> AttackConfig {
        let listed = |modality| modalities.has(modality) && self.modalities.contains(&modality);
        let epsilon = self.epsilon.map_or(if self.norm == Norm::Linf { 8.0 / 255.0 } else { 1.0 }, Epsilon::get);
        let audio = match (self.audio_snr_db, self.audio_epsilon, self.norm) {
            (Some(ratio), _, _) => Radius::BelowSignal(ratio.get()),
            (None, Some(epsilon), _) => Radius::Absolute(epsilon.get()),
            (None, None, Norm::Linf) => Radius::Absolute(0.002),
            (None, None, Norm::L2) => Radius::BelowSignal(30.0),
        };
        let budget = |radius, step_size: Option<Epsilon>| Budget { norm: self.norm, radius, step_size: step_size.map(Epsilon::get) };
        AttackConfig {
            image: listed(Modality::Image).then(|| budget(Radius::Absolute(epsilon), self.step_size)),
            audio: listed(Modality::Audio).then(|| budget(audio, self.audio_step_size)),
            steps: self.steps,
            random_start: self.random_start,
            restarts: self.restarts,
            objective: self.objective,
            until,
        }
    }

    /// Attacks `modalities` of those parents that have one of them and a label; what was found, by parent.
    fn attempt(&self, parents: &[Parent], modalities: ModalitySet, context: &GenerateContext<'_>) -> Result<Vec<Option<(Ascent, Found)>>> {
        // A modality that the data lacks has no gradient either: missing is data, not an error.
        let modalities = modalities.and(context.models.subject.spec().gradients);
        let able: Vec<(usize, Target)> = parents
            .iter()
            .enumerate()
            .filter(|(_, parent)| !parent.sample.present().and(modalities).is_empty())
            .filter_map(|(i, parent)| Some((i, parent.sample.label.clone()?)))
            .collect();
        let attack = self.attack(modalities, context.band.map_or(Until::Steps, |band| Until::Loss(band.high)));
        let inputs: Vec<Input> = able.iter().map(|(i, _)| Input::of(&parents[*i].sample)).collect();
        let targets: Vec<Target> = able.iter().map(|(_, target)| target.clone()).collect();
        let seeds: Vec<SeedTree> = able.iter().map(|(i, _)| node(&context.seeds, &parents[*i], modalities)).collect();
        let subject = context.models.subject.as_ref();
        let ascents = ascend(subject, &inputs, &targets, &attack, &seeds)?;
        let starts: Vec<f64> =
            able.iter().zip(&ascents).map(|((i, _), ascent)| first_magnitude(&parents[*i], ascent, context.band)).collect();
        let search = BandSearch { path: Path::Monotone { draws: 1 }, tries: self.tries, variants: self.variants };
        let found = search.run(subject, &targets, context.band, &starts, |trials| {
            let make = |trial: &super::search::Trial| {
                let (ascent, parent) = (&ascents[trial.item], &parents[able[trial.item].0].sample);
                if !ascent.finite && ascent.step == 0 {
                    return Ok(Made::Refused("gradient_not_finite".into()));
                }
                perturbed(parent, &ascent.input, &attack.terrain(&inputs[trial.item]), trial.magnitude)
            };
            trials.iter().map(make).collect()
        })?;
        let mut of_parents: Vec<Option<(Ascent, Found)>> = (0..parents.len()).map(|_| None).collect();
        for ((i, _), pair) in able.iter().zip(ascents.into_iter().zip(found)) {
            of_parents[*i] = Some(pair);
        }
        Ok(of_parents)
    }

    /// The modality sets that are attacked, each with one ascent.
    fn groups(&self) -> Vec<ModalitySet> {
        let set: ModalitySet = self.modalities.iter().copied().collect();
        if self.joint { vec![set] } else { set.iter().map(ModalitySet::one).collect() }
    }
}

/// Where the draws of one parent and modality set come from.
fn node(seeds: &SeedTree, parent: &Parent, modalities: ModalitySet) -> SeedTree {
    seeds.sample(&parent.sample.id).child(modalities.to_string())
}

fn names(modalities: &[Modality]) -> String {
    modalities.iter().map(|modality| modality.name()).collect::<Vec<_>>().join(", ")
}

/// Where the search begins: at the whole perturbation, or, where that went past the band, where a straight line would cross its middle.
fn first_magnitude(parent: &Parent, ascent: &Ascent, band: Option<DifficultyBand>) -> f64 {
    let Some(band) = band.filter(|band| ascent.cross_entropy > band.high) else { return 1.0 };
    let before = parent.score("loss").unwrap_or(0.0);
    let (middle, reached) = (0.5 * (band.low + band.high), ascent.cross_entropy);
    if before < middle { f64::from((middle - before) / (reached - before)).clamp(0.05, 1.0) } else { 0.5 }
}

/// The child at `magnitude` on the straight line from the parent to the perturbed point, each value rounded toward the parent's.
fn perturbed(parent: &Sample, point: &Input, terrain: &PerModality<Option<Terrain>>, magnitude: f64) -> Result<Made> {
    let broken = |message| Error::internal(message).at("sample", &parent.id);
    let mut child = parent.clone();
    let mut changed = false;
    if let (Some(terrain), Some(own), Some(point)) = (&terrain.image, &parent.image, &point.image) {
        let own = own.get();
        let pixels = terrain.ball().quantise_pixels(own.pixels(), &point.values, magnitude);
        if pixels != own.pixels() {
            let image = ImageBuffer::new(own.width(), own.height(), own.channels(), pixels).map_err(broken)?;
            child.image = Some(Media::new(image));
            changed = true;
        }
    }
    if let (Some(terrain), Some(own), Some(point)) = (&terrain.audio, &parent.audio, &point.audio) {
        let own = own.get();
        let Some(samples) = terrain.ball().quantise_waveform(own.samples(), &point.values, magnitude) else {
            return Ok(Made::Refused("parent_off_the_16_bit_grid".into()));
        };
        if samples != own.samples() {
            child.audio = Some(Media::new(AudioBuffer::new(own.sample_rate_hz(), own.channels(), samples).map_err(broken)?));
            changed = true;
        }
    }
    Ok(if changed { Made::Child(child) } else { Made::Unchanged })
}

/// Of several attempts at one parent: made if one was, else the most telling.
fn joined(outcomes: Vec<Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Made => 0,
        Outcome::NotReached { .. } => 1,
        Outcome::NoOp => 2,
        Outcome::Refused(_) => 3,
    };
    let hull = |a: Outcome, b: Outcome| match (&a, &b) {
        (Outcome::NotReached { least: l, greatest: g }, Outcome::NotReached { least, greatest }) => {
            Outcome::NotReached { least: l.min(*least), greatest: g.max(*greatest) }
        }
        _ if rank(&b) < rank(&a) => b,
        _ => a,
    };
    outcomes.into_iter().reduce(hull).unwrap_or(Outcome::NoOp)
}

impl Generator for Pgd {
    fn requirements(&self) -> Requirements {
        Requirements { gradients: self.modalities.iter().copied().collect(), ..Requirements::default() }
    }
    fn modalities(&self) -> ModalitySet {
        self.modalities.iter().copied().collect()
    }
    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::NearBoundary]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let groups = self.groups();
        let mut attempts = groups.iter().map(|set| self.attempt(parents, *set, context)).collect::<Result<Vec<_>>>()?;
        let mut generated = Generated::default();
        for (i, parent) in parents.iter().enumerate() {
            let mut of_parent: Vec<(usize, Ascent, Found)> =
                attempts.iter_mut().enumerate().filter_map(|(g, of)| of[i].take().map(|(ascent, found)| (g, ascent, found))).collect();
            let outcome = if parent.sample.label.is_none() {
                Outcome::Refused("no_label".into())
            } else if of_parent.is_empty() {
                Outcome::Refused(format!("no_{}", names(&self.modalities).replace(", ", "_or_")))
            } else {
                joined(of_parent.iter().map(|(_, _, found)| found.outcome.clone()).collect())
            };
            if of_parent.len() > 1 {
                // Which modality goes first is a coin of the sample, or one would always be fed.
                let turn = context.seeds.sample(&parent.sample.id).child("order").number() as usize % of_parent.len();
                of_parent.rotate_left(turn);
            }
            for (group, ascent, found) in of_parent {
                let attack = self.attack(groups[group], Until::Steps);
                let terrain = attack.terrain(&Input::of(&parent.sample));
                let seeds = node(&context.seeds, parent, groups[group]);
                for (v, hit) in found.hits.into_iter().enumerate() {
                    let walked = Walked {
                        modalities: groups[group],
                        image: terrain.image,
                        audio: terrain.audio,
                        objective: self.objective,
                        random_start: self.random_start,
                        restart: ascent.restart,
                        steps: ascent.step,
                        magnitude: hit.magnitude,
                        gradients: ascent.gradients,
                    };
                    let balls = terrain.iter().filter_map(|(modality, terrain)| {
                        terrain.map(|t| Claim::WithinBall { modality, norm: t.norm, epsilon: t.epsilon })
                    });
                    let draft = Draft {
                        child: hit.child,
                        partners: Vec::new(),
                        variant: group * self.variants + v,
                        seeds: &seeds,
                        parameters: serde_json::to_value(&walked).map_err(|e| Error::internal(e.to_string()))?,
                        claims: balls.chain([Claim::CertifiedBudget]).collect(),
                        uses_model: true,
                    };
                    generated.candidates.push(context.candidate(parent, draft));
                }
            }
            generated.outcomes.push((parent.sample.id.clone(), outcome));
        }
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        let walked: Walked = serde_json::from_value(parameters.clone())
            .map_err(|error| Error::data(format!("the parameters in the lineage are not those of `pgd`: {error}")))?;
        let parent = context.parents.first().ok_or_else(|| Error::usage("a replay of `pgd` needs the parent"))?;
        let models = context.models.ok_or_else(|| Error::usage("a replay of `pgd` needs the model that made the child"))?;
        let target = parent.label.as_ref().ok_or_else(|| Error::data("the parent has no label").at("sample", &parent.id))?;
        let terrain = PerModality { image: walked.image, audio: walked.audio, text: None };
        let walk = Walk::start(&Input::of(parent), terrain, walked.random_start, &context.seeds.variant(walked.restart));
        let point = retrace(models.subject.as_ref(), walk, target, walked.objective, walked.modalities, walked.steps)?;
        match perturbed(parent, &point, &terrain, walked.magnitude)? {
            Made::Child(child) => Ok(child),
            Made::Negative(_) | Made::Unchanged | Made::Refused(_) => {
                Err(Error::data("the recorded walk does not lead away from this parent").at("sample", &parent.id))
            }
        }
    }
}
