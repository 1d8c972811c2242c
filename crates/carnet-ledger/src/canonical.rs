//! Canonical JSON (RFC 8785) of the values a ledger writes.
//!
//! RFC 8785 has no integers beyond ±(2^53 − 1): numbers there are doubles. Two records that differ
//! must not look alike, so such integers become strings in what is read by others (the header), and
//! keep their exact digits in what is only committed to (the sealed values).

use serde_json::{Map, Value};

use crate::error::LedgerError;

/// How deep a value may be nested.
pub(crate) const DEPTH_MAX: usize = 96;
/// The largest integer every JSON reader keeps exact.
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What to do with an integer beyond [`INTEGER_MAX`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wide {
    /// Write it as a string.
    Text,
    /// Write its digits.
    Digits,
}

/// Appends the canonical form of `value`.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value, wide: Wide) -> Result<(), LedgerError> {
    write_at(out, value, wide, 0)
}

/// Appends the canonical form of an object.
pub(crate) fn write_map(
    out: &mut Vec<u8>,
    map: &Map<String, Value>,
    wide: Wide,
) -> Result<(), LedgerError> {
    write_members(out, map, wide, 0)
}

fn write_at(out: &mut Vec<u8>, value: &Value, wide: Wide, depth: usize) -> Result<(), LedgerError> {
    if depth > DEPTH_MAX {
        let why = format!("it is nested deeper than {DEPTH_MAX}");
        return Err(LedgerError::invalid("the value", why));
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => return write_number(out, number, wide),
        Value::String(text) => return write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_at(out, item, wide, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(map) => return write_members(out, map, wide, depth),
    }
    Ok(())
}

fn write_members(
    out: &mut Vec<u8>,
    map: &Map<String, Value>,
    wide: Wide,
    depth: usize,
) -> Result<(), LedgerError> {
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    // RFC 8785 orders names by UTF-16 code units; for ASCII that is the order of bytes.
    if members.iter().all(|(name, _)| name.is_ascii()) {
        members.sort_unstable_by_key(|(name, _)| name.as_bytes());
    } else {
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    out.push(b'{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(out, name)?;
        out.push(b':');
        write_at(out, value, wide, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_number(
    out: &mut Vec<u8>,
    number: &serde_json::Number,
    wide: Wide,
) -> Result<(), LedgerError> {
    if let Some(integer) = number.as_i64() {
        write_integer(out, integer.unsigned_abs(), integer < 0, wide);
    } else if let Some(integer) = number.as_u64() {
        write_integer(out, integer, false, wide);
    } else {
        let text = serde_json_canonicalizer::to_vec(number)
            .map_err(|error| LedgerError::invalid("a number", error.to_string()))?;
        out.extend_from_slice(&text);
    }
    Ok(())
}

/// Appends an integer of our own, as a string when others could not keep it exact.
pub(crate) fn write_u64(out: &mut Vec<u8>, integer: u64) {
    write_integer(out, integer, false, Wide::Text);
}

/// Appends a signed integer of our own.
pub(crate) fn write_i64(out: &mut Vec<u8>, integer: i64) {
    write_integer(out, integer.unsigned_abs(), integer < 0, Wide::Text);
}

fn write_integer(out: &mut Vec<u8>, magnitude: u64, negative: bool, wide: Wide) {
    let quoted = magnitude > INTEGER_MAX && wide == Wide::Text;
    if quoted {
        out.push(b'"');
    }
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(magnitude.to_string().as_bytes());
    if quoted {
        out.push(b'"');
    }
}

/// Appends a string; the escapes of `serde_json` are those of RFC 8785.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), LedgerError> {
    serde_json::to_writer(out, text)
        .map_err(|error| LedgerError::invalid("a string", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(value: &Value, wide: Wide) -> String {
        let mut out = Vec::new();
        write(&mut out, value, wide).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_are_ordered_by_utf16_code_units() {
        let value = json!({"\u{1f600}": 1, "\u{fb33}": 2, "b": 3, "a": 4});
        assert_eq!(text(&value, Wide::Text), "{\"a\":4,\"b\":3,\"\u{1f600}\":1,\"\u{fb33}\":2}");
    }

    #[test]
    fn an_integer_beyond_two_to_the_53rd_is_a_string_in_clear_and_exact_when_sealed() {
        let value = json!([9_007_199_254_740_991_u64, 9_007_199_254_740_992_u64, i64::MIN]);
        let clear = r#"[9007199254740991,"9007199254740992","-9223372036854775808"]"#;
        assert_eq!(text(&value, Wide::Text), clear);
        assert_eq!(text(&value, Wide::Digits), clear.replace('"', ""));
    }

    #[test]
    fn a_value_nested_too_deep_is_refused() {
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert!(write(&mut Vec::new(), &deep, Wide::Text).is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..9_007_199_254_740_991).prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no NaN", |f| f.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_reference_library(value in values()) {
            let reference = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert_eq!(text(&value, Wide::Text), reference);
        }
    }
}
