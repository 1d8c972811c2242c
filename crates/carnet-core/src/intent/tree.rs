//! Reads any self-describing format into a bounded JSON value, refusing what JSON readers disagree
//! about: a member given twice, and numbers that are not finite.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting.
const DEPTH_MAX: usize = 48;
/// The most members and elements at all levels together.
const NODES_MAX: usize = 65_536;
/// How the TOML reader hands over a date.
const TOML_DATE: &str = "$__toml_private_datetime";

/// The value `deserializer` holds.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Node { depth: 0, left: &Cell::new(NODES_MAX) }.deserialize(deserializer)
}

#[derive(Clone, Copy)]
struct Node<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Node<'_> {
    fn child<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let left = self
            .left
            .get()
            .checked_sub(1)
            .ok_or_else(|| E::custom(format!("more than {NODES_MAX} members and elements")))?;
        self.left.set(left);
        Ok(Self { depth: self.depth + 1, left: self.left })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let finite = Number::from_f64(number).map(Value::Number);
        finite.ok_or_else(|| E::custom("a number that is not finite; write a finite number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.child()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == TOML_DATE {
                return Err(A::Error::custom("a date or time; write it as text, in quotes"));
            }
            if crate::is_reserved_name(&name) {
                return Err(A::Error::custom("a member has a reserved name; use another"));
            }
            let member = members.next_value_seed(self.child()?)?;
            if object.contains_key(&name) {
                let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
                return Err(A::Error::custom(format!("`{shown}` is given twice; keep one")));
            }
            object.insert(name, member);
        }
        Ok(Value::Object(object))
    }
}
