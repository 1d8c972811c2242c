//! The arguments of a call as two flat tables: text and whole numbers, by name.
//!
//! Names of nested values are joined with `/`, as in a JSON pointer: `~` is written `~0` and `/` is
//! written `~1` inside a name, so that a name an agent chooses cannot pass for a place in the tree.
//! A list adds its length under `<name>/#`; a member that is itself called `#` is written `~2`.

use carnet_core::Arguments;
use serde_json::Value;

/// The most entries of both tables.
const ENTRIES_MAX: usize = 1024;
/// All names and texts together.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The largest whole number that every JSON number with a fraction part can be told from.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Why arguments cannot be shown to policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    #[error("the arguments hold more than {ENTRIES_MAX} values, more than policy looks at")]
    TooMany,
    #[error("the names and texts of the arguments are longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// The arguments, flat.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Flat {
    pub(crate) text: Vec<(String, String)>,
    pub(crate) number: Vec<(String, i64)>,
    bytes: usize,
}

impl Flat {
    /// The tables of `arguments`.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self, ArgumentError> {
        let mut flat = Self::default();
        for (name, value) in arguments.iter() {
            flat.add(escaped(name), value)?;
        }
        Ok(flat)
    }

    fn add(&mut self, name: String, value: &Value) -> Result<(), ArgumentError> {
        match value {
            // Nothing was said: the same as an argument that is not there.
            Value::Null => Ok(()),
            Value::Bool(value) => self.add_text(name, value.to_string()),
            Value::String(value) => self.add_text(name, value.clone()),
            Value::Number(value) => match whole(value) {
                Some(number) => self.add_number(name, number),
                None => self.add_text(name, value.to_string()),
            },
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.add(format!("{name}/{n}"), item)?;
                }
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                self.add_number(format!("{name}/#"), length)
            }
            // `Arguments` bounds the depth, and with it this recursion.
            Value::Object(members) => members.iter().try_for_each(|(member, value)| {
                self.add(format!("{name}/{}", escaped(member)), value)
            }),
        }
    }

    fn add_text(&mut self, name: String, value: String) -> Result<(), ArgumentError> {
        self.count(name.len() + value.len())?;
        self.text.push((name, value));
        Ok(())
    }

    fn add_number(&mut self, name: String, value: i64) -> Result<(), ArgumentError> {
        self.count(name.len())?;
        self.number.push((name, value));
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ArgumentError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.text.len() + self.number.len() >= ENTRIES_MAX {
            return Err(ArgumentError::TooMany);
        }
        if self.bytes > TEXT_BYTES_MAX {
            return Err(ArgumentError::TooLong);
        }
        Ok(())
    }
}

fn escaped(name: &str) -> String {
    if name == "#" {
        return "~2".to_owned();
    }
    if !name.contains(['~', '/']) {
        return name.to_owned();
    }
    name.replace('~', "~0").replace('/', "~1")
}

/// The number as a whole one, by value: `5000.0` is 5000, as it is to whoever reads the JSON.
fn whole(number: &serde_json::Number) -> Option<i64> {
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float =
        number.as_f64().filter(|f| !number.is_u64() && f.fract() == 0.0 && f.abs() <= EXACT_MAX)?;
    // Exact: the value is whole and far inside the range.
    #[allow(clippy::cast_possible_truncation)]
    Some(float as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flat(value: Value) -> Result<Flat, ArgumentError> {
        Flat::of(&serde_json::from_value(value).unwrap())
    }

    fn text(value: Value) -> Vec<(String, String)> {
        flat(value).unwrap().text
    }

    #[test]
    fn nested_values_get_joined_names_and_lists_their_length() {
        let flat = flat(json!({
            "a": "x", "b": true, "c": null, "n": -3, "to": ["p", {"q": "r"}], "deep": {"er": {"s": 1}}, "none": []
        })).unwrap();
        let mut text: Vec<_> = flat.text.iter().map(|(n, v)| format!("{n}={v}")).collect();
        text.sort();
        assert_eq!(text, ["a=x", "b=true", "to/0=p", "to/1/q=r"]);
        let mut number: Vec<_> = flat.number.iter().map(|(n, v)| format!("{n}={v}")).collect();
        number.sort();
        assert_eq!(number, ["deep/er/s=1", "n=-3", "none/#=0", "to/#=2"]);
    }

    #[test]
    fn a_name_with_a_slash_cannot_pass_for_a_nested_value() {
        let names = |value| text(value).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(json!({"a/b": "x"})), ["a~1b"]);
        assert_eq!(names(json!({"a~1b": "x"})), ["a~01b"]);
        assert_eq!(names(json!({"a": {"#": "x"}})), ["a/~2"]);
        assert_eq!(names(json!({"#": "x"})), ["~2"]);
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written_and_others_are_text() {
        let flat = flat(json!({
            "a": 5000.0, "b": 5000.5, "c": i64::MAX, "d": u64::MAX, "e": 1e30, "f": -0.0, "g": 9_007_199_254_740_992.0
        })).unwrap();
        let numbers: Vec<_> = flat.number.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        assert_eq!(numbers, [("a", 5000), ("c", i64::MAX), ("f", 0), ("g", 1 << 53)]);
        let texts: Vec<_> = flat.text.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(texts, ["b", "d", "e"]);
    }

    #[test]
    fn more_than_policy_looks_at_is_an_error() {
        assert_eq!(flat(json!({"a": vec!["x"; ENTRIES_MAX]})), Err(ArgumentError::TooMany));
        assert!(flat(json!({"a": vec!["x"; ENTRIES_MAX - 1]})).is_ok());
        assert_eq!(flat(json!({"a": "x".repeat(TEXT_BYTES_MAX)})), Err(ArgumentError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn no_two_values_share_a_name(members in proptest::collection::btree_map("[a/~#012]{0,4}", "[a-c]{0,2}", 0..5), inner in proptest::collection::btree_map("[a/~#012]{0,3}", "[a-c]{0,2}", 0..5)) {
            let mut value: serde_json::Map<String, Value> = members.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            value.insert("a".into(), json!(inner));
            let names: Vec<String> = text(Value::Object(value.clone())).into_iter().map(|(n, _)| n).collect();
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            proptest::prop_assert_eq!(distinct.len(), names.len());
            proptest::prop_assert_eq!(names.len(), value.len() - 1 + inner.len());
        }
    }
}
