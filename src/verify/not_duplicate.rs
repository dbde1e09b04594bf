//! Whether a child is new, and leaks nothing of the other splits.

use super::Verifier;
use crate::{
    context::{EmbeddingIndex, Judged, VerifyContext},
    error::{Error, Problem, Result},
    operator::{Configure, Requirements, Table},
    sample::{Digest, Modality, PerModality, Verdict},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::Arc};

/// The child is no copy of its parent, of another child, or of a sample of another split.
///
/// Method: present modalities and digests together must differ from the parent's, from those of other candidates before it and of children fed before. A
/// medium that the child does not share with its parent must not be, byte for byte, one of validation or test. The subject's embedding of each
/// such medium must be farther than `distance` from those of all validation samples and of all training samples but the parent and those that
/// share its medium. Test samples are compared by digest only, and a text counts only where it is all there is, since captions repeat.
///
/// Reference: Barz and Denzler 2020, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotDuplicate {
    /// Least cosine distance (1 - cosine, 0..=2) of an embedding; 0 compares no embeddings.
    pub distance: f64,
}

impl Default for NotDuplicate {
    fn default() -> Self {
        Self { distance: 1e-5 }
    }
}

impl Configure<dyn Verifier> for NotDuplicate {
    const NAME: &'static str = "not_duplicate";
    const EXAMPLE: &'static str = "{ distance: 0.00001 }";
    fn build(self, _: &Table<dyn Verifier>) -> Result<Box<dyn Verifier>, Vec<Problem>> {
        if (0.0..=2.0).contains(&self.distance) {
            Ok(Box::new(self))
        } else {
            Err(vec![Problem::new("distance", format!("expected 0..=2, found {}", self.distance))])
        }
    }
}

impl Verifier for NotDuplicate {
    fn requirements(&self) -> Requirements {
        Requirements { embedding_index: self.distance > 0.0, ..Requirements::default() }
    }

    fn verify(&self, candidates: &[Judged<'_>], context: &VerifyContext<'_>) -> Result<Vec<Verdict>> {
        let mut met: HashSet<PerModality<Option<Digest>>> = HashSet::new();
        let found: Vec<Option<&'static str>> = candidates
            .iter()
            .map(|judged| {
                let new = met.insert(judged.candidate.sample.digests());
                exact(judged, context).or((!new).then_some("duplicate_of_sibling"))
            })
            .collect();
        let nearest = if self.distance > 0.0 && found.iter().any(Option::is_none) {
            let index =
                context.index.ok_or_else(|| Error::usage("`not_duplicate` needs the embedding index of the round, or `distance: 0`"))?;
            self.nearest(candidates, &found, index, context)?
        } else {
            vec![None; candidates.len()]
        };
        let limit = Some(self.distance);
        let judge = |(exact, near): (&Option<&'static str>, Option<(f64, &'static str)>)| match (exact, near) {
            (Some(why), _) => Verdict::fail(context.stage, why, None, None),
            (None, Some((distance, near))) if distance <= self.distance => Verdict::fail(context.stage, near, Some(distance), limit),
            (None, Some((distance, _))) => Verdict::pass(context.stage, "new", Some(distance), limit),
            (None, None) => Verdict::pass(context.stage, "new", None, None),
        };
        Ok(found.iter().zip(nearest).map(judge).collect())
    }
}

/// Media that the child has and does not share with its parent; a text only where it is all there is.
fn changed(judged: &Judged<'_>) -> impl Iterator<Item = (Modality, Digest)> {
    let (child, parent) = (&judged.candidate.sample, &judged.parent.sample);
    let (own, before) = (child.digests(), parent.digests());
    let only_text = child.present().iter().eq([Modality::Text]);
    let telling = Modality::ALL.into_iter().filter(move |m| *m != Modality::Text || only_text);
    telling.filter_map(move |m| own[m].filter(|digest| before[m] != Some(*digest)).map(|digest| (m, digest)))
}

fn exact(judged: &Judged<'_>, context: &VerifyContext<'_>) -> Option<&'static str> {
    let digests = judged.candidate.sample.digests();
    if digests == judged.parent.sample.digests() {
        return Some("duplicate_of_parent");
    }
    if context.known.children.contains(&digests) {
        return Some("duplicate_of_child");
    }
    if changed(judged).any(|medium| context.known.test.contains(&medium)) {
        return Some("medium_of_test");
    }
    changed(judged).any(|medium| context.known.validation.contains(&medium)).then_some("medium_of_validation")
}

impl NotDuplicate {
    /// The least distance of each candidate that is still in question, and what it is too near to where it is too near.
    fn nearest(
        &self,
        candidates: &[Judged<'_>],
        found: &[Option<&'static str>],
        index: &EmbeddingIndex,
        context: &VerifyContext<'_>,
    ) -> Result<Vec<Option<(f64, &'static str)>>> {
        let rows = context.forwards.subject()?;
        let one = |(i, judged): (usize, &Judged<'_>)| {
            if found[i].is_some() {
                return None;
            }
            let mut least: Option<(f64, &'static str)> = None;
            for (modality, _) in changed(judged) {
                let Some(own) = rows.embedding(modality, i) else { continue };
                let of = |split: &PerModality<Option<Arc<[f32]>>>| split[modality].clone();
                let parent = index.train.get(judged.parent.row).and_then(of);
                // The parent is near by intent, and so are samples that share its medium.
                let train = index.train.iter().filter_map(of).filter(|other| Some(other) != parent.as_ref());
                let splits = train.map(|e| (e, "near_training_sample"));
                for (other, near) in splits.chain(index.validation.iter().filter_map(of).map(|e| (e, "near_validation_sample"))) {
                    let distance = cosine_distance(own, &other);
                    if least.is_none_or(|(least, _)| distance < least) {
                        least = Some((distance, near));
                    }
                }
            }
            least
        };
        Ok(candidates.iter().enumerate().map(one).collect())
    }
}

fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::KnownMedia,
        sample::{Claim, Sample},
        verify::fixture::{Bench, expected, sample},
    };

    fn bare(samples: Vec<Sample>) -> Vec<(Sample, Vec<Claim>)> {
        samples.into_iter().map(|sample| (sample, Vec::new())).collect()
    }

    #[test]
    fn exact_copies_are_found_everywhere() {
        let mut bench = Bench::new();
        let child = sample("c", [60, 51, 51, 51], [0.0; 4]);
        let image = (Modality::Image, child.digest(Modality::Image).unwrap());
        let mut silent = bench.parent.sample.clone();
        silent.audio = None;
        let found = bench.reasons(&NotDuplicate { distance: 0.0 }, bare(vec![bench.parent.sample.clone(), silent.clone(), child.clone()]));
        assert_eq!(found, expected([(false, "duplicate_of_parent"), (true, "new"), (true, "new")]));
        let reason = |known: KnownMedia, child: &Sample| {
            let bench = Bench { known, ..Bench::new() };
            bench.reasons(&NotDuplicate { distance: 0.0 }, bare(vec![child.clone()])).remove(0).1
        };
        assert_eq!(reason(KnownMedia { test: [image].into(), ..KnownMedia::default() }, &child), "medium_of_test");
        assert_eq!(reason(KnownMedia { validation: [image].into(), ..KnownMedia::default() }, &child), "medium_of_validation");
        assert_eq!(reason(KnownMedia { children: [child.digests()].into(), ..KnownMedia::default() }, &child), "duplicate_of_child");
        // A medium that the child shares with its parent leaks nothing new, and captions repeat.
        let shared = (Modality::Audio, child.digest(Modality::Audio).unwrap());
        assert_eq!(reason(KnownMedia { test: [shared].into(), ..KnownMedia::default() }, &child), "new");
        let mut reworded = child.clone();
        reworded.text = Some(crate::codec::text::media(crate::sample::Text::new("another caption")));
        let caption = (Modality::Text, reworded.digest(Modality::Text).unwrap());
        assert_eq!(reason(KnownMedia { test: [caption].into(), ..KnownMedia::default() }, &reworded), "new");
        (reworded.image, reworded.audio) = (None, None);
        assert_eq!(reason(KnownMedia { test: [caption].into(), ..KnownMedia::default() }, &reworded), "medium_of_test");
        // Siblings: the first of two equal ones stays.
        bench.known = KnownMedia::default();
        let twins: Vec<bool> =
            bench.judge(&NotDuplicate { distance: 0.0 }, bare(vec![child.clone(), child])).iter().map(|v| v.passed).collect();
        assert_eq!(twins, [true, false]);
    }

    #[test]
    fn near_copies_are_found_by_embedding() {
        let mut bench = Bench::new();
        let (other, held_out) = (sample("t", [200, 20, 51, 51], [0.0; 4]), sample("v", [20, 200, 51, 51], [0.0; 4]));
        bench.index.train =
            vec![Bench::embeddings(&bench.parent.sample), Bench::embeddings(&other), Bench::embeddings(&bench.parent.sample)];
        bench.index.validation = vec![Bench::embeddings(&held_out)];
        let near = |pixels| sample("c", pixels, [0.0; 4]);
        let children = bare(vec![near([201, 20, 51, 51]), near([20, 199, 51, 51]), near([52, 51, 51, 51]), near([120, 120, 51, 51])]);
        let found = bench.reasons(&NotDuplicate { distance: 1e-3 }, children.clone());
        let near = [(false, "near_training_sample"), (false, "near_validation_sample")];
        // The third is close to its parent and to the sample that shares the parent's image, as it should be.
        assert_eq!(found, expected([near[0], near[1], (true, "new"), (true, "new")]));
        assert!(bench.judge(&NotDuplicate { distance: 0.0 }, children).iter().all(|verdict| verdict.passed));
        assert!(NotDuplicate::default().requirements().embedding_index && !NotDuplicate { distance: 0.0 }.requirements().embedding_index);
    }
}
