//! What the `train:` section says of the outer objective: losses, consistency, training against attacks.

use crate::{
    error::Problem,
    model::Capabilities,
    sample::{Modality, ModalitySet, Norm, PerModality},
    units::{Epsilon, Fraction},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

/// Outer objective of the rounds. The warm-up and the folds learn the cross entropy whatever it is, since training dynamics and judges come from them; all arms share it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingObjective {
    /// Cross entropy, written `cross_entropy: {}`.
    CrossEntropy {},
    /// What is easy counts less (Lin et al. 2017).
    Focal(Focal),
    /// Only the hardest rows of each batch are learnt (Shrivastava et al. 2016).
    Ohem(Ohem),
    /// What is easier than a threshold counts more, what is harder less (Castells et al. 2020).
    Superloss(SuperLoss),
    /// Predictions from some modalities are held to those from all.
    Consistency(Consistency),
    /// Cross entropy at the worst point that projected gradient ascent finds in a ball around each sample (Madry et al. 2018).
    Madry(Madry),
    /// Clean cross entropy, and the divergence between the predictions of a sample and of its worst neighbour (Zhang et al. 2019).
    Trades(Trades),
    /// Cross entropy after one large step from a random point, watched for catastrophic overfitting (Wong et al. 2020).
    FgsmRs(FgsmRs),
    /// Each batch several times in a row, one gradient for weights and perturbation (Shafahi et al. 2019).
    Free(Free),
    /// Mean cross entropy along an ascent in the embeddings or media (Zhu et al. 2020).
    Freelb(FreeLb),
    /// The same with a symmetric divergence to the clean prediction, one modality at a time (Gan et al. 2020).
    Villa(Villa),
}

impl Default for TrainingObjective {
    fn default() -> Self {
        Self::CrossEntropy {}
    }
}

/// Which samples of a batch an adversarial objective treats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// All of them.
    #[default]
    All,
    /// The mined ones of the round; the rest, and what is replayed, learns its clean cross entropy. An arm without mining treats as many presentations of random samples, counted step by
    /// step, so that the gradients of the attacks are equal (of `uniform_equal_compute`, in proportion to its steps); one that its batch has too few samples for is made up for in the next.
    Mined,
}

/// Norm balls around the media of a sample; at least one radius is given. They are attacked together, from one backward pass.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Balls {
    /// Norm of the balls of pixels and waveforms.
    pub norm: Norm,
    /// Radius for pixels, on values in 0..=1.
    pub image: Option<Epsilon>,
    /// Radius for the waveform, on values in -1..=1.
    pub audio: Option<Epsilon>,
    /// Radius for the embedded text, always in L2 over all its positions, as a share of the mean length of a position's vector times the root of how many there are.
    pub text: Option<Epsilon>,
}

impl Balls {
    /// The radii of the modalities that have one.
    pub fn radii(&self) -> PerModality<Option<f64>> {
        let radius = |epsilon: Option<Epsilon>| epsilon.map(Epsilon::get).filter(|radius| *radius > 0.0);
        PerModality { image: radius(self.image), audio: radius(self.audio), text: radius(self.text) }
    }
    /// The modalities that have one.
    pub fn modalities(&self) -> ModalitySet {
        Modality::ALL.into_iter().filter(|m| self.radii()[*m].is_some()).collect()
    }
}

/// Least and greatest number of a field.
type Limits = (f64, f64);

/// `focal`: the loss `-alpha (1 - p)^gamma ln p` of the label's probability p, the gradient going through both factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Focal {
    /// How much less what is easy counts, 0..=10; 0 is the cross entropy.
    pub gamma: f64,
    /// Factor of the loss by class, 0..=1000; 1 for one that is not named.
    pub alpha: BTreeMap<String, f64>,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, alpha: BTreeMap::new() }
    }
}

/// `ohem`: every row goes forward, the hardest go backward. A batch's mean is that of the rows that are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ohem {
    /// Share of the rows that is learnt, rounded up, above 0.
    pub keep: Fraction,
}

impl Default for Ohem {
    fn default() -> Self {
        Self { keep: share(0.5) }
    }
}

/// `superloss`: each cross entropy weighted by the best compromise between it and a price of being sure, in closed form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuperLoss {
    /// Loss that counts as it is, in nats, 0..=100. Left out: the logarithm of the number of classes.
    pub tau: Option<f64>,
    /// How slowly the weight follows the loss, above 0, at most 1000.
    pub lambda: f64,
    /// Decay of the running mean of the losses that takes the place of `tau`, at least 0 and below 1; absent for a fixed threshold.
    pub running_mean: Option<Fraction>,
}

impl Default for SuperLoss {
    fn default() -> Self {
        Self { tau: None, lambda: 1.0, running_mean: None }
    }
}

/// How predictions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Kullback-Leibler divergence from the prediction with all modalities.
    #[default]
    Kl,
    /// Jensen-Shannon divergence.
    JensenShannon,
}

/// `consistency`: beside each whole sample goes one random proper subset of its modalities; its cross entropy is learnt, and the divergence of its prediction
/// from that of the whole sample, which is a constant there. The drawn subset stands for the mean over all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Consistency {
    /// Weight of the divergence, 0..=100.
    pub weight: f64,
    /// Weight of the subset's own cross entropy, 0..=100.
    pub subset_weight: f64,
    /// What is kept small.
    pub divergence: Compared,
    /// Least probability of the whole sample's prediction, 0..=1; a less sure one teaches nothing.
    pub confidence: Fraction,
    /// Share of the steps of all rounds over which `weight` grows from 0.
    pub ramp: Fraction,
}

impl Default for Consistency {
    fn default() -> Self {
        Self { weight: 1.0, subset_weight: 0.5, divergence: Compared::Kl, confidence: share(0.5), ramp: share(0.2) }
    }
}

/// `madry`: each treated sample is learnt at the last point of a projected gradient ascent of its cross entropy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Madry {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// Gradient steps, 1..=1000.
    pub steps: usize,
    /// Length of a step as a share of the radius, above 0, at most 10. Left out: 2.5 / steps.
    pub step: Option<f64>,
    /// Begins at a random point of the ball instead of the sample.
    pub random_start: bool,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
}

impl Default for Madry {
    fn default() -> Self {
        Self { balls: Balls::default(), steps: 7, step: None, random_start: true, ramp: share(0.0), on: On::All }
    }
}

/// `trades`: clean cross entropy plus `beta KL(f(x) || f(x'))`, x' found by ascending the same divergence from a point beside the sample. The gradient
/// of the divergence goes through both predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trades {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// Weight of the divergence, above 0, at most 1000.
    pub beta: f64,
    /// Gradient steps, 1..=1000.
    pub steps: usize,
    /// Length of a step as a share of the radius, above 0, at most 10. Left out: 2.5 / steps.
    pub step: Option<f64>,
    /// Standard deviation of the start around the sample as a share of the radius, above 0, at most 1: at the sample itself the divergence has no slope.
    pub start: f64,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
}

impl Default for Trades {
    fn default() -> Self {
        let (steps, start) = (10, 0.001 / 0.3);
        Self { balls: Balls::default(), beta: 6.0, steps, step: None, start, ramp: share(0.0), on: On::All }
    }
}

/// `fgsm_rs`: one signed step from a uniformly random point of the ball. After each epoch a projected gradient attack on held-out samples (of the validation split; of
/// the training split without one) measures the robust accuracy in the balls that the epoch ended with; where it falls by more than `fall` from the best epoch before, or is more than `gap` below that
/// under the attack that is trained on, the last good state is brought back and the attack takes one step more from then on, all together as long as before. While the
/// balls grow (`ramp`), the fall is that from the last good state in the balls of now, which is measured for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FgsmRs {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// Length of the step as a share of the radius, above 0, at most 10.
    pub step: f64,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
    /// Samples of the check after each epoch, 0..=100000; 0 for no check. It perturbs image and audio: with a ball around text there must be none.
    pub check_samples: usize,
    /// Steps of the attack of the check, 1..=1000.
    pub check_steps: usize,
    /// Fall of the robust accuracy that is an alarm, above 0, at most 1.
    pub fall: Fraction,
    /// Robust accuracy less than under the attack that is trained on that is an alarm, above 0, at most 1.
    pub gap: Fraction,
}

impl Default for FgsmRs {
    fn default() -> Self {
        let (check_samples, check_steps) = (128, 10);
        let (fall, gap) = (share(0.2), share(0.4));
        Self { balls: Balls::default(), step: 1.25, ramp: share(0.0), on: On::All, check_samples, check_steps, fall, gap }
    }
}

/// `free`: each batch is learnt `replays` times in a row; the gradient that moves the weights also moves the perturbation by a step
/// of the whole radius. The perturbation starts at a random point of the ball in each batch, where the paper carries over that of the batch before: other samples', of other sizes. A step of the plan is a batch, and so takes `replays` steps of the optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Free {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// How often each batch is learnt, 1..=100.
    pub replays: usize,
    /// Length of a step as a share of the radius, above 0, at most 10.
    pub step: f64,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
}

impl Default for Free {
    fn default() -> Self {
        Self { balls: Balls::default(), replays: 4, step: 1.0, ramp: share(0.0), on: On::All }
    }
}

/// `freelb`: the gradients of the weights at the `steps` points of an ascent of the loss that is learnt, the start included, are averaged, and one step of the optimizer is taken. A
/// point costs one backward pass, whose input gradients lead to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FreeLb {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// Points of the ascent, 1..=100.
    pub steps: usize,
    /// Length of a step as a share of the radius, above 0, at most 10. Left out: 2.5 / steps.
    pub step: Option<f64>,
    /// Begins at a random point of the ball instead of the sample.
    pub random_start: bool,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
}

impl Default for FreeLb {
    fn default() -> Self {
        Self { balls: Balls::default(), steps: 3, step: None, random_start: true, ramp: share(0.0), on: On::All }
    }
}

/// `villa`: the clean cross entropy, and at each of the `steps` points of an ascent from the sample the cross entropy plus `weight` times the symmetric divergence from the clean prediction,
/// averaged over the points. The ascent goes along that sum, the clean prediction a constant. Each treated sample has one modality perturbed, drawn among those with a ball, or all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Villa {
    /// Where the neighbours lie.
    pub balls: Balls,
    /// Steps of the ascent, each of whose points is learnt, 1..=100.
    pub steps: usize,
    /// Length of a step as a share of the radius, above 0, at most 10. Left out: 2.5 / steps.
    pub step: Option<f64>,
    /// Weight of the divergence, 0..=1000.
    pub weight: f64,
    /// Perturbs all modalities together; otherwise one, drawn for each sample and step.
    pub joint: bool,
    /// Whether the clean prediction is a constant in the divergence (the released code lets the gradient through).
    pub stop_gradient: bool,
    /// Share of the steps of all rounds over which the radii grow from 0.
    pub ramp: Fraction,
    /// Which samples.
    pub on: On,
}

impl Default for Villa {
    fn default() -> Self {
        let (steps, weight) = (3, 1.5);
        Self { balls: Balls::default(), steps, step: None, weight, joint: false, stop_gradient: true, ramp: share(0.0), on: On::All }
    }
}

impl TrainingObjective {
    /// Name in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy {} => "cross_entropy",
            Self::Focal(_) => "focal",
            Self::Ohem(_) => "ohem",
            Self::Superloss(_) => "superloss",
            Self::Consistency(_) => "consistency",
            Self::Madry(_) => "madry",
            Self::Trades(_) => "trades",
            Self::FgsmRs(_) => "fgsm_rs",
            Self::Free(_) => "free",
            Self::Freelb(_) => "freelb",
            Self::Villa(_) => "villa",
        }
    }

    /// What an adversarial objective attacks, and which samples; `None` for the others.
    pub fn adversarial(&self) -> Option<(&Balls, On)> {
        match self {
            Self::CrossEntropy {} | Self::Focal(_) | Self::Ohem(_) | Self::Superloss(_) | Self::Consistency(_) => None,
            Self::Madry(Madry { balls, on, .. })
            | Self::Trades(Trades { balls, on, .. })
            | Self::FgsmRs(FgsmRs { balls, on, .. })
            | Self::Free(Free { balls, on, .. })
            | Self::Freelb(FreeLb { balls, on, .. })
            | Self::Villa(Villa { balls, on, .. }) => Some((balls, *on)),
        }
    }

    /// Whether it is told of a sample that it treats by a point beside it, so that its loss as it is is never seen.
    pub fn displaces(&self) -> bool {
        match self {
            Self::Madry(_) | Self::FgsmRs(_) | Self::Free(_) => true,
            // Told of at the first point of the way.
            Self::Freelb(own) => own.random_start,
            _ => false,
        }
    }

    /// Share of all rounds' steps over which the radii, or the weight of the consistency, grow from 0.
    pub fn ramp(&self) -> f64 {
        match self {
            Self::CrossEntropy {} | Self::Focal(_) | Self::Ohem(_) | Self::Superloss(_) => 0.0,
            Self::Consistency(Consistency { ramp, .. })
            | Self::Madry(Madry { ramp, .. })
            | Self::Trades(Trades { ramp, .. })
            | Self::FgsmRs(FgsmRs { ramp, .. })
            | Self::Free(Free { ramp, .. })
            | Self::Freelb(FreeLb { ramp, .. })
            | Self::Villa(Villa { ramp, .. }) => ramp.get(),
        }
    }

    /// Whether a model has to know more than the cross entropy of a row.
    pub fn needs_losses(&self) -> bool {
        matches!(self, Self::Focal(_) | Self::Superloss(_) | Self::Consistency(_) | Self::Trades(_) | Self::Villa(_))
    }

    /// Every value out of its range, by its path under the objective.
    pub fn problems(&self) -> Vec<Problem> {
        let mut reals: Vec<(&str, f64, Limits)> = Vec::new();
        let mut above: Vec<(&str, f64, f64)> = Vec::new();
        let mut wholes: Vec<(&str, usize, usize, usize)> = Vec::new();
        let mut problems = Vec::new();
        match self {
            Self::CrossEntropy {} => {}
            Self::Focal(own) => {
                reals.push(("gamma", own.gamma, (0.0, 10.0)));
                let wrong = own.alpha.iter().filter(|(_, factor)| !(0.0..=1000.0).contains(*factor));
                let told = |factor: &f64| format!("expected a number in 0..=1000, found {factor}");
                problems.extend(wrong.map(|(class, factor)| Problem::new(format!("alpha.{class}"), told(factor))));
            }
            Self::Ohem(own) => above.push(("keep", own.keep.get(), 1.0)),
            Self::Superloss(own) => {
                reals.extend(own.tau.map(|tau| ("tau", tau, (0.0, 100.0))));
                above.push(("lambda", own.lambda, 1000.0));
                if let Some(decay) = own.running_mean.map(Fraction::get).filter(|decay| *decay >= 1.0) {
                    problems.push(Problem::new("running_mean", format!("expected a fraction below 1, found {decay}")));
                }
            }
            Self::Consistency(own) => {
                reals.extend([("weight", own.weight, (0.0, 100.0)), ("subset_weight", own.subset_weight, (0.0, 100.0))]);
            }
            Self::Madry(own) => {
                wholes.push(("steps", own.steps, 1, 1000));
                above.extend(own.step.map(|step| ("step", step, 10.0)));
            }
            Self::Trades(own) => {
                wholes.push(("steps", own.steps, 1, 1000));
                above.extend(own.step.map(|step| ("step", step, 10.0)));
                above.extend([("beta", own.beta, 1000.0), ("start", own.start, 1.0)]);
            }
            Self::FgsmRs(own) => {
                wholes.extend([("check_samples", own.check_samples, 0, 100_000), ("check_steps", own.check_steps, 1, 1000)]);
                above.extend([("step", own.step, 10.0), ("fall", own.fall.get(), 1.0), ("gap", own.gap.get(), 1.0)]);
            }
            Self::Free(own) => {
                wholes.push(("replays", own.replays, 1, 100));
                above.push(("step", own.step, 10.0));
            }
            Self::Freelb(own) => {
                wholes.push(("steps", own.steps, 1, 100));
                above.extend(own.step.map(|step| ("step", step, 10.0)));
            }
            Self::Villa(own) => {
                wholes.push(("steps", own.steps, 1, 100));
                above.extend(own.step.map(|step| ("step", step, 10.0)));
                reals.push(("weight", own.weight, (0.0, 1000.0)));
            }
        }
        if let Self::FgsmRs(own) = self
            && own.check_samples > 0
            && own.balls.modalities().has(Modality::Text)
        {
            let message = "the check for overfitting perturbs image and audio alone; leave `text`, or write `check_samples: 0`";
            problems.push(Problem::new("balls.text", message));
        }
        if let Some((balls, _)) = self.adversarial() {
            for (modality, radius) in balls.radii().iter() {
                let wrong = radius.as_ref().and_then(|radius| balls.norm.radius_problem(modality, *radius));
                problems.extend(wrong.map(|message| Problem::new(format!("balls.{modality}"), message)));
            }
        }
        if self.adversarial().is_some_and(|(balls, _)| balls.modalities().is_empty()) {
            problems.push(Problem::new("balls", "nothing would be perturbed; expected a radius such as `balls: { image: 8/255 }`"));
        }
        let real = |(field, found, (least, most)): (&str, f64, Limits)| {
            let wrong = !(least..=most).contains(&found);
            wrong.then(|| Problem::new(field, format!("expected a number in {least}..={most}, found {found}")))
        };
        let over = |(field, found, most): (&str, f64, f64)| {
            let wrong = !(found > 0.0 && found <= most);
            wrong.then(|| Problem::new(field, format!("expected a number above 0 and at most {most}, found {found}")))
        };
        let whole = |(field, found, least, most): (&str, usize, usize, usize)| {
            let wrong = !(least..=most).contains(&found);
            wrong.then(|| Problem::new(field, format!("expected a whole number in {least}..={most}, found {found}")))
        };
        problems.extend(reals.into_iter().filter_map(real));
        problems.extend(above.into_iter().filter_map(over));
        problems.extend(wholes.into_iter().filter_map(whole));
        let name = self.name();
        problems.into_iter().map(|problem| problem.under(name)).collect()
    }

    /// What it asks of a model that this one cannot do, by the path under the objective.
    pub fn unmet(&self, model: &str, capabilities: &Capabilities, losses: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let name = self.name();
        if self.needs_losses() && !losses {
            problems.push(Problem::new(name, format!("the model `{model}` learns the cross entropy of each row alone")));
        }
        if let Some((balls, _)) = self.adversarial() {
            for modality in balls.modalities().iter().filter(|m| !capabilities.gradients.has(*m)) {
                let has = capabilities.gradients;
                let told = format!("needs the input gradient of {modality}, but the model `{model}` has that of {has}");
                problems.push(Problem::new(format!("{name}.balls.{modality}"), told));
            }
        }
        if matches!(self, Self::Consistency(_)) && capabilities.modalities.len() < 2 {
            let has = capabilities.modalities;
            problems.push(Problem::new(name, format!("compares subsets of modalities, but the model `{model}` reads {has} alone")));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> TrainingObjective {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_objective_reads_back_what_it_writes() {
        let balls = json!({ "image": "8/255", "audio": 0.002 });
        let mut known: Vec<serde_json::Value> =
            ["cross_entropy", "focal", "ohem", "superloss", "consistency"].map(|name| json!({ name: {} })).into();
        known.extend(["madry", "trades", "fgsm_rs", "free", "freelb", "villa"].map(|name| json!({ name: { "balls": balls } })));
        for written in known {
            let objective = read(written.clone());
            assert!(written.get(objective.name()).is_some(), "{written}");
            assert_eq!(read(json!(objective)), objective);
            assert_eq!(objective.problems(), []);
            assert_eq!(objective.adversarial().is_some(), written[objective.name()].get("balls").is_some());
        }
    }

    #[test]
    fn every_value_out_of_its_range_is_told() {
        let paths = |value: serde_json::Value| -> Vec<String> { read(value).problems().into_iter().map(|p| p.path).collect() };
        assert_eq!(paths(json!({ "focal": { "gamma": -1.0 } })), ["focal.gamma"]);
        assert_eq!(paths(json!({ "ohem": { "keep": 0.0 } })), ["ohem.keep"]);
        assert_eq!(
            paths(json!({ "superloss": { "tau": 101.0, "lambda": 0.0, "running_mean": 1.0 } })),
            ["superloss.running_mean", "superloss.tau", "superloss.lambda"]
        );
        assert_eq!(paths(json!({ "madry": { "steps": 0, "step": 0.0 } })), ["madry.balls", "madry.step", "madry.steps"]);
        assert_eq!(paths(json!({ "trades": { "balls": { "image": 0.1 }, "beta": 0.0, "start": 2.0 } })), ["trades.beta", "trades.start"]);
        assert_eq!(paths(json!({ "fgsm_rs": { "balls": { "image": 0.0 }, "fall": 0.0 } })), ["fgsm_rs.balls", "fgsm_rs.fall"]);
        let text = |samples: usize| json!({ "fgsm_rs": { "balls": { "image": 0.1, "text": 0.1 }, "check_samples": samples } });
        assert_eq!((paths(text(8)), paths(text(0))), (vec!["fgsm_rs.balls.text".to_owned()], Vec::new()));
        assert_eq!(paths(json!({ "free": { "balls": { "image": 0.1 }, "replays": 0 } })), ["free.replays"]);
        assert_eq!(paths(json!({ "consistency": { "weight": 1e9 } })), ["consistency.weight"]);
        assert!(serde_json::from_value::<TrainingObjective>(json!({ "madry": { "epsilon": 0.1 } })).is_err());
    }

    #[test]
    fn what_the_model_cannot_do_is_told() {
        let image = ModalitySet::one(Modality::Image);
        let can = Capabilities {
            trainable: true,
            modalities: image,
            gradients: ModalitySet::EMPTY,
            embeddings: ModalitySet::EMPTY,
            embedding_gradients: ModalitySet::EMPTY,
            decodes: ModalitySet::EMPTY,
            variational: ModalitySet::EMPTY,
        };
        let objective = read(json!({ "trades": { "balls": { "image": 0.1 } } }));
        let told: Vec<String> = objective.unmet("plain", &can, false).into_iter().map(|p| p.path).collect();
        assert_eq!(told, ["trades", "trades.balls.image"]);
        assert_eq!(objective.unmet("plain", &Capabilities { gradients: image, ..can }, true), []);
        assert_eq!(read(json!({ "consistency": {} })).unmet("plain", &can, true).len(), 1);
    }
}
