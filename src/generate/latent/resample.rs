//! `h + radius (h_a - mu_y)`: the deviation of a drawn sample of the class from its mean. It is `sd_y n` with the n of a real sample instead of a normal
//! one, so that the dimensions hang together as they do in the class.

use super::{
    pool,
    scene::{Draw, Drawn, Scene},
};
use rand::RngExt;

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let of = &scene.places[place];
    let pool = pool::others(of, scene.index, scene.context, |class| class == of.class);
    if pool.is_empty() {
        return Err("no_neighbour");
    }
    let row = pool[of.seeds.variant(draw).rng().random_range(0..pool.len())];
    let moves = scene.each(place, |modality, _| {
        let (mean, a) = (&scene.class(place, modality)?.mean, scene.row(row, modality).ok_or("no_neighbour")?);
        Ok(a.iter().zip(mean).map(|(a, mean)| (scene.config.radius * (f64::from(*a) - mean)) as f32).collect())
    })?;
    Ok(Drawn { moves, partners: vec![row] })
}
