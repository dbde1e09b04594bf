//! Objectives in the training of a split.

use super::*;
use crate::{
    pipeline::{Budget, DropoutPlan, Plan, Stop, open_splits},
    progress::{Progress, Silent},
    registry::Registry,
    train::{
        Dropout, Experiment, Mix, Session, Splits, Uniform,
        memory_bank::{BankConfig, MemoryBank},
    },
};

/// Forty samples with all modalities.
fn digits() -> Plan {
    let written = json!({
        "version": 1, "name": "digits", "seed": 1, "model": { "linear": {} },
        "data": { "train": { "manifest": { "path": "builtin:digits/train.jsonl" } }, "limit": 40 },
        "stages": [{ "score": { "loss": {} } }],
    });
    Plan::from_value(&written, Path::new("."), &Registry::default()).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn a_model_is_never_shown_a_sample_of_which_it_reads_nothing() {
    let (plan, image) = (digits(), ModalitySet::one(Modality::Image));
    let (train, ..) = open_splits(&plan.data, &Silent).unwrap();
    let able: Vec<usize> = (0..train.len()).collect();
    let (originals, relabelled): (Vec<_>, _) = (able.iter().map(|&i| (i, 1.0)).collect(), BTreeMap::new());
    for scheme in ["subset", "independent", "at_least_one", "exactly_one", "alone"] {
        for replacement in ["missing", "zero"] {
            let dropout: DropoutPlan =
                serde_json::from_value(json!({ "probability": 1.0, "scheme": scheme, "replacement": replacement })).unwrap();
            // How many rows were shown, and of how many the picture was as it is.
            let shown = |reads: ModalitySet, dropout: Option<Dropout<'_>>| {
                let profile = crate::model::DataProfile { modalities: reads, ..train.profile().clone() };
                let seen: Arc<Mutex<Vec<Batch>>> = Arc::default();
                let inner = Box::new(Linear::default().trainer(&profile).unwrap());
                let mut session = Session::new(Box::new(Spy { inner, seen: Arc::clone(&seen), gives: true })).unwrap();
                let (seeds, step) = (SeedTree::new(3), Silent.begin("", 0));
                let uniform = Uniform { originals: &able, relabelled: &relabelled, batch_size: 8, dropout, learning_rate: 1e-2 };
                session.uniform_epoch(&train, &uniform, &seeds, None, step.as_ref()).unwrap();
                let mix = Mix { dropout, ..Mix::uniform(&originals, 8, 5) };
                session.mixed_epoch(&train, &mix, |_| 1e-2, &seeds, step.as_ref()).unwrap();
                let seen = seen.lock().unwrap();
                let rows: Vec<Input> = seen.iter().flat_map(|batch| batch.rows.inputs.clone()).collect();
                let pictured = rows.iter().filter(|input| input.image.as_ref().is_some_and(|p| p.values.iter().any(|v| *v > 0.0)));
                (rows.len(), pictured.count())
            };
            let (dropout, whole) = (Some(Dropout::of(&dropout)), shown(image, None));
            // Every sample once in the warm-up, 40 presentations after it; some have no picture from the start.
            assert!(whole.0 == 80 && whole.1 > 60, "{whole:?}");
            assert_eq!(shown(image, dropout), whole, "{scheme} {replacement}");
            // A model that reads all of them is shown copies, and samples whose picture is gone.
            let (rows, pictured) = shown(ModalitySet::ALL, dropout);
            assert!(scheme == "independent" || (rows > 80 && pictured < whole.1 + rows - 80), "{scheme} {replacement} {rows} {pictured}");
        }
    }
}

#[test]
fn the_memory_bank_takes_losses_of_samples_as_they_are() {
    let plan = digits();
    let (train, ..) = open_splits(&plan.data, &Silent).unwrap();
    let originals: Vec<(usize, f32)> = (0..train.len()).map(|i| (i, 1.0)).collect();
    // After forty presentations of forty samples: of how many a whole loss is known, and of how many one of some of their modalities.
    let known = |mix: &Mix<'_>| {
        let mut session = Session::new(Box::new(Linear::default().trainer(train.profile()).unwrap())).unwrap();
        session.bank = Some(MemoryBank::new(BankConfig::default()).unwrap());
        session.mixed_epoch(&train, mix, |_| 1e-2, &SeedTree::new(3), Silent.begin("", 0).as_ref()).unwrap();
        let all = session.bank.unwrap().snapshot();
        let whole: Vec<usize> = all.iter().filter(|(_, memory)| memory.count() > 0).filter_map(|(id, _)| train.index(id)).collect();
        let part = all.iter().filter(|(_, memory)| ModalitySet::ALL.subsets().any(|set| memory.subset_loss(set).is_some())).count();
        (whole, part)
    };
    let base = Mix::uniform(&originals, 8, 5);
    let everyone: Vec<usize> = (0..40).collect();
    let sorted = |mut all: Vec<usize>| {
        all.sort_unstable();
        all
    };
    let marked: Vec<bool> = (0..40).map(|i| i % 3 == 0).collect();
    let plain: Vec<usize> = (0..40).filter(|i| i % 3 != 0).collect();
    let own = Balls { audio: Some(Epsilon::new(0.01).unwrap()), text: Some(Epsilon::new(0.1).unwrap()), ..balls(0.1) };
    for (name, more, displaces) in [
        ("madry", json!({ "steps": 1 }), true),
        ("madry", json!({ "steps": 1, "random_start": false }), true),
        ("fgsm_rs", json!({}), true),
        ("free", json!({ "replays": 2 }), true),
        ("freelb", json!({ "steps": 2 }), true),
        ("freelb", json!({ "steps": 2, "random_start": false }), false),
        ("trades", json!({ "steps": 1 }), false),
        ("villa", json!({ "steps": 1 }), false),
    ] {
        let mut fields = more.clone();
        fields["balls"] = json!(own);
        let objective: TrainingObjective = serde_json::from_value(json!({ name: fields })).unwrap();
        let teaching = Some(Teaching { objective: &objective, treated: Treated::Marked(&marked), progress: [0.0, 1.0] });
        let (whole, part) = known(&Mix { teaching, ..base });
        assert_eq!((sorted(whole), part), (if displaces { plain.clone() } else { everyone.clone() }, 0), "{name} {more}");
    }
    for (written, pure) in [
        (json!({}), true),
        (json!({ "replacement": "zero" }), false),
        (json!({ "replacement": "other" }), false),
        (json!({ "partial": 0.5 }), false),
    ] {
        let plan = DropoutPlan { probability: Fraction::new(1.0).unwrap(), ..serde_json::from_value(written.clone()).unwrap() };
        let (whole, part) = known(&Mix { dropout: Some(Dropout::of(&plan)), ..base });
        // What has one modality is never thinned.
        assert!(whole.len() < 20 && part == if pure { 40 - whole.len() } else { 0 }, "{written} {whole:?} {part}");
    }
}

#[test]
fn a_fall_of_the_robust_accuracy_brings_the_last_good_state_back() {
    let plan = digits();
    let (train, ..) = open_splits(&plan.data, &Silent).unwrap();
    let stop = Stop::new(&Budget::default());
    let splits = Splits { train: &train, validation: None, test: None };
    let experiment = Experiment { plan: &plan, splits, seeds: SeedTree::new(1), stop: &stop, progress: &Silent };
    let fresh = Linear::default().trainer(train.profile()).unwrap();
    let mut good = fresh.clone();
    let samples: Vec<_> = (0..train.len()).map(|i| train.entry(i).id.clone()).collect();
    let mut rows = Rows::default();
    for id in &samples {
        let sample = crate::context::Fetch::fetch(&train, id).unwrap();
        rows.push(Input::of(&sample), sample.label.clone().unwrap(), 1.0);
    }
    for _ in 0..60 {
        let batch = TrainingBatch { inputs: &rows.inputs, targets: &rows.targets, weights: &rows.weights, learning_rate: 0.02 };
        good.step(&batch).unwrap();
    }
    // Right under a step that hardly moves, wrong under an attack: an alarm without a good state before.
    let near = FgsmRs { balls: balls(0.3), step: 1e-4, check_samples: 30, check_steps: 3, ..FgsmRs::default() };
    let mut fooled = Session::new(Box::new(good.clone())).unwrap();
    let found = experiment.check_overfitting(&mut fooled, &near, (1, 1.0), &SeedTree::new(2)).unwrap().unwrap();
    assert!(found.as_trained - found.accuracy > 0.4 && found.stepped_back && fooled.guarded.is_none(), "{found:?}");
    assert_eq!((fooled.model.spec().digest, fooled.memory.more_steps), (good.spec().digest, 1));
    let own = FgsmRs { balls: balls(0.001), check_samples: 30, check_steps: 3, ..FgsmRs::default() };
    let mut session = Session::new(Box::new(good)).unwrap();
    let digest = session.model.spec().digest;
    let seeds = SeedTree::new(2);
    let first = experiment.check_overfitting(&mut session, &own, (1, 1.0), &seeds).unwrap().unwrap();
    assert!(first.accuracy > 0.9 && !first.stepped_back && first.n == 30, "{first:?}");
    assert!(session.spent.gradient >= 30);
    // All weights 0: every sample is given the first class.
    session.model = Box::new(fresh);
    let second = experiment.check_overfitting(&mut session, &own, (2, 1.0), &seeds).unwrap().unwrap();
    assert!(second.stepped_back && second.best == first.accuracy && second.accuracy < 0.4, "{second:?}");
    assert_eq!((session.model.spec().digest, session.memory.more_steps), (digest, 1));
    // While the balls grow, every state is measured in those of now: a fall that comes of the radius alone is none.
    let wide = FgsmRs { balls: balls(0.3), ..own.clone() };
    let mut growing = Session::new(session.model.fork().unwrap()).unwrap();
    let mut found = |epoch, scale| experiment.check_overfitting(&mut growing, &wide, (epoch, scale), &seeds).unwrap().unwrap();
    let (small, large) = (found(1, 0.001 / 0.3), found(2, 1.0));
    assert!((small.accuracy - first.accuracy).abs() < 0.05 && small.accuracy - large.accuracy > 0.4, "{small:?} {large:?}");
    assert_eq!((large.scale, large.best, large.stepped_back), (1.0, large.accuracy, false));
    let none = FgsmRs { check_samples: 0, ..own };
    assert_eq!(experiment.check_overfitting(&mut session, &none, (3, 1.0), &seeds).unwrap(), None);
}
