//! Numbers that check themselves when they are read: shares, budgets, decibels, ranges.

use rand::{Rng, RngExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt};

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $what:literal, $low:expr, $high:expr, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// Checks the range; the message says what was found and what would be right.
            pub fn new(value: f64) -> Result<Self, String> {
                let ok: fn(f64) -> bool = $ok;
                if ok(value) { Ok(Self(value)) } else { Err(format!(concat!("expected ", $what, ", found {}"), value)) }
            }
            /// The number.
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_f64(self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = f64::deserialize(deserializer)?;
                Self::new(value).map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "number", "description": $what, "minimum": $low, "maximum": $high })
            }
        }
    };
}

checked!(
    /// A share of a whole, `0..=1`.
    Fraction, "a fraction in 0..=1", 0.0, 1.0, |v| (0.0..=1.0).contains(&v)
);
checked!(
    /// A probability, `0..=1`.
    Probability, "a probability in 0..=1", 0.0, 1.0, |v| (0.0..=1.0).contains(&v)
);
checked!(
    /// A level or ratio in decibels, `-120..=120`.
    Decibels, "decibels in -120..=120", -120.0, 120.0, |v| (-120.0..=120.0).contains(&v)
);

/// Radius of a norm ball, in units of the native medium (pixels are `0..=1`, waveforms `-1..=1`). Written as a number or
/// as a fraction, `8/255`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Epsilon(f64);

impl Epsilon {
    /// A radius: finite and at least 0.
    pub fn new(value: f64) -> Result<Self, String> {
        if value.is_finite() && value >= 0.0 {
            Ok(Self(value))
        } else {
            Err(format!("expected a finite radius of at least 0, found {value}"))
        }
    }
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
    fn parse(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| part.trim().parse::<f64>().map_err(|_| format!("expected a number or a fraction such as 8/255, found `{text}`"));
        match text.split_once('/') {
            Some((above, below)) => {
                let below = number(below)?;
                if below == 0.0 { Err(format!("division by zero in `{text}`")) } else { Self::new(number(above)? / below) }
            }
            None => Self::new(number(text)?),
        }
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Epsilon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Epsilon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = Epsilon;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a fraction such as 8/255")
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Epsilon, E> {
                Epsilon::new(v).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Epsilon, E> {
                self.visit_f64(v as f64)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Epsilon, E> {
                self.visit_f64(v as f64)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Epsilon, E> {
                Epsilon::parse(v).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for Epsilon {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Epsilon".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "radius of a norm ball: a number or a fraction such as 8/255", "anyOf": [
            { "type": "number", "minimum": 0 }, { "type": "string", "pattern": "^[0-9.eE+-]+( */ *[0-9.eE+-]+)?$" } ] })
    }
}

/// An interval `[low, high]` that a parameter is drawn from; written `[low, high]` or as one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Both ends finite, `low <= high`.
    pub fn new(low: f64, high: f64) -> Result<Self, String> {
        if low.is_finite() && high.is_finite() && low <= high {
            Ok(Self { low, high })
        } else {
            Err(format!("expected [low, high] with low <= high, found [{low}, {high}]"))
        }
    }
    /// The lower end.
    pub fn low(self) -> f64 {
        self.low
    }
    /// The upper end.
    pub fn high(self) -> f64 {
        self.high
    }
    /// The value at `share` (`0..=1`) of the way from low to high.
    pub fn at(self, share: f64) -> f64 {
        self.low + (self.high - self.low) * share
    }
    /// A value drawn from it, each as probable as the other.
    pub fn draw(self, rng: &mut impl Rng) -> f64 {
        self.at(rng.random_range(0.0..=1.0))
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.low, self.high].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Range;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a range [low, high] or one number")
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Range, E> {
                Range::new(v, v).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Range, E> {
                self.visit_f64(v as f64)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Range, E> {
                self.visit_f64(v as f64)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Range, A::Error> {
                let low = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let high = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                if seq.next_element::<f64>()?.is_some() {
                    return Err(de::Error::invalid_length(3, &self));
                }
                Range::new(low, high).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for Range {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Range".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "a range [low, high], or one number for both", "anyOf": [
            { "type": "number" }, { "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 } ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilon_reads_fractions() {
        let read = |text: &str| serde_json::from_str(text).and_then(serde_json::from_value::<Epsilon>);
        assert_eq!(read("\"8/255\"").unwrap().get(), 8.0 / 255.0);
        assert_eq!(read("0.3").unwrap().get(), 0.3);
        assert_eq!(read("\"1/0\"").unwrap_err().to_string(), "division by zero in `1/0`");
        assert!(read("-1").is_err() && read("\"lots\"").is_err());
    }

    #[test]
    fn shares_and_ranges_check_themselves() {
        assert_eq!(serde_json::from_value::<Fraction>(1.2.into()).unwrap_err().to_string(), "expected a fraction in 0..=1, found 1.2");
        assert!(Probability::new(f64::NAN).is_err());
        assert_eq!(serde_json::from_str::<Range>("[1, 3]").unwrap().at(0.5), 2.0);
        assert!(serde_json::from_str::<Range>("[3, 1]").is_err());
        assert!(serde_json::from_str::<Range>("[1]").is_err());
    }
}
