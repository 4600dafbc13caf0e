//! Single fields out of raw JSON without building the tree around them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::document::Document;
use crate::field::Field;
use crate::scalar::Scalar;

/// Reads comparable values of one document.
pub(crate) struct Extractor<'document> {
    document: &'document Document,
}

impl<'document> Extractor<'document> {
    pub(crate) fn new(document: &'document Document) -> Self {
        Self { document }
    }

    /// The field's comparable value; `None` if it is missing, an array, an object or a long string.
    pub(crate) fn scalar(&mut self, field: &Field) -> Option<Scalar> {
        match field {
            Field::System(field) => Some(field.of(self.document)),
            Field::Data(path) => {
                let mut deserializer = serde_json::Deserializer::from_str(self.document.raw());
                let found = Seek(path.keys()).deserialize(&mut deserializer).ok()?;
                found.as_ref().and_then(Scalar::from_value)
            }
        }
    }
}

/// Follows the keys through objects and skips everything else.
struct Seek<'keys>(&'keys [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => serde::Deserialize::deserialize(deserializer).map(Some),
            Some((key, rest)) => deserializer.deserialize_any(Step { key, rest }),
        }
    }
}

struct Step<'keys> {
    key: &'keys str,
    rest: &'keys [String],
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.key {
                found = members.next_value_seed(Seek(self.rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(
        self,
        mut items: A,
    ) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
