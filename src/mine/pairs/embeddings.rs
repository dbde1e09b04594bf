use crate::{
    error::{Error, Result},
    nearest::normalise,
};

/// The class of a row that has none.
pub(super) const NO_CLASS: u32 = u32::MAX;

/// Embeddings scaled to length 1, with what is known of each row: its class, the group it belongs to, the sample it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    pub(super) dim: usize,
    /// Rows of `dim` numbers; all NaN where a row is unusable, so that it loses every comparison.
    pub(super) values: Vec<f32>,
    /// [`NO_CLASS`] where a row has none; empty where none was given.
    pub(super) classes: Vec<u32>,
    /// Empty where none was given.
    pub(super) groups: Vec<Option<u64>>,
    /// Empty where none was given.
    pub(super) ids: Vec<u64>,
}

impl Embeddings {
    /// Rows of `dim` numbers, one row behind the other, scaled to Euclidean length 1. A row of zeros or with a number that is not finite is kept
    /// as unusable. Fails where the numbers do not fill whole rows, or for 2^32 rows and more.
    pub fn new(values: &[f32], dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::usage(format!("{} numbers are no rows of {dim}", values.len())));
        }
        if u32::try_from(values.len() / dim).is_err() {
            return Err(Error::usage(format!("expected fewer than 2^32 rows, found {}", values.len() / dim)));
        }
        let mut values = values.to_vec();
        normalise(&mut values, dim);
        for row in values.chunks_exact_mut(dim).filter(|row| row.iter().all(|v| *v == 0.0)) {
            row.fill(f32::NAN);
        }
        Ok(Self { dim, values, classes: Vec::new(), groups: Vec::new(), ids: Vec::new() })
    }

    /// With the class of each row, below 2^32 - 1; `None` where it is not known. Takes `&[usize]` and `&[Option<usize>]`. Fails where the
    /// number of classes is not the number of rows.
    pub fn with_classes<C: Copy + Into<Option<usize>>>(mut self, classes: &[C]) -> Result<Self> {
        self.one_a_row("classes", classes.len())?;
        let number = |class: &C| match (*class).into() {
            None => Ok(NO_CLASS),
            Some(class) => u32::try_from(class)
                .ok()
                .filter(|class| *class != NO_CLASS)
                .ok_or_else(|| Error::usage(format!("expected classes below 2^32 - 1, found {class}"))),
        };
        self.classes = classes.iter().map(number).collect::<Result<_>>()?;
        Ok(self)
    }

    /// With the group of each row (a speaker, a scene, a medium): rows of one group are never each other's hard negatives. `None` where a row
    /// belongs to none. Fails where the number of groups is not the number of rows.
    pub fn with_groups<G: Copy + Into<Option<u64>>>(mut self, groups: &[G]) -> Result<Self> {
        self.one_a_row("groups", groups.len())?;
        self.groups = groups.iter().map(|group| (*group).into()).collect();
        Ok(self)
    }

    /// With the sample that each row shows. Rows of one sample are one thing: a class miner pairs none of them, and across modalities they are the
    /// true pairs. Fails where the number of ids is not the number of rows.
    pub fn with_ids(mut self, ids: &[u64]) -> Result<Self> {
        self.one_a_row("ids", ids.len())?;
        self.ids = ids.to_vec();
        Ok(self)
    }

    fn one_a_row(&self, what: &str, found: usize) -> Result<()> {
        if found == self.len() { Ok(()) } else { Err(Error::usage(format!("expected {} {what}, one a row, found {found}", self.len()))) }
    }

    /// These rows, in this order, with what is known of them. Panics past the end, like a slice.
    #[must_use]
    pub fn pick(&self, rows: &[usize]) -> Self {
        fn of<T: Copy>(known: &[T], rows: &[usize]) -> Vec<T> {
            if known.is_empty() { Vec::new() } else { rows.iter().map(|row| known[*row]).collect() }
        }
        let values = rows.iter().flat_map(|row| self.row(*row)).copied().collect();
        Self { dim: self.dim, values, classes: of(&self.classes, rows), groups: of(&self.groups, rows), ids: of(&self.ids, rows) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Whether the row was neither zero nor without a direction (NaN, infinite). False beyond the last row.
    pub fn usable(&self, row: usize) -> bool {
        self.values.get(row * self.dim).is_some_and(|first| !first.is_nan())
    }

    /// The class of a row, where it is known.
    pub fn class(&self, row: usize) -> Option<usize> {
        self.classes.get(row).filter(|class| **class != NO_CLASS).map(|class| *class as usize)
    }

    /// The row, of length 1; all NaN where it is unusable.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
    }
}
