use super::{OnError, PlanStage, Split, Stages, Stop};
use crate::{
    codec,
    context::{EmbeddingIndex, Forwards, GenerateContext, Judged, KnownMedia, Parent, VerifyContext},
    error::{Error, Result},
    generate::{Applied, Generated, Generator, Outcome},
    model::{ModelSet, measure},
    progress::Progress,
    random::SeedTree,
    record::{CandidateBalance, Magnitudes, RejectedLine, TransformBalance, Yield},
    sample::{Accepted, Candidate, Diagnosis, DifficultyBand, ReasonCode, Rejection, Sample, SampleId, ScoreTable, Verdict},
};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Parents that one generator call is given; bounds the media in memory. A constant, so that nothing depends on it.
const PARENTS_AT_ONCE: usize = 64;

/// Which generators a parent is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Those whose reasons match the parent's; a parent without a reason counts as near the boundary. A parent that looks wrong only goes to a
    /// stage that serves that very reason.
    ByReason,
    /// All that can serve its modalities (control arms).
    Everything,
}

/// Most children that are accepted.
#[derive(Debug, Clone, Default)]
pub struct Quota {
    /// By generator stage id, then by class index (a stage that is not named gets none); `None` for any number.
    pub per_stage: Option<BTreeMap<String, Vec<usize>>>,
    /// In all; `None` for any number.
    pub total: Option<u64>,
}

/// What pass 2 of a round made.
#[derive(Default)]
pub struct Harvest {
    /// Children that every verifier passed.
    pub accepted: Vec<Accepted>,
    /// The others, without media.
    pub rejected: Vec<RejectedLine>,
    /// One a generator stage.
    pub yields: Vec<Yield>,
    /// Parents that could not be used by a stage with `on_error: quarantine`: id, stage, error. (Those that are skipped are counted as refused alone.)
    pub errors: Vec<(SampleId, String, Error)>,
}

/// The chosen rows of a round with everything that generators and verifiers may see.
pub struct Generation<'a> {
    /// The stages.
    pub stages: &'a Stages,
    /// The pipeline's own reason table: generator stage ids by reason.
    pub cures: Option<&'a BTreeMap<ReasonCode, Vec<String>>>,
    /// The training split.
    pub train: &'a Split,
    /// Subject and teachers.
    pub models: &'a ModelSet,
    /// Scores of the round.
    pub table: &'a ScoreTable,
    /// Diagnoses of the round.
    pub diagnoses: &'a [Diagnosis],
    /// Embeddings of the round, where a stage asked for them.
    pub index: Option<&'a EmbeddingIndex>,
    /// The round's frozen band.
    pub band: Option<DifficultyBand>,
    /// Seeds of the round.
    pub seeds: SeedTree,
    /// Round, from 1.
    pub round: usize,
    /// What ends generation early.
    pub stop: &'a Stop,
}

impl Generation<'_> {
    /// Runs every generator stage over the rows of `chosen` (row and weight), verifies, and accepts the first variant of each
    /// attempt that all verifiers pass. Accepted children are added to `known`.
    pub fn run(
        &self,
        chosen: &[(usize, f32)],
        routing: Routing,
        quota: &Quota,
        known: &mut KnownMedia,
        progress: &dyn Progress,
    ) -> Result<Harvest> {
        let mut harvest = Harvest::default();
        let mut taken = Taken { per_class: vec![0; self.table.classes()], total: 0 };
        for stage in &self.stages.generate {
            taken.per_class.fill(0);
            let limits = quota.of(&stage.info.id);
            let served: Vec<(usize, f32)> = chosen.iter().copied().filter(|(row, _)| self.serves(stage, *row, routing)).collect();
            let spent = self.models.spent();
            let mut of_stage = Yield {
                round: self.round,
                stage: stage.info.id.clone(),
                operator: stage.info.operator.to_owned(),
                parents: 0,
                gradient_evaluations: 0,
                forward_evaluations: 0,
                balance: CandidateBalance::default(),
                transforms: BTreeMap::new(),
            };
            let step = progress.begin(&format!("generate {}", stage.info.id), served.len() as u64);
            for part in served.chunks(PARENTS_AT_ONCE) {
                if limits.is_full(&taken) || self.stop.reached(self.models.spent()).is_some() {
                    break;
                }
                self.run_part(stage, part, &limits, &mut taken, known, &mut of_stage, &mut harvest)?;
                step.advance(part.len() as u64);
            }
            if of_stage.parents > 0 && of_stage.balance.fed == 0 && !limits.is_full(&taken) {
                progress.warn(&format!(
                    "generator `{}` fed nothing in round {}: {}",
                    stage.info.id,
                    self.round,
                    why_nothing(&of_stage.balance)
                ));
            }
            let now = self.models.spent();
            of_stage.forward_evaluations = now.forward - spent.forward;
            of_stage.gradient_evaluations = now.gradient - spent.gradient;
            harvest.yields.push(of_stage);
        }
        Ok(harvest)
    }

    fn serves(&self, stage: &PlanStage<dyn Generator>, row: usize, routing: Routing) -> bool {
        let operator = &stage.operator;
        if self.table.rows()[row].present.and(operator.modalities()).is_empty() {
            return false;
        }
        if routing == Routing::Everything {
            return true;
        }
        let of_row = &self.diagnoses[row].reasons;
        let codes: Vec<ReasonCode> =
            if of_row.is_empty() { vec![ReasonCode::NearBoundary] } else { of_row.iter().map(|r| r.code).collect() };
        let by_table =
            |table: &BTreeMap<ReasonCode, Vec<String>>, code| table.get(&code).is_some_and(|stages| stages.contains(&stage.info.id));
        let served = |code: &ReasonCode| match (&stage.serves, self.cures) {
            (Some(codes), _) => codes.contains(code),
            (None, Some(table)) => by_table(table, *code),
            (None, None) => operator.cures().contains(code),
        };
        // What looks wrong is not multiplied for another reason that it has as well, also where no guard set it aside.
        let wrong = [ReasonCode::LabelSuspect, ReasonCode::PairMismatch, ReasonCode::Outlier];
        codes.iter().any(served) && codes.iter().filter(|code| wrong.contains(code)).all(served)
    }

    fn parents(&self, part: &[(usize, f32)]) -> Result<Vec<Parent>> {
        part.par_iter()
            .map(|&(row, weight)| {
                let id = &self.table.rows()[row].id;
                let i = self.train.index(id).ok_or_else(|| Error::internal("a mined id is not in the training split").at("sample", id))?;
                let scores =
                    self.table.columns().filter_map(|(column, scores)| scores[row].get().map(|v| (column.name.clone(), v))).collect();
                Ok(Parent { sample: self.train.sample(i)?, row, diagnosis: self.diagnoses[row].clone(), weight, scores })
            })
            .collect()
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of a loop that owns all of them")]
    fn run_part(
        &self,
        stage: &PlanStage<dyn Generator>,
        part: &[(usize, f32)],
        quota: &Limits<'_>,
        taken: &mut Taken,
        known: &mut KnownMedia,
        of_stage: &mut Yield,
        harvest: &mut Harvest,
    ) -> Result<()> {
        let parents = self.parents(part)?;
        let context = GenerateContext {
            models: self.models,
            seeds: self.seeds.stage(&stage.info.id),
            round: self.round,
            stage: &stage.info,
            band: self.band.filter(|_| stage.in_band),
            table: self.table,
            diagnoses: self.diagnoses,
            index: self.index,
            fetch: self.train,
            classes: self.train.classes(),
        };
        of_stage.parents += parents.len() as u64;
        let generated = match stage.operator.generate(&parents, &context) {
            Ok(generated) => generated,
            // One parent spoils the part: find it, and keep the others.
            Err(_) => {
                let mut all = Generated::default();
                for parent in &parents {
                    match stage.operator.generate(std::slice::from_ref(parent), &context) {
                        Ok(one) => {
                            all.candidates.extend(one.candidates);
                            all.outcomes.extend(one.outcomes);
                            add(&mut all.transforms, &one.transforms);
                        }
                        Err(error) if matches!(error.kind(), crate::error::ErrorKind::Data | crate::error::ErrorKind::Model) => {
                            let id = &parent.sample.id;
                            match stage.on_error {
                                OnError::Fail => {
                                    let message = format!("{error} (policy on_error: fail; `skip` or `quarantine` would go on without it)");
                                    return Err(Error::policy(message).at("sample", id).at("stage", &stage.info.id));
                                }
                                OnError::Skip => {}
                                OnError::Quarantine => harvest.errors.push((id.clone(), stage.info.id.clone(), error)),
                            }
                            all.outcomes.push((id.clone(), Outcome::Refused("error".into())));
                        }
                        Err(error) => return Err(error.at("stage", &stage.info.id)),
                    }
                }
                all
            }
        };
        count(&mut of_stage.balance, &generated.outcomes);
        add(&mut of_stage.transforms, &generated.transforms);
        self.judge(stage, generated.candidates, &parents, quota, taken, known, of_stage, harvest)
            .map_err(|error| error.at("stage", &stage.info.id))
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of a loop that owns all of them")]
    fn judge(
        &self,
        stage: &PlanStage<dyn Generator>,
        candidates: Vec<Candidate>,
        parents: &[Parent],
        quota: &Limits<'_>,
        taken: &mut Taken,
        known: &mut KnownMedia,
        of_stage: &mut Yield,
        harvest: &mut Harvest,
    ) -> Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        // Written once, before anybody judges: verifiers see what a reader of the data set will see.
        let candidates: Vec<Candidate> = candidates
            .into_par_iter()
            .map(|candidate| {
                let id = candidate.sample.id.clone();
                let sample = codec::settle(candidate.sample.clone()).map_err(|error| error.at("sample", id))?;
                Ok(Candidate { sample, ..candidate })
            })
            .collect::<Result<_>>()?;
        let by_row: BTreeMap<u64, &Parent> = parents.iter().map(|parent| (parent.row as u64, parent)).collect();
        let parent_of = |candidate: &Candidate| {
            by_row.get(&candidate.attempt).copied().ok_or_else(|| Error::internal("a candidate names no parent of its part"))
        };
        let of: Vec<&Parent> = candidates.iter().map(parent_of).collect::<Result<_>>()?;
        let children: Vec<Sample> = candidates.iter().map(|candidate| candidate.sample.clone()).collect();
        let origins: Vec<SampleId> = of.iter().map(|parent| parent.sample.id.clone()).collect();
        let parent_samples: Vec<Sample> = of.iter().map(|parent| parent.sample.clone()).collect();
        let forwards = Forwards::with_origins(self.models, &children, origins);
        let parent_forwards = Forwards::new(self.models, &parent_samples);
        let judged: Vec<Judged<'_>> = candidates.iter().zip(&of).map(|(candidate, parent)| Judged { candidate, parent }).collect();
        let mut verdicts: Vec<Vec<Verdict>> = vec![Vec::new(); candidates.len()];
        for verifier in &self.stages.verify {
            let context = VerifyContext {
                forwards: &forwards,
                parents: &parent_forwards,
                band: self.band.filter(|_| stage.in_band),
                stage: &verifier.info.id,
                known,
                index: self.index,
            };
            let found = verifier.operator.verify(&judged, &context).map_err(|error| error.at("verifier", &verifier.info.id))?;
            if found.len() != candidates.len() {
                return Err(Error::internal("a verifier gave another number of verdicts").at("verifier", &verifier.info.id));
            }
            verdicts.iter_mut().zip(found).for_each(|(all, one)| all.push(one));
        }
        let after = self.scores_after(&children, &forwards)?;
        let teachers: Vec<Option<String>> = of.iter().map(|parent| self.teacher(&parent.sample.id)).collect();
        drop((judged, of));
        of_stage.balance.made += candidates.len() as u64;
        let unique =
            self.stages.verify.iter().find(|verifier| verifier.info.operator == "not_duplicate").map(|verifier| verifier.info.id.clone());
        let mut served = std::collections::HashSet::new();
        for ((mut candidate, mut verdicts), (after, teacher)) in candidates.into_iter().zip(verdicts).zip(after.into_iter().zip(teachers)) {
            candidate.lineage.scores_after = after;
            candidate.lineage.teacher = teacher;
            let applied = stage.operator.applied(&candidate.lineage.parameters);
            count_applied(&mut of_stage.transforms, applied.as_ref(), |balance| &mut balance.made);
            // Siblings of one part are judged together: the second of two equal ones is found here.
            if let Some(verifier) = unique.as_ref().filter(|_| known.children.contains(&candidate.sample.digests())) {
                verdicts.push(Verdict::fail(verifier, "duplicate_of_sibling", None, None));
            }
            let (attempt, class) = (candidate.attempt, candidate.sample.label.as_ref().map(|label| label.class()));
            let passes = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.passed);
            if passes && served.contains(&attempt) {
                of_stage.balance.surplus += 1;
                continue;
            }
            if passes && !quota.allows(taken, class) {
                of_stage.balance.unfed += 1;
                continue;
            }
            match candidate.accept(verdicts) {
                Ok(accepted) => {
                    served.insert(attempt);
                    taken.add(class);
                    known.children.insert(accepted.sample().digests());
                    of_stage.balance.fed += 1;
                    count_applied(&mut of_stage.transforms, applied.as_ref(), |balance| &mut balance.fed);
                    add_magnitudes(&mut of_stage.transforms, applied.as_ref());
                    harvest.accepted.push(accepted);
                }
                Err(rejection) => {
                    match rejection.verdicts.iter().find(|verdict| !verdict.passed) {
                        Some(first) => of_stage.balance.reject(&first.verifier, &first.reason),
                        None => of_stage.balance.reject("nobody", "no_verdict"),
                    }
                    harvest.rejected.push(rejected_line(*rejection));
                }
            }
        }
        Ok(())
    }

    fn scores_after(&self, children: &[Sample], forwards: &Forwards<'_>) -> Result<Vec<BTreeMap<String, f32>>> {
        let subject = forwards.subject()?;
        let teacher = if self.models.teachers.is_some() { Some(forwards.teacher()?) } else { None };
        let one = |(i, child): (usize, &Sample)| {
            let mut scores = BTreeMap::new();
            let Some(label) = &child.label else { return scores };
            if let Some(logits) = subject.logits(i) {
                scores.insert("loss".to_owned(), measure::cross_entropy(logits, label));
            }
            if let Some(logits) = teacher.as_ref().and_then(|rows| rows.logits(i)) {
                scores.insert("out_of_fold".to_owned(), measure::cross_entropy(logits, label));
                scores.insert("oof_confidence".to_owned(), measure::confidence(logits, label.class()));
            }
            scores.retain(|_, value| value.is_finite());
            scores
        };
        Ok(children.iter().enumerate().map(one).collect())
    }

    fn teacher(&self, parent: &SampleId) -> Option<String> {
        self.models.teachers.as_ref()?.of(parent).map(|model| model.spec().digest.clone())
    }
}

fn rejected_line(rejection: Rejection) -> RejectedLine {
    let lineage = rejection.candidate.lineage;
    let parent = lineage.parents.first().map_or_else(|| lineage.child.clone(), |parent| parent.id.clone());
    RejectedLine {
        candidate: lineage.child,
        parent,
        round: lineage.round,
        stage: lineage.stage,
        operator: lineage.operator,
        parameters: lineage.parameters,
        claims: lineage.claims,
        verdicts: rejection.verdicts,
    }
}

fn add(own: &mut BTreeMap<String, TransformBalance>, others: &BTreeMap<String, TransformBalance>) {
    for (name, balance) in others {
        own.entry(name.clone()).or_default().add(balance);
    }
}

/// Counts a candidate under each of its transforms, by the severity it reached.
fn count_applied(
    balances: &mut BTreeMap<String, TransformBalance>,
    applied: Option<&Applied>,
    tenths: impl Fn(&mut TransformBalance) -> &mut [u64; 10],
) {
    for (i, (name, _)) in applied.iter().flat_map(|applied| applied.transforms.iter().enumerate()) {
        // Twice in one child is one child.
        if let Some(applied) = applied.filter(|applied| applied.transforms[..i].iter().all(|(other, _)| other != name)) {
            tenths(balances.entry(name.clone()).or_default())[TransformBalance::tenth(applied.severity)] += 1;
        }
    }
}

/// Adds how strong each transform of a child that was fed is.
fn add_magnitudes(balances: &mut BTreeMap<String, TransformBalance>, applied: Option<&Applied>) {
    let transforms = applied.map(|applied| applied.transforms.as_slice()).unwrap_or_default();
    for (i, (name, magnitude)) in transforms.iter().enumerate() {
        // Twice in one child is one child: the first counts.
        let again = transforms[..i].iter().any(|(other, _)| other == name);
        if let Some(magnitude) = magnitude.filter(|_| !again) {
            balances.entry(name.clone()).or_default().add_magnitude(&Magnitudes::one(magnitude.value, magnitude.unit));
        }
    }
}

fn count(balance: &mut CandidateBalance, outcomes: &[(SampleId, Outcome)]) {
    for (_, outcome) in outcomes {
        balance.attempts += 1;
        match outcome {
            Outcome::Made => balance.attempts_made += 1,
            Outcome::NoOp => balance.no_op += 1,
            Outcome::Refused(why) => *balance.refused.entry(why.clone()).or_default() += 1,
            Outcome::NotReached { .. } => balance.not_reached += 1,
        }
    }
}

/// The most frequent fates of a generator's attempts, for a warning.
fn why_nothing(balance: &CandidateBalance) -> String {
    let mut counts: Vec<(u64, String)> = Vec::new();
    for (verifier, reasons) in &balance.rejected {
        counts.extend(reasons.iter().map(|(reason, n)| (*n, format!("rejected by {verifier} ({reason})"))));
    }
    counts.extend(balance.refused.iter().map(|(name, n)| (*n, format!("refused ({name})"))));
    counts.extend([(balance.not_reached, "outside the band".to_owned()), (balance.no_op, "no-op".to_owned())]);
    counts.retain(|(n, _)| *n > 0);
    counts.sort_by(|a, b| b.cmp(a));
    if counts.is_empty() {
        "no candidates".to_owned()
    } else {
        counts.iter().map(|(n, why)| format!("{n} {why}")).collect::<Vec<_>>().join(", ")
    }
}

struct Taken {
    per_class: Vec<usize>,
    total: u64,
}

impl Taken {
    fn add(&mut self, class: Option<usize>) {
        self.total += 1;
        if let Some(n) = class.and_then(|class| self.per_class.get_mut(class)) {
            *n += 1;
        }
    }
}

/// The quota of one stage.
struct Limits<'a> {
    per_class: Option<&'a [usize]>,
    total: Option<u64>,
}

impl Quota {
    fn of(&self, stage: &str) -> Limits<'_> {
        Limits { per_class: self.per_stage.as_ref().map(|stages| stages.get(stage).map_or(&[][..], Vec::as_slice)), total: self.total }
    }
}

impl Limits<'_> {
    fn allows(&self, taken: &Taken, class: Option<usize>) -> bool {
        let class_full = match (self.per_class, class) {
            (Some(limits), Some(class)) => taken.per_class.get(class).copied() >= Some(limits.get(class).copied().unwrap_or(0)),
            (Some(_), None) => true,
            (None, _) => false,
        };
        !class_full && self.total.is_none_or(|total| taken.total < total)
    }
    fn is_full(&self, taken: &Taken) -> bool {
        let classes_full = self
            .per_class
            .is_some_and(|limits| taken.per_class.iter().enumerate().all(|(class, n)| *n >= limits.get(class).copied().unwrap_or(0)));
        classes_full || self.total.is_some_and(|total| taken.total >= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Magnitude;

    #[test]
    fn a_transform_counts_once_in_a_child() {
        let blur = |pixels| ("gaussian_blur".to_owned(), Some(Magnitude::new(pixels, "pixels")));
        let children = [
            Applied { severity: 0.55, transforms: vec![blur(2.0), ("flip".to_owned(), None), blur(9.0)] },
            Applied { severity: 0.95, transforms: vec![blur(4.0)] },
        ];
        let mut balances = BTreeMap::new();
        for child in &children {
            count_applied(&mut balances, Some(child), |balance| &mut balance.fed);
            add_magnitudes(&mut balances, Some(child));
        }
        count_applied(&mut balances, None, |balance| &mut balance.fed);
        add_magnitudes(&mut balances, None);
        let of = &balances["gaussian_blur"];
        assert_eq!(of.fed, [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        let expected = Magnitudes { unit: "pixels".into(), count: 2, least: 2.0, mean: 3.0, greatest: 4.0 };
        assert_eq!((of.magnitude.as_ref(), balances["flip"].magnitude.as_ref()), (Some(&expected), None));
    }
}
