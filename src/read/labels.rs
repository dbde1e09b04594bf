use super::{Entry, WrittenLabel};
use crate::{
    error::{Error, Result},
    sample::{Classes, Label},
};
use std::collections::{BTreeSet, HashMap};

/// The classes of a data set, and the way from written labels to their indices.
#[derive(Debug, Clone, Default)]
pub struct LabelIndex {
    classes: Classes,
    by_name: HashMap<String, usize>,
}

impl LabelIndex {
    /// All class names that the labels of these entries use, shares of 0 included.
    pub fn of(entries: &[Entry]) -> Self {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for label in entries.iter().filter_map(|entry| entry.label.as_ref()) {
            match label {
                WrittenLabel::Name(name) => {
                    names.insert(name);
                }
                WrittenLabel::Soft(shares) => names.extend(shares.iter().map(|(name, _)| name.as_str())),
            }
        }
        Self::with(Classes::from_names(names.into_iter().map(str::to_owned)))
    }

    /// Classes that are known already (of a trained model).
    pub fn with(classes: Classes) -> Self {
        let by_name = classes.names().iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        Self { classes, by_name }
    }

    /// The classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Refuses a data set that no classifier can be trained on: without labels, or with one class.
    pub fn require_two(&self) -> Result<()> {
        match self.classes.names() {
            [] => Err(Error::data("no sample has a label; training needs labels of at least two classes")),
            [one] => Err(Error::data(format!("all labels are `{one}`; training needs at least two classes"))),
            _ => Ok(()),
        }
    }

    /// The label of an entry with indices for names. Shares are normalised to sum to 1; a share of 1 is the class itself. A name that
    /// is not among the classes is an error with the entry's id and line.
    pub fn resolve(&self, entry: &Entry) -> Result<Option<Label>> {
        let Some(written) = &entry.label else { return Ok(None) };
        let at = |error: Error| error.at("field", "label").at("sample", &entry.id).at("line", entry.line);
        match written {
            WrittenLabel::Name(name) => self.index(name).map(|class| Some(Label::Class(class))).map_err(at),
            WrittenLabel::Soft(written) => {
                let mut shares = vec![0f64; self.classes.len()];
                for (name, share) in written {
                    // A class that is never meant need not be known.
                    if *share > 0.0 {
                        shares[self.index(name).map_err(at)?] += f64::from(*share);
                    }
                }
                let total: f64 = shares.iter().sum();
                if !(total > 0.0 && total.is_finite()) {
                    return Err(at(Error::data(format!("the shares sum to {total}; expected 1"))));
                }
                let shares: Vec<f32> = shares.into_iter().map(|share| (share / total) as f32).collect();
                let sure = shares.iter().position(|share| *share == 1.0);
                Ok(Some(sure.map_or_else(|| Label::Soft(shares.into()), Label::Class)))
            }
        }
    }

    fn index(&self, name: &str) -> Result<usize> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let known = self.classes.names();
            let more = if known.len() > 20 { format!(", ... ({} in all)", known.len()) } else { String::new() };
            let known = known.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::data(format!("the label `{name}` is never seen in training; its classes are {known}{more}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ModalitySet;
    use std::sync::Arc;

    fn entry(line: usize, label: WrittenLabel) -> Entry {
        let id = format!("s{line}").as_str().into();
        Entry { id, label: Some(label), present: ModalitySet::ALL, media: Vec::new(), fields: Arc::default(), line }
    }
    fn name(name: &str) -> WrittenLabel {
        WrittenLabel::Name(name.into())
    }
    fn soft(shares: &[(&str, f32)]) -> WrittenLabel {
        WrittenLabel::Soft(shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect())
    }

    #[test]
    fn names_become_indices() {
        let entries =
            [entry(1, name("10")), entry(2, soft(&[("9", 0.2502), ("cat", 0.7502)])), entry(3, soft(&[("10", 1.0), ("ape", 0.0)]))];
        let labels = LabelIndex::of(&entries);
        assert_eq!(labels.classes().names(), ["9", "10", "ape", "cat"]);
        assert_eq!(labels.resolve(&entries[0]).unwrap(), Some(Label::Class(1)));
        let Some(Label::Soft(shares)) = labels.resolve(&entries[1]).unwrap() else { panic!("shares stay shares") };
        assert!((shares[0] - 0.25007).abs() < 1e-4 && (shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(labels.resolve(&entries[2]).unwrap(), Some(Label::Class(1)));
    }

    #[test]
    fn a_label_never_seen_is_named() {
        let labels = LabelIndex::of(&[entry(1, name("cat")), entry(2, name("dog"))]);
        let told = labels.resolve(&entry(7, name("cow"))).unwrap_err().to_string();
        assert_eq!(told, "line 7: sample s7: field label: the label `cow` is never seen in training; its classes are cat, dog");
        let told = labels.resolve(&entry(8, soft(&[("cat", 0.5), ("cow", 0.5)]))).unwrap_err();
        assert_eq!(told.place("sample"), Some("s8"));
    }

    #[test]
    fn one_class_is_not_enough() {
        let told = LabelIndex::of(&[entry(1, name("3"))]).require_two().unwrap_err();
        assert_eq!(told.message(), "all labels are `3`; training needs at least two classes");
        let told = LabelIndex::of(&[]).require_two().unwrap_err();
        assert_eq!(told.message(), "no sample has a label; training needs labels of at least two classes");
        assert!(LabelIndex::of(&[entry(1, name("3")), entry(2, name("4"))]).require_two().is_ok());
    }
}
