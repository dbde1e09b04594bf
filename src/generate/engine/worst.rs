//! The worst case inside a space of transforms: many draws, of which the one with the greatest loss is kept and its severity refined.

use super::{Drawn, Item, Made, Outcome, Policy, Trial, join};
use crate::{
    codec,
    context::{GenerateContext, Parent, ReplayContext},
    error::{Problem, Result},
    generate::{Applied, Generated, Generator},
    model::{Input, measure},
    operator::Requirements,
    sample::{Candidate, DifficultyBand, ModalitySet, ReasonCode, Sample},
};
use rand::RngExt;
use rayon::prelude::*;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// The first step of the severity, in parts of its range; it is halved with every refinement.
const FIRST_STEP: f64 = 0.25;

/// A policy of which the worst of many draws is wanted.
pub struct WorstOf {
    /// What is drawn from.
    pub policy: Policy,
    /// Draws for each neighbour, at least 1; each costs one forward evaluation.
    pub draws: usize,
    /// Refinements of the severity of the worst draw; each costs two forward evaluations.
    pub refinements: usize,
}

/// The hardest child so far.
struct Worst {
    draw: usize,
    severity: f64,
    loss: f32,
    child: Sample,
}

/// What became of one neighbour.
#[derive(Default)]
struct Search {
    worst: Option<Worst>,
    met: Option<(f32, f32)>,
    refused: Vec<String>,
}

impl Search {
    /// Takes note of a child.
    fn see(&mut self, draw: usize, severity: f64, loss: f32, child: Sample, band: Option<DifficultyBand>) -> bool {
        if !loss.is_finite() {
            self.refused.push("loss_not_finite".into());
            return false;
        }
        let (least, greatest) = self.met.unwrap_or((loss, loss));
        self.met = Some((least.min(loss), greatest.max(loss)));
        let allowed = band.is_none_or(|band| loss <= band.high);
        let harder = self.worst.as_ref().is_none_or(|worst| loss > worst.loss);
        if allowed && harder {
            self.worst = Some(Worst { draw, severity, loss, child });
        }
        allowed && harder
    }
}

impl WorstOf {
    /// What is tried of every neighbour at one step, where there is something to try.
    fn trials(
        &self,
        step: usize,
        items: &[Item<'_>],
        found: &[Search],
        context: &GenerateContext<'_>,
    ) -> Result<Vec<Option<(usize, f64, Option<Drawn>)>>> {
        let range = self.policy.severity_range;
        if step < self.draws {
            let draw = |item: &Item<'_>| {
                let drawn = self.policy.drawn(item, step, context)?;
                let share = self.policy.seeds(item, step, context).child("severity").rng().random_range(0.0..=1.0);
                Ok(Some((step, range.at(share), Some(drawn))))
            };
            return items.par_iter().map(draw).collect();
        }
        let (refinement, back) = ((step - self.draws) / 2, (step - self.draws) % 2 == 1);
        let by = FIRST_STEP * 0.5f64.powi(refinement as i32) * (range.high() - range.low()) * if back { -1.0 } else { 1.0 };
        let refine = |(item, search): (&Item<'_>, &Search)| {
            let worst = search.worst.as_ref()?;
            let severity = (worst.severity + by).clamp(range.low(), range.high());
            let scales = item.draws.get(&worst.draw).is_some_and(|drawn| drawn.scales);
            (scales && severity != worst.severity).then_some((worst.draw, severity, None))
        };
        Ok(items.iter().zip(found).map(refine).collect())
    }

    fn search(&self, items: &mut [Item<'_>], generated: &mut Generated, context: &GenerateContext<'_>) -> Result<Vec<Search>> {
        let mut found: Vec<Search> = items.iter().map(|_| Search::default()).collect();
        for step in 0..self.draws + 2 * self.refinements {
            let trials = self.trials(step, items, &found, context)?;
            let mut tried: Vec<(usize, usize, f64)> = Vec::new();
            for (i, trial) in trials.into_iter().enumerate() {
                let Some((draw, severity, drawn)) = trial else { continue };
                if let Some(drawn) = drawn {
                    drawn.parameters.count(&mut generated.transforms);
                    items[i].draws.insert(draw, drawn);
                }
                tried.push((i, draw, severity));
            }
            let make = |(i, draw, severity): &(usize, usize, f64)| {
                let trial = Trial { item: *i, draw: *draw, magnitude: *severity };
                match self.policy.make(&items[*i], &trial, *severity) {
                    Made::Child(child) => Ok(Ok(codec::settle(child)?)),
                    Made::Negative(_) => Ok(Err(Some("labelled_negative".to_owned()))),
                    Made::Refused(why) => Ok(Err(Some(why))),
                    Made::Unchanged => Ok(Err(None)),
                }
            };
            let made: Vec<Result<Sample, Option<String>>> = tried.par_iter().map(make).collect::<Result<_>>()?;
            let inputs: Vec<Input> = made.iter().flatten().map(Input::of).collect();
            let logits = if inputs.is_empty() { Default::default() } else { context.models.subject.forward(&inputs)?.logits };
            let mut row = 0;
            for ((i, draw, severity), made) in tried.into_iter().zip(made) {
                let (item, search) = (&mut items[i], &mut found[i]);
                let kept = match made {
                    Ok(child) => {
                        let label = child.label.as_ref().or(item.parent.sample.label.as_ref());
                        let loss = label.map_or(f32::NAN, |label| measure::cross_entropy(logits.row(row), label));
                        row += 1;
                        search.see(draw, severity, loss, child, context.band)
                    }
                    Err(why) => {
                        search.refused.extend(why);
                        false
                    }
                };
                // Only the draw of the worst is needed again.
                let worst = search.worst.as_ref().map(|worst| worst.draw);
                if kept || worst != Some(draw) {
                    item.draws.retain(|own, _| Some(*own) == worst);
                }
            }
        }
        Ok(found)
    }

    fn outcome(&self, item: &Item<'_>, search: Search, context: &GenerateContext<'_>) -> Result<(Option<Candidate>, Outcome)> {
        let hard_enough = |worst: &Worst| context.band.is_none_or(|band| worst.loss >= band.low);
        if let Some(worst) = search.worst.filter(hard_enough) {
            let candidate = self.policy.candidate(item, worst.draw, worst.severity, worst.child, context)?;
            return Ok((Some(candidate), Outcome::Made));
        }
        Ok(match search.met {
            Some((least, greatest)) => (None, Outcome::NotReached { least, greatest }),
            None => {
                let refused: Vec<Outcome> = search.refused.into_iter().map(Outcome::Refused).collect();
                (None, join(&refused))
            }
        })
    }
}

impl Generator for WorstOf {
    fn requirements(&self) -> Requirements {
        // Every neighbour is shown to the model.
        Requirements { new_inputs: true, ..Requirements::default() }
    }
    fn modalities(&self) -> ModalitySet {
        self.policy.modalities()
    }
    fn cures(&self) -> &'static [ReasonCode] {
        self.policy.cures()
    }
    fn bind(&mut self, base: &Path) -> Vec<Problem> {
        self.policy.bind(base)
    }

    fn generate(&self, parents: &[Parent], context: &GenerateContext<'_>) -> Result<Generated> {
        let labelled = |parent: &Parent| parent.sample.label.is_some();
        let mut items: Vec<Item<'_>> = parents
            .iter()
            .filter(|parent| labelled(parent))
            .flat_map(|parent| (0..self.policy.variants).map(move |variant| Item { parent, variant, draws: BTreeMap::new() }))
            .collect();
        let mut generated = Generated::default();
        let found = self.search(&mut items, &mut generated, context)?;
        let of_items = items.iter().zip(found).map(|(item, search)| self.outcome(item, search, context));
        let mut of_items = of_items.collect::<Result<Vec<_>>>()?.into_iter();
        for parent in parents {
            let outcome = if labelled(parent) {
                let (candidates, outcomes): (Vec<_>, Vec<_>) = of_items.by_ref().take(self.policy.variants).unzip();
                generated.candidates.extend(candidates.into_iter().flatten());
                join(&outcomes)
            } else {
                Outcome::Refused("no_label".into())
            };
            generated.outcomes.push((parent.sample.id.clone(), outcome));
        }
        Ok(generated)
    }

    fn replay(&self, parameters: &Value, context: &ReplayContext<'_>) -> Result<Sample> {
        self.policy.replay(parameters, context)
    }
    fn applied(&self, parameters: &Value) -> Option<Applied> {
        self.policy.applied(parameters)
    }
}
