//! Letters and words of the text changed along the gradient, alone or together with attacked media.

use super::{
    Generated, Generator, Outcome,
    pgd::{self, Ascent, Pgd, Until, Walked, ascend, ascend_away},
    search::{BandSearch, Found, Made, Path, Trial},
};
use crate::{
    augment::text::{Edit, words},
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{
        Input, Model, Objective, Outputs, Target,
        ascent::{Flip, FlipConfig, Flipped, Guide, flip, flip_away},
    },
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{Claim, Classes, Modality, ModalitySet, ReasonCode, Sample, Text},
    transform::Scene,
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// HotFlip: letters of the text are replaced, inserted, left out or swapped, and words replaced by synonyms, where the gradient of the loss says that it rises most, searched to the difficulty band.
///
/// Method: of every admissible edit of one letter (with `synonym`: of one word of the embedded list, where its use is sure) the rise of the objective is foretold by the change of the embedded text times the gradient there; of the `candidates` that promise most the true objective is measured and the best kept,
/// until the loss passes the upper end of the band, no edit raises it, or the share of edited characters is spent. Nothing inside a span of the text, a protected word or (`protect_classes`) a word of a class name is touched. Then so many of the
/// edits, in their order, are taken that the loss of the written child lies in the band. With `media` the text is attacked with half of its share, then picture and sound by that attack against the edited text, then the original text
/// again against the attacked media, the order of set-level guidance. With `guidance: label` each step ascends this attack's own objective; with `guidance: embeddings`, as in the paper, the text is turned away from
/// the embedding of the medium (`- cos`), the medium from those of the edited and the original text, and the text from that of the attacked medium, whatever the label: for models whose embeddings of both can be compared. One magnitude then scales the perturbation of the media and the number of edits. The label of an edited text is for the teacher to judge. Draws nothing but the start of `media`.
///
/// Reference: Ebrahimi et al. 2018, "HotFlip: White-Box Adversarial Examples for Text Classification"; Lu et al. 2023, "Set-level Guidance Attack" (the order text, image, text).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HotFlip {
    /// What may be done to a letter: any of `replace`, `insert`, `delete`, `swap`; and to a word: `synonym`.
    pub flips: Vec<Flip>,
    /// Largest share of the characters (of a longer text of its first 2,048) that is edited, above 0 and at most 1, rounded down to whole characters; an edit of a letter counts as one, a word as its length.
    pub max_share: Fraction,
    /// Texts that are carried on from edit to edit, 1..=16.
    pub beam: usize,
    /// Edits of each carried text whose true objective is measured, 1..=256.
    pub candidates: usize,
    /// Words that stay, whatever their case.
    pub protect: Vec<String>,
    /// Words of the class names stay.
    pub protect_classes: bool,
    /// An attack on picture and sound between two on the text: a `pgd` config; its `joint`, `tries` and `variants` are those of this one.
    pub media: Option<Pgd>,
    /// What the steps go by: the `label`, or the `embeddings` of the text and of the one medium that `media` attacks.
    pub guidance: Guidance,
    /// What is ascended by the text; without effect by `guidance: embeddings`.
    pub objective: Objective,
    /// Forward passes of the search for the number of edits, 1..=64.
    pub tries: usize,
    /// Children of one attempt, 1..=16: the first that is verified is fed.
    pub variants: usize,
}

/// What an attack on text and media goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guidance {
    /// The objective with the label.
    #[default]
    Label,
    /// The similarity of the embeddings of text and medium, which is made small.
    Embeddings,
}

impl Default for HotFlip {
    fn default() -> Self {
        Self {
            flips: FlipConfig::default().flips,
            max_share: Fraction::new(0.15).unwrap_or_else(|_| unreachable!("a constant inside 0..=1")),
            beam: 1,
            candidates: 8,
            protect: Vec::new(),
            protect_classes: true,
            media: None,
            guidance: Guidance::Label,
            objective: Objective::CrossEntropy,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for HotFlip {
    const NAME: &'static str = "hotflip";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ max_share: 0.15, beam: 2, protect: [left, right] }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// What a lineage keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recorded {
    /// Edits of the parent's text.
    edits: Vec<Edit>,
    /// The attack on the media, and the text it was made against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media: Option<RecordedMedia>,
    gradients: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RecordedMedia {
    against: Vec<Edit>,
    /// Whether it went by embeddings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guided: bool,
    walked: Walked,
}

/// What the attack made of one parent.
struct Attacked {
    parent: usize,
    target: Target,
    /// The edits that the media were attacked against, and what became of them.
    media: Option<(Vec<Edit>, Ascent)>,
    flipped: Flipped,
}

impl HotFlip {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let kinds: BTreeSet<Flip> = self.flips.iter().copied().collect();
        if kinds.is_empty() || kinds.len() != self.flips.len() {
            problems.push(Problem::new("flips", "expected some of replace, insert, delete, swap and synonym, each once"));
        }
        for (at, entry) in self.protect.iter().enumerate().filter(|(_, entry)| words(entry).is_empty()) {
            problems.push(Problem::new(format!("protect[{at}]"), format!("expected words, found `{entry}`")));
        }
        if self.max_share.get() == 0.0 {
            problems.push(Problem::new("max_share", "expected a share above 0, found 0"));
        }
        let between =
            [("beam", self.beam, 16), ("candidates", self.candidates, 256), ("tries", self.tries, 64), ("variants", self.variants, 16)];
        for (field, found, most) in between {
            if !(1..=most).contains(&found) {
                problems.push(Problem::new(field, format!("expected a whole number in 1..={most}, found {found}")));
            }
        }
        if let Some(media) = &self.media {
            problems.extend(media.problems().into_iter().map(|problem| problem.under("media")));
            let usual = Pgd::default();
            let own = [
                ("media.joint", media.joint != usual.joint),
                ("media.tries", media.tries != usual.tries),
                ("media.variants", media.variants != usual.variants),
            ];
            for (path, _) in own.into_iter().filter(|(_, written)| *written) {
                problems.push(Problem::new(path, "has no effect here: leave it out"));
            }
        }
        if self.guidance == Guidance::Embeddings {
            match &self.media {
                Some(media) if media.modalities.len() == 1 => {
                    if !media.needs_gradients() {
                        problems.push(Problem::new(
                            "media.method",
                            "embeddings are turned away along their gradient: expected a method that takes it",
                        ));
                    }
                    let own = [
                        ("objective", self.objective != Objective::CrossEntropy),
                        ("media.objective", media.objective != Objective::CrossEntropy),
                        ("media.aim", media.aim.is_some()),
                    ];
                    for (path, _) in own.into_iter().filter(|(_, written)| *written) {
                        problems.push(Problem::new(path, "has no effect by `guidance: embeddings`: leave it out"));
                    }
                }
                _ => problems.push(Problem::new(
                    "guidance",
                    "embeddings are compared with those of one medium: expected `media` with one of `modalities`",
                )),
            }
        }
        problems
    }

    fn config(&self, share: f64, classes: &Classes, until: Until) -> FlipConfig {
        let own = self.protect.iter().flat_map(|entry| words(entry)).map(|word| word.lower);
        let names = classes.names().iter().filter(|_| self.protect_classes).flat_map(|name| words(name)).map(|word| word.lower);
        FlipConfig {
            flips: self.flips.clone(),
            max_share: share,
            beam: self.beam,
            candidates: self.candidates,
            protect: own.chain(names).collect(),
            objective: self.objective,
            until,
        }
    }

    fn until(context: &GenerateContext<'_>) -> Until {
        context.band.map_or(Until::Steps, |band| Until::Loss(band.high))
    }

    /// The medium whose embedding is compared with that of the text, where the attack goes by that and the model reads it.
    fn guide(&self, media: ModalitySet) -> Option<Modality> {
        let medium = self.media.as_ref().filter(|_| self.guidance == Guidance::Embeddings)?.modalities.first().copied()?;
        media.has(medium).then_some(medium)
    }

    /// The media that are attacked beside the text.
    fn media(&self, context: &GenerateContext<'_>) -> ModalitySet {
        let listed: ModalitySet = self.media.iter().flat_map(|media| media.modalities.iter().copied()).collect();
        let spec = context.models.subject.spec();
        listed.and(if self.media.as_ref().is_some_and(Pgd::needs_gradients) { spec.gradients } else { spec.modalities })
    }

    fn attack(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Vec<Attacked>> {
        let model = context.models.subject.as_ref();
        let (share, until, media) = (self.max_share.get(), Self::until(context), self.media(context));
        let by = self.guide(media);
        let able: Vec<(usize, Target)> = (0..parents.len())
            .filter(|i| parents[*i].sample.text.is_some() && by.is_none_or(|medium| parents[*i].sample.present().has(medium)))
            .filter_map(|i| Some((i, parents[i].sample.label.clone()?)))
            .collect();
        if able.is_empty() || !model.spec().modalities.has(Modality::Text) {
            return Ok(Vec::new());
        }
        let held: Vec<_> = able.iter().map(|(i, _)| parents[*i].sample.text.as_ref().map(|text| text.shared())).collect();
        let texts: Vec<Option<&Text>> = held.iter().map(|text| text.as_deref()).collect();
        let targets: Vec<Target> = able.iter().map(|(_, target)| target.clone()).collect();
        let mut inputs: Vec<Input> = able.iter().map(|(i, _)| Input::of(&parents[*i].sample)).collect();
        let edit = |inputs: &[Input], share: f64| {
            let config = self.config(share, context.classes, until);
            let Some(medium) = by else { return flip(model, inputs, &texts, &targets, &config) };
            flip_away(model, inputs, &texts, &targets, &guides(model, &[inputs], medium, Modality::Text)?, &config)
        };
        let mut of_media: Vec<Option<(Vec<Edit>, Ascent)>> = vec![None; able.len()];
        let mut spent = vec![(0, 0); able.len()];
        if let Some(pgd) = self.media.as_ref().filter(|_| !media.is_empty()) {
            let first = edit(&inputs, share / 2.0)?;
            let with: Vec<usize> = (0..able.len()).filter(|&k| !inputs[k].present().and(media).is_empty()).collect();
            let against = |k: usize| {
                let content = edited(&parents[able[k].0].sample, &first[k].edits)?.text.map(|text| text.content.as_str().into());
                Ok(Input { text: content, ..inputs[k].clone() })
            };
            let points: Vec<Input> = with.iter().map(|&k| against(k)).collect::<Result<_>>()?;
            let goals: Vec<Target> = with.iter().map(|&k| targets[k].clone()).collect();
            let seeds: Vec<SeedTree> = with.iter().map(|&k| node(&context.seeds, &parents[able[k].0].sample)).collect();
            let attack = pgd.attack(media, until);
            let ascents = match by {
                None => ascend(model, &points, &goals, &attack, &seeds)?,
                Some(medium) => {
                    let whole: Vec<Input> = with.iter().map(|&k| inputs[k].clone()).collect();
                    let guides = guides(model, &[&points, &whole], Modality::Text, medium)?;
                    ascend_away(model, &points, &goals, &guides, &attack, &seeds)?
                }
            };
            for (own, first) in spent.iter_mut().zip(&first) {
                *own = (first.gradients, first.forwards);
            }
            for (k, ascent) in with.into_iter().zip(ascents) {
                inputs[k] = Input { text: inputs[k].text.clone(), ..ascent.input.clone() };
                spent[k] = (spent[k].0 + ascent.gradients, spent[k].1 + ascent.forwards);
                of_media[k] = Some((first[k].edits.clone(), ascent));
            }
        }
        let flipped = edit(&inputs, share)?;
        let whole = able.into_iter().zip(flipped).zip(of_media).zip(spent).map(|((((parent, target), mut flipped), media), spent)| {
            (flipped.gradients, flipped.forwards) = (flipped.gradients + spent.0, flipped.forwards + spent.1);
            Attacked { parent, target, media, flipped }
        });
        Ok(whole.collect())
    }

    /// The child at a magnitude: so many of the edits, and the media as far.
    fn make(&self, attacked: &Attacked, parent: &Sample, trial: &Trial, media: ModalitySet) -> Result<Made> {
        if !attacked.flipped.finite && attacked.flipped.edits.is_empty() {
            return Ok(Made::Refused("gradient_not_finite".into()));
        }
        // Nor is a random start an attack.
        if attacked.media.as_ref().is_some_and(|(_, ascent)| !ascent.finite && ascent.step == 0) {
            return Ok(Made::Refused("gradient_not_finite".into()));
        }
        let mut child = None;
        if let (Some(pgd), Some((_, ascent))) = (&self.media, &attacked.media) {
            let terrain = pgd.attack(media, Until::Steps).terrain(&Input::of(parent), None);
            match pgd::perturbed(parent, &ascent.input, &terrain, trial.magnitude)? {
                Made::Child(made) => child = Some(made),
                Made::Unchanged => {}
                other => return Ok(other),
            }
        }
        let edits = taken(&attacked.flipped.edits, trial.magnitude);
        if !edits.is_empty() {
            let from = child.as_ref().unwrap_or(parent);
            child = Some(edited(from, edits)?.into_sample(from));
        }
        Ok(child.map_or(Made::Unchanged, Made::Child))
    }
}

/// Guides that turn the embedding of `of` away from those of `from` in each of these presentations of the samples.
fn guides(model: &dyn Model, presentations: &[&[Input]], from: Modality, of: Modality) -> Result<Vec<Guide>> {
    let mut guides: Vec<Guide> = Vec::new();
    for inputs in presentations {
        let Outputs { embeddings, .. } = model.forward(inputs)?;
        guides.resize_with(inputs.len(), || Guide { modality: of, references: Vec::new() });
        let rows = embeddings[from].as_ref().ok_or_else(|| Error::model(format!("the model gave no embedding of {from}")))?;
        guides.iter_mut().enumerate().take(rows.rows()).for_each(|(row, guide)| guide.references.push(rows.row(row).to_vec()));
    }
    Ok(guides)
}

/// The first edits, as many as the magnitude says.
fn taken(edits: &[Edit], magnitude: f64) -> &[Edit] {
    let count = (magnitude * edits.len() as f64).round() as usize;
    edits.get(..count).unwrap_or(edits)
}

/// The scene of a sample with its text edited; spans and word times follow.
fn edited(sample: &Sample, edits: &[Edit]) -> Result<Scene> {
    let mut scene = Scene::of(sample);
    scene.edit_text(edits.to_vec()).map_err(|why| Error::data(why).at("sample", &sample.id))?;
    Ok(scene)
}

fn node(seeds: &SeedTree, sample: &Sample) -> SeedTree {
    seeds.sample(&sample.id).child("media")
}

impl Generator for HotFlip {
    fn requirements(&self) -> Requirements {
        let media: ModalitySet =
            self.media.iter().filter(|media| media.needs_gradients()).flat_map(|m| m.modalities.iter().copied()).collect();
        let embeddings = if self.guidance == Guidance::Embeddings { media.or(ModalitySet::TEXT) } else { ModalitySet::EMPTY };
        Requirements {
            gradients: media.or(ModalitySet::TEXT),
            embeddings,
            embedding_gradients: embeddings,
            compared: embeddings,
            ..Requirements::default()
        }
    }
    fn modalities(&self) -> ModalitySet {
        ModalitySet::TEXT
    }
    fn cures(&self) -> &'static [ReasonCode] {
        &[ReasonCode::NearBoundary]
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let attacked = self.attack(parents, context)?;
        let media = self.media(context);
        let targets: Vec<Target> = attacked.iter().map(|attacked| attacked.target.clone()).collect();
        let search = BandSearch { path: Path::Monotone { draws: 1 }, tries: self.tries, variants: self.variants };
        let found = search.run(context.models.subject.as_ref(), &targets, context.band, &[], |trials| {
            let make = |trial: &Trial| {
                let attacked = &attacked[trial.item];
                self.make(attacked, &parents[attacked.parent].sample, trial, media)
            };
            trials.iter().map(make).collect()
        })?;
        let mut of_parents: Vec<Option<(Attacked, Found)>> = (0..parents.len()).map(|_| None).collect();
        for (attacked, found) in attacked.into_iter().zip(found) {
            let parent = attacked.parent;
            of_parents[parent] = Some((attacked, found));
        }
        let mut generated = Generated::default();
        for (parent, found) in parents.iter().zip(of_parents) {
            let refused = match (&parent.sample.label, &parent.sample.text) {
                (None, _) => "no_label",
                (_, None) => "no_text",
                _ if self.guide(media).is_some_and(|medium| !parent.sample.present().has(medium)) => "no_medium_to_compare",
                _ => "model_reads_no_text",
            };
            let Some((attacked, found)) = found else {
                generated.outcomes.push((parent.sample.id.clone(), Outcome::Refused(refused.into())));
                continue;
            };
            let seeds = node(&context.seeds, &parent.sample);
            for (variant, hit) in found.hits.into_iter().enumerate() {
                let walked = attacked.media.as_ref().zip(self.media.as_ref()).map(|((against, ascent), pgd)| {
                    let attack = pgd.attack(media, Until::Steps);
                    let terrain = attack.terrain(&Input::of(&parent.sample), None);
                    RecordedMedia {
                        against: against.clone(),
                        guided: self.guide(media).is_some(),
                        walked: Walked::of(&attack, media, &terrain, ascent, hit.magnitude),
                    }
                });
                let recorded = Recorded {
                    edits: taken(&attacked.flipped.edits, hit.magnitude).to_vec(),
                    media: walked,
                    gradients: attacked.flipped.gradients,
                };
                let balls = recorded.media.as_ref().map(|media| media.walked.terrain());
                let claims = balls.iter().flat_map(pgd::balls).chain([Claim::LabelKept]).collect();
                let draft = Draft {
                    child: hit.child,
                    partners: Vec::new(),
                    variant,
                    seeds: &seeds,
                    uses_model: recorded.media.is_some(),
                    parameters: serde_json::to_value(&recorded).map_err(|e| Error::internal(e.to_string()))?,
                    claims,
                };
                generated.candidates.push(context.candidate(parent, draft));
            }
            generated.outcomes.push((parent.sample.id.clone(), found.outcome));
        }
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        let recorded: Recorded = serde_json::from_value(parameters.clone())
            .map_err(|error| Error::data(format!("the parameters in the lineage are not those of `hotflip`: {error}")))?;
        let parent = context.parents.first().ok_or_else(|| Error::usage("a replay of `hotflip` needs the parent"))?;
        let mut child = parent.clone();
        if let Some(RecordedMedia { against, guided, walked }) = &recorded.media {
            let models = context.models.ok_or_else(|| Error::usage("a replay of `hotflip` needs the model that made the child"))?;
            let target = parent.label.as_ref().ok_or_else(|| Error::data("the parent has no label").at("sample", &parent.id))?;
            let content = edited(parent, against)?.text.map(|text| text.content.as_str().into());
            let (whole, point) = (Input::of(parent), Input { text: content, ..Input::of(parent) });
            let guide = match walked.medium().filter(|_| *guided) {
                Some(medium) => {
                    let (points, whole) = ([point.clone()], [whole]);
                    guides(models.subject.as_ref(), &[&points, &whole], Modality::Text, medium)?.pop()
                }
                None => None,
            };
            let point = walked.retraced(&point, target, guide.as_ref(), models, &context.seeds)?;
            if let Made::Child(made) = pgd::perturbed(parent, &point, &walked.terrain(), walked.magnitude())? {
                child = made;
            }
        }
        if recorded.edits.is_empty() { Ok(child) } else { Ok(edited(&child, &recorded.edits)?.into_sample(&child)) }
    }
}

#[cfg(test)]
mod tests;
