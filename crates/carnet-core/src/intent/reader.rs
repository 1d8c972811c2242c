//! Reading an intent with errors that name the place and the fix.

use std::fmt;

use serde_json::{Map, Value};

use super::suggestion::nearest;
use crate::value::{Number, ValueError};

/// What is wrong with an intent, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentError {
    place: String,
    problem: String,
}

impl IntentError {
    /// The place, such as `allow[2].where.amount_cents`; empty for the whole.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there and what to do.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for IntentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for IntentError {}

/// A place in what is being read.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn key(&self, name: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        Self(format!("{}{dot}{}", self.0, shown_key(name)))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn error(&self, problem: impl fmt::Display) -> IntentError {
        IntentError { place: self.0.clone(), problem: problem.to_string() }
    }
}

/// A key as it may be shown: quoted and cut where it is not a plain word.
fn shown_key(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("\"{}\"", shown(name))
}

/// Text from outside as an error may show it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The members of an object whose keys are all known.
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    place: &'a Place,
}

impl<'a> Fields<'a> {
    pub(super) fn of(
        value: &'a Value,
        place: &'a Place,
        known: &[&str],
    ) -> Result<Self, IntentError> {
        let members = object(value, place)?;
        for name in members.keys() {
            if !known.contains(&name.as_str()) {
                return Err(place.error(unknown("key", name, known)));
            }
        }
        Ok(Self { members, place })
    }

    /// The member `name` read by `read`, where it is given.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value, &Place) -> Result<T, IntentError>,
    ) -> Result<Option<T>, IntentError> {
        match self.members.get(name) {
            Some(value) => read(value, &self.place.key(name)).map(Some),
            None => Ok(None),
        }
    }

    /// The member `name` read by `read`.
    pub(super) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value, &Place) -> Result<T, IntentError>,
    ) -> Result<T, IntentError> {
        self.optional(name, read)?
            .ok_or_else(|| self.place.error(format!("`{name}` is missing; add it")))
    }
}

/// What to say of an unknown word.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let word_shown = shown(word);
    match nearest(word, known) {
        Some(near) => format!("unknown {what} `{word_shown}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{word_shown}`; write one of {}", listed(known)),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn object<'a>(
    value: &'a Value,
    place: &Place,
) -> Result<&'a Map<String, Value>, IntentError> {
    value.as_object().ok_or_else(|| wrong_type(value, place, "a table"))
}

pub(super) fn list<T>(
    value: &Value,
    place: &Place,
    read: impl Fn(&Value, &Place) -> Result<T, IntentError>,
) -> Result<Vec<T>, IntentError> {
    let items = value.as_array().ok_or_else(|| wrong_type(value, place, "a list"))?;
    items.iter().enumerate().map(|(i, item)| read(item, &place.index(i))).collect()
}

pub(super) fn text<'a>(value: &'a Value, place: &Place) -> Result<&'a str, IntentError> {
    value.as_str().ok_or_else(|| wrong_type(value, place, "text"))
}

pub(super) fn truth(value: &Value, place: &Place) -> Result<bool, IntentError> {
    value.as_bool().ok_or_else(|| wrong_type(value, place, "`true` or `false`"))
}

pub(super) fn number(value: &Value, place: &Place) -> Result<Number, IntentError> {
    let Value::Number(number) = value else {
        return Err(wrong_type(value, place, "a number"));
    };
    Number::of(number).map_err(|error| place.error(format!("the number {error}")))
}

/// A whole number from zero to 2^53 − 1.
pub(super) fn count(value: &Value, place: &Place) -> Result<u64, IntentError> {
    let integer = number(value, place)?.integer().and_then(|n| u64::try_from(n).ok());
    integer.ok_or_else(|| place.error("write a whole number that is not negative"))
}

/// One of the words a key may have.
pub(super) fn word<T: Copy>(
    value: &Value,
    place: &Place,
    known: &[(&str, T)],
) -> Result<T, IntentError> {
    let written = text(value, place)?;
    let found = known.iter().find(|(word, _)| *word == written).map(|(_, meaning)| *meaning);
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| place.error(unknown("word", written, &words)))
}

/// A text that has a parser of its own.
pub(super) fn parsed<T, E: fmt::Display>(
    value: &Value,
    place: &Place,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, IntentError> {
    parse(text(value, place)?).map_err(|error| place.error(error))
}

/// A text that must have a canonical form.
pub(super) fn canonical<T>(
    value: &Value,
    place: &Place,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<T, IntentError> {
    parsed(value, place, |text| parse(text).map_err(|error| format!("the value {error}")))
}

fn wrong_type(value: &Value, place: &Place, wanted: &str) -> IntentError {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    place.error(format!("expected {wanted}, found {found}"))
}
