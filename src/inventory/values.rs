//! The small values of an inventory that TOML has no type for: "one or several", durations, sizes.
//! Each has a visitor with a sentence for the administrator, and a schema `format` by which `shape` finds its parser.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::model::Scalar;

/// One text or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Strings(pub Vec<String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Strings, E> {
                Ok(Strings(vec![text.to_owned()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Strings, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = seq.next_element()? {
                    all.push(text);
                }
                Ok(Strings(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Strings {
    fn schema_name() -> Cow<'static, str> {
        "Strings".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// A length of time as people write it: `"500ms"`, `"10s"`, `"5min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

/// The units a [`Period`] may have, longest first so that `ms` is not taken for `s`.
const PERIOD_UNITS: [(&str, u64); 4] = [("min", 60_000), ("ms", 1), ("s", 1_000), ("h", 3_600_000)];

impl Period {
    pub const FORMAT: &'static str = "period";
    pub const PATTERN: &'static str = "^[0-9]+(ms|s|min|h)$";

    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, factor) = PERIOD_UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
        let number: u64 = digits(text.strip_suffix(unit)?)?;
        Some(Self::millis(number.checked_mul(factor)?))
    }
    /// Saturates: nothing here is meant to last 49 days.
    pub fn as_millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"a duration such as 500ms"))
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": Self::FORMAT, "pattern": Self::PATTERN })
    }
}

/// A number of bytes: `1048576`, or with PostgreSQL's units: `"1MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("B", 1)];

impl Size {
    pub const FORMAT: &'static str = "size";
    pub const PATTERN: &'static str = "^[0-9]+(B|kB|MB|GB)$";

    pub fn parse(text: &str) -> Option<Self> {
        let (unit, factor) = SIZE_UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
        Some(Self(digits(text.strip_suffix(unit)?)?.checked_mul(factor)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = SIZE_UNITS.into_iter().filter(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = fits.max_by_key(|(_, factor)| *factor).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as \"1MB\"")
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "format": Self::FORMAT,
            "minimum": 0,
            "pattern": Self::PATTERN,
        })
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "integer", "number", "string"] })
    }
}

/// Only digits, unlike `str::parse`, which also takes a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_sizes_read_what_they_print() {
        for text in ["500ms", "10s", "1500ms"] {
            assert_eq!(Period::parse(text).map(|p| p.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Period::parse("5min"), Some(Period::millis(300_000)));
        for text in ["1MB", "16MB", "3kB", "7B", "2GB"] {
            assert_eq!(Size::parse(text).map(|s| s.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn nonsense_is_not_a_period_or_a_size() {
        for text in ["", "s", "10", "-5s", "+5s", "1.5s", "10 s", "10m", "99999999999999999999s"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
        for text in ["", "MB", "1", "1mb", "1 MB", "-1MB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
