//! Borderline SMOTE: `h + radius u (h_j - h)` with u uniform in 0..1 toward a hard neighbour j of the class, for samples that live among other classes.

use super::{
    interpolate, pool,
    scene::{Draw, Drawn, Scene},
};
use crate::sample::PerModality;
use rand::RngExt;

/// Neighbours of any class that say whether a sample is on the borderline.
const AROUND: usize = 10;

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let of = &scene.places[place];
    let all = pool::others(of, scene.index, scene.context, |_| true);
    let around = pool::nearest(of, all, AROUND, &PerModality::default(), scene.index, scene.context);
    let foreign = around.iter().filter(|&&row| scene.context.table.rows()[row].class != Some(of.class)).count();
    if 2 * foreign < around.len() || around.is_empty() {
        return Err("not_borderline");
    }
    // Nobody of its own around: more likely noise than a border (Han et al. 2005).
    if foreign == around.len() {
        return Err("surrounded_by_others");
    }
    let near = interpolate::neighbours(scene, place);
    if near.is_empty() {
        return Err("no_neighbour");
    }
    let mut rng = of.seeds.variant(draw).rng();
    let row = near[rng.random_range(0..near.len())];
    let u: f64 = 1.0 - rng.random::<f64>();
    Ok(Drawn { moves: scene.toward(place, row, scene.config.radius * u)?, partners: vec![row] })
}
