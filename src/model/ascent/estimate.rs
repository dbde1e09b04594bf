//! Gradients from answers alone.

use super::{Terrain, Walk};
use crate::{
    error::Result,
    model::{Gradients, Input, Model, Objective, Target, measure},
    random::SeedTree,
    sample::{Modality, Norm},
};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// Points that are asked about in one forward pass.
const TOGETHER: usize = 128;

/// Puts an estimate of the gradient at every walk's point into `seen`: `1 / (2 n s) sum_i u_i (f(x + s u_i) - f(x - s u_i))` over antithetic pairs of
/// standard normal `u_i`. `s` is a tenth of the radius in each value: of the radius for `linf`, of the radius spread evenly over the values otherwise.
///
/// Reference: Ilyas, Engstrom, Athalye and Lin 2018, "Black-box Adversarial Attacks with Limited Queries and Information", section 2.2.
pub(super) fn slopes(
    model: &dyn Model,
    walks: &[&Walk],
    goals: &[Target],
    objective: Objective,
    pairs: usize,
    seen: &mut Gradients,
) -> Result<()> {
    let mut sums: Vec<Vec<(Modality, Vec<f32>)>> = walks
        .iter()
        .map(|walk| attacked(walk).map(|(modality, terrain)| (modality, vec![0.0; length(walk.point(), modality, terrain)])).collect())
        .collect();
    let queries: Vec<(usize, usize)> = (0..pairs).flat_map(|pair| (0..walks.len()).map(move |row| (row, pair))).collect();
    for part in queries.chunks(TOGETHER / 2) {
        let mut points = Vec::with_capacity(2 * part.len());
        for (row, pair) in part {
            let seeds = walks[*row].draws().variant(*pair);
            points.push(moved(walks[*row], &seeds, 1.0));
            points.push(moved(walks[*row], &seeds, -1.0));
        }
        let logits = model.forward(&points)?.logits;
        for (at, (row, pair)) in part.iter().enumerate() {
            let value = |at: usize| f64::from(measure::objective(logits.row(at), &goals[*row], objective));
            let rise = value(2 * at) - value(2 * at + 1);
            let seeds = walks[*row].draws().variant(*pair);
            for (modality, sum) in &mut sums[*row] {
                let Some(terrain) = walks[*row].terrain()[*modality] else { continue };
                let size = deviation(&terrain, sum.len());
                let scale = if size > 0.0 { rise / (2.0 * pairs as f64 * size) } else { 0.0 };
                let mut rng = seeds.child(modality.name()).rng();
                for s in sum.iter_mut() {
                    let u: f64 = StandardNormal.sample(&mut rng);
                    *s += (scale * u) as f32;
                }
            }
        }
    }
    for sum in sums {
        let (mut image, mut audio, mut text) = (None, None, None);
        for (modality, slope) in sum {
            match modality {
                Modality::Image => image = Some(slope),
                Modality::Audio => audio = Some(slope),
                Modality::Text => text = Some(slope),
            }
        }
        seen.image.push(image);
        seen.audio.push(audio);
        seen.text.push(text);
    }
    Ok(())
}

fn attacked(walk: &Walk) -> impl Iterator<Item = (Modality, &Terrain)> {
    walk.terrain().iter().filter_map(|(modality, terrain)| Some((modality, terrain.as_ref()?)))
}

fn length(point: &Input, modality: Modality, terrain: &Terrain) -> usize {
    match modality {
        Modality::Image => point.image.as_ref().map_or(0, |p| p.values.len()),
        Modality::Audio => point.audio.as_ref().map_or(0, |w| w.values.len()),
        Modality::Text => terrain.held,
    }
}

fn deviation(terrain: &Terrain, values: usize) -> f64 {
    let values = values.max(1) as f64;
    0.1 * match terrain.norm {
        Norm::Linf => terrain.epsilon,
        Norm::L2 => terrain.epsilon / values.sqrt(),
        Norm::L1 => terrain.epsilon / values,
    }
}

/// The point of a walk, moved along the draw of each modality.
fn moved(walk: &Walk, seeds: &SeedTree, sign: f64) -> Input {
    let mut point = walk.point().clone();
    for (modality, terrain) in attacked(walk) {
        let count = length(&point, modality, terrain);
        let size = sign * deviation(terrain, count);
        let mut rng = seeds.child(modality.name()).rng();
        // Opacity is no colour: it stays, though a number is drawn for it.
        let opacity = point.image.as_ref().is_some_and(|p| modality == Modality::Image && p.channels == 4);
        let mut shift = |values: &mut [f32]| {
            for (at, v) in values.iter_mut().take(count).enumerate() {
                let u: f64 = StandardNormal.sample(&mut rng);
                if !opacity || at % 4 != 3 {
                    *v = (f64::from(*v) + size * u) as f32;
                }
            }
        };
        match modality {
            Modality::Image => drop(point.image.as_mut().map(|p| shift(&mut Arc::make_mut(p).values))),
            Modality::Audio => drop(point.audio.as_mut().map(|w| shift(&mut Arc::make_mut(w).values))),
            Modality::Text => drop(point.text_shift.as_mut().map(|t| shift(Arc::make_mut(t)))),
        }
    }
    point
}
