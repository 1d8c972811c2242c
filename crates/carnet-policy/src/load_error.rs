//! What is wrong with a policy set, where, and what to do.

use std::fmt;

use serde::Serialize;

/// The most errors that are kept; beyond these only their number is.
const ERRORS_MAX: usize = 100;

/// One thing that is wrong with a policy set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LoadError {
    /// The file, or the empty text where the set as a whole is wrong.
    pub file: String,
    /// The line, counted from 1; 0 where it is about the whole file.
    pub line: u32,
    /// The column in characters, counted from 1; 0 where it is about the whole file.
    pub column: u32,
    /// The `@id` of the policy, where it has one.
    pub policy: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n    {suggestion}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a policy set, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadErrors {
    errors: Vec<LoadError>,
    /// How many more there are.
    more: usize,
}

impl LoadErrors {
    /// Sorted, each place and message once. Empty when nothing is wrong.
    pub(crate) fn of(mut errors: Vec<LoadError>) -> Self {
        errors.sort();
        // The validator repeats itself for each action a policy could be about.
        errors.dedup_by(|b, a| {
            (&a.file, a.line, a.column, &a.policy) == (&b.file, b.line, b.column, &b.policy)
                && same_cause(&a.what, &b.what)
        });
        let more = errors.len().saturating_sub(ERRORS_MAX);
        errors.truncate(ERRORS_MAX);
        Self { errors, more }
    }

    /// The one error of a set that is wrong as a whole.
    pub(crate) fn whole(what: impl Into<String>, suggestion: Option<&str>) -> Self {
        Self::of(vec![LoadError {
            file: String::new(),
            line: 0,
            column: 0,
            policy: None,
            what: what.into(),
            suggestion: suggestion.map(str::to_owned),
        }])
    }

    /// The errors, sorted by file and line.
    pub fn errors(&self) -> &[LoadError] {
        &self.errors
    }

    /// How many errors were left out because there are so many.
    pub fn more(&self) -> usize {
        self.more
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Whether two messages at one place differ only in the action they were found for.
fn same_cause(one: &str, two: &str) -> bool {
    let cause = |text: &str| text.split(" in context for ").next().map(str::to_owned);
    cause(one) == cause(two)
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len() + self.more;
        writeln!(
            f,
            "the policy set is refused: {count} error{}",
            if count == 1 { "" } else { "s" }
        )?;
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "  {error}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// Turns byte offsets of one file into lines and columns.
pub(crate) struct Places {
    line_starts: Vec<usize>,
}

impl Places {
    /// The places of `text`.
    pub(crate) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { line_starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Line and column of the byte `at` of `text`, counted from 1; columns count characters.
    pub(crate) fn at(&self, text: &str, at: usize) -> (u32, u32) {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "é;\nab\n";
        let places = Places::of(text);
        let at = |offset| places.at(text, offset);
        assert_eq!(
            [at(0), at(2), at(4), at(5), at(7), at(99)],
            [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 1)]
        );
    }

    #[test]
    fn many_errors_are_cut_and_counted() {
        let error = |line| LoadError {
            file: "permit/a.cedar".into(),
            line,
            column: 1,
            policy: None,
            what: "wrong".into(),
            suggestion: Some("right".into()),
        };
        let errors = LoadErrors::of((1..=150).map(error).collect());
        assert_eq!((errors.errors().len(), errors.more()), (100, 50));
        assert!(errors.to_string().starts_with(
            "the policy set is refused: 150 errors\n  permit/a.cedar:1:1: wrong\n    right\n"
        ));
        assert!(errors.to_string().ends_with("and 50 more"));
    }
}
