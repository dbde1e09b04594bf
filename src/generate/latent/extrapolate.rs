//! `h + radius (h - mu_y)`: away from the mean of the class.

use super::scene::{Draw, Drawn, Scene};

pub(super) fn draw(scene: &Scene<'_>, place: usize, _: usize) -> Draw {
    let moves = scene.each(place, |modality, h| {
        let mean = &scene.class(place, modality)?.mean;
        Ok(h.iter().zip(mean).map(|(h, mean)| (scene.config.radius * (f64::from(*h) - mean)) as f32).collect())
    })?;
    Ok(Drawn { moves, partners: Vec::new() })
}
