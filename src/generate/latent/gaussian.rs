//! `h + radius sd_y n`: independent normal noise with the spread of the class in each dimension.

use super::scene::{Draw, Drawn, Scene};

pub(super) fn draw(scene: &Scene<'_>, place: usize, draw: usize) -> Draw {
    let moves = scene.each(place, |modality, _| {
        let mut normal = scene.normal(place, draw);
        Ok(scene.class(place, modality)?.deviation.iter().map(|s| (scene.config.radius * s * normal()) as f32).collect())
    })?;
    Ok(Drawn { moves, partners: Vec::new() })
}
