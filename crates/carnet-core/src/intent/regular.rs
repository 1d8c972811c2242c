//! Regular expressions over whole values, matched in linear time.

use regex::{Regex, RegexBuilder};
use serde::{Serialize, Serializer};

use crate::value::nfc;

/// The longest expression.
const SOURCE_BYTES_MAX: usize = 1024;
/// The largest compiled program, and the largest cache of its matcher.
const PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// The deepest nesting of groups.
const NESTING_MAX: u32 = 32;

/// A compiled expression that matches a whole value or nothing.
#[derive(Debug, Clone)]
pub struct RegularExpression {
    source: String,
    compiled: Regex,
}

/// Why a text is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegularExpressionError {
    /// Too long.
    #[error(
        "the expression is longer than {SOURCE_BYTES_MAX} bytes; write it shorter or use `one_of`"
    )]
    TooLong,
    /// Text is compared in NFC, so an expression in another form could never match.
    #[error("the expression is not in Unicode normalisation form C; write its letters precomposed")]
    NotNormal,
    /// Not an expression, or one that needs more than linear time or too much memory.
    #[error(
        "not a regular expression this can match in linear time: {0} (look-around and back-references do not exist)"
    )]
    Invalid(String),
}

impl RegularExpression {
    /// The expression `source` writes. It always matches a whole value: `^` and `$` around it may
    /// be left out.
    pub fn new(source: &str) -> Result<Self, RegularExpressionError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(RegularExpressionError::TooLong);
        }
        if nfc(source) != source {
            return Err(RegularExpressionError::NotNormal);
        }
        // Compiled alone first: `a)|(b` is an expression only inside the group added below.
        compile(source)?;
        let compiled = compile(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

fn compile(source: &str) -> Result<Regex, RegularExpressionError> {
    RegexBuilder::new(source)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(PROGRAM_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            RegularExpressionError::Invalid(last.chars().take(200).collect())
        })
}

impl PartialEq for RegularExpression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for RegularExpression {}

impl Serialize for RegularExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_a_whole_value_or_nothing() {
        let matches =
            |source: &str, text: &str| RegularExpression::new(source).unwrap().matches(text);
        assert!(matches("a|ab", "ab"));
        assert!(matches("^[A-Z]-[0-9]+$", "A-12"));
        for text in ["A-12\n", "xA-12", "A-12x", "A-12\nB-1", ""] {
            assert!(!matches("^[A-Z]-[0-9]+$", text), "{text:?}");
            assert!(!matches("(?m)^[A-Z]-[0-9]+$", text), "{text:?}");
        }
    }

    #[test]
    fn an_expression_cannot_leave_its_group_or_grow_without_bound() {
        for source in ["a)|(b", "a)|.*|(?:b", "(", r"(a)\1", "(?=a)", "(?x)a #", "a{9999}{9999}"] {
            assert!(RegularExpression::new(source).is_err(), "{source}");
        }
        assert!(RegularExpression::new(&"a".repeat(1025)).is_err());
        assert!(RegularExpression::new(&"(".repeat(200)).is_err());
        assert!(RegularExpression::new("e\u{301}").is_err());
    }
}
