//! serde's view of a node.

use std::collections::HashSet;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::Fault;
use crate::settings::{Location, SettingsNode, SettingsValue};

type Entry = (String, Location, SettingsNode);

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'node>(pub(super) &'node SettingsNode);

impl<'node> Reader<'node> {
    /// The text of a resolved value, which has no type yet.
    fn untyped(self) -> Option<&'node str> {
        if self.0.secret { self.0.as_text() } else { None }
    }

    fn visit_entries<'de, V: Visitor<'de>>(
        entries: &[Entry],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut known = HashSet::with_capacity(entries.len());
        let doubled = entries.iter().find(|(key, _, _)| !known.insert(key.as_str()));
        if let Some((key, location, _)) = doubled {
            let fault = Fault::new(format!("the key `{key}` appears twice"));
            return Err(fault.at(*location).under(key));
        }
        visitor.visit_map(Entries { rest: entries.iter(), value: None })
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.untyped().map(str::parse::<i64>) {
                Some(Ok(integer)) => visitor.visit_i64(integer),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

macro_rules! floats {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.untyped().map(str::parse::<f64>) {
                Some(Ok(number)) if number.is_finite() => visitor.visit_f64(number),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            SettingsValue::Null => visitor.visit_unit(),
            SettingsValue::Bool(flag) => visitor.visit_bool(*flag),
            SettingsValue::Integer(integer) => visitor.visit_i64(*integer),
            SettingsValue::Float(number) => visitor.visit_f64(*number),
            SettingsValue::Text(text) => visitor.visit_str(text),
            SettingsValue::List(items) => {
                visitor.visit_seq(Items { rest: items.iter().enumerate() })
            }
            SettingsValue::Map(entries) => Self::visit_entries(entries, visitor),
        }
    }

    numbers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    numbers!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    floats!(deserialize_f32 deserialize_f64);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.untyped().map(str::parse::<bool>) {
            Some(Ok(flag)) => visitor.visit_bool(flag),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            SettingsValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            SettingsValue::Null => Self::visit_entries(&[], visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0.value {
            // A derived struct would also read a list, by position.
            SettingsValue::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a mapping")),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            SettingsValue::Text(text) => visitor.visit_enum(Choice { name: text, content: None }),
            SettingsValue::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(Choice { name: &entries[0].0, content: Some(&entries[0]) })
            }
            _ => Err(Fault::new(format!("expected text, found {}", self.0.kind_name()))),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

struct Items<'node> {
    rest: std::iter::Enumerate<std::slice::Iter<'node, SettingsNode>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.rest.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader(node));
        read.map(Some)
            .map_err(|fault| fault.at_node(node, node.location).under(&format!("[{index}]")))
    }
}

struct Entries<'node> {
    rest: std::slice::Iter<'node, Entry>,
    value: Option<&'node Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.value = self.rest.next();
        let Some((key, location, _)) = self.value else {
            return Ok(None);
        };
        let reader: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(reader).map(Some).map_err(|fault| fault.at(*location).under(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take().ok_or_else(|| Fault::new("a value without key".into()))?;
        read_entry(entry, seed)
    }
}

fn read_entry<'de, S: DeserializeSeed<'de>>(entry: &Entry, seed: S) -> Result<S::Value, Fault> {
    let (key, location, node) = entry;
    seed.deserialize(Reader(node)).map_err(|fault| fault.at_node(node, *location).under(key))
}

/// An enum: its variant's name, and the entry that has its content.
struct Choice<'node> {
    name: &'node str,
    content: Option<&'node Entry>,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let reader: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        let variant = seed.deserialize(reader).map_err(|fault| match self.content {
            Some((key, location, _)) => fault.at(*location).under(key),
            None => fault,
        })?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(entry) => read_entry(entry, std::marker::PhantomData),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let entry = self.content.ok_or_else(no_content)?;
        read_entry(entry, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }
}

impl Choice<'_> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let (key, location, node) = self.content.ok_or_else(no_content)?;
        Reader(node)
            .deserialize_any(visitor)
            .map_err(|fault| fault.at_node(node, *location).under(key))
    }
}

fn no_content() -> Fault {
    Fault::new("expected a mapping, found text".into())
}
