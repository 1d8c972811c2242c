//! Strict JSON and base64url: what a lenient reader would forgive is where two readers disagree.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep objects and arrays may nest.
const DEPTH_MAX: usize = 12;

/// A member name the JSON library gives a meaning of its own: it would read the member's text as
/// JSON in place of the object, past every check made here.
const MAGIC_NAME: &str = "$serde_json::private::RawValue";

const MAGIC: &str = "has a member name reserved by its reader";
const DUPLICATE: &str = "has a member twice";
const TOO_DEEP: &str = "nests too deep";
const NOT_JSON: &str = "is not strict JSON in UTF-8";
const NOT_OBJECT: &str = "is not a JSON object";

/// The object `bytes` hold: UTF-8, no member twice at any depth, no deeper than `DEPTH_MAX`,
/// nothing after it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let problem = Cell::new(NOT_JSON);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walk = Walk { depth: 0, problem: &problem };
    walk.deserialize(&mut reader).map_err(|_| problem.get())?;
    reader.end().map_err(|_| NOT_JSON)?;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(NOT_OBJECT),
        Err(_) => Err(NOT_JSON),
    }
}

/// Strict base64url: no padding, no white space, no stray bits (RFC 7515 section 2).
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Base64url without padding.
pub(crate) fn encode_base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Walks a document for what the value type would silently accept.
struct Walk<'a> {
    depth: usize,
    problem: &'a Cell<&'static str>,
}

impl Walk<'_> {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            self.problem.set(TOO_DEEP);
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { depth: self.depth + 1, problem: self.problem })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let magic = name == MAGIC_NAME;
            if magic || !names.insert(name) {
                self.problem.set(if magic { MAGIC } else { DUPLICATE });
                return Err(A::Error::custom(self.problem.get()));
            }
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_twice_is_refused_at_any_depth_and_under_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"c":{"a":1,"a":1}}]}"#]
        {
            assert_eq!(object(text.as_bytes()), Err(DUPLICATE), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":{"a":2}}"#).is_ok());
    }

    #[test]
    fn a_name_the_reader_would_take_for_a_command_is_refused() {
        let smuggled = r#"{"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}"#;
        let quirk: Value = serde_json::from_str(smuggled).unwrap();
        assert_eq!(quirk["a"], 2, "the library still has the quirk this guards against");
        assert_eq!(object(smuggled.as_bytes()), Err(MAGIC));
        assert_eq!(object(format!(r#"{{"b":[{smuggled}]}}"#).as_bytes()), Err(MAGIC));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert_eq!(object(nested(DEPTH_MAX + 1).as_bytes()), Err(TOO_DEEP));
        assert!(object("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn what_is_not_one_json_object_in_utf_8_is_refused() {
        let cases: [&[u8]; 9] = [
            b"",
            b"[]",
            b"1",
            b"{}x",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":1,}"#,
        ];
        for bytes in cases {
            assert!(object(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(decode_base64url("AA"), Some(vec![0]));
        for text in ["AB", "AA==", "A A", "AA\n", "A", "+/", "A?"] {
            assert_eq!(decode_base64url(text), None, "{text}");
        }
    }
}
