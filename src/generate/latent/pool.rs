//! Whom a latent may move toward.

use super::scene::Place;
use crate::{
    context::{EmbeddingIndex, GenerateContext},
    sample::{Judgement, ModalitySet, ReasonCode},
};

/// Whether the guard takes the sample of a row for what its label says.
pub(super) fn trusted(context: &GenerateContext<'_>, row: usize) -> bool {
    context.diagnoses.get(row).is_none_or(|d| d.judgement == Judgement::Valuable)
}

pub(super) fn euclidean(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// `1 - cosine` of the angle at `origin`.
fn cosine_distance(a: &[f32], b: &[f32], origin: Option<&[f64]>) -> f64 {
    let at = |i: usize| origin.and_then(|o| o.get(i)).copied().unwrap_or(0.0);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let (a, b) = (f64::from(*a) - at(i), f64::from(*b) - at(i));
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    1.0 - ab / (aa * bb).sqrt().max(1e-12)
}

fn has(index: &EmbeddingIndex, row: usize, moved: ModalitySet) -> bool {
    index.train.get(row).is_some_and(|of| moved.iter().all(|m| of[m].is_some()))
}

/// Rows of other groups that the guard trusts, of which `wanted(class)` holds and all of whose moved modalities are there; by id.
pub(super) fn others(
    place: &Place<'_>,
    index: &EmbeddingIndex,
    context: &GenerateContext<'_>,
    wanted: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let rows = context.table.rows();
    let Some(own) = rows.get(place.parent.row) else { return Vec::new() };
    let all = context.table.sorted().iter().copied();
    all.filter(|&row| row != place.parent.row && rows[row].group != own.group && rows[row].class.is_some_and(&wanted))
        .filter(|&row| has(index, row, place.moved) && trusted(context, row))
        .collect()
}

/// The rows of `pool` near a decision boundary, or all of them where none is.
pub(super) fn hard(mut pool: Vec<usize>, context: &GenerateContext<'_>) -> Vec<usize> {
    let hard = |row: &usize| context.diagnoses.get(*row).is_some_and(|d| d.has(ReasonCode::NearBoundary));
    if pool.iter().any(hard) {
        pool.retain(hard);
    }
    pool
}

/// The `k` rows of `pool` nearest to the place: by the mean over its moved modalities of the cosine distance about `origins` (about 0 where there is none),
/// equal ones by id.
pub(super) fn nearest(
    place: &Place<'_>,
    pool: Vec<usize>,
    k: usize,
    origins: &crate::sample::PerModality<Option<&[f64]>>,
    index: &EmbeddingIndex,
    context: &GenerateContext<'_>,
) -> Vec<usize> {
    let rows = context.table.rows();
    let embedding = |row: usize, m| index.train.get(row).and_then(|of| of[m].as_deref());
    let distance = |row: usize| {
        let of = place.moved.iter().map(|m| Some(cosine_distance(embedding(place.parent.row, m)?, embedding(row, m)?, origins[m])));
        of.sum::<Option<f64>>()
    };
    let mut ranked: Vec<(f64, usize)> = pool.into_iter().filter_map(|row| Some((distance(row)?, row))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| rows[a.1].id.cmp(&rows[b.1].id)));
    ranked.truncate(k);
    ranked.into_iter().map(|(_, row)| row).collect()
}
