//! Plans from code: the same value as a pipeline file, through the same door.

use super::{Arm, Budget, ComparePlan, EvaluatePlan, OnError, Plan, TrainPlan};
use crate::{
    diagnose::Diagnoser,
    error::{Error, Problem, Result},
    feed::Feeder,
    generate::Generator,
    mine::Miner,
    model::ModelSource,
    operator::{Built, Configure},
    read::Reader,
    registry::Registry,
    sample::ReasonCode,
    score::Scorer,
    units::Fraction,
    verify::Verifier,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Builds a [`Plan`] from operator structs. An operator that the registry does not know is added to it, so that a user's own stands
/// beside the shipped ones.
pub struct PlanBuilder {
    root: Map<String, Value>,
    stages: Vec<Map<String, Value>>,
    registry: Registry,
    model: Option<Built<dyn ModelSource>>,
    base: PathBuf,
    problems: Vec<Problem>,
}

impl Plan {
    /// Begins a plan in code.
    pub fn builder() -> PlanBuilder {
        let root = [("version".to_owned(), json!(1))].into_iter().collect();
        PlanBuilder { root, stages: Vec::new(), registry: Registry::default(), model: None, base: PathBuf::from("."), problems: Vec::new() }
    }
}

macro_rules! stage {
    ($(#[$doc:meta])* $method:ident, $family:ident, $table:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $method<C: Configure<dyn $family>>(mut self, operator: C) -> Self {
            let path = format!("stages[{}].{}", self.stages.len(), stringify!($method));
            let written = self.write(&path, C::NAME, &operator);
            self.registry.$table = self.registry.$table.with::<C>();
            self.stages.push([(stringify!($method).to_owned(), written)].into_iter().collect());
            self
        }
    };
}

impl PlanBuilder {
    /// Uses these tables; call it first, since operators are added to them.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }
    /// Folder that relative paths start at; the working folder if not said.
    #[must_use]
    pub fn base(mut self, base: impl Into<PathBuf>) -> Self {
        self.base = base.into();
        self
    }
    /// Name of the pipeline.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.put("name", json!(name))
    }
    /// Seed of the run.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.put("seed", json!(seed))
    }
    /// Training split.
    #[must_use]
    pub fn train_data<C: Configure<dyn Reader>>(self, reader: C) -> Self {
        self.split("train", reader)
    }
    /// Validation split.
    #[must_use]
    pub fn validation_data<C: Configure<dyn Reader>>(self, reader: C) -> Self {
        self.split("validation", reader)
    }
    /// Test split; read once, at the end.
    #[must_use]
    pub fn test_data<C: Configure<dyn Reader>>(self, reader: C) -> Self {
        self.split("test", reader)
    }
    /// Use only the first so many samples of each split; at least 1.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        self.data("limit", json!(limit))
    }
    /// Field whose equal values keep samples in one fold.
    #[must_use]
    pub fn group_by(self, field: &str) -> Self {
        self.data("group_by", json!(field))
    }
    /// What happens to unusable samples, and the share of them above which the run fails.
    #[must_use]
    pub fn on_error(self, policy: OnError, ceiling: Fraction) -> Self {
        self.data("on_error", json!(policy)).data("ceiling", json!(ceiling))
    }
    /// The model, from a config.
    #[must_use]
    pub fn model<C: Configure<dyn ModelSource>>(mut self, source: C) -> Self {
        let written = self.write("model", C::NAME, &source);
        self.registry.models = self.registry.models.with::<C>();
        self.put("model", written)
    }
    /// A model source that has no config, such as an adapter around a model in memory. `description` goes into the plan's digest:
    /// say what tells two such models apart.
    #[must_use]
    pub fn model_source(mut self, name: &'static str, description: Value, operator: Box<dyn ModelSource>) -> Self {
        self.model = Some(Built { name, version: 1, config: description, operator });
        self
    }
    /// How to train.
    #[must_use]
    pub fn train(self, train: TrainPlan) -> Self {
        self.put("train", json!(train))
    }
    /// Generate only.
    #[must_use]
    pub fn no_training(self) -> Self {
        self.put("train", json!("none"))
    }

    stage!(/** Adds a scorer. */ score, Scorer, scorers);
    stage!(/** Adds a diagnoser. */ diagnose, Diagnoser, diagnosers);
    stage!(/** Adds a miner. */ mine, Miner, miners);
    stage!(/** Adds a generator. */ generate, Generator, generators);
    stage!(/** Adds a verifier. */ verify, Verifier, verifiers);
    stage!(/** Adds a feeder. */ feed, Feeder, feeders);

    /// Gives the stage added last an id. It prefixes score columns, and seeds hang on it.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.of_stage("id", json!(id))
    }
    /// Says which reasons the generator added last serves.
    #[must_use]
    pub fn serves(self, reasons: &[ReasonCode]) -> Self {
        self.of_stage("for", json!(reasons))
    }
    /// The generator added last makes its neighbours as they are drawn, without a search in the band of difficulty.
    #[must_use]
    pub fn anywhere(self) -> Self {
        self.of_stage("band", json!(false))
    }
    /// What happens to a sample that the scorer or generator added last cannot handle.
    #[must_use]
    pub fn stage_on_error(self, policy: OnError) -> Self {
        self.of_stage("on_error", json!(policy))
    }
    /// Which generators (by stage id) serve this reason; any entry replaces the default table as a whole.
    #[must_use]
    pub fn cure(mut self, reason: ReasonCode, stages: &[&str]) -> Self {
        let cures = self.root.entry("cures").or_insert_with(|| json!({}));
        cures[reason.name()] = json!(stages);
        self
    }
    /// The final evaluation.
    #[must_use]
    pub fn evaluate(self, evaluate: EvaluatePlan) -> Self {
        self.put("evaluate", json!(evaluate))
    }
    /// The comparison.
    #[must_use]
    pub fn compare(self, arms: &[Arm], seeds: usize) -> Self {
        self.put("compare", json!(ComparePlan { arms: arms.to_vec(), seeds }))
    }
    /// Limits of the run.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.put("budget", json!(budget))
    }

    /// The checked plan, or an error with every problem. Reads no data.
    pub fn build(mut self) -> Result<Plan> {
        let stages: Value = self.stages.into_iter().map(Value::Object).collect();
        self.root.insert("stages".into(), stages);
        let built = Plan::with_model(&Value::Object(self.root), &self.base, &self.registry, self.model);
        match built {
            Ok(plan) if self.problems.is_empty() => Ok(plan),
            built => {
                self.problems.extend(built.err().unwrap_or_default());
                Err(Error::pipeline("the plan is wrong", self.problems))
            }
        }
    }

    fn put(mut self, key: &str, value: Value) -> Self {
        self.root.insert(key.to_owned(), value);
        self
    }
    fn data(mut self, key: &str, value: Value) -> Self {
        self.root.entry("data").or_insert_with(|| json!({}))[key] = value;
        self
    }
    fn split<C: Configure<dyn Reader>>(mut self, split: &str, reader: C) -> Self {
        let written = self.write(&format!("data.{split}"), C::NAME, &reader);
        self.registry.readers = self.registry.readers.with::<C>();
        self.data(split, written)
    }
    fn of_stage(mut self, key: &str, value: Value) -> Self {
        match self.stages.last_mut() {
            Some(stage) => drop(stage.insert(key.to_owned(), value)),
            None => self.problems.push(Problem::new("stages", format!("`{key}` is said before any stage was added"))),
        }
        self
    }
    fn write(&mut self, path: &str, name: &str, config: &impl Serialize) -> Value {
        let config = serde_json::to_value(config).unwrap_or_else(|error| {
            self.problems.push(Problem::new(format!("{path}.{name}"), format!("the config cannot be written: {error}")));
            Value::Null
        });
        json!({ name: config })
    }
}
