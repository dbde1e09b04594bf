//! One run of a plan: every seed and arm, the final evaluation, and the folder that is left behind.

use super::{
    Options, Summary,
    clock::Clock,
    folder::{Folder, Found, json},
    keeper::{GENERATED, Keeper},
    print,
    ready::{NOTHING_TO_EVALUATE_ON, unready},
};
use crate::{
    context::Fetch,
    error::{Error, Result},
    model::{Model, Opened, Teachers, Trainable},
    operator::{FoldPlan, unknown},
    pipeline::{Arm, Plan, Split, Stop, TrainPlan, TrainingObjective, open_extra, open_splits},
    progress::Progress,
    random::SeedTree,
    record::{
        ArmResult, Comparison, Helped, Metric, ModelRecord, ModelRole, Results, RobustAccuracy, RunRecord, SampleBalance, SetAside,
        SharedMedia, Splits as SplitRecords, Timing, TrainingRecord,
    },
    registry::Registry,
    report::ReportInput,
    sample::{ModalitySet, SampleId, metrics},
    train::{self, Deaf, Experiment, Finished, Splits, Start},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 10_000;

/// Runs the plan on a pool of `options.threads`, or resumes it, or finds it done.
pub(super) fn execute(plan: &Plan, options: &Options, progress: &dyn Progress) -> Result<Summary> {
    if let Some(problem) = unready(plan) {
        return Err(Error::usage(problem.message));
    }
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = options.threads {
        pool = pool.num_threads(threads);
    }
    let pool = pool.build().map_err(|error| Error::internal(format!("no thread pool: {error}")))?;
    let (folder, found) = Folder::open(&options.out, plan.digest, &plan.data.base)?;
    if let Found::Done(record) = &found {
        progress.note(&format!("all is done: {} holds this run", folder.root().display()));
        if record.output != Some(folder.digest()?) {
            progress.warn("files of the folder were changed, added or removed since; name another folder with --out to run again");
        }
        let results = ReportInput::results(folder.root())?;
        return print::summary(record, results.as_ref(), folder.root());
    }
    if let Found::Begun = found {
        progress.note("resuming: arms that are finished are not run again");
        // Told before hours of other seeds: the main arm's files are taken over, and must be as they were, where all arms of its seed are there.
        let seed = train::seed_of(plan.seed, 0);
        let mut arms = plan.compare.arms.iter().chain([&Arm::Hardmine]);
        if plan.train.is_some() && arms.all(|arm| folder.path(&seed_file(seed, *arm)).exists()) {
            folder.sealed_with_files::<RunRecord>(&Folder::work("main.json"))?;
        }
    }
    pool.install(|| Run::new(plan, &folder, progress)?.whole())
}

/// Where the numbers of a finished arm stand.
fn seed_file(seed: u64, arm: Arm) -> String {
    Folder::work(&format!("seed-{seed}-{}.json", arm.name()))
}

struct Run<'a> {
    plan: &'a Plan,
    folder: &'a Folder,
    progress: &'a dyn Progress,
    train: Split,
    validation: Option<Split>,
    test: Option<Split>,
    extra: BTreeMap<String, Split>,
    warnings: Mutex<Vec<String>>,
    clock: Clock,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, folder: &'a Folder, progress: &'a dyn Progress) -> Result<Self> {
        let clock = Clock::start();
        let (train, validation, test) = open_splits(&plan.data, progress)?;
        let extra =
            plan.extra.iter().map(|(name, reader)| Ok((name.clone(), open_extra(reader, name, train.classes(), &plan.data, progress)?)));
        let extra = extra.collect::<Result<BTreeMap<_, _>>>()?;
        let mut run = Self { plan, folder, progress, train, validation, test, extra, warnings: Mutex::default(), clock };
        run.clock.lap("read".into());
        run.tell_left_out();
        run.plan.warnings().iter().for_each(|line| run.warn(line));
        run.plan.stages.diagnose.iter().flat_map(|stage| stage.operator.warnings()).for_each(|line| run.warn(&line));
        run.check_fields()?;
        for shared in run.shared() {
            run.warn(&format!(
                "{} {} stand in both {} and {}",
                shared.count,
                media_name(shared.modality),
                shared.splits[0],
                shared.splits[1]
            ));
        }
        Ok(run)
    }

    /// Says of each split what was left out, by its first sample.
    fn tell_left_out(&self) {
        let named = [("train", Some(&self.train)), ("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        let extra = self.extra.iter().map(|(name, split)| (name.as_str(), Some(split)));
        for (name, split) in named.into_iter().chain(extra) {
            let Some(ledger) = split.map(Split::ledger) else { continue };
            if let Some(first) = ledger.quarantined().first() {
                let count = ledger.quarantined().len();
                self.warn(&format!("{count} of {} samples of {name} are set aside; the first: {}", ledger.read(), first.reason));
            }
        }
    }

    /// What the plan says of fields and labels, held against the data before anything is trained.
    fn check_fields(&self) -> Result<()> {
        let has = |split: &Split, field: &str| (0..split.len()).any(|i| split.entry(i).fields.contains_key(field));
        if let Some(field) = self.plan.data.group_by.as_deref().filter(|field| !has(&self.train, field)) {
            let known: BTreeSet<&String> = (0..self.train.len()).flat_map(|i| self.train.entry(i).fields.keys()).collect();
            let told = unknown("field", field, known.into_iter().map(String::as_str));
            return Err(Error::usage(format!("no training sample has it: {told}")).at("field", "data.group_by"));
        }
        if let Some(TrainPlan { objective: TrainingObjective::Focal(focal), .. }) = &self.plan.train {
            let names = self.train.classes().names();
            if let Some(class) = focal.alpha.keys().find(|class| !names.contains(class)) {
                let told = unknown("class", class, names.iter().map(String::as_str));
                return Err(Error::usage(told).at("field", "train.objective.focal.alpha"));
            }
        }
        let (Some(_), Some((name, split))) = (&self.plan.train, self.judged_on()) else { return Ok(()) };
        let extra = self.extra.iter().map(|(name, split)| (name.as_str(), split));
        for (name, split) in std::iter::once((name, split)).chain(extra) {
            if (0..split.len()).all(|i| split.label(i).is_none()) {
                return Err(Error::policy("no labelled sample to evaluate on").at("split", name));
            }
        }
        let evaluate = &self.plan.evaluate;
        let (held, withheld) = (split.profile().modalities, evaluate.withhold.iter().copied().collect::<ModalitySet>());
        if !held.is_empty() && withheld.contains(held) {
            let told = format!("nothing is left of {name}, whose samples have {held}; withhold fewer modalities");
            return Err(Error::usage(told).at("field", "evaluate.withhold"));
        }
        for field in evaluate.slice_by.iter().filter(|field| !has(split, field)) {
            self.warn(&format!("evaluate.slice_by: no sample of {name} has the field `{field}`"));
        }
        if let Some(file) = &evaluate.slices {
            let slices = train::read_slices(file, &self.plan.data.base)?;
            if !(0..split.len()).any(|i| slices.contains_key(&split.entry(i).id)) {
                self.warn(&format!("evaluate.slices: {} gives no sample of {name} a `{}`", file.file, file.key));
            }
        }
        Ok(())
    }

    fn warn(&self, line: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Every seed would say it again.
        if !warnings.iter().any(|told| told == line) {
            warnings.push(line.to_owned());
            drop(warnings);
            self.progress.warn(line);
        }
    }

    fn splits(&self) -> Splits<'_> {
        Splits { train: &self.train, validation: self.validation.as_ref(), test: self.test.as_ref() }
    }

    /// The split of the final evaluation.
    fn judged_on(&self) -> Option<(&'static str, &Split)> {
        self.test.as_ref().map(|split| ("test", split)).or(self.validation.as_ref().map(|split| ("validation", split)))
    }

    fn folds(&self) -> Option<FoldPlan> {
        self.plan.stages.requirements().find_map(|requirements| requirements.folds)
    }

    fn whole(mut self) -> Result<Summary> {
        let stop = Stop::new(&self.plan.budget);
        let mut arms: Vec<(Arm, Vec<ArmResult>)> = Vec::new();
        let mut main = None;
        match self.plan.train.clone() {
            None => main = Some(self.generate_only(&stop)?),
            Some(train) => {
                for ordinal in 0..self.plan.compare.seeds {
                    if ordinal > 0 && stop.out_of_time() {
                        self.warn(&format!(
                            "the budget of minutes ended the comparison after {ordinal} of {} seeds",
                            self.plan.compare.seeds
                        ));
                        break;
                    }
                    let (of_seed, of_main) = self.seed(ordinal, &train, &stop)?;
                    main = main.or(of_main);
                    for (arm, result) in of_seed {
                        match arms.iter_mut().find(|(own, _)| *own == arm) {
                            Some((_, results)) => results.push(result),
                            None => arms.push((arm, vec![result])),
                        }
                    }
                }
            }
        }
        let results = self.results(arms)?;
        self.finish(main, results)
    }

    fn finish(mut self, main: Option<RunRecord>, results: Option<Results>) -> Result<Summary> {
        let mut record = match main {
            Some(record) => record,
            None => {
                self.folder.sealed_with_files(&Folder::work("main.json"))?.ok_or_else(|| Error::internal("the main arm left no record"))?
            }
        };
        for barren in record.barren() {
            self.warn(&format!("generator `{barren}` fed nothing in the whole run"));
        }
        // A main arm that an earlier run finished brings its own; reading warned again.
        for line in self.warnings.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..) {
            if !record.warnings.contains(&line) {
                record.warnings.push(line);
            }
        }
        record.output = Some(self.folder.digest()?);
        let training = record.timing.and_then(|timing| timing.training);
        let total_s = self.clock.began.elapsed().as_secs_f64();
        record.timing = Some(Timing { steps: std::mem::take(&mut self.clock.steps), training, total_s });
        // run.json goes last: it says that the run is whole.
        super::report::write(self.folder.root(), &record, results.clone(), &|id| self.train.fetch(id).ok())?;
        self.folder.write("run.json", &json(&record)?)?;
        print::summary(&record, results.as_ref(), self.folder.root())
    }

    /// All arms of one seed; the main one first, since control arms are held to it.
    fn seed(&mut self, ordinal: usize, train: &TrainPlan, stop: &Stop) -> Result<(Vec<(Arm, ArmResult)>, Option<RunRecord>)> {
        let seed = train::seed_of(self.plan.seed, ordinal);
        let mut wanted = vec![Arm::Hardmine];
        wanted.extend(self.plan.compare.arms.iter().copied().filter(|arm| *arm != Arm::Hardmine));
        let file = |arm: Arm| seed_file(seed, arm);
        let mut done: Vec<(Arm, ArmResult)> = Vec::new();
        for arm in &wanted {
            if let Some(result) = self.folder.sealed(&file(*arm))? {
                done.push((*arm, result));
            }
        }
        let order = |arms: Vec<(Arm, ArmResult)>, plan: &Plan| {
            let mut arms = arms;
            arms.sort_by_key(|(arm, _)| plan.compare.arms.iter().position(|own| own == arm).unwrap_or(usize::MAX));
            arms
        };
        if done.len() == wanted.len() {
            return Ok((order(done, self.plan), None));
        }
        let seeds = SeedTree::new(seed);
        if self.plan.compare.seeds > 1 {
            self.progress.note(&format!("seed {seed} ({} of {})", ordinal + 1, self.plan.compare.seeds));
        }
        let model = self.open_model(&seeds)?;
        let start = {
            let experiment = Experiment { plan: self.plan, splits: self.splits(), seeds: seeds.clone(), stop, progress: self.progress };
            experiment.start(model, train, self.folds())?
        };
        self.clock.lap(format!("seed {seed}: warm-up and folds"));
        let mut main = None;
        let mut hardmine: Option<Finished> = None;
        for arm in wanted {
            // The main arm is run again even if its numbers are there: control arms need what it was fed.
            if arm != Arm::Hardmine && done.iter().any(|(own, _)| *own == arm) {
                continue;
            }
            let (finished, of_main) = self.arm(arm, ordinal, &seeds, &start, train, stop, hardmine.as_ref())?;
            if finished.stopped_by == Some("minutes") {
                self.warn(&format!(
                    "seed {seed}: the budget of minutes cut the arm `{}` short; it is compared with arms as short alone",
                    arm.name()
                ));
            }
            let result = self.evaluate(arm, seed, &seeds, &start, &finished)?;
            self.folder.seal(&file(arm), &result)?;
            done.retain(|(own, _)| *own != arm);
            done.push((arm, result));
            self.clock.lap(format!("seed {seed}: {}", arm.name()));
            if arm == Arm::Hardmine {
                main = of_main;
                hardmine = Some(finished);
            }
        }
        Ok((order(done, self.plan), main))
    }

    fn open_model(&self, seeds: &SeedTree) -> Result<Box<dyn Trainable>> {
        match self.plan.model.operator.open_at(&self.plan.data.base, self.train.profile(), &seeds.child("model"))? {
            Opened::Trainable(model) => Ok(model),
            Opened::Frozen(_) => {
                Err(Error::usage("this model cannot be trained; write `train: none` to generate only").at("model", self.plan.model.name))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of a loop that owns all of them")]
    fn arm(
        &self,
        arm: Arm,
        ordinal: usize,
        seeds: &SeedTree,
        start: &Start,
        train: &TrainPlan,
        stop: &Stop,
        hardmine: Option<&Finished>,
    ) -> Result<(Finished, Option<RunRecord>)> {
        let progress = Recorder { inner: self.progress, run: self };
        let experiment = Experiment { plan: self.plan, splits: self.splits(), seeds: seeds.clone(), stop, progress: &progress };
        if arm != Arm::Hardmine || ordinal > 0 {
            let quiet = Experiment { progress: self.progress, ..experiment };
            return Ok((quiet.run(arm, start, train, hardmine, &mut Deaf)?, None));
        }
        let mut keeper = Keeper::new(self.folder, self.plan, &self.train, generated()?)?;
        let finished = experiment.run(arm, start, train, None, &mut keeper)?;
        let main = self.keep(keeper, &finished, start.teachers.as_ref().map(|teachers| teachers.fold_of.clone()).unwrap_or_default())?;
        Ok((finished, Some(main)))
    }

    fn generate_only(&mut self, stop: &Stop) -> Result<RunRecord> {
        let seeds = SeedTree::new(self.plan.seed);
        let model: Arc<dyn Model> = match self.train.recorded() {
            Some(recorded) => recorded.clone(),
            None => match self.plan.model.operator.open_at(&self.plan.data.base, self.train.profile(), &seeds.child("model"))? {
                Opened::Frozen(model) => model,
                Opened::Trainable(model) => model.freeze()?,
            },
        };
        let teacher: Option<Arc<dyn Model>> = match self.train.teacher() {
            Some(teacher) => Some(teacher.clone()),
            None => (self.train.recorded().is_some() && self.plan.data.train.operator.out_of_fold()).then(|| model.clone()),
        };
        let teachers = teacher.map(|teacher| Teachers {
            models: vec![teacher],
            fold_of: (0..self.train.len()).map(|i| (self.train.entry(i).id.clone(), 0)).collect(),
        });
        let own = model.spec().classes.names();
        if own != self.train.classes().names() {
            return Err(Error::policy(format!(
                "the model was trained on the classes [{}], the training split has [{}]",
                own.join(", "),
                self.train.classes().names().join(", ")
            )));
        }
        let main = {
            let progress = Recorder { inner: self.progress, run: self };
            let experiment = Experiment { plan: self.plan, splits: self.splits(), seeds, stop, progress: &progress };
            let mut keeper = Keeper::new(self.folder, self.plan, &self.train, generated()?)?;
            let finished = experiment.generate_only(model, teachers, self.train.history().map(Arc::as_ref), &mut keeper)?;
            self.keep(keeper, &finished, HashMap::new())?
        };
        self.clock.lap("generate".into());
        Ok(main)
    }

    fn keep(&self, mut keeper: Keeper<'_>, finished: &Finished, fold_of: HashMap<SampleId, usize>) -> Result<RunRecord> {
        keeper.finish(&fold_of)?;
        let mut models = std::mem::take(&mut keeper.models);
        // Recorded predictions have no weights.
        if finished.model.recorded().is_none() {
            self.folder.write_with("model.safetensors", |path| finished.model.save(path))?;
            models.push(ModelRecord {
                digest: finished.model.spec().digest.clone(),
                role: ModelRole::Trained,
                round: None,
                fold: None,
                file: Some("model.safetensors".into()),
                notes: finished.model.notes(),
            });
        }
        if let Some(bank) = &finished.bank {
            self.folder.write_with("memory_bank.bin", |path| bank.save(path))?;
        }
        let training = finished.time.is_some().then(|| TrainingRecord {
            rounds: finished.rounds.clone(),
            watchdog: finished.watchdog.clone(),
            remembered: finished.bank.as_ref().map(|bank| bank.len() as u64),
            objective: finished.objective.clone(),
        });
        let record = RunRecord {
            version: crate::record::VERSION,
            name: self.plan.name.clone(),
            seed: self.plan.seed,
            hardmine: env!("CARGO_PKG_VERSION").to_owned(),
            plan: self.plan.digest,
            output: None,
            stopped_by: finished.stopped_by.map(str::to_owned),
            classes: self.train.classes().names().to_vec(),
            columns: std::mem::take(&mut keeper.columns),
            figures: std::mem::take(&mut keeper.figures),
            samples: self.balance(),
            candidates: keeper.candidates(),
            yields: std::mem::take(&mut keeper.yields),
            bands: std::mem::take(&mut keeper.bands),
            models,
            training,
            shared: self.shared(),
            warnings: self.warnings.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone(),
            pipeline: self.plan.resolved.clone(),
            timing: finished.time.map(|time| Timing { training: Some(time), ..Timing::default() }),
        };
        self.folder.seal_with_files(&Folder::work("main.json"), &record)?;
        Ok(record)
    }

    fn evaluate(&self, arm: Arm, seed: u64, seeds: &SeedTree, start: &Start, finished: &Finished) -> Result<ArmResult> {
        let Some((_, split)) = self.judged_on() else {
            return Err(Error::usage(NOTHING_TO_EVALUATE_ON));
        };
        let plan = &self.plan.evaluate;
        let withheld: ModalitySet = plan.withhold.iter().copied().collect();
        let side = plan
            .slices
            .as_ref()
            .map(|file| Ok::<_, Error>((file.key.as_str(), train::read_slices(file, &self.plan.data.base)?)))
            .transpose()?;
        let side = side.as_ref().map(|(key, slices)| (*key, slices));
        let progress = Recorder { inner: self.progress, run: self };
        let mut result = train::evaluate(arm.name(), seed, &finished.model, split, plan, side, &progress)?;
        if let Some(robust) = &plan.robust {
            (result.robust, result.masking) =
                train::robust(arm.name(), &finished.model, split, robust, withheld, &seeds.child("robust"), &progress)?;
        }
        for (name, attack) in &plan.attacks {
            let told = format!("{} ({name})", arm.name());
            let seeds = seeds.child("attacks").child(name.as_str());
            let (rows, _) = train::robust(&told, &finished.model, split, attack, withheld, &seeds, &progress)?;
            result.robust.extend(rows.into_iter().map(|row| RobustAccuracy { attack: name.clone(), ..row }));
        }
        for (name, split) in &self.extra {
            result.extra.insert(name.clone(), train::accuracy(&finished.model, split, withheld)?);
        }
        result.steps = finished.spent.steps;
        result.forward_evaluations = finished.spent.forward;
        result.gradient_evaluations = finished.spent.gradient + finished.spent.presentations;
        result.children_fed = finished.children;
        result.watchdog = finished.watchdog.clone();
        result.epochs = start.epochs.iter().chain(&finished.epochs).cloned().collect();
        Ok(result)
    }

    fn results(&self, arms: Vec<(Arm, Vec<ArmResult>)>) -> Result<Option<Results>> {
        let Some((name, split)) = self.judged_on() else { return Ok(None) };
        if arms.is_empty() {
            return Ok(None);
        }
        let plan = &self.plan.evaluate;
        let baseline = Arm::Uniform.name();
        let mut results = Results {
            split: name.to_owned(),
            withheld: plan.withhold.iter().copied().collect(),
            primary: Metric::Accuracy,
            robust: plan.robust.as_ref().map(|robust| train::budget(robust, split)),
            attacks: plan.attacks.iter().map(|(name, attack)| (name.clone(), train::budget(attack, split))).collect(),
            arms: arms.into_iter().flat_map(|(_, results)| results).collect(),
            comparisons: Vec::new(),
        };
        let names: Vec<String> = results.arm_names().into_iter().map(str::to_owned).collect();
        for arm in names.iter().filter(|name| *name != baseline) {
            for metric in results.metrics() {
                results.comparisons.extend(self.compare(&results, arm, baseline, metric));
            }
        }
        Ok(Some(results))
    }

    fn compare(&self, results: &Results, arm: &str, against: &str, metric: Metric) -> Option<Comparison> {
        let pairs = |metric: &Metric| -> Vec<(f64, f64)> {
            results
                .of(arm)
                .filter_map(|own| {
                    let other = results.of(against).find(|other| other.seed == own.seed)?;
                    // An arm that a budget of time cut short was not trained as the other was.
                    if own.epochs.len() != other.epochs.len() {
                        return None;
                    }
                    Some((own.metric(metric)?.accuracy, other.metric(metric)?.accuracy))
                })
                .collect()
        };
        let interval = |pairs: &[(f64, f64)], name: &str| {
            let (own, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let mut rng = SeedTree::new(self.plan.seed).child("bootstrap").child(arm).child(name).rng();
            let interval = metrics::paired_bootstrap(&own, &other, RESAMPLES, &mut rng)?;
            (pairs.len() > 1).then_some([interval.low, interval.high])
        };
        let own = pairs(&metric);
        if own.is_empty() {
            return None;
        }
        let interval95 = interval(&own, &metric.to_string());
        let whole = interval(&pairs(&Metric::Accuracy), &Metric::Accuracy.to_string());
        Some(Comparison {
            arm: arm.to_owned(),
            against: against.to_owned(),
            seeds: own.len(),
            mean_difference: own.iter().map(|(a, b)| a - b).sum::<f64>() / own.len() as f64,
            interval95,
            helped: Helped::judge(own.len(), interval95, whole),
            metric,
        })
    }

    fn balance(&self) -> SplitRecords {
        let of = |split: &Split| {
            let ledger = split.ledger();
            SampleBalance {
                read: ledger.read() as u64,
                used: ledger.used() as u64,
                quarantined: ledger.quarantined().len() as u64,
                skipped: ledger.skipped() as u64,
                listed: ledger
                    .quarantined()
                    .iter()
                    .map(|out| SetAside { id: SampleId::new(out.sample.as_str()), reason: format!("{}: {}", out.at, out.reason) })
                    .collect(),
            }
        };
        SplitRecords {
            train: of(&self.train),
            validation: self.validation.as_ref().map(of),
            test: self.test.as_ref().map(of),
            extra: self.extra.iter().map(|(name, split)| (name.clone(), of(split))).collect(),
        }
    }

    fn shared(&self) -> Vec<SharedMedia> {
        let named = [("train", Some(&self.train)), ("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        let mut all = Vec::new();
        for (i, (a, one)) in named.iter().enumerate() {
            for (b, two) in &named[i + 1..] {
                let (Some(one), Some(two)) = (one, two) else { continue };
                all.extend(one.shared_with(two).into_iter().map(|(modality, count, examples)| SharedMedia {
                    splits: [(*a).to_owned(), (*b).to_owned()],
                    modality,
                    count: count as u64,
                    examples,
                }));
            }
        }
        all
    }
}

fn media_name(modality: crate::sample::Modality) -> &'static str {
    match modality {
        crate::sample::Modality::Image => "images",
        crate::sample::Modality::Audio => "clips",
        crate::sample::Modality::Text => "texts",
    }
}

/// The feeder that always writes the fed samples.
fn generated() -> Result<Box<dyn crate::feed::Feeder>> {
    let written = serde_json::json!({ "manifest": { "path": GENERATED } });
    Registry::default()
        .feeders
        .build(&written)
        .map(|built| built.operator)
        .map_err(|problems| Error::internal(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

/// Passes progress on and keeps the warnings for run.json.
struct Recorder<'a> {
    inner: &'a dyn Progress,
    run: &'a Run<'a>,
}

impl Progress for Recorder<'_> {
    fn begin(&self, what: &str, total: u64) -> Box<dyn crate::progress::Step> {
        self.inner.begin(what, total)
    }
    fn note(&self, line: &str) {
        self.inner.note(line);
    }
    fn warn(&self, line: &str) {
        self.run.warn(line);
    }
}
