//! Joins written predictions, sample by sample, into recorded answers and training dynamics. Memory is a row of each kind a sample,
//! whatever the number of epochs.

use super::record::{Key, Record, What};
use crate::{
    error::{Error, Result},
    model::{Matrix, RecordedRows, measure},
    read::WrittenLabel,
    sample::{Classes, HistoryRow, Modality, ModalitySet, SampleId},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Smallest probability, so that its logarithm is finite.
const LEAST: f64 = 1e-12;
/// Most members of an ensemble: each is a row of logits a sample.
const MOST_MEMBERS: usize = 1024;
/// How far probabilities may be from a sum of 1.
const TOLERANCE: f64 = 1e-2;

/// What is known of a sample without its numbers.
pub(super) struct Gathered {
    pub id: SampleId,
    pub label: Option<WrittenLabel>,
    pub class: Option<usize>,
    pub fields: Arc<Map<String, Value>>,
    pub line: usize,
    present: ModalitySet,
    epoch: Option<u64>,
    /// Whether a line of its own was read, not of a member alone.
    own: bool,
}

/// Predictions so far.
pub(super) struct Gather {
    /// Given class names in the order of the logits, and where each stands among the sorted classes.
    order: Option<(Classes, Vec<usize>)>,
    samples: Vec<Gathered>,
    by_id: HashMap<SampleId, usize>,
    matrices: BTreeMap<Key, Matrix>,
    /// Fused logits of each member by its name, in the order of their first lines.
    members: Vec<(String, Matrix)>,
    /// Which lists of one modality (of all: `None`) a sample has, by the first line that has it.
    rule: BTreeMap<Option<Modality>, (Vec<Key>, usize)>,
    history: Vec<HistoryRow>,
    epochs: bool,
    no_fields: Arc<Map<String, Value>>,
}

/// All of it.
pub(super) struct Whole {
    pub samples: Vec<Gathered>,
    pub present: Vec<ModalitySet>,
    pub classes: Classes,
    pub answers: RecordedRows,
    /// One a sample, where epochs were written.
    pub history: Option<Vec<HistoryRow>>,
}

const FUSED: Key = Key { of: None, what: What::Logits };

impl Gather {
    pub fn new(classes: Option<&[String]>) -> Self {
        let order = classes.map(|written| {
            let sorted = Classes::from_names(written.iter().cloned());
            let places = written.iter().map(|name| sorted.index(name).unwrap_or_default()).collect();
            (sorted, places)
        });
        Self {
            order,
            samples: Vec::new(),
            by_id: HashMap::new(),
            matrices: BTreeMap::new(),
            members: Vec::new(),
            rule: BTreeMap::new(),
            history: Vec::new(),
            epochs: false,
            no_fields: Arc::default(),
        }
    }

    /// Adds one record, written on `line`. On failure nothing of it is kept.
    pub fn admit(&mut self, mut record: Record, line: usize) -> Result<()> {
        let id = SampleId::new(record.id.take().ok_or_else(|| Error::data("no `id`; predictions are joined by it").at("field", "id"))?);
        let own = record.member.is_none();
        let members = self.of_members(&mut record)?;
        let mut lists: BTreeMap<Key, Vec<f32>> = BTreeMap::new();
        for (key, values) in record.lists {
            let field = key.to_string();
            let (key, values) = self.checked(key, values).map_err(|error| error.at("field", &field))?;
            if lists.insert(key, values).is_some() {
                return Err(Error::data("given twice, or as logits and as probabilities").at("field", field));
            }
        }
        let Some(columns) = lists.get(&FUSED).or(members.first().map(|(_, values)| values)).map(Vec::len) else {
            return Err(Error::data("no `logits` and no `probabilities`").at("field", "logits"));
        };
        let class = record.label.as_deref().map(|label| self.class(label, columns)).transpose().map_err(|e| e.at("field", "label"))?;
        let present = lists.keys().filter_map(|key| key.modalities()).fold(ModalitySet::EMPTY, ModalitySet::or);
        if own {
            self.follow_rule(&lists, present, line)?;
        }

        let row = match self.by_id.get(&id) {
            Some(&row) => {
                let known = &self.samples[row];
                match (known.epoch, record.epoch) {
                    _ if !(own && known.own) => {}
                    (Some(last), Some(epoch)) if epoch > last => {}
                    (Some(last), Some(epoch)) => {
                        let told =
                            format!("epoch {epoch} of `{id}` stands behind epoch {last} of line {}; expected ascending epochs", known.line);
                        return Err(Error::data(told).at("field", "epoch"));
                    }
                    _ => {
                        let told = format!("the id `{id}` stands in lines {} and {line}; ids are unique within an epoch", known.line);
                        return Err(Error::data(told).at("field", "id"));
                    }
                }
                if known.class != class && class.is_some() && known.class.is_some() {
                    let told = format!("another label than in line {}; a sample has one", known.line);
                    return Err(Error::data(told).at("field", "label"));
                }
                let twice = members.iter().find(|(k, _)| self.members.get(*k).is_some_and(|(_, of)| is_there(of, row)));
                if let Some((k, _)) = twice {
                    let told = format!("the member `{}` of `{id}` was given before; a member predicts a sample once", self.members[*k].0);
                    return Err(Error::data(told).at("field", "member"));
                }
                row
            }
            None => {
                let row = self.samples.len();
                self.by_id.insert(id.clone(), row);
                let fields = self.no_fields.clone();
                self.samples.push(Gathered {
                    id,
                    label: None,
                    class: None,
                    fields,
                    line,
                    present: ModalitySet::EMPTY,
                    epoch: None,
                    own: false,
                });
                row
            }
        };
        let sample = &mut self.samples[row];
        if own {
            sample.present = present;
            if !sample.own {
                (sample.own, sample.line) = (true, line);
            }
        }
        if !record.fields.is_empty() && sample.fields.is_empty() {
            sample.fields = Arc::new(record.fields);
        }
        if let Some(class) = class {
            sample.class = Some(class);
            sample.label = record.label.map(WrittenLabel::Name);
        }
        if let Some(epoch) = record.epoch {
            self.epochs = true;
            sample.epoch = Some(epoch);
            if let (Some(class), Some(logits)) = (sample.class, lists.get(&FUSED)) {
                if self.history.len() <= row {
                    self.history.resize(row + 1, HistoryRow::default());
                }
                self.history[row].observe(logits, class);
            }
        }
        for (k, values) in members {
            keep(&mut self.members[k].1, row, &values);
        }
        for (key, values) in lists {
            keep(self.matrices.entry(key).or_default(), row, &values);
        }
        Ok(())
    }

    /// Takes the predictions of members out of a record: by the place of each member, checked.
    fn of_members(&mut self, record: &mut Record) -> Result<Vec<(usize, Vec<f32>)>> {
        if let Some(name) = &record.member {
            if record.epoch.is_some() {
                return Err(Error::data("a line has an `epoch` or a `member`; members are those of one moment").at("field", "member"));
            }
            if let Some((key, _)) = record.lists.iter().find(|(key, _)| key.of.is_some() || key.what == What::Embedding) {
                let told = format!(
                    "`{key}` in the line of a member, which has `logits` or `probabilities` alone; it belongs to a line without `member`"
                );
                return Err(Error::data(told).at("field", key.to_string()));
            }
            record.members.extend(record.lists.drain(..).map(|(key, values)| (name.clone(), key.what, values)));
        }
        let mut found: Vec<(usize, Vec<f32>)> = Vec::with_capacity(record.members.len());
        for (name, what, values) in record.members.drain(..) {
            let (_, values) = self.checked(Key { of: None, what }, values).map_err(|error| error.at("field", format!("member {name}")))?;
            let k = match self.members.iter().position(|(known, _)| *known == name) {
                Some(k) => k,
                None if self.members.len() < MOST_MEMBERS => {
                    self.members.push((name, Matrix { columns: values.len(), values: Vec::new() }));
                    self.members.len() - 1
                }
                None => {
                    let told = format!("`{name}` is member number {}; at most {MOST_MEMBERS} are kept", MOST_MEMBERS + 1);
                    return Err(Error::data(told).at("field", "member"));
                }
            };
            if found.iter().any(|(known, _)| *known == k) {
                let name = &self.members[k].0;
                return Err(Error::data(format!("the member `{name}` is given twice in one line")).at("field", "member"));
            }
            found.push((k, values));
        }
        Ok(found)
    }

    /// The numbers of a list as they are kept: finite, of the right length, probabilities as their logarithms, classes in sorted order.
    fn checked(&self, key: Key, values: Vec<f64>) -> Result<(Key, Vec<f32>)> {
        if let Some(at) = values.iter().position(|v| !(*v as f32).is_finite()) {
            return Err(Error::data(format!("value {at} is {}; expected finite numbers", values[at])));
        }
        if key.what == What::Embedding {
            let wanted = self.matrices.get(&key).map_or(values.len().max(1), |matrix| matrix.columns);
            if values.len() != wanted {
                return Err(Error::data(format!("{} numbers; expected {wanted}, as before", values.len())));
            }
            return Ok((key, values.into_iter().map(|v| v as f32).collect()));
        }
        let given = self.order.as_ref().map(|(classes, _)| (classes.len(), "classes are listed"));
        let fused = self.matrices.get(&FUSED).or(self.members.first().map(|(_, matrix)| matrix));
        let before = fused.map(|matrix| (matrix.columns, "stand in the lines before"));
        let (wanted, why) = given.or(before).unwrap_or((values.len().max(2), "are the least"));
        if values.len() != wanted {
            return Err(Error::data(format!("{} numbers, one a class; {wanted} {why}", values.len())));
        }
        let values: Vec<f64> = if key.what == What::Logits {
            values
        } else {
            let sum: f64 = values.iter().sum();
            if (sum - 1.0).abs() > TOLERANCE || values.iter().any(|p| *p < -1e-6) {
                return Err(Error::data(format!("expected probabilities that sum to 1, found a sum of {sum:.4}; raw scores are `logits`")));
            }
            values.into_iter().map(|p| p.max(LEAST).ln()).collect()
        };
        let mut sorted = vec![0.0; values.len()];
        for (column, value) in values.into_iter().enumerate() {
            sorted[self.order.as_ref().map_or(column, |(_, places)| places[column])] = value as f32;
        }
        Ok((Key { what: What::Logits, ..key }, sorted))
    }

    fn class(&self, label: &str, columns: usize) -> Result<usize> {
        match &self.order {
            Some((classes, _)) => {
                classes.index(label).ok_or_else(|| Error::data(crate::error::unknown("class", label, classes.names().iter().map(String::as_str))))
            }
            None => label.parse().ok().filter(|class| *class < columns).ok_or_else(|| {
                let last = columns - 1;
                Error::data(format!(
                    "expected a whole number in 0..={last}, found `{label}`; for names list them in the order of the logits: `classes: [...]`"
                ))
            }),
        }
    }

    /// What is given for one sample with a modality is given for all that have it; the fused embedding for all or for none.
    fn follow_rule(&mut self, lists: &BTreeMap<Key, Vec<f32>>, present: ModalitySet, line: usize) -> Result<()> {
        let subjects = || std::iter::once(None).chain(present.iter().map(Some));
        let own = |subject: Option<Modality>| -> Vec<Key> {
            let of = subject.map(ModalitySet::one);
            lists.keys().filter(|key| **key != FUSED && key.modalities() == of).copied().collect()
        };
        for subject in subjects() {
            let Some((first, at)) = self.rule.get(&subject) else { continue };
            let own = own(subject);
            let missing = first.iter().find(|key| !own.contains(key)).map(|key| (key, "is missing", "has it"));
            let new = own.iter().find(|key| !first.contains(key)).map(|key| (key, "is given", "has none"));
            if let Some((key, here, there)) = missing.or(new) {
                let whose = subject.map_or_else(|| "one sample".to_owned(), |modality| format!("one sample with {modality}"));
                let told = format!("`{key}` {here} and line {at} {there}; what {whose} has, all of them have");
                return Err(Error::data(told).at("field", key.to_string()));
            }
        }
        for subject in subjects() {
            self.rule.entry(subject).or_insert_with(|| (own(subject), line));
        }
        Ok(())
    }

    /// How many samples so far.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn finish(mut self) -> Whole {
        let rows = self.samples.len();
        // A member whose every line was refused has no row.
        let mut members: Vec<Matrix> = self.members.into_iter().map(|(_, matrix)| matrix).filter(|of| !of.values.is_empty()).collect();
        members.iter_mut().for_each(|matrix| matrix.values.resize(rows * matrix.columns, f32::NAN));
        let mut logits = self.matrices.remove(&FUSED).unwrap_or_default();
        if let Some(first) = members.first() {
            logits.columns = first.columns;
            logits.values.resize(rows * first.columns, f32::NAN);
            (0..rows).filter(|row| logits.row(*row).iter().any(|z| z.is_nan())).collect::<Vec<_>>().into_iter().for_each(|row| {
                let columns = logits.columns;
                logits.values[row * columns..(row + 1) * columns].copy_from_slice(&mean_of(&members, row, columns));
            });
        }
        let classes = match self.order {
            Some((classes, _)) => classes,
            None => Classes::from_names((0..logits.columns).map(|k| k.to_string())),
        };
        let mut answers = RecordedRows { logits, members, ..RecordedRows::default() };
        for (key, mut matrix) in self.matrices {
            matrix.values.resize(rows * matrix.columns, f32::NAN);
            match (key.what, key.modalities()) {
                (What::Embedding, None) => answers.fused = Some(matrix),
                (What::Embedding, Some(of)) => {
                    if let Some(modality) = of.iter().next() {
                        answers.embeddings[modality] = Some(matrix);
                    }
                }
                (_, Some(of)) => answers.subsets.push((of, matrix)),
                (_, None) => {}
            }
        }
        let present = self.samples.iter().map(|sample| sample.present).collect();
        let mut history = self.history;
        history.resize(rows, HistoryRow::default());
        Whole { samples: self.samples, present, classes, answers, history: self.epochs.then_some(history) }
    }
}

/// Whether a row of a matrix that grows was written.
fn is_there(matrix: &Matrix, row: usize) -> bool {
    matrix.values.get(row * matrix.columns).is_some_and(|v| !v.is_nan())
}

/// Writes a row of a matrix that grows; rows in between are NaN.
fn keep(matrix: &mut Matrix, row: usize, values: &[f32]) {
    matrix.columns = values.len();
    let end = (row + 1) * values.len();
    if matrix.values.len() < end {
        matrix.values.resize(end, f32::NAN);
    }
    matrix.values[end - values.len()..end].copy_from_slice(values);
}

/// The logarithm of the mean probability of the members that predict a row: the answer of the ensemble.
fn mean_of(members: &[Matrix], row: usize, columns: usize) -> Vec<f32> {
    let mut mean = vec![0.0f64; columns];
    let mut count = 0.0;
    for of in members.iter().filter(|of| is_there(of, row)) {
        mean.iter_mut().zip(measure::probabilities(of.row(row))).for_each(|(mean, p)| *mean += p);
        count += 1.0;
    }
    mean.into_iter().map(|sum| (sum / count).max(LEAST).ln() as f32).collect()
}
