//! Modality dropout: neighbours that lack what the model leans on.

mod fill;

pub use fill::{Instead, without};

use super::{
    Generated, Generator, Outcome,
    engine::partners,
    search::{BandSearch, Made, Path},
};
use crate::{
    context::{Draft, GenerateContext, Parent, ReplayContext},
    error::{Error, Problem, Result},
    model::{Input, Target},
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{Annotations, AudioBuffer, Claim, ImageBuffer, Media, Modality, ModalitySet, ReasonCode, Sample, Text},
    transform::{PartnerClass, Partners},
    units::{Fraction, Probability},
};
use rand::{RngExt, seq::SliceRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// What decides which modalities go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The sample's own reasons, the primary first: reliance drops the modality relied on, a degraded medium is kept and the others dropped. A
    /// sample without such a reason is refused.
    #[default]
    Reason,
    /// The modality that the prediction hangs on is dropped.
    OverRelied,
    /// The degraded audio is kept, the others are dropped.
    AudioDegraded,
    /// The degraded image is kept, the others are dropped.
    ImageDegraded,
    /// Each modality is dropped with `probability`, independently.
    Random,
}

/// What stands in the place of a dropped modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// Nothing: the modality is missing, and a model puts its learned token there.
    #[default]
    Missing,
    /// Zeros: a black image, silence.
    Zero,
    /// The mean of each channel of the medium itself.
    Mean,
    /// Noise: uniform pixels, a Gaussian waveform as loud as the medium, letters at random.
    Noise,
    /// The medium of another sample; the label stays.
    Other,
}

/// Drops modalities of a sample, aimed at the one its prediction hangs on or around the one that is degraded.
///
/// Method: each sample has a short list of subsets to keep, the most wanted first. Over-reliance: all but the modality of the reason, of column
/// `over_relied`, or of the largest absolute `shapley_*`. A degraded modality: it alone, then it with one other, in a drawn order. Random: masks
/// of independent Bernoulli draws; where fewer than `keep_at_least` would stay, dropped ones come back at random. A single modality that the
/// out-of-fold teacher is known to misjudge alone (`oof_*_prediction`, `oof_*_confidence`) is left out. The first subset whose loss lies in the
/// difficulty band is taken. A sample with one modality is left as it is; of which the model would read nothing any more, refused. What goes is missing afterwards, or something stands in its place (`replacement`); with
/// `partial` only a share of it goes: patches of the image, spans of the waveform, words of the text.
///
/// Reference: Neverova et al. 2016, "ModDrop: Adaptive Multi-Modal Gesture Recognition"; Shi et al. 2022, "Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction" (AV-HuBERT).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModalityDropout {
    /// What decides which modalities go.
    pub aim: Aim,
    /// Probability, 0..=1, that an aimed sample is treated at all; with `aim: random` that each modality is dropped. Default 1, and 0.5 for `random`.
    pub probability: Option<Probability>,
    /// Modalities that stay at least, 1..=3.
    pub keep_at_least: usize,
    /// What stands in the place of a dropped modality. A text has no zero and no mean: there it is missing.
    pub replacement: Replacement,
    /// Share of each dropped medium that goes (patches, time spans, words), above 0, with zeros where the replacement is `missing`; absent for all of it.
    pub partial: Option<Fraction>,
    /// Least out-of-fold probability of the label, 0..=1, for a modality to be left alone, where it is known.
    pub confidence: Probability,
    /// Masks drawn with `aim: random`, 1..=64.
    pub tries: usize,
    /// Children of one attempt, 1..=6: the first that is verified is fed.
    pub variants: usize,
}

impl Default for ModalityDropout {
    fn default() -> Self {
        let half = Probability::new(0.5).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self {
            aim: Aim::Reason,
            probability: None,
            keep_at_least: 1,
            replacement: Replacement::Missing,
            partial: None,
            confidence: half,
            tries: 8,
            variants: 1,
        }
    }
}

impl Configure<dyn Generator> for ModalityDropout {
    const NAME: &'static str = "modality_dropout";
    const EXAMPLE: &'static str = "{ aim: over_relied }";
    fn build(self, _: &Table<dyn Generator>) -> Result<Box<dyn Generator>, Vec<Problem>> {
        let between = [("keep_at_least", self.keep_at_least, 3), ("tries", self.tries, 64), ("variants", self.variants, 6)];
        let mut problems: Vec<Problem> = between
            .into_iter()
            .filter(|(_, found, most)| !(1..=*most).contains(found))
            .map(|(field, found, most)| Problem::new(field, format!("expected a whole number in 1..={most}, found {found}")))
            .collect();
        if self.partial.is_some_and(|partial| partial.get() == 0.0) {
            problems.push(Problem::new("partial", "expected a share above 0, found 0"));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// What is planned for one parent.
enum Options {
    /// Subsets to keep, the most wanted first.
    Keep(Vec<ModalitySet>),
    /// The draw leaves it as it is.
    Nothing,
    Refused(&'static str),
}

impl ModalityDropout {
    fn options(&self, parent: &Parent, context: &GenerateContext<'_>, seeds: &SeedTree) -> Options {
        let present = parent.sample.present();
        if present.len() <= self.keep_at_least {
            return Options::Nothing;
        }
        let mut rng = seeds.rng();
        let probability = self.probability.map_or(if self.aim == Aim::Random { 0.5 } else { 1.0 }, Probability::get);
        if self.aim != Aim::Random && rng.random::<f64>() >= probability {
            return Options::Nothing;
        }
        let without = |modality: Option<Modality>| match modality.filter(|m| present.has(*m)) {
            Some(modality) => Options::Keep(vec![present.without(modality)]),
            None => Options::Refused("no_over_reliance_known"),
        };
        let mut around = |modality: Modality| {
            if !present.has(modality) {
                return Options::Refused("degraded_modality_is_missing");
            }
            let mut others: Vec<Modality> = present.without(modality).iter().collect();
            others.shuffle(&mut rng);
            let pairs = others.into_iter().map(|other| ModalitySet::one(modality).with(other));
            Options::Keep(std::iter::once(ModalitySet::one(modality)).chain(pairs).collect())
        };
        let options = match self.aim {
            Aim::OverRelied => without(over_relied(parent)),
            Aim::AudioDegraded => around(Modality::Audio),
            Aim::ImageDegraded => around(Modality::Image),
            Aim::Reason => parent
                .diagnosis
                .reasons
                .iter()
                .find_map(|reason| match reason.code {
                    ReasonCode::SingleModalityReliance => Some(without(over_relied(parent))),
                    ReasonCode::AudioDegraded => Some(around(Modality::Audio)),
                    ReasonCode::ImageDegraded => Some(around(Modality::Image)),
                    _ => None,
                })
                .unwrap_or(Options::Refused("no_reason_to_drop")),
            Aim::Random => Options::Keep((0..self.tries).map(|_| self.mask(present, probability, &mut rng)).collect()),
        };
        let Options::Keep(mut subsets) = options else { return options };
        let drew_nothing = subsets.iter().all(|keep| *keep == present);
        subsets.retain(|keep| *keep != present && keep.len() >= self.keep_at_least);
        let mut seen = ModalitySets::default();
        subsets.retain(|keep| seen.insert(*keep));
        // A child of which the model reads nothing would teach it the label of nothing.
        let (reads, before) = (context.models.subject.spec().modalities, subsets.len());
        subsets.retain(|keep| !keep.and(reads).is_empty());
        if subsets.is_empty() && before > 0 {
            return Options::Refused("model_reads_none_of_the_rest");
        }
        let before = subsets.len();
        subsets.retain(|keep| !self.misjudged_alone(*keep, parent, context));
        match (subsets.is_empty(), before) {
            (false, _) => Options::Keep(subsets),
            (true, 0) if drew_nothing => Options::Nothing,
            (true, 0) => Options::Refused("too_few_would_stay"),
            (true, _) => Options::Refused("teacher_cannot_classify_the_rest"),
        }
    }

    /// Independent draws; where too few stay, dropped modalities come back at random.
    fn mask(&self, present: ModalitySet, probability: f64, rng: &mut impl rand::Rng) -> ModalitySet {
        let mut keep: ModalitySet = present.iter().filter(|_| rng.random::<f64>() >= probability).collect();
        while keep.len() < self.keep_at_least.min(present.len()) {
            let gone: Vec<Modality> = present.iter().filter(|m| !keep.has(*m)).collect();
            keep = keep.with(gone[rng.random_range(0..gone.len())]);
        }
        keep
    }

    /// Whether the out-of-fold teacher is known to misjudge the one modality of `keep`.
    fn misjudged_alone(&self, keep: ModalitySet, parent: &Parent, context: &GenerateContext<'_>) -> bool {
        let (1, Some(modality), Some(label)) = (keep.len(), keep.iter().next(), &parent.sample.label) else { return false };
        let value = |what: &str| context.table.column_of_any(&format!("oof_{modality}_{what}"))?.get(parent.row)?.get();
        let unsure = value("confidence").is_some_and(|p| f64::from(p) < self.confidence.get());
        unsure || value("prediction").is_some_and(|class| class as usize != label.class())
    }
}

/// The subsets met so far.
#[derive(Default)]
struct ModalitySets(Vec<ModalitySet>);

impl ModalitySets {
    fn insert(&mut self, set: ModalitySet) -> bool {
        let new = !self.0.contains(&set);
        self.0.push(set);
        new
    }
}

/// The modality a prediction hangs on: that of the reason, of the column `over_relied`, or of the largest absolute Shapley share.
fn over_relied(parent: &Parent) -> Option<Modality> {
    let reason = parent.diagnosis.reasons.iter().find(|r| r.code == ReasonCode::SingleModalityReliance).and_then(|r| r.modality);
    let column = || Modality::ALL.get(parent.score("over_relied")? as usize).copied();
    let shapley = || {
        let shares = Modality::ALL.into_iter().filter_map(|m| Some((m, parent.score(&format!("shapley_{m}"))?.abs())));
        shares
            .fold(None, |best: Option<(Modality, f32)>, own| if best.is_some_and(|b| b.1 >= own.1) { best } else { Some(own) })
            .map(|b| b.0)
    };
    reason.or_else(column).or_else(shapley)
}

/// The sample with only the modalities of `keep`; annotations of dropped media go with them.
fn kept(sample: &Sample, keep: ModalitySet) -> Sample {
    let mut child = sample.only(keep);
    let has = |modality| child.present().has(modality);
    let own = &sample.annotations;
    let annotations = Annotations {
        boxes: if has(Modality::Image) { own.boxes.clone() } else { Vec::new() },
        keypoints: if has(Modality::Image) { own.keypoints.clone() } else { Vec::new() },
        masks: if has(Modality::Image) { own.masks.clone() } else { Vec::new() },
        events: if has(Modality::Audio) { own.events.clone() } else { Vec::new() },
        words: if has(Modality::Audio) && has(Modality::Text) { own.words.clone() } else { Vec::new() },
    };
    if annotations != **own {
        child.annotations = Arc::new(annotations);
    }
    child
}

/// What a lineage keeps.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Taken {
    keep: ModalitySet,
    dropped: ModalitySet,
    /// Which draw of the search: what is random of it hangs on that.
    #[serde(default)]
    draw: usize,
    #[serde(default)]
    instead: Instead,
}

/// The sample with only the modalities of `keep`, or with what stands in the place of the others; `None` where that changes nothing.
fn changed(sample: &Sample, keep: ModalitySet, instead: Instead, other: Option<&Sample>, node: &SeedTree, draw: usize) -> Option<Sample> {
    if instead.leaves_nothing() {
        return Some(kept(sample, keep));
    }
    let gone: ModalitySet = sample.present().iter().filter(|m| !keep.has(*m)).collect();
    let theirs = other.map(Input::of).unwrap_or_default();
    let made = without(&Input::of(sample), gone, instead, &theirs, &mut node.child("fill").variant(draw).rng());
    let mut child = kept(sample, made.present());
    let replaced = |modality: Modality| gone.has(modality) && made.present().has(modality);
    if let (true, Some(image)) = (replaced(Modality::Image), &made.image) {
        let pixels = image.values.iter().map(|v| (v * 255.0).round() as u8).collect();
        child.image = Some(Media::new(ImageBuffer::new(image.width, image.height, image.channels, pixels).ok()?));
    }
    if let (true, Some(audio)) = (replaced(Modality::Audio), &made.audio) {
        child.audio = Some(Media::new(AudioBuffer::new(audio.sample_rate_hz, audio.channels, audio.values.clone()).ok()?));
    }
    if let (true, Some(text)) = (replaced(Modality::Text), &made.text) {
        child.text = Some(Media::new(Text::new(&**text)));
    }
    // What is told of a medium no longer holds where another stands, or where its words moved.
    let own = &child.annotations;
    let whole = instead.partial.is_none();
    let lost = |modality: Modality, anyway: bool| replaced(modality) && (whole || anyway);
    let annotations = Annotations {
        boxes: if lost(Modality::Image, false) { Vec::new() } else { own.boxes.clone() },
        keypoints: if lost(Modality::Image, false) { Vec::new() } else { own.keypoints.clone() },
        masks: if lost(Modality::Image, false) { Vec::new() } else { own.masks.clone() },
        events: if lost(Modality::Audio, false) { Vec::new() } else { own.events.clone() },
        words: if lost(Modality::Audio, false) || lost(Modality::Text, true) { Vec::new() } else { own.words.clone() },
    };
    if annotations != **own {
        child.annotations = Arc::new(annotations);
    }
    (child.digests() != sample.digests()).then_some(child)
}

impl Generator for ModalityDropout {
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }
    fn modalities(&self) -> ModalitySet {
        match self.aim {
            Aim::AudioDegraded => ModalitySet::one(Modality::Audio),
            Aim::ImageDegraded => ModalitySet::one(Modality::Image),
            Aim::Reason | Aim::OverRelied | Aim::Random => ModalitySet::ALL,
        }
    }
    fn cures(&self) -> &'static [ReasonCode] {
        match self.aim {
            Aim::OverRelied => &[ReasonCode::SingleModalityReliance],
            Aim::AudioDegraded => &[ReasonCode::AudioDegraded],
            Aim::ImageDegraded => &[ReasonCode::ImageDegraded],
            Aim::Reason | Aim::Random => &[ReasonCode::SingleModalityReliance, ReasonCode::AudioDegraded, ReasonCode::ImageDegraded],
        }
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let instead = Instead { replacement: self.replacement, partial: self.partial };
        let nodes: Vec<SeedTree> = parents.iter().map(|parent| context.seeds.sample(&parent.sample.id)).collect();
        let mut plans = Vec::with_capacity(parents.len());
        let mut able: Vec<(usize, Target)> = Vec::new();
        let mut others: Vec<Option<Sample>> = Vec::new();
        for (i, (parent, node)) in parents.iter().zip(&nodes).enumerate() {
            let label = parent.sample.label.clone();
            let mut options = if label.is_none() { Options::Refused("no_label") } else { self.options(parent, context, node) };
            let mut other = None;
            if let (Options::Keep(_), Replacement::Other) = (&options, self.replacement) {
                let wanted = Partners { count: 1, class: PartnerClass::Any, has: parent.sample.present() };
                other = partners::draw(&wanted, parent, context, &node.child("partner"))?.and_then(|mut drawn| drawn.pop());
                if other.is_none() {
                    options = Options::Refused("no_partner");
                }
            }
            if let (Options::Keep(_), Some(label)) = (&options, label) {
                able.push((i, label));
                others.push(other);
            }
            plans.push(options);
        }
        let subsets = |item: usize| match &plans[able[item].0] {
            Options::Keep(subsets) => subsets.as_slice(),
            Options::Nothing | Options::Refused(_) => &[],
        };
        let most = (0..able.len()).map(|item| subsets(item).len()).max().unwrap_or(1);
        let search = BandSearch { path: Path::FirstInside, tries: most, variants: self.variants };
        let targets: Vec<Target> = able.iter().map(|(_, target)| target.clone()).collect();
        let found = search.run(context.models.subject.as_ref(), &targets, context.band, &[], |trials| {
            let make = |trial: &super::search::Trial| match subsets(trial.item).get(trial.draw) {
                Some(keep) => {
                    let (i, _) = able[trial.item];
                    match changed(&parents[i].sample, *keep, instead, others[trial.item].as_ref(), &nodes[i], trial.draw) {
                        Some(child) => Made::Child(child),
                        None => Made::Unchanged,
                    }
                }
                None => Made::Unchanged,
            };
            Ok(trials.iter().map(make).collect())
        })?;
        let mut generated = Generated::default();
        let mut found = able.iter().map(|(i, _)| *i).zip(&others).zip(found).map(|((i, other), found)| (i, other, found)).peekable();
        for (i, (parent, node)) in parents.iter().zip(&nodes).enumerate() {
            let outcome = match (&plans[i], found.next_if(|(item, ..)| *item == i)) {
                (Options::Keep(subsets), Some((_, other, found))) => {
                    for (variant, hit) in found.hits.into_iter().enumerate() {
                        let keep = subsets[hit.draw];
                        let gone: ModalitySet = parent.sample.present().iter().filter(|m| !keep.has(*m)).collect();
                        let draft = Draft {
                            child: hit.child,
                            partners: other.iter().collect(),
                            variant,
                            seeds: node,
                            parameters: json!(Taken { keep, dropped: gone, draw: hit.draw, instead }),
                            claims: if instead.leaves_nothing() {
                                vec![Claim::Dropped(gone), Claim::LabelKept]
                            } else {
                                vec![Claim::LabelKept]
                            },
                            uses_model: false,
                        };
                        generated.candidates.push(context.candidate(parent, draft));
                    }
                    found.outcome
                }
                (Options::Refused(why), _) => Outcome::Refused((*why).into()),
                _ => Outcome::NoOp,
            };
            generated.outcomes.push((parent.sample.id.clone(), outcome));
        }
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        let parent = context.parents.first().ok_or_else(|| Error::usage("a replay of `modality_dropout` needs the parent"))?;
        let taken: Taken = serde_json::from_value(parameters.clone())
            .map_err(|error| Error::data(format!("the parameters in the lineage are not those of `modality_dropout`: {error}")))?;
        let keep = taken.keep;
        if keep.is_empty() || !parent.present().contains(keep) {
            return Err(Error::data(format!("the lineage keeps {keep}, the parent has {}", parent.present())).at("sample", &parent.id));
        }
        let child = changed(parent, keep, taken.instead, context.parents.get(1), &context.seeds, taken.draw);
        child.ok_or_else(|| Error::data("what the lineage takes away changes nothing").at("sample", &parent.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        generate::fixture::World,
        sample::{Column, DifficultyBand, Event, Score},
    };

    fn only(aim: Aim) -> ModalityDropout {
        ModalityDropout { aim, ..ModalityDropout::default() }
    }

    fn set(modalities: &[Modality]) -> ModalitySet {
        modalities.iter().copied().collect()
    }

    fn kept_of(generated: &Generated) -> Vec<ModalitySet> {
        generated.candidates.iter().map(|c| c.sample.present()).collect()
    }

    use Modality::{Audio, Image, Text};

    #[test]
    fn the_reason_picks_what_goes() {
        let mut world = World { band: None, ..World::new() };
        world.give_reason(0, ReasonCode::SingleModalityReliance, Some(Text));
        world.give_reason(1, ReasonCode::AudioDegraded, None);
        world.give_reason(2, ReasonCode::ImageDegraded, None);
        world.give_reason(3, ReasonCode::NearBoundary, None);
        let generated = world.generate(&ModalityDropout::default(), &world.parents()[..4]);
        assert_eq!(kept_of(&generated), [set(&[Image, Audio]), set(&[Audio]), set(&[Image])]);
        assert_eq!(generated.outcomes[3].1, Outcome::Refused("no_reason_to_drop".into()));
        let claims = &generated.candidates[1].lineage.claims;
        assert_eq!(claims, &[Claim::Dropped(set(&[Image, Text])), Claim::LabelKept]);
    }

    #[test]
    fn over_reliance_is_read_from_the_scores() {
        let world = World { band: None, ..World::new() };
        let mut parents = world.parents();
        parents[0].scores.insert("over_relied".into(), 1.0);
        parents[1].scores.extend([("shapley_image".into(), 0.1), ("shapley_audio".into(), 0.2), ("shapley_text".into(), -0.7)]);
        let generated = world.generate(&only(Aim::OverRelied), &parents[..3]);
        assert_eq!(kept_of(&generated), [set(&[Image, Text]), set(&[Image, Audio])]);
        assert_eq!(generated.outcomes[2].1, Outcome::Refused("no_over_reliance_known".into()));
    }

    #[test]
    fn what_the_teacher_misjudges_alone_is_not_left_alone() {
        let mut world = World { band: None, ..World::new() };
        let column = |value: f32| (0..12).map(|_| Score::Known(value)).collect();
        world.table.add(Column::measure("oof_audio_confidence", ""), column(0.3)).unwrap();
        world.table.add(Column::measure("oof_image_prediction", ""), column(7.0)).unwrap();
        world.table.add(Column::measure("oof_image_confidence", ""), column(0.9)).unwrap();
        let kept = kept_of(&world.generate(&only(Aim::AudioDegraded), &world.parents()));
        assert!(kept.iter().all(|keep| keep.len() == 2 && keep.has(Audio)), "{kept:?}");
        // The companion is drawn: both are met.
        assert!(kept.contains(&set(&[Audio, Image])) && kept.contains(&set(&[Audio, Text])));
        let mut pair = world.parent(0);
        pair.sample.text = None;
        let keeping = ModalityDropout { confidence: Probability::new(0.0).unwrap(), ..only(Aim::ImageDegraded) };
        let refused = world.generate(&keeping, &[pair]);
        assert_eq!(refused.outcomes[0].1, Outcome::Refused("teacher_cannot_classify_the_rest".into()));
    }

    #[test]
    fn at_least_so_many_stay_and_one_is_never_dropped() {
        let world = World { band: None, ..World::new() };
        let random = |keep_at_least, probability| ModalityDropout {
            keep_at_least,
            probability: Some(Probability::new(probability).unwrap()),
            ..only(Aim::Random)
        };
        assert!(kept_of(&world.generate(&random(1, 1.0), &world.parents())).iter().all(|keep| keep.len() == 1));
        assert!(kept_of(&world.generate(&random(2, 1.0), &world.parents())).iter().all(|keep| keep.len() == 2));
        let untouched = world.generate(&random(1, 0.0), &world.parents());
        assert!(untouched.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::NoOp));
        let lone: Vec<Parent> = world.parents().into_iter().map(|p| Parent { sample: p.sample.only(set(&[Audio])), ..p }).collect();
        let lone = world.generate(&only(Aim::AudioDegraded), &lone);
        assert!(lone.candidates.is_empty() && lone.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::NoOp));
    }

    #[test]
    fn something_that_the_model_reads_stays() {
        let world = World { band: None, ..World::of_images() };
        let parents = |over_relied: f32| {
            let mut parents = world.parents();
            parents.iter_mut().for_each(|parent| parent.scores.extend([("over_relied".into(), over_relied)]));
            parents
        };
        let refused = world.generate(&only(Aim::OverRelied), &parents(0.0));
        let why = Outcome::Refused("model_reads_none_of_the_rest".into());
        assert!(refused.candidates.is_empty() && refused.outcomes.iter().all(|(_, outcome)| *outcome == why), "{:?}", refused.outcomes);
        assert_eq!(world.generate(&only(Aim::AudioDegraded), &parents(0.0)).candidates.len(), 12);
        let random = ModalityDropout { probability: Some(Probability::new(0.8).unwrap()), ..only(Aim::Random) };
        for replacement in [Replacement::Missing, Replacement::Zero] {
            let made = world.generate(&ModalityDropout { replacement, ..random.clone() }, &parents(0.0));
            assert!(!made.candidates.is_empty());
            for candidate in &made.candidates {
                let taken: Taken = serde_json::from_value(candidate.lineage.parameters.clone()).unwrap();
                assert!(taken.keep.has(Image), "{taken:?}");
            }
        }
    }

    #[test]
    fn the_probability_is_a_coin_of_each_sample() {
        let world = World { band: None, ..World::new() };
        let half = ModalityDropout { probability: Some(Probability::new(0.5).unwrap()), ..only(Aim::ImageDegraded) };
        let made = world.generate(&half, &world.parents()).candidates.len();
        assert!((1..12).contains(&made), "{made}");
    }

    #[test]
    fn every_aim_keeps_the_promises() {
        for band in [None, Some(DifficultyBand { low: 0.01, high: 2.0 })] {
            for aim in [Aim::Reason, Aim::OverRelied, Aim::AudioDegraded, Aim::ImageDegraded, Aim::Random] {
                let mut world = World { band, ..World::new() };
                (0..12).for_each(|i| world.give_reason(i, ReasonCode::SingleModalityReliance, Some(Modality::ALL[i % 3])));
                let all = world.keeps_the_promises(&ModalityDropout { variants: 2, ..only(aim) });
                assert!(!all.candidates.is_empty(), "{aim:?}");
            }
        }
    }

    #[test]
    fn every_replacement_and_part_keeps_the_promises() {
        for replacement in [Replacement::Missing, Replacement::Zero, Replacement::Mean, Replacement::Noise, Replacement::Other] {
            for partial in [None, Some(Fraction::new(0.4).unwrap())] {
                let mut world = World { band: None, ..World::new() };
                let all = world.keeps_the_promises(&ModalityDropout { replacement, partial, ..only(Aim::ImageDegraded) });
                let what = format!("{replacement:?} {partial:?}");
                assert!(!all.candidates.is_empty(), "{what}");
                let instead = Instead { replacement, partial };
                for candidate in &all.candidates {
                    let dropped = candidate.lineage.claims.iter().any(|claim| matches!(claim, Claim::Dropped(_)));
                    assert_eq!(dropped, instead.leaves_nothing(), "{what}");
                    // The audio is replaced wherever something can stand in its place.
                    assert_eq!(candidate.sample.present().has(Audio), !instead.leaves_nothing(), "{what}");
                    assert_eq!(candidate.lineage.parents.len(), if replacement == Replacement::Other { 2 } else { 1 });
                }
            }
        }
    }

    #[test]
    fn annotations_of_a_dropped_medium_go_with_it() {
        let mut sample = World::new().samples.remove(0);
        let event = Event { start_s: 0.0, end_s: 0.1, label: "beep".into() };
        sample.annotations = Arc::new(Annotations { events: vec![event], ..Annotations::default() });
        assert_eq!(kept(&sample, set(&[Audio, Text])).annotations.events.len(), 1);
        assert!(kept(&sample, set(&[Image])).annotations.events.is_empty());
    }

    #[test]
    fn wrong_fields_are_problems() {
        let problems = crate::generate::table()
            .build(&json!({ "modality_dropout": { "keep_at_least": 0, "variants": 9, "partial": 0.0 } }))
            .err()
            .unwrap();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["modality_dropout.keep_at_least", "modality_dropout.variants", "modality_dropout.partial"]);
    }
}
