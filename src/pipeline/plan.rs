use super::{BalancePlan, DropoutPlan, MemoryBankPlan, On, TrainingMode, TrainingObjective, WatchdogPlan};
use crate::{
    context::StageInfo,
    diagnose::Diagnoser,
    feed::Feeder,
    generate::{Generator, pgd::Steps},
    mine::Miner,
    model::ModelSource,
    operator::Built,
    read::Reader,
    sample::{Digest, Modality, Norm, ReasonCode, Take},
    score::Scorer,
    units::{Epsilon, Fraction},
    verify::Verifier,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

/// What happens to a sample that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run ends.
    Fail,
    /// The sample is left out and counted.
    Skip,
    /// The sample is left out, counted and listed with its reason.
    #[default]
    Quarantine,
}

/// The data of a run.
pub struct DataPlan {
    /// Training split.
    pub train: Built<dyn Reader>,
    /// Validation split.
    pub validation: Option<Built<dyn Reader>>,
    /// Test split; read once, at the end.
    pub test: Option<Built<dyn Reader>>,
    /// Use only the first so many samples of each split.
    pub limit: Option<usize>,
    /// Field whose equal values keep samples in one fold, besides shared media.
    pub group_by: Option<String>,
    /// What happens to an unusable sample.
    pub on_error: OnError,
    /// Most unusable samples, as a share of a split; above it the run fails.
    pub ceiling: Fraction,
    /// Folder that relative paths start at.
    pub base: PathBuf,
}

/// The `train:` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainPlan {
    /// Epochs of uniform training before the first round; training dynamics come from these alone. 1 to 100000.
    pub warmup_epochs: usize,
    /// Rounds of score, diagnose, mine, generate, verify, feed and train. 1 to 100000.
    pub rounds: usize,
    /// Epochs of training in each round. 1 to 100000.
    pub epochs_per_round: usize,
    /// Samples a step. 1 to 65536.
    pub batch_size: usize,
    /// Step size of Adam at the start of training.
    pub learning_rate: f64,
    /// Modalities of training samples that are left out.
    pub modality_dropout: DropoutPlan,
    /// Least share of each batch that is drawn uniformly from the whole training set.
    pub uniform_floor: Fraction,
    /// Outer objective of the rounds.
    pub objective: TrainingObjective,
    /// What is done against a modality that leads the others; absent for nothing.
    pub balance: Option<BalancePlan>,
    /// Which samples the rounds train on.
    pub mode: TrainingMode,
    /// A memory of every sample's losses, from which a share of each batch is drawn; absent for none. The arms `hardmine` and `mining_only` have it.
    pub memory_bank: Option<MemoryBankPlan>,
    /// What is watched while training.
    pub watchdog: WatchdogPlan,
}

impl Default for TrainPlan {
    fn default() -> Self {
        let share = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            warmup_epochs: 4,
            rounds: 2,
            epochs_per_round: 2,
            batch_size: 32,
            learning_rate: 2e-3,
            modality_dropout: DropoutPlan::default(),
            uniform_floor: share(0.3),
            objective: TrainingObjective::default(),
            balance: None,
            mode: TrainingMode::default(),
            memory_bank: None,
            watchdog: WatchdogPlan::default(),
        }
    }
}

/// An arm of the comparison: what differs from plain training. All arms share start, steps and verifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Plain training on all samples.
    Uniform,
    /// Plain training on the samples that passed the guard.
    UniformGuard,
    /// The same generators and verifiers on uniformly drawn parents, without diagnosis or mining.
    UniformAugmentation,
    /// Mined samples weighted, nothing generated.
    MiningOnly,
    /// The same generators, verifiers and number of accepted children a class, on random parents that passed the guard.
    RandomParents,
    /// Plain training that spends as many forward and gradient evaluations as the `hardmine` arm.
    UniformEqualCompute,
    /// The whole pipeline.
    Hardmine,
}

impl Arm {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::UniformGuard => "uniform_guard",
            Self::UniformAugmentation => "uniform_augmentation",
            Self::MiningOnly => "mining_only",
            Self::RandomParents => "random_parents",
            Self::UniformEqualCompute => "uniform_equal_compute",
            Self::Hardmine => "hardmine",
        }
    }
}

/// The `compare:` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComparePlan {
    /// Which arms to run; `hardmine` is always among them.
    pub arms: Vec<Arm>,
    /// Paired seeds; 5 or more give intervals, 1 is not evidence. 1 to 100000.
    pub seeds: usize,
}

impl Default for ComparePlan {
    fn default() -> Self {
        Self { arms: vec![Arm::Hardmine], seeds: 1 }
    }
}

/// A side file joined to the test split by id, for slices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SliceFile {
    /// JSON lines with `id` and the key; relative to the pipeline file, or `builtin:...`. Read by the final evaluation only.
    pub file: String,
    /// Field whose values are the slices.
    pub key: String,
}

/// White-box attack of the final evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RobustPlan {
    /// Radius for pixels in `norm`, on values in 0..=1; in `linf` at most 1.
    pub image_epsilon: Epsilon,
    /// Radius for the waveform in `norm`, on values in -1..=1; in `linf` at most 2.
    pub audio_epsilon: Epsilon,
    /// Norm of both.
    pub norm: Norm,
    /// Whether an attack on several modalities has no more than one alone: the squares of its perturbations, each as a share of its radius, sum to 1 at most.
    pub shared: bool,
    /// How a step is made: `pgd`, `fgsm`, `fgsm_rs`, `momentum` or `apgd`. `fgsm` is one step of the radius from the sample, `fgsm_rs` one of 1.25 radii from a random point; `pgd` with
    /// `steps: 1` is neither: its one step is 2.5 radii long, from a random point.
    pub method: Steps,
    /// Begins at a random point of the ball instead of the sample. Default yes; `fgsm` does not, `fgsm_rs` does.
    pub random_start: Option<bool>,
    /// Length of a step for pixels, in their units. Default 2.5 radius / steps, and what the method says.
    pub step_size: Option<Epsilon>,
    /// Length of a step for the waveform, in its units. Default 2.5 radius / steps, and what the method says.
    pub audio_step_size: Option<Epsilon>,
    /// Steps, 1 to 100000; evidence asks for 40 or more. `fgsm` and `fgsm_rs` have 1.
    pub steps: usize,
    /// Random restarts, 1 to 100000; evidence asks for 3 or more. From the sample itself there is 1.
    pub restarts: usize,
    /// Attack only so many test samples that have a label; 0 for all.
    pub samples: usize,
    /// Which so many.
    pub take: Take,
    /// Runs on what withstood, too: APGD on the cross entropy and on the margin towards each of the three most probable other classes, and Square (10 proposals a step).
    pub auto_attack: bool,
}

impl Default for RobustPlan {
    fn default() -> Self {
        let epsilon = |v| Epsilon::new(v).unwrap_or_else(|_| unreachable!("a finite positive constant"));
        Self {
            image_epsilon: epsilon(8.0 / 255.0),
            audio_epsilon: epsilon(0.002),
            norm: Norm::Linf,
            shared: false,
            method: Steps::Pgd,
            random_start: None,
            step_size: None,
            audio_step_size: None,
            steps: 40,
            restarts: 3,
            samples: 0,
            take: Take::Spread,
            auto_attack: false,
        }
    }
}

impl RobustPlan {
    /// Whether it begins at a random point of the ball.
    pub fn starts_at_random(&self) -> bool {
        self.random_start.unwrap_or(self.method != Steps::Fgsm)
    }
}

/// The `evaluate:` section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluatePlan {
    /// Manifest fields whose values are slices.
    pub slice_by: Vec<String>,
    /// A side file for slices.
    pub slices: Option<SliceFile>,
    /// Modalities that the primary comparison withholds from every model.
    pub withhold: Vec<Modality>,
    /// White-box attack; absent for none.
    pub robust: Option<RobustPlan>,
    /// Further white-box attacks, by name, each with a budget of its own: `{ fgsm: { method: fgsm, image_epsilon: 0.3 } }`.
    pub attacks: BTreeMap<String, RobustPlan>,
    /// Further test sets, by name: stored corruptions of the test split, as `{ manifest: { path } }`.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub extra: BTreeMap<String, Value>,
}

/// The `budget:` section; a run that reaches one ends in good order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Wall time of the run; training ends with the epoch that reaches it.
    pub minutes: Option<f64>,
    /// Gradient evaluations of generators (one a sample and step) in an arm; the part of a stage that reaches it is finished, nothing more is
    /// generated, and training goes on, so that the arms stay comparable.
    pub gradients: Option<u64>,
    /// Children fed in an arm; training goes on with them.
    pub children: Option<u64>,
}

/// A stage of the plan.
pub struct PlanStage<F: ?Sized> {
    /// Id, operator, version, digest of the config.
    pub info: StageInfo,
    /// Whether the id was written (then it prefixes score columns).
    pub named: bool,
    /// Reasons the stage serves, where `for:` was written.
    pub serves: Option<Vec<ReasonCode>>,
    /// Whether a generator searches until its neighbours land in the round's band of difficulty (`band: false` switches it off).
    pub in_band: bool,
    /// What happens to a sample this stage cannot handle (scorers and generators; the others see no single samples).
    pub on_error: OnError,
    /// The resolved config.
    pub config: Value,
    /// The operator.
    pub operator: Box<F>,
}

/// The stages by family, in the order of the file within each.
#[derive(Default)]
pub struct Stages {
    /// Scorers.
    pub score: Vec<PlanStage<dyn Scorer>>,
    /// Diagnosers.
    pub diagnose: Vec<PlanStage<dyn Diagnoser>>,
    /// Miners.
    pub mine: Vec<PlanStage<dyn Miner>>,
    /// Generators.
    pub generate: Vec<PlanStage<dyn Generator>>,
    /// Verifiers.
    pub verify: Vec<PlanStage<dyn Verifier>>,
    /// Feeders.
    pub feed: Vec<PlanStage<dyn Feeder>>,
}

/// A checked, immutable plan.
pub struct Plan {
    /// Name of the pipeline.
    pub name: String,
    /// Seed of the run.
    pub seed: u64,
    /// Data.
    pub data: DataPlan,
    /// Where the model comes from.
    pub model: Built<dyn ModelSource>,
    /// Training; `None` generates only.
    pub train: Option<TrainPlan>,
    /// Stages.
    pub stages: Stages,
    /// Which generators serve which reason: generator stage ids by reason code, where the file has its own table.
    pub cures: Option<BTreeMap<ReasonCode, Vec<String>>>,
    /// Final evaluation.
    pub evaluate: EvaluatePlan,
    /// Further test sets, opened by the final evaluation.
    pub extra: BTreeMap<String, Built<dyn Reader>>,
    /// Comparison.
    pub compare: ComparePlan,
    /// Limits.
    pub budget: Budget,
    /// The whole pipeline with all defaults filled in, keys in a fixed order: what run.json keeps.
    pub resolved: Value,
    /// Digest of `resolved` and of the crate's version.
    pub digest: Digest,
}

impl Stages {
    /// What all operators need, in the order of the families.
    pub fn requirements(&self) -> impl Iterator<Item = crate::operator::Requirements> {
        let score = self.score.iter().map(|s| s.operator.requirements());
        let diagnose = self.diagnose.iter().map(|s| s.operator.requirements());
        let mine = self.mine.iter().map(|s| s.operator.requirements());
        let generate = self.generate.iter().map(|s| s.operator.requirements());
        let verify = self.verify.iter().map(|s| s.operator.requirements());
        let feed = self.feed.iter().map(|s| s.operator.requirements());
        score.chain(diagnose).chain(mine).chain(generate).chain(verify).chain(feed)
    }
}

impl Plan {
    /// What is allowed, and better known of before it is run.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(train) = &self.train else { return warnings };
        let name = train.objective.name();
        if matches!(&train.objective, TrainingObjective::FgsmRs(own) if own.check_samples > 0)
            && self.data.test.is_none()
            && self.data.validation.is_some()
        {
            warnings.push(format!(
                "train.objective.{name}: its check decides by the validation split which state is kept, and without `data.test` the same split is reported: \
                 what is reported is too good; add `data.test`"
            ));
        }
        if let Some((balls, On::All)) = train.objective.adversarial()
            && train.memory_bank.is_some()
            && train.objective.displaces()
        {
            warnings.push(format!(
                "train.memory_bank: `{name}` sees no sample that has any of {} as it is, so that of those the bank knows the losses of the warm-up alone; write `on: mined`, or leave the bank",
                balls.modalities()
            ));
        }
        warnings
    }
}
