use super::{
    Miner,
    pairs::{Compare, Embeddings, HardNegatives, Sampling},
    rank::{Eligible, USUAL_BAND, Weighting, frozen_band, hardest, is_valuable, selection},
};
use crate::{
    context::{MineContext, Space},
    error::{Error, Problem, Result},
    operator::{Configure, Kept, Requirements, Table},
    random::SeedTree,
    sample::{Diagnosis, ModalitySet, Partner, ScoreTable, Selection},
    units::Fraction,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Chooses the samples with the hardest negatives and names them: within one embedding, or across two modalities.
///
/// Method: every sample with an embedding in `query` is held against all embeddings in `keys`. Never taken are its own sample, its class, its group, near-duplicates of its positive and what the margins
/// keep out (a near key may be right, but unlabelled); what is left is ranked by cosine and taken from the ranks `range_min..range_max`. The hardness of a sample is the cosine of its hardest
/// negative minus that of its positive: its own embedding in `keys`, 1 where `query` and `keys` are the same. The `fraction` hardest valuable samples are chosen, equal ones by id;
/// suspects are neither chosen nor anybody's negative. The negatives stand in `scores.jsonl` under `selected` and in what `hardmine mine` prints.
///
/// Reference: Reimers, Gurevych, Sentence-BERT, 2019 (`mine_hard_negatives`); Moreira et al., NV-Retriever, 2024 (the relative margin); Faghri et al., VSE++, 2018 (hard negatives across modalities).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Negatives {
    /// Embedding of the samples that look for negatives.
    pub query: Space,
    /// Embedding they are looked for in.
    pub keys: Space,
    /// Negatives of a sample, 1 to 1000.
    pub count: usize,
    /// Ranks that are skipped: the very nearest are most often false negatives.
    pub range_min: usize,
    /// First rank that is not considered, at least `range_min` + `count`; null for that, ten times as many ranks for a random choice.
    pub range_max: Option<usize>,
    /// Largest cosine of a negative, -1..=1; null for no limit.
    pub max_score: Option<f32>,
    /// A negative is at least this much less similar than the positive, in units of cosine, 0..=2; null for no such margin.
    pub absolute_margin: Option<f32>,
    /// The same as a share of the positive's similarity, 0..=2; null for no such margin.
    pub relative_margin: Option<f32>,
    /// Keys whose cosine with the positive is at least this show the same thing; above 0, at most 1; null to keep them.
    pub duplicate: Option<f32>,
    /// The nearest, or a random choice of the ranks.
    pub sampling: Sampling,
    /// Share of the samples with a negative to choose, above 0 and at most 1.
    pub fraction: Fraction,
    /// Weight of the chosen in training.
    pub weights: Weighting,
}

impl Default for Negatives {
    fn default() -> Self {
        let HardNegatives { count, range_min, range_max, max_score, absolute_margin, relative_margin, duplicate, sampling } =
            HardNegatives::default();
        let fraction = Fraction::new(0.2).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        let (query, keys, weights) = (Space::Fused, Space::Fused, Weighting::Neutral);
        Self {
            query,
            keys,
            count,
            range_min,
            range_max,
            max_score,
            absolute_margin,
            relative_margin,
            duplicate,
            sampling,
            fraction,
            weights,
        }
    }
}

impl Configure<dyn Miner> for Negatives {
    const NAME: &'static str = "hard_negatives";
    const EXAMPLE: &'static str = "{ query: image, keys: image, count: 5, relative_margin: 0.05 }";

    fn build(self, _: &Table<dyn Miner>) -> Result<Box<dyn Miner>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, field: &str, wanted: String| {
            if !holds {
                problems.push(Problem::new(field, wanted));
            }
        };
        let between = |v: Option<f32>, low: f32, high: f32| v.is_none_or(|v| (low..=high).contains(&v));
        check((1..=1000).contains(&self.count), "count", format!("expected 1 to 1000, found {}", self.count));
        let least = self.range_min.saturating_add(self.count);
        if let Some(last) = self.range_max {
            check(last >= least, "range_max", format!("expected at least {least} (`range_min` + `count`), found {last}"));
        }
        check(between(self.max_score, -1.0, 1.0), "max_score", "expected a cosine, -1 to 1".into());
        check(between(self.absolute_margin, 0.0, 2.0), "absolute_margin", "expected 0 to 2".into());
        check(between(self.relative_margin, 0.0, 2.0), "relative_margin", "expected 0 to 2".into());
        check(
            between(self.duplicate, 0.0, 1.0) && self.duplicate != Some(0.0),
            "duplicate",
            "expected a cosine above 0 and at most 1".into(),
        );
        check(self.fraction.get() > 0.0, "fraction", "nothing would be chosen; expected a fraction above 0".into());
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// What a miner needs that looks at these embeddings.
pub(super) fn needs(spaces: &[Space]) -> Requirements {
    let embeddings: ModalitySet = spaces.iter().filter_map(|space| space.modality()).collect();
    let fused = spaces.contains(&Space::Fused);
    Requirements { embeddings, kept: Kept { embeddings, fused, ..Kept::default() }, ..Requirements::default() }
}

/// The embeddings of `space` of all valuable rows, by sample id, so that ties do not hang on the order of the data; with their rows of the table.
pub(super) fn gathered(
    table: &ScoreTable,
    diagnoses: &[Diagnosis],
    context: &MineContext<'_>,
    space: Space,
) -> Result<(Vec<usize>, Embeddings)> {
    let (rows, dim, values) = context.answers.subject.vectors(table, space);
    let mut kept: Vec<usize> = (0..rows.len()).filter(|&i| is_valuable(diagnoses, rows[i])).collect();
    kept.sort_by(|a, b| table.rows()[rows[*a]].id.cmp(&table.rows()[rows[*b]].id));
    let values: Vec<f32> = kept.iter().flat_map(|&i| &values[i * dim..][..dim]).copied().collect();
    let rows: Vec<usize> = kept.into_iter().map(|i| rows[i]).collect();
    let of = |row: &usize| &table.rows()[*row];
    let classes: Vec<Option<usize>> = rows.iter().map(|row| of(row).class).collect();
    let groups: Vec<Option<u64>> = rows.iter().map(|row| Some(of(row).group as u64)).collect();
    // A number that hangs on the id alone: draws are addressed by it.
    let ids: Vec<u64> = rows.iter().map(|row| SeedTree::new(0).sample(of(row).id.as_str()).number()).collect();
    let embeddings = Embeddings::new(&values, dim.max(1))?.with_classes(&classes)?.with_groups(&groups)?.with_ids(&ids)?;
    Ok((rows, embeddings))
}

/// An error where a split that has samples has none with this embedding.
pub(super) fn some(rows: &[usize], table: &ScoreTable, space: Space) -> Result<()> {
    if rows.is_empty() && !table.is_empty() {
        let name = space.modality().map_or("fused", |modality| modality.name());
        let message = format!("no valuable sample has a {name} embedding from this model; other embeddings: fused, image, audio, text");
        return Err(Error::usage(message));
    }
    Ok(())
}

/// The partner in row `row` of the table.
pub(super) fn partner(table: &ScoreTable, row: usize, similarity: f32) -> Partner {
    Partner { id: table.rows()[row].id.clone(), similarity: similarity.clamp(-1.0, 1.0) }
}

impl Negatives {
    fn search(&self) -> HardNegatives {
        let Self { count, range_min, range_max, max_score, absolute_margin, relative_margin, duplicate, sampling, .. } = self.clone();
        HardNegatives { count, range_min, range_max, max_score, absolute_margin, relative_margin, duplicate, sampling }
    }
}

impl Miner for Negatives {
    fn requirements(&self) -> Requirements {
        let compared = [self.query, self.keys].into_iter().filter_map(Space::modality).collect();
        Requirements { compared, ..needs(&[self.query, self.keys]) }
    }

    fn mine(&self, table: &ScoreTable, diagnoses: &[Diagnosis], context: &MineContext<'_>) -> Result<Selection> {
        let (query_rows, queries) = gathered(table, diagnoses, context, self.query)?;
        let (key_rows, keys) =
            if self.query == self.keys { (query_rows.clone(), queries.clone()) } else { gathered(table, diagnoses, context, self.keys)? };
        some(&query_rows, table, self.query)?;
        some(&key_rows, table, self.keys)?;
        if query_rows.is_empty() {
            return Ok(Selection::default());
        }
        if queries.dim() != keys.dim() {
            let message = format!(
                "the embeddings of `query` and `keys` cannot be compared: they have {} and {} numbers; take two encoders with one space",
                queries.dim(),
                keys.dim()
            );
            return Err(Error::usage(message));
        }
        let within = self.query == self.keys;
        let compare = if within { Compare::within(&queries) } else { Compare::between(&queries, &keys)? };
        let found = self.search().find(compare, &context.seeds)?;
        let key_of: HashMap<usize, usize> = key_rows.iter().enumerate().map(|(i, row)| (*row, i)).collect();
        let query_of: HashMap<usize, usize> = query_rows.iter().enumerate().map(|(i, row)| (*row, i)).collect();
        let mut eligible = Vec::new();
        for (i, negatives) in found.iter().enumerate() {
            let Some(first) = negatives.first() else { continue };
            let positive = match key_of.get(&query_rows[i]) {
                Some(own) if !within => compare.similarity(i, *own),
                Some(_) => 1.0,
                // Without a positive the hardness is that of the negative alone.
                None => 0.0,
            };
            eligible.push(Eligible { row: query_rows[i], score: first.similarity - positive });
        }
        let wanted = (self.fraction.get() * eligible.len() as f64 - 1e-9).ceil() as usize;
        let chosen = hardest(table, eligible, wanted);
        let band = frozen_band(table, diagnoses, "loss", USUAL_BAND.0, USUAL_BAND.1);
        let mut selected = selection(table, chosen, self.weights, context.stage, band);
        for one in &mut selected.samples {
            let negatives = query_of.get(&one.row).and_then(|i| found.get(*i)).into_iter().flatten();
            one.negatives = negatives.map(|n| partner(table, key_rows[n.row], n.similarity)).collect();
        }
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mine::triplets::tests::{Point, mine, world};
    use serde_json::json;

    /// Image and audio angles in degrees, class, group.
    const POINTS: [Point; 5] = [
        (0.0, 5.0, Some(0), 0),
        (10.0, 50.0, Some(1), 1),
        (40.0, 42.0, Some(0), 2),
        (90.0, 95.0, Some(1), 3),
        (180.0, f64::NAN, Some(0), 4),
    ];

    fn names(selection: &Selection) -> Vec<(&str, Vec<&str>)> {
        let of = |partners: &[Partner]| partners.iter().map(|p| p.id.clone()).collect::<Vec<_>>();
        selection
            .samples
            .iter()
            .map(|s| {
                let names = of(&s.negatives);
                let place = |id: &crate::sample::SampleId| ["s0", "s1", "s2", "s3", "s4"].into_iter().find(|n| *n == id.as_str()).unwrap();
                (place(&s.id), names.iter().map(place).collect())
            })
            .collect()
    }

    #[test]
    fn negatives_within_an_embedding_are_the_nearest_of_other_classes() {
        let world = world(&POINTS);
        let found = mine(
            json!({ "hard_negatives": { "query": "image", "keys": "image", "count": 1, "relative_margin": null, "duplicate": null, "fraction": 1.0 } }),
            &world,
            &[],
        );
        let found = found.unwrap();
        assert_eq!(names(&found), [("s0", vec!["s1"]), ("s1", vec!["s0"]), ("s2", vec!["s1"]), ("s3", vec!["s2"]), ("s4", vec!["s3"])]);
        let [first, .., last] = found.samples.as_slice() else { panic!("five") };
        // cos 10 degrees against itself; cos 90 degrees.
        assert!((first.score - (10f32.to_radians().cos() - 1.0)).abs() < 1e-6 && (last.score + 1.0).abs() < 1e-6);
        assert!((first.negatives[0].similarity - 10f32.to_radians().cos()).abs() < 1e-6);
    }

    #[test]
    fn across_modalities_the_own_partner_is_the_positive() {
        let world = world(&POINTS);
        let open = json!({ "query": "image", "keys": "audio", "count": 2, "relative_margin": null, "duplicate": null, "fraction": 0.25 });
        let found = mine(json!({ "hard_negatives": open }), &world, &[]).unwrap();
        // s1 (image 10, audio 50): audio of s0 at 5 is 5 degrees away, its own 40: the hardest of five.
        assert_eq!(names(&found)[0], ("s1", vec!["s0", "s2"]));
        let expected = 5f32.to_radians().cos() - 40f32.to_radians().cos();
        assert!((found.samples.iter().find(|s| s.id.as_str() == "s1").unwrap().score - expected).abs() < 1e-6);
        // A margin is a guard: what is nearer than the own partner may be its true match, and is kept out.
        let guarded = json!({ "query": "image", "keys": "audio", "count": 2, "relative_margin": 0.05, "duplicate": null, "fraction": 1.0 });
        let found = mine(json!({ "hard_negatives": guarded }), &world, &[]).unwrap();
        let own = |id: &str| found.samples.iter().find(|s| s.id.as_str() == id).cloned();
        assert_eq!(own("s1").map(|s| s.negatives.len()), None, "every audio of another class is nearer than its own allows");
        // s4 has no audio: nothing guards it.
        assert_eq!(own("s4"), None);
        assert!(own("s0").is_some_and(|s| s.negatives.iter().all(|n| n.similarity <= 0.95 * 5f32.to_radians().cos())));
    }

    #[test]
    fn suspects_are_neither_chosen_nor_negatives() {
        let world = world(&POINTS);
        let mut diagnoses = vec![Diagnosis::clear(); 5];
        diagnoses[1].judgement = crate::sample::Judgement::SuspectLabel;
        let written =
            json!({ "hard_negatives": { "query": "image", "keys": "image", "count": 4, "relative_margin": null, "fraction": 1.0 } });
        let found = mine(written, &world, &diagnoses).unwrap();
        assert!(names(&found).iter().all(|(id, negatives)| *id != "s1" && !negatives.contains(&"s1")));
        assert_eq!(found.samples.len(), 4);
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let (table, answers) = world(&POINTS);
        let nothing = (table.clone(), crate::context::Answers::default());
        let told = mine(json!({ "hard_negatives": { "query": "text", "keys": "text" } }), &nothing, &[]).unwrap_err().to_string();
        assert!(told.contains("no valuable sample has a text embedding"), "{told}");
        let mut uneven = answers;
        uneven.subject.outputs.embeddings.audio = Some(crate::model::Matrix { columns: 3, values: vec![1.0; 15] });
        let told = mine(json!({ "hard_negatives": { "query": "image", "keys": "audio" } }), &(table, uneven), &[]).unwrap_err().to_string();
        assert!(told.contains("2 and 3 numbers"), "{told}");
    }
}
