//! Numbers, compared by value: `42.0` is `42`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

use super::ValueError;

/// The largest integer every JSON reader keeps exactly: 2^53 − 1.
pub(crate) const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// A finite number; an integer where its value is one.
#[derive(Debug, Clone, Copy)]
pub struct Number(Form);

/// An integral value is always an `Integer`, so one value has one form.
#[derive(Debug, Clone, Copy)]
enum Form {
    Integer(i64),
    Fraction(f64),
}

impl Number {
    /// The value of a JSON number. Integers outside ±(2^53−1) and numbers that are not finite have
    /// none.
    pub fn of(number: &serde_json::Number) -> Result<Self, ValueError> {
        if let Some(integer) = number.as_i64() {
            return Self::of_integer(integer);
        }
        if number.is_u64() {
            return Err(ValueError::IntegerTooLarge);
        }
        let value = number.as_f64().filter(|v| v.is_finite()).ok_or(ValueError::NotFinite)?;
        if value.fract() != 0.0 {
            return Ok(Self(Form::Fraction(value)));
        }
        // The cast saturates, so what is too large for it is too large below.
        Self::of_integer(value as i64)
    }

    /// The number `integer`, where every JSON reader keeps it exactly.
    pub fn of_integer(integer: i64) -> Result<Self, ValueError> {
        if (-INTEGER_MAX..=INTEGER_MAX).contains(&integer) {
            Ok(Self(Form::Integer(integer)))
        } else {
            Err(ValueError::IntegerTooLarge)
        }
    }

    /// The integer, where the value is one.
    pub const fn integer(self) -> Option<i64> {
        match self.0 {
            Form::Integer(integer) => Some(integer),
            Form::Fraction(_) => None,
        }
    }

    /// Whether the value is below zero.
    pub fn is_negative(self) -> bool {
        self.as_f64() < 0.0
    }

    /// Exact: an integer within ±(2^53−1) has an exact 64-bit float.
    fn as_f64(self) -> f64 {
        match self.0 {
            Form::Integer(integer) => integer as f64,
            Form::Fraction(value) => value,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_f64().total_cmp(&other.as_f64())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Integer(integer) => write!(f, "{integer}"),
            Form::Fraction(value) => write!(f, "{value}"),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Form::Integer(integer) => serializer.serialize_i64(integer),
            Form::Fraction(value) => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<Number, ValueError> {
        Number::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn one_value_has_one_form_however_it_is_written() {
        for text in ["42", "42.0", "4.2e1", "420e-1", "42.000"] {
            assert_eq!(number(text).unwrap().integer(), Some(42), "{text}");
        }
        assert_eq!(number("-0.0").unwrap(), number("0").unwrap());
        assert_ne!(number("0.5").unwrap(), number("0.25").unwrap());
    }

    #[test]
    fn an_integer_that_a_float_would_round_has_no_value() {
        assert_eq!(number("9007199254740991").unwrap().integer(), Some(INTEGER_MAX));
        for text in ["9007199254740992", "-9007199254740992", "1e300", "18446744073709551615"] {
            assert_eq!(number(text), Err(ValueError::IntegerTooLarge), "{text}");
        }
    }
}
