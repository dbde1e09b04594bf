//! Projected gradient descent on pixels and waveforms: the generator, and the ascent as a library function for trainers and evaluations.

#[cfg(test)]
mod tests;
mod walked;

pub(super) use walked::{Walked, balls};

pub use crate::model::ascent::{
    Aim, Ascent, AttackConfig, Budget, Method, Radius, Until, Worst, ascend, ascend_away, auto_attack, worst_of,
};

use super::{
    Generated, Generator, Outcome,
    search::{BandSearch, Found, Made, Path},
};
use crate::{
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{Input, Objective, Target, ascent::Terrain},
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
/// lies in the band: one ascent a parent, and no gradient is spent on the search; where the child of an ascent that ended early falls short of the band by its rounding, the ascent is
/// made once more, with all steps. Values are rounded toward the parent's (in `l2` and `l1` as many of them as it takes), so that the file
/// stays in the ball, whose stated radius is the certified budget of the label. One backward pass serves all listed modalities (`joint: true`), or each listed
/// modality is attacked alone (`joint: false`: the children are variants of one attempt, the first modality drawn at random); a modality that is
/// missing stays missing. `l1` steps go along the hundredth part of the values with the steepest slope. `shared_budget: B` replaces the ball of each modality by one
/// budget, `sum_m (||d_m|| / radius_m)^2 <= B`, kept by scaling all perturbations alike. `method` names the steps: `fgsm` is one step of the radius from the sample, `fgsm_rs`
/// one of 1.25 radii from a random point; `momentum` goes along a running sum of gradients; `apgd` starts with steps of two radii (one in `l1`), halves them where the objective no longer rises and
/// goes on from the best point; `nes` estimates the gradient from answers, and `square` searches by random squares (of a waveform: stretches of time), for models that give no gradient. With an `aim`
/// the objective with that class is descended.
///
/// Reference: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"; Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples";
/// Wong et al. 2020, "Fast is better than free"; Dong et al. 2018, "Boosting Adversarial Attacks with Momentum"; Croce and Hein 2020, "Reliable evaluation of adversarial robustness";
/// Tramèr and Boneh 2019, "Adversarial Training and Robustness for Multiple Perturbations"; Ilyas et al. 2018, "Black-box Adversarial Attacks with Limited Queries and Information";
/// Andriushchenko et al. 2020, "Square Attack".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pgd {
    /// What is perturbed: `image`, `audio` or both.
    pub modalities: Vec<Modality>,
    /// How a step is made.
    pub method: Steps,
    /// Norm of the balls.
    pub norm: Norm,
    /// Radius for pixels in `0..=1`, at least 1/255 (one level of an 8-bit file), in `linf` at most 1. Default 8/255 for `linf`, 1 for `l2`, 12 for `l1`.
    pub epsilon: Option<Epsilon>,
    /// Radius for the waveform in `-1..=1`, at least 1/32768, in `linf` at most 2. Default 0.002 for `linf`; for `l2` and `l1` a ratio of 30 dB.
    pub audio_epsilon: Option<Epsilon>,
    /// Radius for the waveform as a ratio of the signal to the perturbation in the norm, in dB (`l2`: signal-to-noise ratio), above 0; instead of `audio_epsilon`.
    pub audio_snr_db: Option<Decibels>,
    /// One budget for all modalities instead of a ball each, in squared radii, above 0 and at most 16.
    pub shared_budget: Option<f64>,
    /// Steps, 1..=1000 (`square`: proposals, 1..=100000). Default 10; 500 for `square`; `fgsm` and `fgsm_rs` have 1.
    pub steps: Option<usize>,
    /// Length of a step for pixels, in their units. Default 2.5 radius / steps, and what the method says.
    pub step_size: Option<Epsilon>,
    /// Length of a step for the waveform, in its units. Default 2.5 radius / steps, and what the method says.
    pub audio_step_size: Option<Epsilon>,
    /// Begins at a random point of the ball instead of the sample. Default yes; `fgsm` does not, `fgsm_rs` does, `square` begins with stripes.
    pub random_start: Option<bool>,
    /// Random starts, 1..=100; the first that reaches the band is kept, else the one with the largest objective. More than 1 needs a random start.
    pub restarts: usize,
    /// What `momentum` keeps of the sum at each step, 0..=1. Default 1.
    pub decay: Option<f64>,
    /// Antithetic pairs that `nes` asks about at each step, 1..=1000. Default 20.
    pub pairs: Option<usize>,
    /// Share of the places that the first proposals of `square` change, above 0 and at most 1. Default 0.8.
    pub square_share: Option<f64>,
    /// The class that is wanted, by the model's answer to the sample: `runner_up` or `least_likely`. Left out, any other than the label's.
    pub aim: Option<Wanted>,
    /// Sides of copies of the picture, as shares of its own, 0.1..=4, whose gradients are added to its own at every step, so that a perturbation works at other sizes and for other models (0.5, 0.75, 1.25, 1.5 in
    /// set-level guidance). Each costs a gradient a step.
    pub scales: Vec<f64>,
    /// Perturbs all listed modalities together, from one backward pass; otherwise each alone.
    pub joint: bool,
    /// What is ascended.
    pub objective: Objective,
    /// Forward passes of the search for the magnitude, 1..=64; in `pgd` itself as many again after a second ascent.
    pub tries: usize,
    /// Children of one attempt, 1..=16: the first that is verified is fed.
    pub variants: usize,
}

/// How a step is made, by the names of the papers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// Steepest steps of a fixed size.
    #[default]
    Pgd,
    /// One step of the radius from the sample.
    Fgsm,
    /// One step of 1.25 radii from a random point.
    FgsmRs,
    /// Steps along a running sum of gradients.
    Momentum,
    /// Steps with momentum that are halved where the objective has stopped to rise.
    Apgd,
    /// Steps along an estimated gradient.
    Nes,
    /// Random search over squares.
    Square,
}

impl Steps {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgd => "pgd",
            Self::Fgsm => "fgsm",
            Self::FgsmRs => "fgsm_rs",
            Self::Momentum => "momentum",
            Self::Apgd => "apgd",
            Self::Nes => "nes",
            Self::Square => "square",
        }
    }
    /// The rule of a step, with the usual numbers.
    pub fn rule(self) -> Method {
        match self {
            Self::Pgd | Self::Fgsm | Self::FgsmRs => Method::Pgd,
            Self::Momentum => Method::Momentum { decay: 1.0 },
            Self::Apgd => Method::Apgd,
            Self::Nes => Method::Nes { pairs: 20 },
            Self::Square => Method::Square { share: 0.8 },
        }
    }
    /// Whether the name stands for one step alone.
    pub fn is_one_step(self) -> bool {
        matches!(self, Self::Fgsm | Self::FgsmRs)
    }
    /// Length of that step in radii.
    pub fn radii(self) -> Option<f64> {
        match self {
            Self::Fgsm => Some(1.0),
            Self::FgsmRs => Some(1.25),
            _ => None,
        }
    }
    /// What is wrong with a start that belongs to another name.
    pub(crate) fn start_problem(self, random_start: Option<bool>) -> Option<&'static str> {
        match (self, random_start?) {
            (Self::Fgsm, true) => Some("`fgsm` begins at the sample; with a random start it is `fgsm_rs`"),
            (Self::FgsmRs, false) => Some("`fgsm_rs` begins at random; without that it is `fgsm`"),
            (Self::Square, _) => Some("`square` has a start of its own: leave it out"),
            _ => None,
        }
    }
}

/// The class that a targeted attack wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The most probable class other than the label's.
    RunnerUp,
    /// The least probable one.
    LeastLikely,
}

impl Default for Pgd {
    fn default() -> Self {
        Self {
            modalities: vec![Modality::Image, Modality::Audio],
            method: Steps::Pgd,
            norm: Norm::Linf,
            epsilon: None,
            audio_epsilon: None,
            audio_snr_db: None,
            shared_budget: None,
            steps: None,
            step_size: None,
            audio_step_size: None,
            random_start: None,
            restarts: 1,
            decay: None,
            pairs: None,
            square_share: None,
            aim: None,
            scales: Vec::new(),
            joint: true,
            objective: Objective::CrossEntropy,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for Pgd {
    const NAME: &'static str = "pgd";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ modalities: [image, audio], norm: linf, epsilon: 8/255, steps: 10 }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// The most antithetic pairs of a step of `nes`.
const MOST_PAIRS: usize = 1000;

/// The most steps of a walk, or proposals of `square`.
fn most_steps(square: bool) -> usize {
    if square { 100_000 } else { 1000 }
}

impl Pgd {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let set: ModalitySet = self.modalities.iter().copied().collect();
        if set.is_empty() || set.has(Modality::Text) || set.len() != self.modalities.len() {
            problems
                .push(Problem::new("modalities", format!("expected image, audio or both, each once, found [{}]", names(&self.modalities))));
        }
        let most = most_steps(self.method == Steps::Square);
        let between = [
            ("steps", self.total_steps(), most),
            ("restarts", self.restarts, 100),
            ("pairs", self.pairs.unwrap_or(1), MOST_PAIRS),
            ("tries", self.tries, 64),
            ("variants", self.variants, 16),
        ];
        for (field, found, most) in between {
            if !(1..=most).contains(&found) {
                problems.push(Problem::new(field, format!("expected a whole number in 1..={most}, found {found}")));
            }
        }
        if self.restarts > 1 && !self.starts_at_random() {
            problems.push(Problem::new("restarts", "without `random_start` every restart is the same; expected 1"));
        }
        self.method_problems(&mut problems);
        let radii = [
            ("epsilon", self.epsilon, 1.0 / 255.0, "1/255, one level of an 8-bit image"),
            ("audio_epsilon", self.audio_epsilon, 1.0 / 32768.0, "1/32768, one level of a 16-bit file"),
        ];
        for (field, found, least, what) in radii {
            if let Some(found) = found.filter(|found| found.get() < least) {
                problems.push(Problem::new(field, format!("expected at least {what}, found {found}")));
            }
        }
        for (field, modality, found) in [("epsilon", Modality::Image, self.epsilon), ("audio_epsilon", Modality::Audio, self.audio_epsilon)]
        {
            problems.extend(
                found.and_then(|found| self.norm.radius_problem(modality, found.get())).map(|message| Problem::new(field, message)),
            );
        }
        if let Some(found) = self.audio_snr_db.filter(|ratio| ratio.get() <= 0.0) {
            let message =
                format!("expected more than 0 dB, found {}: a perturbation as strong as the signal makes silence of it", found.get());
            problems.push(Problem::new("audio_snr_db", message));
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

    fn method_problems(&self, problems: &mut Vec<Problem>) {
        if let Some(steps) = self.steps.filter(|steps| self.method.is_one_step() && *steps != 1) {
            problems
                .push(Problem::new("steps", format!("this method takes one step, found {steps}; leave it out, or write `method: pgd`")));
        }
        problems.extend(self.method.start_problem(self.random_start).map(|message| Problem::new("random_start", message)));
        let own = [
            ("decay", self.decay.is_some(), self.method == Steps::Momentum, "momentum"),
            ("pairs", self.pairs.is_some(), self.method == Steps::Nes, "nes"),
            ("square_share", self.square_share.is_some(), self.method == Steps::Square, "square"),
        ];
        for (field, _, _, method) in own.into_iter().filter(|(_, written, serves, _)| *written && !serves) {
            problems.push(Problem::new(field, format!("has no effect: it belongs to `method: {method}`")));
        }
        if let Some(found) = self.decay.filter(|decay| !(0.0..=1.0).contains(decay)) {
            problems.push(Problem::new("decay", format!("expected 0..=1, found {found}")));
        }
        if let Some(found) = self.square_share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            problems.push(Problem::new("square_share", format!("expected a share above 0 and at most 1, found {found}")));
        }
        if let Some(found) = self.shared_budget.filter(|shared| !(*shared > 0.0 && *shared <= 16.0)) {
            problems.push(Problem::new("shared_budget", format!("expected a number above 0 and at most 16, found {found}")));
        }
        if self.shared_budget.is_some() && !(self.joint && self.modalities.len() > 1) {
            problems.push(Problem::new(
                "shared_budget",
                "is shared by modalities that are perturbed together: it needs `joint` and two of them",
            ));
        }
        if let Some(found) = self.scales.iter().find(|scale| !(0.1..=4.0).contains(*scale)) {
            problems.push(Problem::new("scales", format!("expected shares of the size in 0.1..=4, found {found}")));
        }
        let copied = self.step_rule().needs_gradients() && self.modalities.contains(&Modality::Image);
        if !self.scales.is_empty() && !copied {
            problems.push(Problem::new("scales", "has no effect: copies are made of pictures, for their gradients"));
        }
        for (field, written) in [("step_size", self.step_size.is_some()), ("audio_step_size", self.audio_step_size.is_some())] {
            if written && self.method == Steps::Square {
                problems.push(Problem::new(field, "has no effect: every proposal of `square` is as far as the radius"));
            }
        }
    }

    /// Whether the model must give gradients.
    pub(super) fn needs_gradients(&self) -> bool {
        self.step_rule().needs_gradients()
    }

    fn total_steps(&self) -> usize {
        self.steps.unwrap_or(match self.method {
            Steps::Fgsm | Steps::FgsmRs => 1,
            Steps::Square => 500,
            _ => 10,
        })
    }

    fn starts_at_random(&self) -> bool {
        self.random_start.unwrap_or(self.method != Steps::Fgsm)
    }

    fn step_rule(&self) -> Method {
        match self.method.rule() {
            Method::Momentum { decay } => Method::Momentum { decay: self.decay.unwrap_or(decay) },
            Method::Nes { pairs } => Method::Nes { pairs: self.pairs.unwrap_or(pairs) },
            Method::Square { share } => Method::Square { share: self.square_share.unwrap_or(share) },
            rule => rule,
        }
    }

    /// The attack on those of `modalities` that are listed.
    pub fn attack(&self, modalities: ModalitySet, until: Until) -> AttackConfig {
        let listed = |modality| modalities.has(modality) && self.modalities.contains(&modality);
        let usual = match self.norm {
            Norm::Linf => 8.0 / 255.0,
            Norm::L2 => 1.0,
            Norm::L1 => 12.0,
        };
        let epsilon = self.epsilon.map_or(usual, Epsilon::get);
        let audio = match (self.audio_snr_db, self.audio_epsilon, self.norm) {
            (Some(ratio), _, _) => Radius::BelowSignal(ratio.get()),
            (None, Some(epsilon), _) => Radius::Absolute(epsilon.get()),
            (None, None, Norm::Linf) => Radius::Absolute(0.002),
            (None, None, Norm::L2 | Norm::L1) => Radius::BelowSignal(30.0),
        };
        let budget = |radius, step_size: Option<Epsilon>| Budget { norm: self.norm, radius, step_size: step_size.map(Epsilon::get) };
        AttackConfig {
            image: listed(Modality::Image).then(|| budget(Radius::Absolute(epsilon), self.step_size)),
            audio: listed(Modality::Audio).then(|| budget(audio, self.audio_step_size)),
            text: None,
            shared: self.shared_budget,
            steps: self.total_steps(),
            step_radii: self.method.radii(),
            random_start: self.starts_at_random(),
            restarts: self.restarts,
            objective: self.objective,
            method: self.step_rule(),
            aim: self.aim.map(|aim| match aim {
                Wanted::RunnerUp => Aim::RunnerUp(1),
                Wanted::LeastLikely => Aim::LeastLikely,
            }),
            scales: self.scales.clone(),
            until,
        }
    }

    /// Attacks `modalities` of those parents that have one of them and a label; what was found, by parent.
    fn attempt(&self, parents: &[Parent], modalities: ModalitySet, context: &GenerateContext<'_>) -> Result<Vec<Option<(Ascent, Found)>>> {
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
        let search = BandSearch { path: Path::Monotone { draws: 1 }, tries: self.tries, variants: self.variants };
        let searched = |of: &[usize], attack: &AttackConfig| -> Result<Vec<(Ascent, Found)>> {
            let own: Vec<Input> = of.iter().map(|&k| inputs[k].clone()).collect();
            let their: Vec<Target> = of.iter().map(|&k| targets[k].clone()).collect();
            let nodes: Vec<SeedTree> = of.iter().map(|&k| seeds[k].clone()).collect();
            let ascents = ascend(subject, &own, &their, attack, &nodes)?;
            let start = |(k, ascent): (&usize, &Ascent)| first_magnitude(&parents[able[*k].0], ascent, context.band);
            let starts: Vec<f64> = of.iter().zip(&ascents).map(start).collect();
            let found = search.run(subject, &their, context.band, &starts, |trials| {
                let make = |trial: &super::search::Trial| {
                    let (ascent, parent) = (&ascents[trial.item], &parents[able[of[trial.item]].0].sample);
                    if !ascent.finite && ascent.step == 0 {
                        return Ok(Made::Refused("gradient_not_finite".into()));
                    }
                    perturbed(parent, &ascent.input, &attack.terrain(&own[trial.item], None), trial.magnitude)
                };
                trials.iter().map(make).collect()
            })?;
            Ok(ascents.into_iter().zip(found).collect())
        };
        let all: Vec<usize> = (0..able.len()).collect();
        let mut pairs = searched(&all, &attack)?;
        // An early stop reckons with the point as it is: where the file's levels hold less of it than the band asks, the walk goes on.
        let more = |ascent: &Ascent| ascent.solved && (ascent.step < attack.steps || attack.restarts > 1);
        let short: Vec<usize> = all.into_iter().filter(|&k| more(&pairs[k].0) && short_of(&pairs[k].1.outcome, context.band)).collect();
        if !short.is_empty() {
            let whole = AttackConfig { until: Until::Steps, ..attack };
            for (k, (mut ascent, found)) in short.iter().zip(searched(&short, &whole)?) {
                let before = &pairs[*k].0;
                (ascent.gradients, ascent.forwards) = (ascent.gradients + before.gradients, ascent.forwards + before.forwards);
                pairs[*k] = (ascent, found);
            }
        }
        let mut of_parents: Vec<Option<(Ascent, Found)>> = (0..parents.len()).map(|_| None).collect();
        for ((i, _), pair) in able.iter().zip(pairs) {
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

/// Whether every child of a search fell short of the band, or was its parent.
fn short_of(outcome: &Outcome, band: Option<DifficultyBand>) -> bool {
    match outcome {
        Outcome::NotReached { greatest, .. } => band.is_some_and(|band| *greatest < band.low),
        Outcome::NoOp => band.is_some(),
        Outcome::Made | Outcome::Refused(_) => false,
    }
}

/// Where the search begins: at the whole perturbation, or, where that went past the band, where a straight line would cross its middle.
fn first_magnitude(parent: &Parent, ascent: &Ascent, band: Option<DifficultyBand>) -> f64 {
    let Some(band) = band.filter(|band| ascent.cross_entropy > band.high) else { return 1.0 };
    let before = parent.score("loss").unwrap_or(0.0);
    let (middle, reached) = (0.5 * (band.low + band.high), ascent.cross_entropy);
    if before < middle { f64::from((middle - before) / (reached - before)).clamp(0.05, 1.0) } else { 0.5 }
}

/// The child at `magnitude` on the straight line from the parent to the perturbed point, rounded so that it stays in the ball.
pub(super) fn perturbed(parent: &Sample, point: &Input, terrain: &PerModality<Option<Terrain>>, magnitude: f64) -> Result<Made> {
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
        match self.step_rule().needs_gradients() {
            true => Requirements { gradients: self.modalities.iter().copied().collect(), ..Requirements::default() },
            false => Requirements { new_inputs: true, ..Requirements::default() },
        }
    }
    fn modalities(&self) -> ModalitySet {
        self.modalities.iter().copied().collect()
    }
    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::NearBoundary]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        // A modality that the data lacks has no gradient either: missing is data, not an error. What is left is walked and recorded.
        let spec = context.models.subject.spec();
        let given = if self.step_rule().needs_gradients() { spec.gradients } else { spec.modalities };
        let groups: Vec<ModalitySet> = self.groups().into_iter().map(|set| set.and(given)).collect();
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
                let terrain = attack.terrain(&Input::of(&parent.sample), None);
                let seeds = node(&context.seeds, parent, groups[group]);
                for (v, hit) in found.hits.into_iter().enumerate() {
                    let walked = Walked::of(&attack, groups[group], &terrain, &ascent, hit.magnitude);
                    let draft = Draft {
                        child: hit.child,
                        partners: Vec::new(),
                        variant: group * self.variants + v,
                        seeds: &seeds,
                        parameters: serde_json::to_value(&walked).map_err(|e| Error::internal(e.to_string()))?,
                        claims: balls(&terrain).chain([Claim::CertifiedBudget]).collect(),
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
        let point = walked.retraced(&Input::of(parent), target, None, models, &context.seeds)?;
        match perturbed(parent, &point, &walked.terrain(), walked.magnitude())? {
            Made::Child(child) => Ok(child),
            Made::Negative(_) | Made::Unchanged | Made::Refused(_) => {
                Err(Error::data("the recorded walk does not lead away from this parent").at("sample", &parent.id))
            }
        }
    }
}
