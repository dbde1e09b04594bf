use super::{PlanStage, Split, Stages};
use crate::{
    codec,
    context::{EmbeddingIndex, Forwards, GenerateContext, Judged, KnownMedia, Parent, VerifyContext},
    error::{Error, Result},
    generate::{Generated, Generator, Outcome},
    model::{ModelSet, measure},
    progress::Progress,
    random::SeedTree,
    sample::{Accepted, Candidate, Diagnosis, DifficultyBand, ReasonCode, Sample, SampleId, ScoreTable, Verdict},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Parents that one generator call is given; bounds the media in memory. A constant, so that nothing depends on it.
const PARENTS_AT_ONCE: usize = 64;

/// Which generators a parent is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Those whose reasons match the parent's; a parent without a reason counts as near the boundary.
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

/// A candidate that was refused: all but its media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Id the child would have had.
    pub id: SampleId,
    /// First parent.
    pub parent: SampleId,
    /// Stage id of the generator.
    pub stage: String,
    /// Its operator.
    pub operator: String,
    /// Round, from 1.
    pub round: usize,
    /// The drawn parameters.
    pub parameters: Value,
    /// Every verdict; at least one failed.
    pub verdicts: Vec<Verdict>,
}

/// What one generator stage yielded in one round: `candidates = fed + surplus + rejected + withheld`, and
/// `attempts = made + no_op + refused + not_reached`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageYield {
    /// Stage id.
    pub stage: String,
    /// Operator.
    pub operator: String,
    /// Round, from 1.
    pub round: usize,
    /// Parents given to it.
    pub parents: usize,
    /// Attempts at them.
    pub attempts: usize,
    /// Attempts that gave at least one candidate.
    pub made: usize,
    /// Attempts whose draw would have changed nothing.
    pub no_op: usize,
    /// Attempts a rule refused, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Attempts whose search ended outside the band.
    pub not_reached: usize,
    /// Candidates judged.
    pub candidates: usize,
    /// Candidates fed.
    pub fed: usize,
    /// Candidates that passed beside a fed variant of the same attempt.
    pub surplus: usize,
    /// Candidates that passed and exceeded a quota or budget.
    pub withheld: usize,
    /// Candidates refused, by `verifier: reason` of the first failed verdict.
    pub rejected: BTreeMap<String, usize>,
}

/// What pass 2 of a round made.
#[derive(Default)]
pub struct Harvest {
    /// Children that every verifier passed.
    pub accepted: Vec<Accepted>,
    /// The others, without media.
    pub rejected: Vec<Rejected>,
    /// One a generator stage.
    pub yields: Vec<StageYield>,
    /// Parents that could not be used by a stage: id, stage, message.
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
}

impl Generation<'_> {
    /// Runs every generator stage over the rows of `chosen` (row and weight), verifies, and accepts the first variant of each
    /// attempt that all verifiers pass. Accepted children are added to `known`.
    pub fn run(&self, chosen: &[(usize, f32)], routing: Routing, quota: &Quota, known: &mut KnownMedia, progress: &dyn Progress) -> Result<Harvest> {
        let mut harvest = Harvest::default();
        let mut taken = Taken { per_class: vec![0; self.table.classes()], total: 0 };
        for stage in &self.stages.generate {
            taken.per_class.fill(0);
            let limits = quota.of(&stage.info.id);
            let served: Vec<(usize, f32)> = chosen.iter().copied().filter(|(row, _)| self.serves(stage, *row, routing)).collect();
            let mut of_stage = StageYield { stage: stage.info.id.clone(), operator: stage.info.operator.to_owned(), round: self.round, ..StageYield::default() };
            let step = progress.begin(&format!("generate {}", stage.info.id), served.len() as u64);
            for part in served.chunks(PARENTS_AT_ONCE) {
                if limits.is_full(&taken) {
                    break;
                }
                self.run_part(stage, part, &limits, &mut taken, known, &mut of_stage, &mut harvest)?;
                step.advance(part.len() as u64);
            }
            if of_stage.parents > 0 && of_stage.fed == 0 && !limits.is_full(&taken) {
                progress.warn(&format!("generator `{}` fed nothing in round {}: {}", stage.info.id, self.round, of_stage.why_nothing()));
            }
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
        let codes: Vec<ReasonCode> = if of_row.is_empty() { vec![ReasonCode::NearBoundary] } else { of_row.iter().map(|r| r.code).collect() };
        let by_table = |table: &BTreeMap<ReasonCode, Vec<String>>, code| table.get(&code).is_some_and(|stages| stages.contains(&stage.info.id));
        codes.iter().any(|code| match (&stage.serves, self.cures) {
            (Some(codes), _) => codes.contains(code),
            (None, Some(table)) => by_table(table, *code),
            (None, None) => operator.cures().contains(code),
        })
    }

    fn parents(&self, part: &[(usize, f32)]) -> Result<Vec<Parent>> {
        part.par_iter()
            .map(|&(row, weight)| {
                let id = &self.table.rows()[row].id;
                let i = self.train.index(id).ok_or_else(|| Error::internal("a mined id is not in the training split").at("sample", id))?;
                let scores = self.table.columns().filter_map(|(column, scores)| scores[row].get().map(|v| (column.name.clone(), v))).collect();
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
        of_stage: &mut StageYield,
        harvest: &mut Harvest,
    ) -> Result<()> {
        let parents = self.parents(part)?;
        let context = GenerateContext {
            models: self.models,
            seeds: self.seeds.stage(&stage.info.id),
            round: self.round,
            stage: &stage.info,
            band: self.band,
            table: self.table,
            diagnoses: self.diagnoses,
            index: self.index,
            fetch: self.train,
            classes: self.train.classes(),
        };
        of_stage.parents += parents.len();
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
                        }
                        Err(error) if matches!(error.kind(), crate::error::ErrorKind::Data | crate::error::ErrorKind::Model) => {
                            all.outcomes.push((parent.sample.id.clone(), Outcome::Refused("error".into())));
                            harvest.errors.push((parent.sample.id.clone(), stage.info.id.clone(), error));
                        }
                        Err(error) => return Err(error.at("stage", &stage.info.id)),
                    }
                }
                all
            }
        };
        of_stage.count(&generated.outcomes);
        self.judge(generated.candidates, &parents, quota, taken, known, of_stage, harvest).map_err(|error| error.at("stage", &stage.info.id))
    }

    #[expect(clippy::too_many_arguments, reason = "one private step of a loop that owns all of them")]
    fn judge(
        &self,
        candidates: Vec<Candidate>,
        parents: &[Parent],
        quota: &Limits<'_>,
        taken: &mut Taken,
        known: &mut KnownMedia,
        of_stage: &mut StageYield,
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
        let parent_of = |candidate: &Candidate| by_row.get(&candidate.attempt).copied().ok_or_else(|| Error::internal("a candidate names no parent of its part"));
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
                band: self.band,
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
        of_stage.candidates += candidates.len();
        let unique = self.stages.verify.iter().find(|verifier| verifier.info.operator == "not_duplicate").map(|verifier| verifier.info.id.clone());
        let mut served = std::collections::HashSet::new();
        for ((mut candidate, mut verdicts), (after, teacher)) in candidates.into_iter().zip(verdicts).zip(after.into_iter().zip(teachers)) {
            candidate.lineage.scores_after = after;
            candidate.lineage.teacher = teacher;
            // Siblings of one part are judged together: the second of two equal ones is found here.
            if let Some(verifier) = unique.as_ref().filter(|_| known.children.contains(&candidate.sample.digests())) {
                verdicts.push(Verdict::fail(verifier, "duplicate_of_sibling", None, None));
            }
            let (attempt, class) = (candidate.attempt, candidate.sample.label.as_ref().map(|label| label.class()));
            let passes = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.passed);
            if passes && served.contains(&attempt) {
                of_stage.surplus += 1;
                continue;
            }
            if passes && !quota.allows(taken, class) {
                of_stage.withheld += 1;
                continue;
            }
            match candidate.accept(verdicts) {
                Ok(accepted) => {
                    served.insert(attempt);
                    taken.add(class);
                    known.children.insert(accepted.sample().digests());
                    of_stage.fed += 1;
                    harvest.accepted.push(accepted);
                }
                Err(rejection) => {
                    let first = rejection.verdicts.iter().find(|verdict| !verdict.passed);
                    let name = first.map_or_else(|| "nobody judged".to_owned(), |verdict| format!("{}: {}", verdict.verifier, verdict.reason));
                    *of_stage.rejected.entry(name).or_default() += 1;
                    harvest.rejected.push(Rejected::from(*rejection));
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

impl From<crate::sample::Rejection> for Rejected {
    fn from(rejection: crate::sample::Rejection) -> Self {
        let lineage = rejection.candidate.lineage;
        let parent = lineage.parents.first().map_or_else(|| lineage.child.clone(), |parent| parent.id.clone());
        Self {
            id: lineage.child,
            parent,
            stage: lineage.stage,
            operator: lineage.operator,
            round: lineage.round,
            parameters: lineage.parameters,
            verdicts: rejection.verdicts,
        }
    }
}

impl StageYield {
    fn count(&mut self, outcomes: &[(SampleId, Outcome)]) {
        for (_, outcome) in outcomes {
            self.attempts += 1;
            match outcome {
                Outcome::Made => self.made += 1,
                Outcome::NoOp => self.no_op += 1,
                Outcome::Refused(why) => *self.refused.entry(why.clone()).or_default() += 1,
                Outcome::NotReached { .. } => self.not_reached += 1,
            }
        }
    }

    /// Adds another round of the same stage.
    pub fn add(&mut self, other: &Self) {
        self.parents += other.parents;
        self.attempts += other.attempts;
        self.made += other.made;
        self.no_op += other.no_op;
        self.not_reached += other.not_reached;
        self.candidates += other.candidates;
        self.fed += other.fed;
        self.surplus += other.surplus;
        self.withheld += other.withheld;
        for (from, to) in [(&other.refused, &mut self.refused), (&other.rejected, &mut self.rejected)] {
            from.iter().for_each(|(name, n)| *to.entry(name.clone()).or_default() += n);
        }
    }

    fn why_nothing(&self) -> String {
        let mut counts: Vec<(usize, String)> = self.rejected.iter().map(|(name, n)| (*n, format!("rejected by {name}"))).collect();
        counts.extend(self.refused.iter().map(|(name, n)| (*n, format!("refused ({name})"))));
        counts.extend([(self.not_reached, "outside the band".to_owned()), (self.no_op, "no-op".to_owned())]);
        counts.retain(|(n, _)| *n > 0);
        counts.sort_by(|a, b| b.cmp(a));
        if counts.is_empty() { "no candidates".to_owned() } else { counts.iter().map(|(n, why)| format!("{n} {why}")).collect::<Vec<_>>().join(", ") }
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
        let classes_full = self.per_class.is_some_and(|limits| taken.per_class.iter().enumerate().all(|(class, n)| *n >= limits.get(class).copied().unwrap_or(0)));
        classes_full || self.total.is_some_and(|total| taken.total >= total)
    }
}
