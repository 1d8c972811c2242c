//! JSON objects and arrays taken apart without touching what is in them.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in order, each value as it is written.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// The members of the object that `text` is.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name`, as it is written.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Each member.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The object with `name` set to `value`, in its place or at the end; the other values as they
    /// were.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let mut out = Writer::default();
        for (known, kept) in self.iter() {
            out.member(known, if known == name { value } else { kept });
        }
        if self.get(name).is_none() {
            out.member(name, value);
        }
        out.finish()
    }
}

/// Writes an object of values that are JSON already.
#[derive(Debug, Default)]
pub(crate) struct Writer(String);

impl Writer {
    /// Adds a member.
    pub(crate) fn member(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&serde_json::Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(value);
    }

    /// The object.
    pub(crate) fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// The elements of the array that `text` is, as they are written.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = access.next_key::<String>()? {
                    members.push((name, access.next_value::<&'de RawValue>()?.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_exchanged_and_every_other_value_stays_as_it_is_written() {
        let text = r#"{ "id" : 7, "a\"b" : 1.50e1 , "params":{ "x" : 12345678901234567890 } }"#;
        let members = Members::of(text).unwrap();
        let expected = r#"{"id":"w","a\"b":1.50e1,"params":{ "x" : 12345678901234567890 }}"#;
        assert_eq!(members.with("id", "\"w\""), expected);
        assert_eq!(Members::of("{}").unwrap().with("id", "1"), r#"{"id":1}"#);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        assert!(Members::of("[]").is_none());
        assert!(Members::of("{").is_none());
        assert_eq!(elements("[1, {\"a\" : 2}]").unwrap(), ["1", "{\"a\" : 2}"]);
    }
}
