//! `h + radius t (h_j - h)` toward a near sample j of another class, where t is the last point at which the model still says the class.

use super::{
    pool,
    scene::{Draw, Drawn, Scene, moved},
};
use crate::{
    error::Result,
    model::{Input, Latents, Matrix, measure},
    sample::PerModality,
};
use rand::RngExt;

/// Halvings of the way to the other class.
const HALVINGS: usize = 6;

pub(super) fn draw(scene: &Scene<'_>, wanted: &[(usize, usize)]) -> Result<Vec<Draw>> {
    let pick = |&(place, draw): &(usize, usize)| {
        let of = &scene.places[place];
        let others = pool::others(of, scene.index, scene.context, |class| class != of.class);
        let near = pool::nearest(of, others, scene.config.neighbours, &PerModality::default(), scene.index, scene.context);
        if near.is_empty() {
            return Err("no_other_class");
        }
        let row = near[of.seeds.variant(draw).rng().random_range(0..near.len())];
        Ok(Drawn { moves: scene.toward(place, row, 1.0)?, partners: vec![row] })
    };
    let mut draws: Vec<Draw> = wanted.iter().map(pick).collect();
    let open: Vec<usize> = (0..draws.len()).filter(|&i| draws[i].is_ok()).collect();
    // The parent has to be right; then the ends of the bracket are where it is and where it may be no more.
    let mut kept = vec![0.0f64; open.len()];
    let mut lost: Vec<Option<f64>> = vec![None; open.len()];
    let right = says_class(scene, wanted, &draws, &open, &kept)?;
    let at_end = says_class(scene, wanted, &draws, &open, &vec![1.0; open.len()])?;
    for (i, end) in at_end.into_iter().enumerate() {
        if end { kept[i] = 1.0 } else { lost[i] = Some(1.0) }
    }
    for _ in 0..HALVINGS {
        let middle: Vec<f64> = kept.iter().zip(&lost).map(|(kept, lost)| lost.map_or(*kept, |lost| (kept + lost) / 2.0)).collect();
        let says = says_class(scene, wanted, &draws, &open, &middle)?;
        for (i, says) in says.into_iter().enumerate() {
            match lost[i] {
                Some(_) if says => kept[i] = middle[i],
                Some(_) => lost[i] = Some(middle[i]),
                None => {}
            }
        }
    }
    for ((i, right), kept) in open.into_iter().zip(right).zip(kept) {
        if !right {
            draws[i] = Err("beyond_boundary");
        } else if let Ok(drawn) = &mut draws[i] {
            let share = scene.config.radius * kept;
            for modality in scene.places[wanted[i].0].moved.iter() {
                drawn.moves[modality].iter_mut().flatten().for_each(|v| *v = (f64::from(*v) * share) as f32);
            }
        }
    }
    Ok(draws)
}

/// Whether the model says the class of the place where its latents have gone the stated share of the way.
fn says_class(scene: &Scene<'_>, wanted: &[(usize, usize)], draws: &[Draw], open: &[usize], shares: &[f64]) -> Result<Vec<bool>> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let latents: Latents = PerModality::from_fn(|modality| {
        let codes = scene.codes[modality].as_ref()?;
        let mut values = Vec::with_capacity(open.len() * codes.columns);
        for (&i, share) in open.iter().zip(shares) {
            let h = codes.row(wanted[i].0);
            match draws[i].as_ref().ok().and_then(|drawn| drawn.moves[modality].as_ref()) {
                Some(step) => values.extend(moved(h, step, *share)),
                None => values.extend(h),
            }
        }
        Some(Matrix { columns: codes.columns, values })
    });
    let inputs: Vec<Input> = open.iter().map(|&i| scene.places[wanted[i].0].input.clone()).collect();
    let logits = scene.space.classify(&latents, &inputs)?;
    Ok(open.iter().enumerate().map(|(row, &i)| measure::argmax(logits.row(row)) == scene.places[wanted[i].0].class).collect())
}
