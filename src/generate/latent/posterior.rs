//! `h + radius sigma(h) n`: another draw of the code that a variational autoencoder gives to the sample.

use super::scene::{Draw, Drawn, Moves, Scene};
use crate::{
    error::{Error, Result},
    model::Matrix,
    sample::{Modality, PerModality},
};

pub(super) fn draw(scene: &Scene<'_>, wanted: &[(usize, usize)]) -> Result<Vec<Draw>> {
    let mut deviations: PerModality<Option<Matrix>> = PerModality::default();
    for modality in Modality::ALL {
        let Some(codes) = &scene.codes[modality] else { continue };
        let values = wanted.iter().flat_map(|(place, _)| codes.row(*place)).copied().collect();
        let own = scene.space.deviations(modality, &Matrix { columns: codes.columns, values })?;
        let plain =
            || Error::usage(format!("`posterior` needs a variational autoencoder of {modality}: `model.fusion.{modality}.beta` above 0"));
        deviations[modality] = Some(own.ok_or_else(plain)?);
    }
    let one = |(row, &(place, draw)): (usize, &(usize, usize))| {
        let moves: Moves = scene.each(place, |modality, _| {
            let mut normal = scene.normal(place, draw);
            let own = deviations[modality].as_ref().ok_or("no_latent")?;
            Ok(own.row(row).iter().map(|s| (scene.config.radius * f64::from(*s) * normal()) as f32).collect())
        })?;
        Ok(Drawn { moves, partners: Vec::new() })
    };
    Ok(wanted.iter().enumerate().map(one).collect())
}
