use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What a sample is said to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Index into [`Classes`].
    Class(usize),
    /// A probability for each class, summing to 1.
    Soft(Arc<[f32]>),
}

impl Label {
    /// The class, for a soft label the most probable one (the lowest index among equals).
    pub fn class(&self) -> usize {
        match self {
            Self::Class(class) => *class,
            Self::Soft(shares) => {
                shares.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, p)| if *p > best.1 { (i, *p) } else { best }).0
            }
        }
    }
    /// The probability given to `class`.
    pub fn share(&self, class: usize) -> f32 {
        match self {
            Self::Class(own) => f32::from(u8::from(*own == class)),
            Self::Soft(shares) => shares.get(class).copied().unwrap_or(0.0),
        }
    }
}

/// The names of the classes, in the order of their indices: numbers by value, then texts by alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Classes(Vec<String>);

impl Classes {
    /// Sorts and removes doubles: whole numbers by value first, then the other names by alphabet.
    pub fn from_names(names: impl IntoIterator<Item = String>) -> Self {
        let sorted: BTreeMap<(bool, i64, String), ()> = names
            .into_iter()
            .map(|name| {
                let number = name.parse::<i64>().ok();
                ((number.is_none(), number.unwrap_or(0), name), ())
            })
            .collect();
        Self(sorted.into_keys().map(|(_, _, name)| name).collect())
    }
    /// Index of a name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|own| own == name)
    }
    /// Name of an index, `?` for one that does not exist.
    pub fn name(&self, class: usize) -> &str {
        self.0.get(class).map_or("?", String::as_str)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// All names in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_before_names_and_in_their_own_order() {
        let classes = Classes::from_names(["10", "b", "9", "a", "9"].map(String::from));
        assert_eq!(classes.names(), ["9", "10", "a", "b"]);
        assert_eq!(classes.index("10"), Some(1));
    }

    #[test]
    fn a_soft_label_has_a_class() {
        assert_eq!(Label::Soft([0.2, 0.5, 0.3].into()).class(), 1);
        assert_eq!(Label::Class(2).share(2), 1.0);
    }
}
