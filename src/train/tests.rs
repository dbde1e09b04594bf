//! Training that goes wrong in ways that are planted.

use super::{
    draw::Mix,
    memory_bank::{BankConfig, MemoryBank},
    session::{Session, Uniform},
};
use crate::{
    error::{Error, Result},
    model::{Input, Model, ModelSource, ModelSpec, Opened, StepReport, Trainable, TrainingBatch, linear::Linear},
    pipeline::{Plan, RobustPlan, Split, WatchdogPlan, open_splits},
    progress::{Progress, Silent},
    random::SeedTree,
    record::{Alarm, Response},
    registry::Registry,
    sample::{SampleId, Take, TrainingHistory},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// The sample whose text is `poison` has a loss that is none.
    Poison,
    /// At that step of the trainer, counted over all its copies, the weights break.
    Break(usize),
    /// From that step on, so many steps have a loss of 50.
    Jump(usize, usize),
}

struct Sick {
    inner: Box<dyn Trainable>,
    fault: Fault,
    steps: Arc<AtomicUsize>,
    broken: bool,
}

impl Sick {
    fn copy(&self, inner: Box<dyn Trainable>) -> Box<dyn Trainable> {
        Box::new(Self { inner, fault: self.fault, steps: self.steps.clone(), broken: self.broken })
    }
}

fn poisoned(input: &Input) -> bool {
    input.text.as_ref().is_some_and(|text| text.contains("poison"))
}

impl Trainable for Sick {
    fn spec(&self) -> ModelSpec {
        self.inner.spec()
    }
    fn step(&mut self, batch: &TrainingBatch<'_>) -> Result<StepReport> {
        let at = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::Poison if batch.inputs.iter().any(poisoned) => return Err(Error::model("the loss is NaN; nothing was learnt")),
            Fault::Break(when) => self.broken |= at == when,
            _ => {}
        }
        if self.broken {
            return Err(Error::model("the loss is NaN; nothing was learnt"));
        }
        let mut report = self.inner.step(batch)?;
        if let Fault::Jump(from, length) = self.fault
            && (from..from + length).contains(&at)
        {
            report.losses.iter_mut().for_each(|loss| *loss = 50.0);
        }
        Ok(report)
    }
    fn freeze(&self) -> Result<Arc<dyn Model>> {
        if self.broken { Err(Error::model("weights that are not finite")) } else { self.inner.freeze() }
    }
    fn fork(&self) -> Result<Box<dyn Trainable>> {
        Ok(self.copy(self.inner.fork()?))
    }
    fn fresh(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        Ok(self.copy(self.inner.fresh(seeds)?))
    }
    fn save_checkpoint(&self, path: &Path) -> Result<()> {
        self.inner.save_checkpoint(path)
    }
    fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.inner.load_checkpoint(path)
    }
}

/// Forty short texts of two classes; the seventh is the poison.
fn split() -> Split {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for i in 0..40 {
        let kind = ["cat", "dog"][i % 2];
        let word = if i == 7 { "poison" } else { kind };
        writeln!(text, "{}", json!({ "id": format!("w{i:02}"), "text": format!("{word} number {i}"), "label": kind })).unwrap();
    }
    std::fs::write(folder.path().join("train.jsonl"), text).unwrap();
    let written = json!({
        "version": 1, "name": "sick", "seed": 1, "model": { "linear": {} },
        "data": { "train": { "manifest": { "path": "train.jsonl" } }, "on_error": "quarantine", "ceiling": 0.2 },
        "stages": [{ "score": { "loss": {} } }],
    });
    let plan = Plan::from_value(&written, folder.path(), &Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"));
    open_splits(&plan.data, &Silent).unwrap().0
}

fn session(split: &Split, fault: Fault, plan: WatchdogPlan) -> Session {
    let Opened::Trainable(inner) = Linear::default().open(split.profile(), &SeedTree::new(5)).unwrap() else { panic!("frozen") };
    let sick = Sick { inner, fault, steps: Arc::default(), broken: false };
    let mut session = Session::watched(Box::new(sick), plan).unwrap();
    session.bank = Some(MemoryBank::new(BankConfig::default()).unwrap());
    session
}

fn warm_up(session: &mut Session, split: &Split, history: &mut TrainingHistory) -> Result<f64> {
    let originals: Vec<usize> = (0..split.len()).collect();
    let relabelled = BTreeMap::new();
    let uniform = Uniform { originals: &originals, relabelled: &relabelled, batch_size: 8, dropout: None, learning_rate: 1e-2 };
    session.uniform_epoch(split, &uniform, &SeedTree::new(2), Some(history), Silent.begin("", 0).as_ref())
}

fn epoch(session: &mut Session, split: &Split, steps: usize) -> Result<super::Epoch> {
    let originals: Vec<(usize, f32)> = (0..split.len()).map(|i| (i, 1.0)).collect();
    let mix = Mix::uniform(&originals, 8, steps);
    session.mixed_epoch(split, &mix, |_| 1e-2, &SeedTree::new(3), Silent.begin("", 0).as_ref())
}

#[test]
fn a_sample_without_a_loss_is_left_out_and_the_rest_is_learnt() {
    let split = split();
    let mut session = session(&split, Fault::Poison, WatchdogPlan::default());
    let mut history = TrainingHistory::default();
    assert!(warm_up(&mut session, &split, &mut history).unwrap().is_finite());
    let poison = SampleId::new("w07");
    assert_eq!(session.left_out.iter().collect::<Vec<_>>(), [&poison]);
    assert_eq!((history.rows.len(), history.rows.contains_key(&poison)), (39, false));
    let bank = session.bank.as_ref().unwrap();
    assert_eq!((bank.len(), bank.get(&poison)), (39, None));
    let told = &session.alarms[0];
    assert_eq!((told.alarm, told.response, &told.samples), (Alarm::NotFinite, Response::LeftOut, &vec![poison]));
    assert!(told.words().ends_with("left out w07"), "{}", told.words());
    let ledger = split.ledger();
    assert_eq!((ledger.quarantined().len(), ledger.quarantined()[0].sample.as_str()), (1, "w07"));
    // It is not shown again.
    assert_eq!(session.alarms.len(), 1);
    assert!(warm_up(&mut session, &split, &mut history).unwrap().is_finite());
    assert_eq!(session.alarms.len(), 1);
}

#[test]
fn without_a_watchdog_a_loss_that_is_none_ends_the_run() {
    let split = split();
    let mut session = session(&split, Fault::Poison, WatchdogPlan { enabled: false, ..WatchdogPlan::default() });
    let error = warm_up(&mut session, &split, &mut TrainingHistory::default()).unwrap_err();
    assert!(error.to_string().contains("the loss is NaN"), "{error}");
}

#[test]
fn broken_weights_bring_the_last_good_state_back() {
    let split = split();
    let mut session = session(&split, Fault::Break(4), WatchdogPlan::default());
    session.begin_round(2).unwrap();
    let digest = session.model.spec().digest;
    let ended = epoch(&mut session, &split, 10).unwrap();
    assert_eq!((ended.ended, ended.steps), (true, 4));
    // The state of the round's beginning, and it trains.
    assert_eq!(session.model.spec().digest, digest);
    let told = &session.alarms[0];
    assert_eq!((told.round, told.alarm, told.response), (2, Alarm::NotFinite, Response::RolledBack));
    let rest = epoch(&mut session, &split, 6).unwrap();
    assert_eq!((rest.ended, rest.steps, session.alarms.len()), (false, 6, 1));
}

#[test]
fn as_often_as_allowed_and_then_the_run_ends() {
    let split = split();
    let mut session = session(&split, Fault::Break(1), WatchdogPlan { rollbacks: 0, ..WatchdogPlan::default() });
    session.begin_round(1).unwrap();
    let error = epoch(&mut session, &split, 3).unwrap_err().to_string();
    assert!(error.contains("was brought back 0 times") && error.contains("training step 1"), "{error}");
}

#[test]
fn a_jump_of_the_loss_rolls_back_once_it_lasts() {
    let split = split();
    let plan = || WatchdogPlan { window: 8, patience: 3, collapse_steps: 1000, ..WatchdogPlan::default() };
    let mut short = session(&split, Fault::Jump(10, 2), plan());
    short.begin_round(1).unwrap();
    assert_eq!((epoch(&mut short, &split, 20).unwrap().steps, short.alarms.len()), (20, 0));
    let mut long = session(&split, Fault::Jump(10, 3), plan());
    long.begin_round(1).unwrap();
    let digest = long.model.spec().digest;
    let ended = epoch(&mut long, &split, 20).unwrap();
    assert_eq!((ended.ended, ended.steps, long.model.spec().digest), (true, 12, digest));
    assert_eq!((long.alarms[0].alarm, long.alarms[0].response, long.alarms[0].value), (Alarm::Spike, Response::RolledBack, Some(50.0)));
}

#[test]
fn so_many_are_attacked_spread_or_the_first() {
    let split = split();
    let of = |samples, take| super::robust::chosen(&split, &RobustPlan { samples, take, ..RobustPlan::default() });
    assert_eq!(of(4, Take::Spread), [0, 10, 20, 30]);
    assert_eq!(of(4, Take::First), [0, 1, 2, 3]);
    assert_eq!((of(0, Take::First).len(), of(90, Take::First).len()), (40, 40));
}

/// Keeps what it is warned of.
#[derive(Default)]
struct Warned(std::sync::Mutex<Vec<String>>);

impl Progress for Warned {
    fn begin(&self, name: &str, total: u64) -> Box<dyn crate::progress::Step> {
        Silent.begin(name, total)
    }
    fn note(&self, _: &str) {}
    fn warn(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

#[test]
fn an_evaluation_that_attacks_nothing_says_so() {
    use crate::{
        model::linear::{LinearModel, RawImage},
        sample::{Classes, ModalitySet},
    };
    let split = split();
    let robust = |model: &Arc<dyn Model>| {
        let warned = Warned::default();
        let seeds = SeedTree::new(1);
        let found = super::robust("it", model, &split, &RobustPlan::default(), ModalitySet::EMPTY, &seeds, &warned).unwrap();
        assert_eq!((found.0.len(), found.1.len()), (0, 0), "{found:?}");
        warned.0.into_inner().unwrap()
    };
    let Opened::Trainable(text) = Linear::default().open(split.profile(), &SeedTree::new(5)).unwrap() else { panic!("frozen") };
    let told = robust(&text.freeze().unwrap());
    assert_eq!(
        told,
        [
            "it was not attacked: an evaluation perturbs image and audio, and of those with a radius the model gives the gradient of none that it is given"
        ]
    );
    // A model of pictures, and no pictures.
    let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![0.0, 1.0] };
    let classes = Classes::from_names(["cat", "dog"].map(String::from));
    let blind: Arc<dyn Model> = Arc::new(LinearModel::from_weights(classes, vec![0.0, 0.1], Some(image), None).unwrap());
    assert_eq!(robust(&blind), ["it was not attacked in image: no sample has any of it"]);
}
