//! Why a value does not match a binding, and why a binding cannot stand in an intent.

use serde::{Deserialize, Serialize};

use super::binding::{EVERY_DEPTH_MAX, LITERAL_BYTES_MAX, ONE_OF_MAX};
use crate::ArgumentKind;
use crate::value::{ValueError, ValueType};

/// Why a value does not match. Reads after the name of the argument; never carries the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingMismatch {
    /// The value has no canonical form, and such a value never matches.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The reviewed kind of the argument cannot be compared so.
    #[error("is reviewed as a kind this binding does not compare")]
    Kind(ArgumentKind),
    /// Not the one value.
    #[error("is not the value the allowance names")]
    NotEqual,
    /// Not one of the values.
    #[error("is none of the values the allowance lists")]
    NotListed,
    /// Outside the range.
    #[error("is outside the range the allowance gives")]
    OutOfRange,
    /// Above the ceiling.
    #[error("is above the ceiling the allowance gives")]
    AboveCeiling,
    /// A ceiling counts from zero.
    #[error("is negative, and a ceiling counts from zero")]
    Negative,
    /// An amount that is summed must be whole.
    #[error("is not a whole number, and an amount that is summed must be one")]
    NotWhole,
    /// Too short.
    #[error("is shorter than the allowance gives")]
    TooShort,
    /// Too long.
    #[error("is longer than the allowance gives")]
    TooLong,
    /// Not under the directory.
    #[error("is not under the directory the allowance names")]
    OutsideDirectory,
    /// A URL of another scheme.
    #[error("is a URL of another scheme than the allowance names")]
    OtherScheme,
    /// A URL of another host.
    #[error("is a URL of another host than the allowance names")]
    OtherHost,
    /// A URL of another port.
    #[error("is a URL of another port than the allowance names")]
    OtherPort,
    /// A URL elsewhere on the host.
    #[error("is a URL whose path is not plainly under the one the allowance names")]
    OutsidePath,
    /// Another address.
    #[error("is another email address than the allowance names")]
    OtherAddress,
    /// Another domain.
    #[error("is an email address of another domain than the allowance names")]
    OtherDomain,
    /// The expression does not match the whole value.
    #[error("does not match the allowance's expression as a whole")]
    NoMatch,
    /// An element of the list does not match.
    #[error("has an element {index} that {mismatch}")]
    Element {
        /// Which, from zero.
        index: usize,
        /// Why.
        mismatch: Box<BindingMismatch>,
    },
    /// Nested deeper than a binding may be.
    #[error("is bound deeper than {EVERY_DEPTH_MAX} levels of `every`")]
    TooDeep,
}

impl BindingMismatch {
    pub(super) const fn not_of(wanted: ValueType) -> Self {
        Self::Value(ValueError::NotOfType(wanted))
    }
}

/// Why a binding cannot stand in an intent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// `one_of` without a value.
    #[error("`one_of` lists nothing and would match nothing; add a value or remove the allowance")]
    NothingListed,
    /// `one_of` with too many values.
    #[error("`one_of` lists more than {ONE_OF_MAX} values; use several allowances or `matches`")]
    TooManyListed,
    /// A value with no canonical form would match nothing.
    #[error("the value {0}, so it would match nothing; write one in canonical form")]
    NotCanonical(#[from] ValueError),
    /// A value that is too long to be shown to a person.
    #[error("the value is longer than {LITERAL_BYTES_MAX} bytes; use `matches` or `length`")]
    LiteralTooLong,
    /// A range or length with its ends exchanged.
    #[error("`min` is greater than `max`; exchange them")]
    EndsExchanged,
    /// A ceiling below zero.
    #[error("`at_most` counts from zero; for values below zero use `range`")]
    NegativeCeiling,
    /// A length without an end.
    #[error("`length` has neither `min` nor `max`; give one")]
    LengthUnbounded,
    /// Too many levels of `every`.
    #[error("`every` is nested deeper than {EVERY_DEPTH_MAX} levels")]
    EveryTooDeep,
}
