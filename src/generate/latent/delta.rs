//! `h + radius (h_a - h_b)`: the difference of two samples a and b of the same class.

use super::{
    pool,
    scene::{Draw, Drawn, Scene},
};
use rand::RngExt;

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let of = &scene.places[place];
    let pool = pool::others(of, scene.index, scene.context, |class| class == of.class);
    let mut rng = of.seeds.variant(draw).rng();
    let rows = scene.context.table.rows();
    if pool.is_empty() {
        return Err("no_neighbour");
    }
    let a = pool[rng.random_range(0..pool.len())];
    let rest: Vec<usize> = pool.into_iter().filter(|&row| rows[row].group != rows[a].group).collect();
    if rest.is_empty() {
        return Err("no_neighbour");
    }
    let b = rest[rng.random_range(0..rest.len())];
    let moves = scene.each(place, |modality, _| {
        let (a, b) = scene.row(a, modality).zip(scene.row(b, modality)).ok_or("no_neighbour")?;
        Ok(a.iter().zip(b).map(|(a, b)| (scene.config.radius * (f64::from(*a) - f64::from(*b))) as f32).collect())
    })?;
    Ok(Drawn { moves, partners: vec![a, b] })
}
