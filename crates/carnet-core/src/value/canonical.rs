//! The canonical form of a JSON value, and why a value has none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Email, FilePath, Number, WebUrl, nfc};
use crate::ArgumentKind;
use crate::operation::ARGUMENT_DEPTH_MAX;

/// A value in the one form it is compared in. Values of one reviewed kind are compared with each
/// other only, so an address and a URL are kept as their canonical text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Canonical {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Canonical>),
    Object(BTreeMap<String, Canonical>),
}

/// What a binding expects a value to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// A JSON string.
    Text,
    /// A JSON number.
    Number,
    /// A JSON array.
    List,
    /// A JSON string or array.
    TextOrList,
}

impl ValueType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::List => "a list",
            Self::TextOrList => "text or a list",
        }
    }
}

/// Why a value has no canonical form. Never carries the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueError {
    /// It is of another JSON type.
    #[error("is not {}", .0.as_str())]
    NotOfType(ValueType),
    /// An integer a reader with 64-bit floats would round.
    #[error("is an integer outside ±(2^53−1), which programs round differently")]
    IntegerTooLarge,
    /// A number that is not finite.
    #[error("is not a finite number")]
    NotFinite,
    /// Nested too deep.
    #[error("is nested too deep")]
    TooDeep,
    /// Longer than its kind may be.
    #[error("is longer than a value of its kind may be")]
    TooLong,
    /// It holds a control, bidirectional or invisible character.
    #[error("contains a control, bidirectional or invisible character")]
    HiddenCharacter,
    /// It holds white space.
    #[error("contains white space")]
    WhiteSpace,
    /// It mixes alphabets whose letters look alike.
    #[error("mixes alphabets whose letters look alike")]
    MixedAlphabets,
    /// It holds a character that some programs replace by another.
    #[error("contains a compatibility character, which some programs replace by another")]
    CompatibilityCharacter,
    /// Not one plain email address.
    #[error("is not one plain email address `local@domain`")]
    NotAnEmail,
    /// Not a host name or address.
    #[error("does not name a valid host")]
    NotAHost,
    /// Not an absolute URL written `scheme://host…`.
    #[error("is not an absolute URL written `scheme://host…`")]
    NotAUrl,
    /// A URL scheme no binding can name.
    #[error("is a URL of a scheme other than http, https, ws and wss")]
    UnsupportedScheme,
    /// A URL with a user name or password.
    #[error("is a URL with user information before the host")]
    UserInfo,
    /// A backslash, which some programs read as a slash.
    #[error("contains a backslash")]
    Backslash,
    /// A URL path that programs resolve differently.
    #[error(
        "has a URL path that programs resolve differently (an encoded or ambiguous dot segment)"
    )]
    AmbiguousPath,
    /// A file path that does not begin at the root.
    #[error("is not an absolute file path")]
    NotAbsolute,
    /// A file path with `..`.
    #[error("is a file path with a `..` component")]
    ParentComponent,
    /// A file path with an empty component.
    #[error("is a file path with an empty component")]
    EmptyComponent,
    /// A file path with an encoded dot, slash, backslash, NUL or percent sign.
    #[error("is a file path with an encoded dot, slash, backslash, NUL or percent sign")]
    EncodedComponent,
}

/// The canonical form of `value`, read as `kind` where a reviewer gave it one.
///
/// `null` is itself under every kind, and a list is a list of values of the kind.
pub(crate) fn canonical(
    value: &Value,
    kind: Option<ArgumentKind>,
) -> Result<Canonical, ValueError> {
    canonical_at(value, kind, 0)
}

fn canonical_at(
    value: &Value,
    kind: Option<ArgumentKind>,
    depth: usize,
) -> Result<Canonical, ValueError> {
    if depth > ARGUMENT_DEPTH_MAX {
        return Err(ValueError::TooDeep);
    }
    match (value, kind) {
        (Value::Null, _) => Ok(Canonical::Null),
        (Value::Array(items), _) => items
            .iter()
            .map(|item| canonical_at(item, kind, depth + 1))
            .collect::<Result<_, _>>()
            .map(Canonical::List),
        (_, Some(kind)) => canonical_of_kind(value, kind),
        (Value::Bool(truth), None) => Ok(Canonical::Bool(*truth)),
        (Value::Number(number), None) => Number::of(number).map(Canonical::Number),
        (Value::String(text), None) => Ok(Canonical::Text(nfc(text))),
        (Value::Object(members), None) => members
            .iter()
            .map(|(name, member)| Ok((name.clone(), canonical_at(member, None, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Canonical::Object),
    }
}

fn canonical_of_kind(value: &Value, kind: ArgumentKind) -> Result<Canonical, ValueError> {
    if let (Value::Number(number), ArgumentKind::Number) = (value, kind) {
        return Number::of(number).map(Canonical::Number);
    }
    if kind == ArgumentKind::Number {
        return Err(ValueError::NotOfType(ValueType::Number));
    }
    let text = text_of(value)?;
    let canonical = match kind {
        ArgumentKind::Email => Email::parse(text)?.to_string(),
        ArgumentKind::Url => WebUrl::parse(text)?.to_string(),
        ArgumentKind::FilePath => FilePath::parse(text)?.to_string(),
        ArgumentKind::Text | ArgumentKind::Sql | ArgumentKind::Code | ArgumentKind::Number => {
            nfc(text)
        }
    };
    Ok(Canonical::Text(canonical))
}

/// The text of a JSON string.
pub(crate) fn text_of(value: &Value) -> Result<&str, ValueError> {
    value.as_str().ok_or(ValueError::NotOfType(ValueType::Text))
}
