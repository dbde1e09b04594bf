//! `h + radius (h_j - h)` toward a hard neighbour j of the same class.

use super::{
    pool,
    scene::{Draw, Drawn, Scene},
};
use rand::RngExt;

/// The hard neighbours of the class, the nearest first.
pub(super) fn neighbours(scene: &Scene<'_>, place: usize) -> Vec<usize> {
    let (of, context) = (&scene.places[place], scene.context);
    let able = pool::hard(pool::others(of, scene.index, context, |class| class == of.class), context);
    pool::nearest(of, able, scene.config.neighbours, &scene.means(place), scene.index, context)
}

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let near = neighbours(scene, place);
    if near.is_empty() {
        return Err("no_neighbour");
    }
    let row = near[scene.places[place].seeds.variant(draw).rng().random_range(0..near.len())];
    Ok(Drawn { moves: scene.toward(place, row, scene.config.radius)?, partners: vec![row] })
}
