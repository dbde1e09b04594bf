use crate::sample::{ModalitySet, Norm, Take};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How far below zero the lower bound of the whole set's accuracy difference may lie when a slice is said to be helped.
pub const WHOLE_SET_MARGIN: f64 = 0.005;

/// What the final evaluation measured: every arm with every seed, and the differences to a baseline.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Results {
    /// The split that was measured on: `test`, or `validation` where there is no test.
    pub split: String,
    /// Modalities that were withheld from every model.
    pub withheld: ModalitySet,
    /// Metric that the verdict is about; `accuracy` where none was declared.
    pub primary: Metric,
    /// The attack behind the robust accuracies, where one was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robust: Option<RobustBudget>,
    /// Further attacks, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attacks: BTreeMap<String, RobustBudget>,
    /// One entry an arm and seed: arms in the order they ran, seeds ascending within.
    pub arms: Vec<ArmResult>,
    /// Differences of each arm to the baseline, paired by seed.
    pub comparisons: Vec<Comparison>,
}

impl Results {
    /// The names of the arms in the order they ran.
    pub fn arm_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for arm in &self.arms {
            if !names.contains(&arm.arm.as_str()) {
                names.push(&arm.arm);
            }
        }
        names
    }
    /// All seeds of one arm.
    pub fn of(&self, arm: &str) -> impl Iterator<Item = &ArmResult> {
        self.arms.iter().filter(move |result| result.arm == arm)
    }
    /// All metrics that any arm has, each once, in the order of a table.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = self.arms.iter().flat_map(ArmResult::metrics).collect();
        metrics.sort();
        metrics.dedup();
        metrics
    }
    /// The comparison of `arm` on `metric`, if it was made.
    pub fn comparison(&self, arm: &str, metric: &Metric) -> Option<&Comparison> {
        self.comparisons.iter().find(|comparison| comparison.arm == arm && comparison.metric == *metric)
    }
    /// The verdict: the `hardmine` arm on the primary metric.
    pub fn verdict(&self) -> Option<&Comparison> {
        self.comparison("hardmine", &self.primary)
    }
}

/// A share of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Samples asked.
    pub n: u64,
    /// Share that was right, `0..=1`.
    pub accuracy: f64,
}

impl Accuracy {
    /// `right` of `n`; `None` for nobody asked.
    pub fn of(right: u64, n: u64) -> Option<Self> {
        (n > 0).then(|| Self { n, accuracy: right as f64 / n as f64 })
    }
}

/// Accuracy on one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// Name of the class.
    pub class: String,
    /// Samples of it.
    pub n: u64,
    /// Share that was right, `0..=1`.
    pub accuracy: f64,
}

/// Accuracy under one attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustAccuracy {
    /// The modalities that were attacked.
    pub attacked: ModalitySet,
    /// `cross_entropy`, `worst` for the worse answer of this and the margin loss, or `auto_attack` for the worst of these and an ensemble of attacks.
    pub objective: String,
    /// Name of the attack among [`Results::attacks`]; empty for [`Results::robust`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub attack: String,
    /// Samples attacked.
    pub n: u64,
    /// Share that stayed right, `0..=1`.
    pub accuracy: f64,
}

/// A sign of masked gradients that was looked for: where it shows, the robust accuracies say less than they seem to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskingCheck {
    /// The modalities that were attacked.
    pub attacked: ModalitySet,
    /// What was measured. `loss_against_steps`: by how many nats the mean loss falls as steps are added; `accuracy_against_steps`: by how much the share that stays right rises;
    /// `random_search_beats_gradient` and `black_box_beats_white_box`: share of samples that withstand the gradient and fall to random points or to Square; `unbounded_radius`: share that stays
    /// right within the whole range of values; `zero_gradients`: share whose gradient is 0 everywhere.
    pub check: String,
    /// Samples looked at, all right unattacked.
    pub samples: u64,
    /// What was found; larger is worse.
    pub value: f64,
    /// What is still accepted.
    pub limit: f64,
    /// Whether it is.
    pub passed: bool,
}

/// The stated budget of a white-box attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustBudget {
    /// Norm of the balls.
    pub norm: Norm,
    /// Whether an attack on several modalities had no more than one alone: the squares of its perturbations, each as a share of its radius, sum to 1 at most.
    #[serde(default)]
    pub shared: bool,
    /// Radius in pixels of `0..=1`.
    pub image_epsilon: f64,
    /// Radius in the waveform of `-1..=1`.
    pub audio_epsilon: f64,
    /// How a step was made, as the `pgd` generator names it.
    #[serde(default = "pgd", skip_serializing_if = "is_pgd")]
    pub method: String,
    /// Whether it began at a random point of the ball instead of the sample.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub random_start: bool,
    /// Length of a step in pixels, where it was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_step: Option<f64>,
    /// Length of a step in the waveform, where it was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_step: Option<f64>,
    /// Steps.
    pub steps: usize,
    /// Random restarts.
    pub restarts: usize,
    /// Test samples attacked.
    pub samples: u64,
    /// Which so many of those with a label.
    #[serde(default)]
    pub take: Take,
    /// Whether an ensemble of attacks ran on what withstood ([`RobustAccuracy::objective`] `auto_attack`).
    #[serde(default)]
    pub auto_attack: bool,
}

fn pgd() -> String {
    "pgd".to_owned()
}
fn is_pgd(method: &str) -> bool {
    method == "pgd"
}
fn yes() -> bool {
    true
}
fn is_yes(value: &bool) -> bool {
    *value
}

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1, counted through all rounds.
    pub epoch: usize,
    /// Round, from 1; 0 is the warm-up.
    pub round: usize,
    /// Mean fused loss of what was presented, in nats and unweighted; of the whole samples alone in the warm-up.
    pub train_loss: f64,
    /// Mean loss on validation after the epoch; absent without labelled validation samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Accuracy on validation, without the modalities that the comparison withholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
}

/// One arm with one seed, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// Name of the arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// On the whole set.
    pub accuracy: Accuracy,
    /// The class with the least accuracy (the first among equals).
    pub worst_class: Option<ClassAccuracy>,
    /// Every class with at least one sample.
    pub per_class: Vec<ClassAccuracy>,
    /// With only some modalities given, by subset (`image`, `image+audio`, ...), over the samples that have all of them.
    pub subsets: BTreeMap<String, Accuracy>,
    /// Under attack.
    pub robust: Vec<RobustAccuracy>,
    /// Signs of masked gradients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masking: Vec<MaskingCheck>,
    /// By field, then by value.
    pub slices: BTreeMap<String, BTreeMap<String, Accuracy>>,
    /// On further test sets, by name.
    pub extra: BTreeMap<String, Accuracy>,
    /// Expected calibration error, 15 bins of equal width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
    /// Optimizer steps.
    pub steps: u64,
    /// Forward evaluations (one a sample), folds, searches and verification included.
    pub forward_evaluations: u64,
    /// Gradient evaluations (one a sample), training and attacks included.
    pub gradient_evaluations: u64,
    /// Generated samples that were fed.
    pub children_fed: u64,
    /// Epoch by epoch.
    pub epochs: Vec<EpochRecord>,
    /// What the watchdog did, warm-up and folds included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchdog: Vec<super::WatchdogRecord>,
}

impl ArmResult {
    /// An arm with its accuracy and nothing else.
    pub fn new(arm: impl Into<String>, seed: u64, accuracy: Accuracy) -> Self {
        Self {
            arm: arm.into(),
            seed,
            accuracy,
            worst_class: None,
            per_class: Vec::new(),
            subsets: BTreeMap::new(),
            robust: Vec::new(),
            masking: Vec::new(),
            slices: BTreeMap::new(),
            extra: BTreeMap::new(),
            ece: None,
            steps: 0,
            forward_evaluations: 0,
            gradient_evaluations: 0,
            children_fed: 0,
            epochs: Vec::new(),
            watchdog: Vec::new(),
        }
    }
    /// Takes the classes and finds the worst.
    #[must_use]
    pub fn with_classes(mut self, per_class: Vec<ClassAccuracy>) -> Self {
        let worse = |best: Option<&ClassAccuracy>, class: &ClassAccuracy| best.is_none_or(|best| class.accuracy < best.accuracy);
        self.worst_class = per_class.iter().fold(None, |best, class| if worse(best, class) { Some(class) } else { best }).cloned();
        self.per_class = per_class;
        self
    }
    /// Every accuracy it has, in the order of a table.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![Metric::Accuracy];
        metrics.extend(self.worst_class.is_some().then_some(Metric::WorstClass));
        metrics.extend(self.subsets.keys().cloned().map(Metric::Subset));
        metrics.extend(self.robust.iter().map(|row| Metric::Robust {
            attacked: row.attacked,
            objective: row.objective.clone(),
            attack: row.attack.clone(),
        }));
        for (key, values) in &self.slices {
            metrics.extend(values.keys().map(|value| Metric::Slice { key: key.clone(), value: value.clone() }));
        }
        metrics.extend(self.extra.keys().cloned().map(Metric::Extra));
        metrics
    }
    /// One of them.
    pub fn metric(&self, metric: &Metric) -> Option<Accuracy> {
        match metric {
            Metric::Accuracy => Some(self.accuracy),
            Metric::WorstClass => self.worst_class.as_ref().map(|class| Accuracy { n: class.n, accuracy: class.accuracy }),
            Metric::Subset(subset) => self.subsets.get(subset).copied(),
            Metric::Robust { attacked, objective, attack } => self
                .robust
                .iter()
                .find(|row| row.attacked == *attacked && row.objective == *objective && row.attack == *attack)
                .map(|row| Accuracy { n: row.n, accuracy: row.accuracy }),
            Metric::Slice { key, value } => self.slices.get(key)?.get(value).copied(),
            Metric::Extra(name) => self.extra.get(name).copied(),
        }
    }
}

/// One of the accuracies of an arm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// On the whole set.
    #[default]
    Accuracy,
    /// Of the worst class.
    WorstClass,
    /// With only these modalities given (`image+audio`).
    Subset(String),
    /// Under attack.
    Robust {
        /// The attacked modalities.
        attacked: ModalitySet,
        /// Objective of the attack.
        objective: String,
        /// Name of the attack; empty for the first.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        attack: String,
    },
    /// On the samples whose field has this value.
    Slice {
        /// Field.
        key: String,
        /// Value.
        value: String,
    },
    /// On a further test set.
    Extra(String),
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accuracy => f.write_str("accuracy"),
            Self::WorstClass => f.write_str("worst class"),
            Self::Subset(subset) => write!(f, "{subset} only"),
            Self::Robust { attacked, objective, attack } if attack.is_empty() => write!(f, "{attacked} attacked ({objective})"),
            Self::Robust { attacked, objective, attack } => write!(f, "{attacked} attacked ({attack}, {objective})"),
            Self::Slice { key, value } => write!(f, "{key} = {value}"),
            Self::Extra(name) => f.write_str(name),
        }
    }
}

/// The answer to "did it help?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Helped {
    /// The interval lies above zero, and the whole set did not lose.
    Yes,
    /// The interval lies below zero, or the whole set may have lost more than [`WHOLE_SET_MARGIN`].
    No,
    /// The interval holds zero, or there are too few seeds.
    Unclear,
    /// One seed says nothing about the next.
    OneSeedNotEvidence,
}

impl Helped {
    /// Judges the 95 % interval of a difference (arm minus baseline) and that of the whole set's accuracy. Fewer than 5 paired seeds are
    /// never more than unclear.
    pub fn judge(seeds: usize, interval95: Option<[f64; 2]>, whole_set95: Option<[f64; 2]>) -> Self {
        match (seeds, interval95) {
            (0 | 1, _) => Self::OneSeedNotEvidence,
            (2..=4, _) | (_, None) => Self::Unclear,
            (_, Some([_, high])) if high < 0.0 => Self::No,
            (_, Some([low, _])) if low <= 0.0 => Self::Unclear,
            _ => match whole_set95 {
                Some([low, _]) if low > -WHOLE_SET_MARGIN => Self::Yes,
                Some(_) => Self::No,
                None => Self::Unclear,
            },
        }
    }
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Yes => "helped",
            Self::No => "did not help",
            Self::Unclear => "unclear",
            Self::OneSeedNotEvidence => "one seed: not evidence",
        }
    }
}

/// The difference of one metric between an arm and a baseline, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared.
    pub metric: Metric,
    /// The arm.
    pub arm: String,
    /// The baseline.
    pub against: String,
    /// Paired seeds that have both.
    pub seeds: usize,
    /// Mean of arm minus baseline over the seeds.
    pub mean_difference: f64,
    /// Bootstrap interval of it; absent for one seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval95: Option<[f64; 2]>,
    /// The answer.
    pub helped: Helped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helped_follows_the_rules_of_evidence() {
        let whole = Some([-0.004, 0.01]);
        assert_eq!(Helped::judge(1, Some([0.1, 0.2]), whole), Helped::OneSeedNotEvidence);
        assert_eq!(Helped::judge(4, Some([0.1, 0.2]), whole), Helped::Unclear);
        assert_eq!(Helped::judge(5, Some([0.01, 0.2]), whole), Helped::Yes);
        assert_eq!(Helped::judge(5, Some([0.01, 0.2]), Some([-0.006, 0.0])), Helped::No);
        assert_eq!(Helped::judge(5, Some([-0.01, 0.2]), whole), Helped::Unclear);
        assert_eq!(Helped::judge(5, Some([-0.2, -0.01]), whole), Helped::No);
        assert_eq!(Helped::judge(5, None, whole), Helped::Unclear);
    }

    #[test]
    fn every_metric_of_an_arm_can_be_asked_for() {
        let class = |class: &str, accuracy| ClassAccuracy { class: class.into(), n: 4, accuracy };
        let mut arm = ArmResult::new("uniform", 7, Accuracy::of(9, 10).unwrap()).with_classes(vec![
            class("0", 0.9),
            class("1", 0.5),
            class("2", 0.5),
        ]);
        assert_eq!(arm.worst_class.as_ref().unwrap().class, "1");
        arm.subsets.insert("image".into(), Accuracy { n: 10, accuracy: 0.8 });
        arm.slices.entry("speaker".into()).or_default().insert("a".into(), Accuracy { n: 3, accuracy: 1.0 });
        arm.robust.push(RobustAccuracy {
            attacked: ModalitySet::ALL,
            objective: "worst".into(),
            attack: String::new(),
            n: 10,
            accuracy: 0.1,
        });
        arm.robust.push(RobustAccuracy {
            attacked: ModalitySet::ALL,
            objective: "worst".into(),
            attack: "fgsm".into(),
            n: 10,
            accuracy: 0.3,
        });
        arm.extra.insert("snr_5".into(), Accuracy { n: 10, accuracy: 0.7 });
        let metrics = arm.metrics();
        assert_eq!(metrics.len(), 7);
        assert!(metrics.iter().all(|metric| arm.metric(metric).is_some()) && metrics.is_sorted());
        assert_eq!(arm.metric(&metrics[3]).unwrap().accuracy, 0.1);
        assert_eq!(
            (metrics[4].to_string().as_str(), arm.metric(&metrics[4]).unwrap().accuracy),
            ("image+audio+text attacked (fgsm, worst)", 0.3)
        );
        for metric in metrics {
            let text = serde_json::to_string(&metric).unwrap();
            assert_eq!(serde_json::from_str::<Metric>(&text).unwrap(), metric);
        }
    }
}
