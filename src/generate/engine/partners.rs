use crate::{
    context::{GenerateContext, Parent},
    error::Result,
    random::SeedTree,
    sample::{Judgement, Sample},
    transform::{PartnerClass, Partners},
};
use rand::RngExt;

/// Random rows that are looked at for each partner before all are.
const LOOKS: usize = 64;

/// Draws different partners for a parent and fetches them; `None` where there are not enough.
pub(in crate::generate) fn draw(
    wanted: &Partners,
    parent: &Parent,
    context: &GenerateContext<'_>,
    seeds: &SeedTree,
) -> Result<Option<Vec<Sample>>> {
    // In the order of the ids: that of the manifest changes nobody's partner.
    let (rows, sorted) = (context.table.rows(), context.table.sorted());
    let own = rows.get(parent.row);
    let class = parent.sample.label.as_ref().map(|label| label.class());
    let fits = |row: usize| {
        let other = &rows[row];
        let valuable = context.diagnoses.get(row).is_none_or(|diagnosis| diagnosis.judgement == Judgement::Valuable);
        let right_class = match wanted.class {
            PartnerClass::Any => true,
            PartnerClass::Same => class.is_some() && other.class == class,
            PartnerClass::Other => class.is_some() && other.class.is_some() && other.class != class,
        };
        let stranger = other.id != parent.sample.id && own.is_none_or(|own| own.group != other.group);
        stranger && valuable && right_class && other.present.contains(wanted.has)
    };
    let mut rng = seeds.rng();
    let mut drawn: Vec<usize> = Vec::with_capacity(wanted.count);
    for _ in 0..wanted.count {
        if rows.is_empty() {
            return Ok(None);
        }
        let free = |row: &usize| !drawn.contains(row) && fits(*row);
        let looked = (0..LOOKS).map(|_| sorted[rng.random_range(0..rows.len())]).collect::<Vec<_>>().into_iter().find(|row| free(row));
        // Few fit: look at all, from a drawn one on.
        let start = rng.random_range(0..rows.len());
        match looked.or_else(|| sorted[start..].iter().chain(&sorted[..start]).copied().find(|row| free(row))) {
            Some(row) => drawn.push(row),
            None => return Ok(None),
        }
    }
    drawn.into_iter().map(|row| context.fetch.fetch(&rows[row].id)).collect::<Result<_>>().map(Some)
}
