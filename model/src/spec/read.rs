//! A serde reader over the tree. It is strict about types, and its errors know
//! the path of the field.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::error::{Problem, Under, shown};
use super::tree::{Entry, Node, Value};

impl Node {
    pub(crate) fn mismatch(&self, expected: &dyn Expected) -> Problem {
        let found = match self.value {
            Value::Empty => return empty(),
            Value::Null => "null",
            Value::Plain(_) | Value::Quoted(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "fields",
        };
        Problem::new("invalid_type", format!("expected {expected}, found {found}"))
    }

    fn text(&self, expected: &dyn Expected) -> Result<&str, Problem> {
        match &self.value {
            Value::Plain(text) | Value::Quoted(text) => Ok(text),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// Digits as people write them: no quotes, sign `+`, leading zero,
    /// underscore, hexadecimal or exponent.
    fn whole_number(&self, expected: &dyn Expected) -> Result<i128, Problem> {
        let Value::Plain(text) = &self.value else {
            return Err(match &self.value {
                Value::Quoted(_) => not_whole("is text; write a whole number without quotes"),
                _ => self.mismatch(expected),
            });
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) || text == "-0" {
            let message = format!("{} is not a whole number such as 8", shown(text));
            return Err(not_whole(&message));
        }
        text.parse().map_err(|_| too_large(text))
    }
}

fn empty() -> Problem {
    let message = "has no value; write one, `\"\"` for empty text, or leave the field out";
    Problem::new("empty_value", message)
}

fn not_whole(message: &str) -> Problem {
    Problem::new("invalid_number", message)
}

fn too_large(text: &str) -> Problem {
    Problem::new("out_of_range", format!("{} is out of range", shown(text)))
}

macro_rules! whole {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let number = self.whole_number(&visitor)?;
            let number = <$type>::try_from(number).map_err(|_| too_large(&number.to_string()))?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Empty => Err(empty()),
            Value::Null => Err(self.mismatch(&visitor)),
            Value::Plain(text) | Value::Quoted(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.iter(), pending: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Plain(text) if text == "true" => visitor.visit_bool(true),
            Value::Plain(text) if text == "false" => visitor.visit_bool(false),
            Value::Plain(_) | Value::Quoted(_) => {
                Err(Problem::new("invalid_boolean", "write `true` or `false`, without quotes"))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    whole! {
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i32 visit_i32 i32;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let text = self.text(&visitor)?;
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text = self.text(&visitor)?;
        visitor.visit_enum(text.into_deserializer())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.mismatch(&"fields")),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'n> {
    items: std::slice::Iter<'n, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(node).item(index).map(Some)
    }
}

struct Entries<'n> {
    entries: std::slice::Iter<'n, Entry>,
    pending: Option<&'n Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        self.pending = self.entries.next();
        let Some(entry) = self.pending else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer()).under(&entry.key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let entry = self.pending.take().expect("serde asks for a key before its value");
        seed.deserialize(&entry.value).under(&entry.key)
    }
}

/// Either one scalar or `T`, distinguished by its shape. (Serde's untagged enums would lose
/// the path and say only that nothing matched.)
#[derive(Clone, Debug)]
pub(super) enum TextOr<T> {
    Text(String),
    Other(T),
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(std::marker::PhantomData))
    }
}

/// A single value or fields, but no list.
pub(super) enum TextOrFields<T> {
    Text(String),
    Fields(T),
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for TextOrFields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrFieldsVisitor(std::marker::PhantomData))
    }
}

struct TextOrFieldsVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for TextOrFieldsVisitor<T> {
    type Value = TextOrFields<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOrFields<T>, E> {
        Ok(TextOrFields::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOrFields<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOrFields::Fields)
    }
}

struct TextOrVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<TextOr<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(list)).map(TextOr::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Other)
    }
}
