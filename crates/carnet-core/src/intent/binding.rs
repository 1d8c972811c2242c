//! What a binding on an argument can say, and whether a value matches it.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::mismatch::{BindingError, BindingMismatch};
use super::regular::RegularExpression;
use super::url_binding::UrlBinding;
use crate::ArgumentKind;
use crate::value::{
    Canonical, Email, EmailDomain, FilePath, Number, ValueType, canonical, text_of,
};

/// The most values of a `one_of`.
pub(super) const ONE_OF_MAX: usize = 256;
/// The longest value written in an intent, as JSON.
pub(super) const LITERAL_BYTES_MAX: usize = 4096;
/// The deepest nesting of `every`.
pub(super) const EVERY_DEPTH_MAX: usize = 4;

/// What one argument may be. Compares canonical values; a value without a canonical form never
/// matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Exactly this value.
    Equals(Value),
    /// One of these values.
    OneOf(Vec<Value>),
    /// A number from `min` to `max`, both included.
    Range {
        /// The least.
        min: Number,
        /// The greatest.
        max: Number,
    },
    /// A number from zero to this, both included.
    AtMost(Number),
    /// Text of so many characters (in NFC), or a list of so many elements, ends included.
    Length {
        /// The fewest.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<u64>,
        /// The most.
        #[serde(skip_serializing_if = "Option::is_none")]
        max: Option<u64>,
    },
    /// This directory or a file path below it, by component.
    FileUnder(FilePath),
    /// A URL that points there.
    Url(UrlBinding),
    /// An email address.
    Email(EmailBinding),
    /// Text that matches this expression as a whole.
    Matches(RegularExpression),
    /// A list whose every element matches. An empty list does.
    Every(Box<Binding>),
}

/// Which email addresses a binding names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailBinding {
    /// This address.
    Address(Email),
    /// Any address of this domain. A subdomain is another domain.
    Domain(EmailDomain),
}

impl Serialize for EmailBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, text) = match self {
            Self::Address(address) => ("address", address.to_string()),
            Self::Domain(domain) => ("domain", domain.to_string()),
        };
        serializer.collect_map([(key, text)])
    }
}

impl Binding {
    /// Whether `value`, reviewed as `kind`, matches.
    pub fn check(&self, value: &Value, kind: Option<ArgumentKind>) -> Result<(), BindingMismatch> {
        self.check_at(value, kind, 0)
    }

    fn check_at(
        &self,
        value: &Value,
        kind: Option<ArgumentKind>,
        depth: usize,
    ) -> Result<(), BindingMismatch> {
        self.check_kind(kind)?;
        match self {
            Self::Equals(wanted) => {
                is_equal(value, kind, [wanted]).and_then(|is| when(is, BindingMismatch::NotEqual))
            }
            Self::OneOf(wanted) => {
                is_equal(value, kind, wanted).and_then(|is| when(is, BindingMismatch::NotListed))
            }
            Self::Range { min, max } => {
                let number = number(value, kind)?;
                when(*min <= number && number <= *max, BindingMismatch::OutOfRange)
            }
            Self::AtMost(ceiling) => check_ceiling(number(value, kind)?, *ceiling),
            Self::Length { min, max } => check_length(length(value, kind)?, *min, *max),
            Self::FileUnder(directory) => {
                let path = FilePath::parse(text_of(value)?)?;
                when(path.is_under(directory), BindingMismatch::OutsideDirectory)
            }
            Self::Url(url) => url.check(text_of(value)?),
            Self::Email(wanted) => wanted.check(&Email::parse(text_of(value)?)?),
            Self::Matches(expression) => match canonical(value, kind)? {
                Canonical::Text(text) => when(expression.matches(&text), BindingMismatch::NoMatch),
                _ => Err(BindingMismatch::not_of(ValueType::Text)),
            },
            Self::Every(element) => check_every(element, value, kind, depth),
        }
    }

    /// Whether an argument a reviewer called `kind` can be compared so. A statement or a script is
    /// only ever compared whole: no expression over its text says what it does.
    fn check_kind(&self, kind: Option<ArgumentKind>) -> Result<(), BindingMismatch> {
        use ArgumentKind as Kind;
        let Some(kind) = kind else { return Ok(()) };
        let fits = match self {
            Self::Equals(_) | Self::OneOf(_) | Self::Every(_) => true,
            Self::Range { .. } | Self::AtMost(_) => kind == Kind::Number,
            Self::Length { .. } | Self::Matches(_) => {
                !matches!(kind, Kind::Number | Kind::Sql | Kind::Code)
            }
            Self::FileUnder(_) => matches!(kind, Kind::FilePath | Kind::Text),
            Self::Url(_) => matches!(kind, Kind::Url | Kind::Text),
            Self::Email(_) => matches!(kind, Kind::Email | Kind::Text),
        };
        when(fits, BindingMismatch::Kind(kind))
    }

    /// Whether the binding can stand in an intent: within bounds, and able to match something.
    pub fn validate(&self) -> Result<(), BindingError> {
        self.validate_at(0)
    }

    fn validate_at(&self, depth: usize) -> Result<(), BindingError> {
        match self {
            Self::Equals(value) => validate_literal(value),
            Self::OneOf(values) if values.is_empty() => Err(BindingError::NothingListed),
            Self::OneOf(values) if values.len() > ONE_OF_MAX => Err(BindingError::TooManyListed),
            Self::OneOf(values) => values.iter().try_for_each(validate_literal),
            Self::Range { min, max } if min > max => Err(BindingError::EndsExchanged),
            Self::AtMost(ceiling) if ceiling.is_negative() => Err(BindingError::NegativeCeiling),
            Self::Length { min: None, max: None } => Err(BindingError::LengthUnbounded),
            Self::Length { min: Some(min), max: Some(max) } if min > max => {
                Err(BindingError::EndsExchanged)
            }
            Self::Every(_) if depth >= EVERY_DEPTH_MAX => Err(BindingError::EveryTooDeep),
            Self::Every(element) => element.validate_at(depth + 1),
            _ => Ok(()),
        }
    }
}

impl EmailBinding {
    fn check(&self, email: &Email) -> Result<(), BindingMismatch> {
        match self {
            Self::Address(wanted) => when(email == wanted, BindingMismatch::OtherAddress),
            Self::Domain(wanted) => when(email.domain() == wanted, BindingMismatch::OtherDomain),
        }
    }
}

/// A number from zero to `ceiling`.
pub(super) fn check_ceiling(number: Number, ceiling: Number) -> Result<(), BindingMismatch> {
    when(!number.is_negative(), BindingMismatch::Negative)?;
    when(number <= ceiling, BindingMismatch::AboveCeiling)
}

/// The number `value` is.
pub(super) fn number(value: &Value, kind: Option<ArgumentKind>) -> Result<Number, BindingMismatch> {
    match canonical(value, kind)? {
        Canonical::Number(number) => Ok(number),
        _ => Err(BindingMismatch::not_of(ValueType::Number)),
    }
}

fn when(holds: bool, mismatch: BindingMismatch) -> Result<(), BindingMismatch> {
    if holds { Ok(()) } else { Err(mismatch) }
}

/// Whether `value` is one of `wanted`. A wanted value with no canonical form of this kind equals
/// nothing.
fn is_equal<'a>(
    value: &Value,
    kind: Option<ArgumentKind>,
    wanted: impl IntoIterator<Item = &'a Value>,
) -> Result<bool, BindingMismatch> {
    let found = canonical(value, kind)?;
    Ok(wanted.into_iter().any(|wanted| canonical(wanted, kind).is_ok_and(|it| it == found)))
}

fn length(value: &Value, kind: Option<ArgumentKind>) -> Result<u64, BindingMismatch> {
    let length = match canonical(value, kind)? {
        Canonical::Text(text) => text.chars().count(),
        Canonical::List(items) => items.len(),
        _ => return Err(BindingMismatch::not_of(ValueType::TextOrList)),
    };
    Ok(u64::try_from(length).unwrap_or(u64::MAX))
}

fn check_length(length: u64, min: Option<u64>, max: Option<u64>) -> Result<(), BindingMismatch> {
    when(min.is_none_or(|min| min <= length), BindingMismatch::TooShort)?;
    when(max.is_none_or(|max| length <= max), BindingMismatch::TooLong)
}

fn check_every(
    element: &Binding,
    value: &Value,
    kind: Option<ArgumentKind>,
    depth: usize,
) -> Result<(), BindingMismatch> {
    when(depth < EVERY_DEPTH_MAX, BindingMismatch::TooDeep)?;
    let items = value.as_array().ok_or(BindingMismatch::not_of(ValueType::List))?;
    for (index, item) in items.iter().enumerate() {
        element
            .check_at(item, kind, depth + 1)
            .map_err(|mismatch| BindingMismatch::Element { index, mismatch: Box::new(mismatch) })?;
    }
    Ok(())
}

fn validate_literal(value: &Value) -> Result<(), BindingError> {
    canonical(value, None)?;
    if value.to_string().len() > LITERAL_BYTES_MAX {
        return Err(BindingError::LiteralTooLong);
    }
    Ok(())
}
