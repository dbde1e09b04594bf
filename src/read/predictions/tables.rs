//! Predictions as CSV and as NPY files.

use super::record::{Key, Record, What, epoch, name};
use crate::{
    codec::npy::{self, Array, Numbers},
    error::{Error, Result},
};
use serde_json::Value;
use std::{collections::BTreeMap, io::Read};

/// Where a CSV column goes.
enum Column {
    Id,
    Label,
    Epoch,
    Member,
    List(Key, usize),
    Field(String),
}

/// Reads CSV with a header; each record, or its error, with its line.
pub(super) fn of_csv(input: impl Read, delimiter: u8, mut take: impl FnMut(usize, Result<Record>)) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(input);
    let header = reader.headers().map_err(|error| Error::data(format!("its header cannot be read: {error}")).at("line", 1))?.clone();
    let columns: Vec<Column> = header.iter().map(column).collect();
    let mut widths: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for one in &columns {
        if let Column::List(key, place) = one {
            widths.entry(*key).or_default().push(*place);
        }
    }
    for (key, places) in &mut widths {
        places.sort_unstable();
        if places.iter().enumerate().any(|(i, place)| i != *place) {
            return Err(
                Error::data(format!("the columns of `{key}` are numbered {places:?}; expected 0, 1, 2, ... each once")).at("line", 1)
            );
        }
    }
    if !columns.iter().any(|column| matches!(column, Column::Id)) {
        return Err(Error::data("the header has no column `id`; predictions are joined by it").at("line", 1));
    }
    let mut row = csv::StringRecord::new();
    loop {
        let line = reader.position().line() as usize;
        match reader.read_record(&mut row) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = row.position().map_or(line, |at| at.line() as usize);
                take(line, record(&row, &columns, &widths));
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => return Err(Error::data(error.to_string())),
            Err(error) => take(line, Err(Error::data(told(&error)))),
        }
    }
}

fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("{len} cells; the header has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".into(),
        _ => error.to_string(),
    }
}

fn column(written: &str) -> Column {
    let written = written.trim_start_matches('\u{feff}');
    let numbered = written.rsplit_once('_').and_then(|(stem, place)| Some(Column::List(Key::of(stem)?, place.parse().ok()?)));
    match written {
        "id" | "guid" => Column::Id,
        "label" | "gold" => Column::Label,
        "epoch" => Column::Epoch,
        "member" => Column::Member,
        other => numbered.unwrap_or_else(|| Column::Field(other.to_owned())),
    }
}

fn record(row: &csv::StringRecord, columns: &[Column], widths: &BTreeMap<Key, Vec<usize>>) -> Result<Record> {
    let mut record = Record::default();
    let mut lists: BTreeMap<Key, Vec<Option<f64>>> = widths.iter().map(|(key, places)| (*key, vec![None; places.len()])).collect();
    let text = |cell: &str| Value::String(cell.to_owned());
    for (cell, column) in row.iter().zip(columns).filter(|(cell, _)| !cell.is_empty()) {
        match column {
            Column::Id => record.id = Some(name(text(cell), "id")?),
            Column::Member => record.member = Some(name(text(cell), "member")?),
            Column::Label => record.label = Some(name(text(cell), "label")?),
            Column::Epoch => {
                let value = cell.parse::<f64>().ok().and_then(|v| serde_json::Number::from_f64(v).map(Value::Number));
                record.epoch = Some(epoch(&value.unwrap_or_else(|| text(cell)))?);
            }
            Column::List(key, place) => {
                let bad = || Error::data(format!("expected a number, found `{cell}`")).at("field", format!("{key}_{place}"));
                lists.entry(*key).or_default()[*place] = Some(cell.parse().map_err(|_| bad())?);
            }
            Column::Field(field) => {
                record.fields.insert(field.clone(), serde_json::from_str(cell).unwrap_or_else(|_| text(cell)));
            }
        }
    }
    for (key, cells) in lists {
        // All cells empty: the sample has none of it.
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let whole = |(place, cell): (usize, Option<f64>)| {
            cell.ok_or_else(|| Error::data("an empty cell among numbers").at("field", format!("{key}_{place}")))
        };
        record.lists.push((key, cells.into_iter().enumerate().map(whole).collect::<Result<_>>()?));
    }
    Ok(record)
}

/// What the NPY files of one data set hold together.
#[derive(Default)]
pub(super) struct Arrays {
    ids: Option<Vec<String>>,
    labels: Option<Vec<String>>,
    lists: Vec<(Key, Numbers)>,
    /// Of all members: (members, samples, classes).
    members: Option<(What, Numbers)>,
}

impl Arrays {
    /// Adds one file by its name without extension.
    pub fn add(&mut self, stem: &str, bytes: &[u8]) -> Result<()> {
        let last = stem.rsplit('_').next().unwrap_or(stem);
        let array = npy::decode(bytes)?;
        if matches!(last, "ids" | "id" | "labels" | "label") {
            let names = names(array)?;
            let place = if last.starts_with("id") { &mut self.ids } else { &mut self.labels };
            if place.replace(names).is_some() {
                return Err(Error::data(format!("a second file of {last}; expected one")));
            }
            return Ok(());
        }
        if let Some(what) = Key::of_members(stem) {
            let Array::Numbers(numbers) = array else { return Err(Error::data("texts; expected numbers")) };
            if numbers.shape.len() != 3 {
                return Err(Error::data(format!("an array of shape {:?}; expected (members, samples, classes)", numbers.shape)));
            }
            if self.members.replace((what, numbers)).is_some() {
                return Err(Error::data("a second file of members; expected one, of logits or of probabilities"));
            }
            return Ok(());
        }
        let key = Key::of_stem(stem).ok_or_else(|| {
            Error::data("its name does not say what it holds; expected a name that ends in such as logits, probabilities, image_logits, audio_embedding, member_logits, labels, ids")
        })?;
        let Array::Numbers(numbers) = array else { return Err(Error::data("texts; expected numbers")) };
        let fused = key.of.is_none() && key.what != What::Embedding;
        if !(numbers.shape.len() == 2 || fused && numbers.shape.len() == 3) {
            let more = if fused { ", or (epochs, samples, classes)" } else { "" };
            return Err(Error::data(format!("an array of shape {:?}; expected (samples, columns){more}", numbers.shape)));
        }
        if self.lists.iter().any(|(known, _)| *known == key) {
            return Err(Error::data(format!("a second file of {key}; expected one")));
        }
        self.lists.push((key, numbers));
        Ok(())
    }

    /// Adds ids, one a line.
    pub fn add_ids(&mut self, text: &str) -> Result<()> {
        let ids = text.trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).collect();
        match self.ids.replace(ids) {
            Some(_) => Err(Error::data("a second file of ids; expected one")),
            None => Ok(()),
        }
    }

    /// Gives out the records, sample by sample within each epoch, with the row from 1 in place of a line.
    pub fn records(self, mut take: impl FnMut(usize, Result<Record>)) -> Result<()> {
        let rows = |numbers: &Numbers| numbers.shape[numbers.shape.len() - 2];
        let of_members = self.members.iter().map(|(_, numbers)| ("member_logits".to_owned(), rows(numbers)));
        let mut sizes = self.lists.iter().map(|(key, numbers)| (key.to_string(), rows(numbers))).chain(of_members.clone());
        let Some((first, count)) = sizes.next() else {
            return Err(Error::data("no file of logits or probabilities among them"));
        };
        let others = self.lists.iter().map(|(key, numbers)| (key.to_string(), rows(numbers))).chain(of_members);
        let named = [("ids", &self.ids), ("labels", &self.labels)];
        let named = named.into_iter().filter_map(|(what, list)| Some((what.to_owned(), list.as_ref()?.len())));
        if let Some((what, other)) = others.chain(named).find(|(_, other)| *other != count) {
            return Err(Error::data(format!("{what} has {other} rows and {first} has {count}; expected as many")));
        }
        let epochs = self.lists.iter().map(|(_, numbers)| if numbers.shape.len() == 3 { numbers.shape[0] } else { 1 }).max().unwrap_or(1);
        let many = self.lists.iter().any(|(_, numbers)| numbers.shape.len() == 3);
        for epoch in 0..epochs {
            for row in 0..count {
                let mut record = Record {
                    id: Some(self.ids.as_ref().map_or_else(|| row.to_string(), |ids| ids[row].clone())).filter(|id| !id.is_empty()),
                    label: self.labels.as_ref().map(|labels| labels[row].clone()).filter(|label| !label.is_empty()),
                    epoch: many.then_some(epoch as u64),
                    ..Record::default()
                };
                if let Some((what, numbers)) = self.members.as_ref().filter(|_| epoch + 1 == epochs) {
                    let columns = numbers.shape[2];
                    // A row of NaN: this member does not predict the sample.
                    let of = |k: usize| &numbers.values[(k * count + row) * columns..][..columns];
                    let there = (0..numbers.shape[0]).filter(|k| !of(*k).iter().all(|v| v.is_nan()));
                    record.members = there.map(|k| (k.to_string(), *what, of(k).to_vec())).collect();
                }
                for (key, numbers) in &self.lists {
                    let columns = numbers.shape[numbers.shape.len() - 1];
                    let at = if numbers.shape.len() == 3 { epoch * count + row } else { row } * columns;
                    let values = &numbers.values[at..at + columns];
                    // A row of NaN says that the sample has none of it.
                    if key.of.is_none() || !values.iter().all(|v| v.is_nan()) {
                        record.lists.push((*key, values.to_vec()));
                    }
                }
                take(row + 1, Ok(record));
            }
        }
        Ok(())
    }
}

fn names(array: Array) -> Result<Vec<String>> {
    match array {
        Array::Texts(names) => Ok(names),
        Array::Numbers(Numbers { shape, values }) if shape.len() == 1 => {
            let whole = |v: &f64| (v.fract() == 0.0 && v.abs() < 9e15).then(|| (*v as i64).to_string());
            values.iter().map(|v| whole(v).ok_or_else(|| Error::data(format!("{v}; expected whole numbers or texts")))).collect()
        }
        Array::Numbers(Numbers { shape, .. }) => Err(Error::data(format!("an array of shape {shape:?}; expected one axis"))),
    }
}
