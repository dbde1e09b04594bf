//! What the guard decides reaches training: a model that writes down what it is shown.

use super::execute;
use hardmine::{
    diagnose::{ConfidentLearning, GuardVerdict},
    error::Result,
    feed::SamplerWeights,
    mine::TopFraction,
    model::{
        Capabilities, DataProfile, Model, ModelSource, ModelSpec, Opened, StepReport, Target, Trainable, TrainingBatch, linear::Linear,
    },
    operator::{Configure, Table},
    pipeline::{Plan, TrainPlan},
    random::SeedTree,
    read::Manifest,
    record::{ScoreLine, read_lines},
    sample::{Judgement, Treatment},
    score::OutOfFold,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

/// Target and weight of every presentation, by the text of the sample.
type Seen = Arc<Mutex<Vec<(String, usize, f32)>>>;

struct Watched {
    inner: Box<dyn ModelSource>,
    seen: Seen,
}

impl ModelSource for Watched {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn open(&self, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        Ok(match self.inner.open(profile, seeds)? {
            Opened::Trainable(inner) => Opened::Trainable(Box::new(Trainer { inner, seen: None, arms: self.seen.clone() })),
            frozen @ Opened::Frozen(_) => frozen,
        })
    }
}

/// Warm-up and folds are not watched: an arm begins with a fork.
struct Trainer {
    inner: Box<dyn Trainable>,
    seen: Option<Seen>,
    arms: Seen,
}

impl Trainable for Trainer {
    fn spec(&self) -> ModelSpec {
        self.inner.spec()
    }
    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        if let Some(seen) = &self.seen {
            let mut seen = seen.lock().unwrap();
            for ((input, target), weight) in batch.inputs.iter().zip(batch.targets).zip(batch.weights) {
                let Target::Class(class) = target else { panic!("a soft target") };
                seen.push((input.text.as_ref().unwrap().to_string(), *class, *weight));
            }
        }
        self.inner.step(batch)
    }
    fn freeze(&self) -> Result<Arc<dyn Model>> {
        self.inner.freeze()
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self { inner: self.inner.fork()?, seen: Some(self.arms.clone()), arms: self.arms.clone() }))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(Box::new(Self { inner: self.inner.fresh(seeds)?, seen: None, arms: self.arms.clone() }))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.inner.save_checkpoint(path)
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.inner.load_checkpoint(path)
    }
}

/// Sixty captions of three classes; four have the label of another class.
fn captions() -> String {
    let words = ["quiet harbour", "green meadow", "snowy summit"];
    let line = |i: usize| {
        let label = if i % 15 == 4 { (i + 1) % 3 } else { i % 3 };
        format!("{{\"id\": \"s{i}\", \"text\": \"{w} {w} {i}\", \"label\": \"{label}\"}}\n", w = words[i % 3])
    };
    (0..60).map(line).collect()
}

/// What training saw of the suspects after the guard had judged, and the lines of all samples.
fn trained(verdict: GuardVerdict, sampled: bool) -> (BTreeMap<String, Vec<(usize, f32)>>, Vec<ScoreLine>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.jsonl"), captions()).unwrap();
    let seen = Seen::default();
    let inner: Box<dyn ModelSource> = Linear::default().build(&Table::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let guard: ConfidentLearning = serde_json::from_value(json!({ "verdict": verdict })).unwrap();
    // Draws are counted: more of them tell more.
    let epochs = if sampled { 12 } else { 2 };
    let mut plan = Plan::builder()
        .name("guarded")
        .seed(7)
        .base(folder.path())
        .train_data(Manifest::new("c.jsonl"))
        .test_data(Manifest::new("c.jsonl"))
        .model_source("watched", json!({}), Box::new(Watched { inner, seen: seen.clone() }))
        .train(TrainPlan {
            warmup_epochs: 12,
            rounds: 1,
            epochs_per_round: epochs,
            batch_size: 8,
            learning_rate: 0.05,
            ..TrainPlan::default()
        })
        .score(OutOfFold::default())
        .diagnose(guard);
    if sampled {
        plan = plan.mine(TopFraction { by: "out_of_fold".into(), ..TopFraction::default() }).feed(SamplerWeights::default());
    }
    let plan = plan.build().unwrap_or_else(|error| panic!("{error}"));
    let out = folder.path().join("out");
    execute(plan, &out, 2).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<ScoreLine> = read_lines(&fs::read_to_string(out.join("scores.jsonl")).unwrap()).unwrap();
    let mut by_id: BTreeMap<String, Vec<(usize, f32)>> = BTreeMap::new();
    for (text, class, weight) in seen.lock().unwrap().iter() {
        by_id.entry(format!("s{}", text.rsplit(' ').next().unwrap())).or_default().push((*class, *weight));
    }
    (by_id, lines)
}

fn suspects(lines: &[ScoreLine]) -> Vec<&ScoreLine> {
    let found: Vec<&ScoreLine> = lines.iter().filter(|line| line.judgement == Judgement::SuspectLabel).collect();
    let ids: Vec<&str> = found.iter().map(|line| line.id.as_str()).collect();
    assert!(ids.len() >= 2 && ids.iter().all(|id| ["s4", "s19", "s34", "s49"].contains(id)), "{ids:?}");
    found
}

/// All others are trained on as they are.
fn the_rest_is_untouched(seen: &BTreeMap<String, Vec<(usize, f32)>>, lines: &[ScoreLine]) {
    for line in lines.iter().filter(|line| line.judgement == Judgement::Valuable) {
        let shown = &seen[line.id.as_str()];
        let class: usize = line.label.as_ref().unwrap().parse().unwrap();
        assert!(shown.iter().all(|(target, weight)| (*target, *weight) == (class, 1.0)), "{}: {shown:?}", line.id);
    }
}

#[test]
fn what_is_set_aside_is_never_shown() {
    let (seen, lines) = trained(GuardVerdict::Quarantine, false);
    assert!(suspects(&lines).iter().all(|line| line.treatment == Treatment::Quarantine && !seen.contains_key(line.id.as_str())));
    the_rest_is_untouched(&seen, &lines);
}

#[test]
fn a_weight_is_the_weight_of_the_loss() {
    for (verdict, treatment) in [(GuardVerdict::Weight, Treatment::Weight), (GuardVerdict::Review, Treatment::Review)] {
        let (seen, lines) = trained(verdict, false);
        for line in suspects(&lines) {
            assert!(line.treatment == treatment && line.weight > 0.0 && line.weight < 0.6, "{}: {}", line.id, line.weight);
            let shown = &seen[line.id.as_str()];
            let class: usize = line.label.as_ref().unwrap().parse().unwrap();
            assert!(shown.iter().all(|(target, weight)| (*target, *weight) == (class, line.weight)), "{}: {shown:?}", line.id);
        }
        the_rest_is_untouched(&seen, &lines);
    }
}

#[test]
fn a_new_label_is_the_target_and_its_probability_the_weight() {
    let (seen, lines) = trained(GuardVerdict::Relabel, false);
    let mut relabelled = 0;
    for line in suspects(&lines) {
        if line.treatment == Treatment::Quarantine {
            assert!(!seen.contains_key(line.id.as_str()));
            continue;
        }
        relabelled += 1;
        let number: usize = line.id.as_str()[1..].parse().unwrap();
        let class: usize = line.suggested.as_ref().unwrap().parse().unwrap();
        assert_eq!((line.treatment, class), (Treatment::Relabel, number % 3));
        assert!(seen[line.id.as_str()].iter().all(|(target, weight)| (*target, *weight) == (class, line.weight)) && line.weight >= 0.8);
        // The data keep their label.
        assert_eq!(line.label.as_deref(), Some(["0", "1", "2"][(number + 1) % 3]));
    }
    assert!(relabelled > 0);
    the_rest_is_untouched(&seen, &lines);
}

#[test]
fn a_sampler_does_not_count_the_weight_twice() {
    let (seen, lines) = trained(GuardVerdict::Review, true);
    // Drawn as often as what was not chosen, and multiplied by the guard's weight once: in the loss.
    let mean = |ids: &[&str]| ids.iter().map(|id| seen.get(*id).map_or(0, Vec::len)).sum::<usize>() as f64 / ids.len() as f64;
    let suspicious: Vec<&str> = suspects(&lines).iter().map(|line| line.id.as_str()).collect();
    assert!(suspects(&lines).iter().all(|line| seen.get(line.id.as_str()).is_none_or(|shown| shown.iter().all(|(_, w)| *w == 0.2))));
    let others: Vec<&str> = lines
        .iter()
        .filter(|line| line.judgement == Judgement::Valuable && line.selected.is_empty())
        .map(|line| line.id.as_str())
        .collect();
    assert!(mean(&suspicious) > 0.5 * mean(&others), "{} against {}", mean(&suspicious), mean(&others));
}
