//! Gradient ascent on the loss inside an L2 ball around the latent, whose radius is measured in the spacing of the class.

use super::{
    scene::{Draw, Drawn, Moves, Scene, moved},
    statistics,
};
use crate::{
    error::Result,
    model::{Input, Latents, Matrix, Objective, Target},
    sample::{Modality, PerModality},
};

fn length(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// Makes a vector `to` long, or no longer than that.
fn scale(x: &mut [f32], to: f64, at_most: bool) {
    let own = length(x);
    if own > 0.0 && (!at_most || own > to) {
        x.iter_mut().for_each(|v| *v = (f64::from(*v) * to / own) as f32);
    }
}

pub(super) fn draw(scene: &Scene<'_>, wanted: &[(usize, usize)]) -> Result<Vec<Draw>> {
    let mut points: Vec<Moves> = Vec::with_capacity(wanted.len());
    let mut radii: Vec<PerModality<f64>> = Vec::with_capacity(wanted.len());
    for &(place, draw) in wanted {
        let mut radius = PerModality::from_fn(|_| 0.0);
        let mut start = Moves::default();
        for modality in scene.places[place].moved.iter() {
            let spacing = statistics::spacing(scene.context, modality, scene.places[place].class)?.unwrap_or(0.0);
            radius[modality] = scene.config.radius * spacing;
            let columns = scene.code(place, modality).map_or(0, <[f32]>::len);
            // The first draw begins at the sample itself, the others anywhere in the ball: a direction, and half the radius.
            let mut normal = scene.normal(place, draw);
            let mut own: Vec<f32> = (0..columns).map(|_| if draw == 0 { 0.0 } else { normal() as f32 }).collect();
            scale(&mut own, 0.5 * radius[modality], false);
            start[modality] = Some(own);
        }
        points.push(start);
        radii.push(radius);
    }
    let inputs: Vec<Input> = wanted.iter().map(|(place, _)| scene.places[*place].input.clone()).collect();
    let targets: Vec<Target> = wanted.iter().map(|(place, _)| scene.places[*place].target.clone()).collect();
    for _ in 0..scene.config.steps {
        let latents: Latents = PerModality::from_fn(|modality| {
            let codes = scene.codes[modality].as_ref()?;
            let mut values = Vec::with_capacity(wanted.len() * codes.columns);
            for ((place, _), point) in wanted.iter().zip(&points) {
                let h = codes.row(*place);
                match &point[modality] {
                    Some(step) => values.extend(moved(h, step, 1.0)),
                    None => values.extend(h),
                }
            }
            Some(Matrix { columns: codes.columns, values })
        });
        let slopes = scene.space.latent_gradient(&latents, &inputs, &targets, Objective::CrossEntropy)?;
        for (row, (point, radius)) in points.iter_mut().zip(&radii).enumerate() {
            for modality in Modality::ALL {
                let (Some(own), Some(slopes)) = (&mut point[modality], &slopes.latents[modality]) else { continue };
                let mut step = slopes.row(row).to_vec();
                scale(&mut step, 2.5 * radius[modality] / scene.config.steps as f64, false);
                own.iter_mut().zip(step).for_each(|(v, s)| *v += s);
                scale(own, radius[modality], true);
            }
        }
    }
    let still = |moves: &Moves| moves.iter().all(|(_, own)| own.as_ref().is_none_or(|own| own.iter().all(|v| *v == 0.0)));
    let done = |moves: Moves| if still(&moves) { Err("no_gradient") } else { Ok(Drawn { moves, partners: Vec::new() }) };
    Ok(points.into_iter().map(done).collect())
}
