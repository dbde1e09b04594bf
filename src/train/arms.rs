//! The comparison: every arm begins at the same warmed-up model, takes the same steps, and differs in what it is fed.

use super::{
    bootstrap::GrowingSet,
    draw::Mix,
    drift,
    evaluate::watch,
    folds::train_teachers,
    gap::gap_weights,
    memory_bank::{BankConfig, MemoryBank},
    mined::{Mined, retire},
    objective::Teaching,
    probe,
    round::Turn,
    session::{Session, Spent, Uniform},
    thin::Dropout,
};
use crate::{
    context::KnownMedia,
    error::{Error, Result},
    feed::{self, FeedPlan, ReplayBuffer},
    mine::band_column,
    model::{Counted, Counts, Evaluations, Model, ModelSet, Target, Teachers, Trainable},
    operator::FoldPlan,
    pipeline::{Arm, BalancePlan, Figures, Harvest, Plan, Split, Stop, TrainPlan, TrainingMode, TrainingObjective},
    progress::Progress,
    random::SeedTree,
    record::{EpochRecord, ObjectiveRecord, RoundRecord, TrainingTime, WatchdogRecord},
    sample::{Accepted, Diagnoses, Diagnosis, Modality, Sample, SampleId, ScoreTable, Selection, TrainingHistory, Treatment},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Instant,
};

/// The data of an experiment.
#[derive(Clone, Copy)]
pub struct Splits<'a> {
    /// Training split.
    pub train: &'a Split,
    /// Validation split.
    pub validation: Option<&'a Split>,
    /// Test split: its digests are known to the verifiers, nothing else of it.
    pub test: Option<&'a Split>,
}

/// One seed of an experiment.
pub struct Experiment<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The data.
    pub splits: Splits<'a>,
    /// Root of all draws of this seed.
    pub seeds: SeedTree,
    /// Budgets.
    pub stop: &'a Stop,
    /// Where it is.
    pub progress: &'a dyn Progress,
}

/// What all arms of a seed share: the warmed-up model, what training saw, and the out-of-fold judges.
pub struct Start {
    session: Session,
    /// What the bootstrapping mode begins with.
    first: Option<GrowingSet>,
    /// Training dynamics of the warm-up.
    pub history: TrainingHistory,
    /// Out-of-fold models, where a stage asked for them.
    pub teachers: Option<Teachers>,
    /// What the teachers and the probe runs cost.
    pub fold_cost: Spent,
    /// Epochs of the warm-up.
    pub epochs: Vec<EpochRecord>,
}

/// One finished round of the `hardmine` arm.
pub struct Round<'a> {
    /// Round, from 1.
    pub round: usize,
    /// Scores.
    pub table: &'a ScoreTable,
    /// Figures of the whole split that scorers found.
    pub figures: &'a [Figures],
    /// Diagnoses by row.
    pub diagnoses: &'a [Diagnosis],
    /// What was chosen.
    pub selection: &'a Selection,
    /// What was made of it.
    pub harvest: &'a Harvest,
    /// The model that scored and made.
    pub models: &'a ModelSet,
}

/// Is told of every round of an arm before its training.
pub trait Observer {
    /// A round was mined and generated.
    fn round(&mut self, round: &Round<'_>) -> Result<()>;
}

/// Listens to nothing.
pub struct Deaf;

impl Observer for Deaf {
    fn round(&mut self, _: &Round<'_>) -> Result<()> {
        Ok(())
    }
}

/// A finished arm.
pub struct Finished {
    /// The trained model.
    pub model: Arc<dyn Model>,
    /// What was spent, the warm-up included.
    pub spent: Spent,
    /// Children fed.
    pub children: u64,
    /// Children by round, generator stage and class: what control arms are held to.
    pub accepted: Vec<BTreeMap<String, Vec<usize>>>,
    /// Samples chosen in each round, by class.
    pub chosen: Vec<usize>,
    /// Epochs after the warm-up.
    pub epochs: Vec<EpochRecord>,
    /// The budget that was used up: `minutes` ended the arm early, `gradients` or `children` the making of neighbours.
    pub stopped_by: Option<&'static str>,
    /// What each round trained on.
    pub rounds: Vec<RoundRecord>,
    /// What the watchdog did, the warm-up and the folds included.
    pub watchdog: Vec<WatchdogRecord>,
    /// The memory bank, where the arm has one.
    pub bank: Option<MemoryBank>,
    /// What the outer objective did, where it is not the cross entropy.
    pub objective: Option<ObjectiveRecord>,
    /// Mean cost of a batch of the rounds in presentations, where the objective is not the cross entropy.
    a_step: Option<f64>,
    /// Presentations that the attack of an adversarial objective reached, by round and step.
    pub(super) reached: Vec<Vec<u32>>,
    /// Of `spent`, what a control arm pays as well, beside its steps.
    beside: Spent,
    /// What mining cost beside the steps of the rounds; `None` where nothing was trained.
    pub time: Option<TrainingTime>,
}

impl Finished {
    fn new(model: Arc<dyn Model>) -> Self {
        Self {
            model,
            spent: Spent::default(),
            children: 0,
            accepted: Vec::new(),
            chosen: Vec::new(),
            epochs: Vec::new(),
            stopped_by: None,
            rounds: Vec::new(),
            watchdog: Vec::new(),
            bank: None,
            objective: None,
            a_step: None,
            reached: Vec::new(),
            beside: Spent::default(),
            time: None,
        }
    }
}

impl<'a> Experiment<'a> {
    /// Warm-up, folds and probe runs. But for what the probe adds the history is taken from the warm-up alone: every sample once an epoch, whole.
    pub fn start(&self, model: Box<dyn Trainable>, train: &TrainPlan, folds: Option<FoldPlan>) -> Result<Start> {
        let split = self.splits.train;
        let mut session = Session::watched(model, train.watchdog.clone())?;
        if let Some(plan) = &train.memory_bank {
            let config = BankConfig { beta: plan.beta.get(), capacity: split.len().max(1), ..BankConfig::default() };
            session.bank = Some(MemoryBank::new(config)?);
        }
        let mut history = TrainingHistory::default();
        let mut epochs = Vec::new();
        let first = match train.mode {
            TrainingMode::Whole {} => None,
            TrainingMode::Bootstrap { start, add } => {
                let classes: Vec<Option<usize>> = (0..split.len()).map(|i| split.label(i).map(|label| label.class())).collect();
                Some(GrowingSet::new(&classes, start, add, &self.seeds.child("bootstrap")))
            }
        };
        let all: Vec<usize> = first.as_ref().map_or_else(|| (0..split.len()).collect(), GrowingSet::indices);
        let as_labelled = BTreeMap::new();
        let uniform = Uniform {
            originals: &all,
            relabelled: &as_labelled,
            batch_size: train.batch_size,
            dropout: Some(Dropout::of(&train.modality_dropout)),
            learning_rate: train.learning_rate,
        };
        let seeds = self.seeds.child("warm-up");
        let step = self.progress.begin("warm-up", (all.len() * train.warmup_epochs) as u64);
        for epoch in 0..train.warmup_epochs {
            let of_epoch = seeds.child(format!("epoch {epoch}"));
            let loss = session.uniform_epoch(split, &uniform, &of_epoch, Some(&mut history), step.as_ref())?;
            epochs.push(self.epoch(epoch + 1, 0, loss, &session)?);
        }
        drop(step);
        let (mut teachers, mut fold_cost) = (None, Spent::default());
        if let Some(folds) = folds {
            let found = train_teachers(session.model.as_ref(), split, train, folds, &self.seeds.child("folds"), self.progress)?;
            fold_cost = found.spent;
            session.alarms.extend(found.watchdog);
            session.left_out.extend(found.left_out);
            teachers = Some(found.teachers);
        }
        if let Some(asked) = self.plan.stages.requirements().find_map(|requirements| requirements.probe) {
            let (found, spent) = probe::run(self.plan, split, train, asked, &self.seeds.child("probe"), self.progress)?;
            history.probe = Some(found);
            fold_cost.add(spent);
        }
        for alarm in &session.alarms {
            self.progress.warn(&format!("watchdog: {}", alarm.words()));
        }
        Ok(Start { session, first, history, teachers, fold_cost, epochs })
    }

    /// Runs one arm from the shared start. `hardmine` is the finished main arm, which control arms are held to.
    pub fn run(
        &self,
        arm: Arm,
        start: &Start,
        train: &TrainPlan,
        hardmine: Option<&Finished>,
        observer: &mut dyn Observer,
    ) -> Result<Finished> {
        let mut session = start.session.fork()?;
        let feed_plan = self.feed_plan();
        let feed = &feed_plan;
        let needs_scores = arm != Arm::Uniform && arm != Arm::UniformEqualCompute;
        let hard_alone = matches!(arm, Arm::Hardmine | Arm::MiningOnly);
        let mut set = start.first.clone().filter(|_| hard_alone);
        if !hard_alone {
            session.bank = None;
        }
        let mut done = Finished::new(session.model.freeze()?);
        let mut known = self.known();
        let mut replay = ReplayBuffer::new(feed.cap_per_parent, feed.capacity);
        let mut skip: HashSet<SampleId> = HashSet::new();
        let steps = self.steps(arm, train, start, hardmine)?;
        // One count for all rounds: the budget of gradients is that of the arm.
        let counts = Counts::default();
        for round in 1..=train.rounds {
            // The first round of the main arm is scored in any case, so that its samples are accounted for.
            if self.stop.out_of_time() && (round > 1 || arm != Arm::Hardmine) {
                done.stopped_by = Some("minutes");
                break;
            }
            let split = self.splits.train;
            let mut weights: Vec<f32> = vec![1.0; split.len()];
            let mut relabelled: BTreeMap<usize, Target> = BTreeMap::new();
            let mut sampler: Option<Vec<f32>> = None;
            let mut uniform_floor = train.uniform_floor.get();
            let mut scored: Option<Mined> = None;
            skip.extend(session.left_out.iter().cloned());
            if needs_scores {
                let subject: Arc<dyn Model> = Arc::new(Counted::with(session.model.freeze()?, counts.clone()));
                let models = ModelSet { subject, teachers: start.teachers.clone() };
                let before = models.spent();
                let seeds = self.seeds.child("arm").round(round);
                let losses: Vec<f64> = start.epochs.iter().chain(&done.epochs).map(|epoch| epoch.train_loss).collect();
                let mined =
                    self.mine(&models, Some(&start.history), ((round, train.rounds), &losses), &seeds, &mut skip, &mut session.time)?;
                if let Some(bank) = &session.bank {
                    let began = Instant::now();
                    let rows = mined.table.rows().iter().zip(&mined.diagnoses);
                    bank.judge(rows.map(|(row, diagnosis)| (&row.id, diagnosis.judgement, diagnosis.treatment)))?;
                    session.time.mining_s += began.elapsed().as_secs_f64();
                }
                if let Some(set) = &mut set {
                    let chosen = mined.selection.samples.iter().filter(|one| !skip.contains(&one.id));
                    set.grow(chosen.filter_map(|one| Some((split.index(&one.id)?, one.score, &one.id))));
                }
                for (row, diagnosis) in mined.table.rows().iter().zip(&mined.diagnoses) {
                    if arm != Arm::UniformAugmentation
                        && let Some(i) = split.index(&row.id)
                    {
                        weights[i] = diagnosis.weight;
                        if diagnosis.treatment == Treatment::Relabel {
                            relabelled.extend(diagnosis.suggested_class.map(|class| (i, Target::Class(class))));
                        }
                    }
                }
                if arm == Arm::MiningOnly || (arm == Arm::Hardmine && feed.sampler_weights) {
                    // What the sampler draws more often may count less in the loss.
                    for selected in &mined.selection.samples {
                        if let Some(i) = split.index(&selected.id) {
                            weights[i] *= selected.loss_weight;
                        }
                    }
                }
                if arm == Arm::MiningOnly {
                    sampler = Some(self.chosen_weights(&mined.selection));
                    uniform_floor = 1.0 - feed.replay_share;
                } else if arm == Arm::Hardmine && feed.sampler_weights {
                    sampler = Some(self.sampler_weights(&mined, feed));
                }
                if matches!(arm, Arm::Hardmine | Arm::RandomParents | Arm::UniformAugmentation) {
                    if let Some(band) = mined.selection.band {
                        retire(&mut replay, &models, band)?;
                    }
                    if arm != Arm::UniformAugmentation {
                        let set_aside = |id: &SampleId| skip.contains(id) || mined.is_suspect(id);
                        replay.forget_parents(set_aside);
                    }
                    let began = Instant::now();
                    let harvest = self.generate(arm, round, &models, &mined, hardmine, &mut known, done.children, &seeds)?;
                    session.time.generating_s += began.elapsed().as_secs_f64();
                    done.children += harvest.accepted.len() as u64;
                    done.accepted.push(self.by_stage_and_class(&harvest.accepted));
                    done.chosen.push(mined.selection.samples.len());
                    if feed.replay_share > 0.0 {
                        harvest.accepted.iter().for_each(|accepted| replay.insert(accepted, round));
                    }
                    let told = Round {
                        round,
                        table: &mined.table,
                        figures: &mined.figures,
                        diagnoses: &mined.diagnoses,
                        selection: &mined.selection,
                        harvest: &harvest,
                        models: &models,
                    };
                    observer.round(&told)?;
                }
                let after = models.spent();
                session.spent.forward += after.forward - before.forward;
                session.spent.gradient += after.gradient - before.gradient;
                let children_spent = self.plan.budget.children.is_some_and(|limit| done.children >= limit);
                done.stopped_by = done.stopped_by.or(self.stop.reached(after)).or(children_spent.then_some("children"));
                scored = Some(mined);
            }
            if let Some(BalancePlan::ModalityGap { strength }) = train.balance {
                let gaps = gap_weights(session.model.freeze()?, split, strength)?;
                session.spent.forward += gaps.forward;
                session.beside.forward += gaps.forward;
                weights.iter_mut().zip(gaps.weights).for_each(|(weight, gap)| *weight *= gap);
            }
            for i in skip.iter().filter_map(|id| split.index(id)) {
                weights[i] = 0.0;
            }
            if self.stop.out_of_time() {
                done.stopped_by = Some("minutes");
                break;
            }
            let usable = |i: usize, weight: f32| weight > 0.0 && set.as_ref().is_none_or(|set| set.has(i));
            let originals: Vec<(usize, f32)> = weights.iter().copied().enumerate().filter(|(i, w)| usable(*i, *w)).collect();
            let sampler: Option<Vec<f32>> = sampler.map(|all| originals.iter().map(|(i, _)| all[*i]).collect());
            let replayed: Vec<Sample> = replay.samples().cloned().collect();
            let reliance = scored.as_ref().and_then(|mined| self.reliance(train, &mined.table));
            let chosen = scored.as_ref().filter(|_| hard_alone).map(|mined| &mined.selection);
            let aimed = self.aimed(train, chosen, &originals, hardmine, round);
            let mix = Mix {
                originals: &originals,
                relabelled: &relabelled,
                sampler: sampler.as_deref(),
                remembered: &[],
                remembered_a_step: 0,
                uniform_floor,
                replay: &replayed,
                replay_share: feed.replay_share,
                dropout: Some(Dropout { reliance: reliance.as_deref(), ..Dropout::of(&train.modality_dropout) }),
                teaching: Some(Teaching {
                    objective: &train.objective,
                    treated: aimed.treated(steps * train.epochs_per_round),
                    progress: [0.0, 1.0],
                }),
                balance: match train.balance {
                    Some(BalancePlan::OgmGe { alpha, noise }) => Some((alpha, noise)),
                    _ => None,
                },
                batch_size: train.batch_size,
                steps,
            };
            let presented = self.train_round(&mut session, &mix, Turn { train, arm, round }, &mut done)?;
            let mut reached = std::mem::take(&mut session.reached);
            // An epoch that ended early reached no more.
            reached.resize(reached.len().max(steps * train.epochs_per_round), 0);
            done.reached.push(reached);
            let score = scored.as_ref().and_then(|mined| Some((self.chosen_by(&mined.table)?, &mined.table)));
            done.rounds.push(RoundRecord {
                round,
                set: originals.len() as u64,
                originals: presented.originals.iter().sum(),
                remembered: presented.remembered,
                generated: presented.replayed.iter().sum(),
                drift: drift::measured(split, &presented, &replayed, &self.plan.evaluate.slice_by, score),
            });
            if done.stopped_by == Some("minutes") {
                break;
            }
        }
        (done.spent, done.beside) = (session.spent, session.beside);
        if train.objective != TrainingObjective::default() {
            let taught = &session.taught;
            let cost = Spent { steps: 0, presentations: taught.presentations, forward: taught.forward, gradient: taught.gradient };
            done.a_step = (session.time.steps > 0).then(|| cost.presentations_in_all() / session.time.steps as f64);
            if let Some((balls, _)) = train.objective.adversarial().filter(|_| taught.treated == 0 && taught.presentations > 0) {
                let name = train.objective.name();
                self.progress.warn(&format!(
                    "{}: `{name}` attacked nothing: no sample that it was to treat has any of {}",
                    arm.name(),
                    balls.modalities()
                ));
            }
            done.objective = Some(ObjectiveRecord { name: train.objective.name().into(), ..session.taught });
        }
        if needs_scores {
            // The folds' evaluations are this arm's cost; its own steps stay comparable with those of the other arms.
            done.spent.add(Spent { steps: 0, ..start.fold_cost });
        }
        done.model = session.model.freeze()?;
        done.watchdog = session.alarms;
        done.bank = session.bank;
        done.time = Some(session.time);
        Ok(done)
    }

    /// Scores and diagnoses of the training split by the warmed-up model and its out-of-fold judges, as the first round of an arm has them. `each` is told of every
    /// diagnose stage by its id, the columns it added and what it found alone.
    pub fn judge(&self, start: &Start, each: &mut dyn FnMut(&str, &[String], &Diagnoses)) -> Result<(ScoreTable, Diagnoses)> {
        let models = ModelSet { subject: start.session.model.freeze()?, teachers: start.teachers.clone() };
        let seeds = self.seeds.child("arm").round(1);
        let mut skip = start.session.left_out.clone();
        let found = self.judged(&models, Some(&start.history), &seeds, &mut skip, each)?;
        Ok((found.table, found.diagnoses))
    }

    /// The record of an epoch that has ended. Validation is watched, nothing is decided by it, and no arm pays for it.
    pub(super) fn epoch(&self, epoch: usize, round: usize, train_loss: f64, session: &Session) -> Result<EpochRecord> {
        let withhold = self.plan.evaluate.withhold.iter().copied().collect();
        let seen = match self.splits.validation {
            Some(split) => watch(&session.model.freeze()?, split, withhold)?.filter(|(loss, _)| loss.is_finite()),
            None => None,
        };
        let (validation_loss, validation_accuracy) = seen.map(|(loss, accuracy)| (loss, accuracy.accuracy)).unzip();
        Ok(EpochRecord { epoch, round, train_loss, validation_loss, validation_accuracy })
    }

    /// One round with a model that is only asked (`train: none`).
    /// `teachers` and `history` are there where predictions were recorded elsewhere.
    pub fn generate_only(
        &self,
        model: Arc<dyn Model>,
        teachers: Option<Teachers>,
        history: Option<&TrainingHistory>,
        observer: &mut dyn Observer,
    ) -> Result<Finished> {
        let subject: Arc<dyn Model> = Arc::new(Counted::new(model.clone()));
        let models = ModelSet { subject, teachers };
        let seeds = self.seeds.child("arm").round(1);
        let mined = self.mine(&models, history, ((1, 1), &[]), &seeds, &mut HashSet::new(), &mut TrainingTime::default())?;
        let mut known = self.known();
        let harvest = self.generate(Arm::Hardmine, 1, &models, &mined, None, &mut known, 0, &seeds)?;
        let told = Round {
            round: 1,
            table: &mined.table,
            figures: &mined.figures,
            diagnoses: &mined.diagnoses,
            selection: &mined.selection,
            harvest: &harvest,
            models: &models,
        };
        observer.round(&told)?;
        let Evaluations { forward, gradient } = models.spent();
        Ok(Finished {
            spent: Spent { forward, gradient, ..Spent::default() },
            children: harvest.accepted.len() as u64,
            accepted: vec![self.by_stage_and_class(&harvest.accepted)],
            chosen: vec![mined.selection.samples.len()],
            stopped_by: self.stop.reached(models.spent()),
            ..Finished::new(model)
        })
    }

    /// The column that the first miner with one chooses by.
    fn chosen_by<'t>(&self, table: &'t ScoreTable) -> Option<&'t str> {
        let by = self.plan.stages.mine.iter().find_map(|stage| stage.operator.requirements().columns.into_iter().next())?;
        let own = table.columns().map(|(column, _)| column.name.as_str()).find(|name| *name == by);
        own.or_else(|| band_column(table, &by))
    }

    /// What the feeders ask of training, joined: the largest share, the least limits.
    fn feed_plan(&self) -> FeedPlan {
        let least = |a: usize, b: usize| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        self.plan.stages.feed.iter().map(|stage| stage.operator.plan()).fold(FeedPlan::default(), |all, one| FeedPlan {
            replay_share: all.replay_share.max(one.replay_share),
            cap_per_parent: least(all.cap_per_parent, one.cap_per_parent),
            sampler_weights: all.sampler_weights || one.sampler_weights,
            sampler_boost: all.sampler_boost.max(one.sampler_boost),
            sampler_cap: all.sampler_cap.max(one.sampler_cap),
            capacity: least(all.capacity, one.capacity),
        })
    }

    /// Steps of an epoch: as many for every arm, but for the one that spends what `hardmine` spent.
    fn steps(&self, arm: Arm, train: &TrainPlan, start: &Start, hardmine: Option<&Finished>) -> Result<usize> {
        let steps = self.splits.train.len().div_ceil(train.batch_size);
        if arm != Arm::UniformEqualCompute {
            return Ok(steps);
        }
        let hardmine = hardmine.ok_or_else(|| Error::internal("the arm `uniform_equal_compute` runs after `hardmine`"))?;
        let warm_up = start.session.spent.presentations_in_all();
        let epochs = (train.rounds * train.epochs_per_round) as f64;
        // Where the objective attacks, a step costs more than its batch.
        let a_step = hardmine.a_step.filter(|cost| *cost > 0.0).unwrap_or(train.batch_size as f64);
        // This arm checks and looks for gaps as often as that one did, and pays for it itself.
        let beside = hardmine.beside.presentations_in_all();
        let wanted = (hardmine.spent.presentations_in_all() - warm_up - beside) / (epochs * a_step);
        Ok((wanted.round() as usize).max(steps))
    }

    fn known(&self) -> KnownMedia {
        let digests = |split: Option<&Split>| {
            let split = split?;
            let of = |i: usize| {
                [Modality::Image, Modality::Audio].into_iter().filter_map(move |m| split.digests(i)[m].map(|digest| (m, digest)))
            };
            Some((0..split.len()).flat_map(of).collect::<HashSet<_>>())
        };
        KnownMedia {
            validation: digests(self.splits.validation).unwrap_or_default(),
            test: digests(self.splits.test).unwrap_or_default(),
            children: HashSet::new(),
        }
    }

    /// The selection's weights, 0 for a sample that was not chosen.
    fn chosen_weights(&self, selection: &Selection) -> Vec<f32> {
        let mut weights = vec![0.0; self.splits.train.len()];
        for selected in &selection.samples {
            if let Some(i) = self.splits.train.index(&selected.id) {
                weights[i] = selected.weight;
            }
        }
        weights
    }

    /// How often each sample of the split is drawn: as the sampler feeder's weights without those of the guard, which the loss is multiplied by already. What
    /// the guard sets aside is not drawn.
    fn sampler_weights(&self, mined: &Mined, plan: &FeedPlan) -> Vec<f32> {
        let drawn = |diagnosis: &Diagnosis| Diagnosis { weight: f32::from(u8::from(diagnosis.weight > 0.0)), ..Diagnosis::clear() };
        let drawn: Vec<Diagnosis> = mined.diagnoses.iter().map(drawn).collect();
        let by_row = feed::sampler_weights::weights(&mined.selection, &drawn, plan.sampler_boost, plan.sampler_cap);
        let mut weights = vec![0.0; self.splits.train.len()];
        for (row, weight) in mined.table.rows().iter().zip(by_row) {
            if let Some(i) = self.splits.train.index(&row.id) {
                weights[i] = weight as f32;
            }
        }
        weights
    }

    fn by_stage_and_class(&self, accepted: &[Accepted]) -> BTreeMap<String, Vec<usize>> {
        let mut counts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for one in accepted {
            let of_stage = counts.entry(one.lineage().stage.clone()).or_insert_with(|| vec![0; self.splits.train.classes().len()]);
            if let Some(label) = &one.sample().label {
                of_stage[label.class()] += 1;
            }
        }
        counts
    }
}

/// A seed of a paired comparison, from the run's seed and its ordinal.
pub fn seed_of(run: u64, ordinal: usize) -> u64 {
    run.wrapping_add(ordinal as u64)
}
