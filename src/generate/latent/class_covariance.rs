//! `h + radius L n` with `L L' = 0.9 S_y + 0.1 tr(S_y) / D I`: normal noise with the shrunk covariance of the class.

use super::scene::{Draw, Drawn, Scene};

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let moves = scene.each(place, |modality, h| {
        let mut normal = scene.normal(place, draw);
        let n: Vec<f64> = h.iter().map(|_| normal()).collect();
        Ok(scene.class(place, modality)?.correlated(&n).into_iter().map(|v| (scene.config.radius * v) as f32).collect())
    })?;
    Ok(Drawn { moves, partners: Vec::new() })
}
