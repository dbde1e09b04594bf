use crate::{
    error::Problem,
    units::{Decibels, Fraction, Probability, Range},
};
use std::ops::RangeInclusive;

/// The problems of a config, one line a field.
#[derive(Debug, Clone, Default)]
pub struct Checks(Vec<Problem>);

/// A number or a range of numbers of a config.
pub trait Bounds: Copy {
    /// Least and greatest.
    fn bounds(self) -> (f64, f64);
}

impl Bounds for f64 {
    fn bounds(self) -> (f64, f64) {
        (self, self)
    }
}
impl Bounds for usize {
    fn bounds(self) -> (f64, f64) {
        (self as f64, self as f64)
    }
}
impl Bounds for Range {
    fn bounds(self) -> (f64, f64) {
        (self.low(), self.high())
    }
}
impl Bounds for Fraction {
    fn bounds(self) -> (f64, f64) {
        (self.get(), self.get())
    }
}
impl Bounds for Decibels {
    fn bounds(self) -> (f64, f64) {
        (self.get(), self.get())
    }
}

impl Checks {
    /// No problem yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// A number, or both ends of a range, must lie within `allowed`; `what` names the unit (`pixels`).
    #[must_use]
    pub fn within(self, path: &str, value: impl Bounds, allowed: RangeInclusive<f64>, what: &str) -> Self {
        let (low, high) = value.bounds();
        let found = if low == high { low.to_string() } else { format!("[{low}, {high}]") };
        let message = format!("expected {what} in {}..={}, found {found}", allowed.start(), allowed.end());
        self.that(allowed.contains(&low) && allowed.contains(&high), path, message)
    }
    /// What must hold, and what is said where it does not.
    #[must_use]
    pub fn that(mut self, holds: bool, path: &str, message: impl Into<String>) -> Self {
        if !holds {
            self.0.push(Problem::new(path, message));
        }
        self
    }
    /// All that was found.
    pub fn done(self) -> Vec<Problem> {
        self.0
    }
}

/// A constant range of a default.
pub fn range(low: f64, high: f64) -> Range {
    Range::new(low, high).unwrap_or_else(|_| unreachable!("a constant range"))
}
/// A constant fraction of a default.
pub fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap_or_else(|_| unreachable!("a constant fraction"))
}
/// A constant level of a default.
pub fn decibels(value: f64) -> Decibels {
    Decibels::new(value).unwrap_or_else(|_| unreachable!("a constant level"))
}
/// A constant probability of a default.
pub fn often(value: f64) -> Probability {
    Probability::new(value).unwrap_or_else(|_| unreachable!("a constant probability"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_told() {
        let found = Checks::new()
            .within("a", 3.0, 0.0..=2.0, "pixels")
            .within("b", range(0.5, 9.0), 0.0..=2.0, "pixels")
            .within("c", f64::NAN, 0.0..=2.0, "pixels")
            .within("d", 2usize, 0.0..=2.0, "words")
            .that(false, "e", "wrong")
            .done();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let wanted = [
            "a: expected pixels in 0..=2, found 3",
            "b: expected pixels in 0..=2, found [0.5, 9]",
            "c: expected pixels in 0..=2, found [NaN, NaN]",
            "e: wrong",
        ];
        assert_eq!(told, wanted);
    }
}
