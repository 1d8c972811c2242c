//! The action pattern: which registered operations an allowance speaks of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ActionName;

/// The most `*` in one pattern.
const STARS_MAX: usize = 8;
/// What divides an item into segments.
const SEPARATORS: [char; 2] = ['.', '/'];

/// A glob over action names: `<resource>.<kind>.<item>`, such as `desk.tool.get_*`.
///
/// The resource and the kind are written out. In the item, `*` matches any run of characters, empty
/// included, within one segment: it matches neither `.` nor `/`. Everything else matches itself,
/// case included. Matching takes time linear in the name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionPattern(String);

/// Why a text is not an action pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionPatternError {
    /// Not `<resource>.<kind>.<item>`.
    #[error(
        "`{0}` is not an action pattern: write `<resource>.<kind>.<item>`, such as `desk.tool.get_*`"
    )]
    Malformed(String),
    /// A `*` in the resource or the kind.
    #[error(
        "`{0}` has a `*` before the item: write the resource and the kind out, such as `desk.tool.get_*`"
    )]
    StarBeforeItem(String),
    /// Two `*` beside each other.
    #[error("`{0}` has `**`: one `*` matches any run within one segment of the item; write one")]
    AdjacentStars(String),
    /// Too many `*`.
    #[error("`{0}` has more than {STARS_MAX} `*`: write several allowances")]
    TooManyStars(String),
}

impl ActionPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource it speaks of.
    pub fn resource(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether it names one operation.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether everything `narrower` matches, this matches too. A `*` there can only be met by a `*`
    /// here, so that its text can be matched like a name: the rest of it is written out in both.
    pub fn contains(&self, narrower: &Self) -> bool {
        self == narrower || segments_match(&self.0, &narrower.0)
    }

    /// Whether it matches `action`.
    pub fn matches(&self, action: &ActionName) -> bool {
        segments_match(&self.0, action.as_str())
    }
}

fn segments_match(mut pattern: &str, mut name: &str) -> bool {
    loop {
        let (wanted, wanted_rest) = first_segment(pattern);
        let (found, found_rest) = first_segment(name);
        if !segment_matches(wanted, found) {
            return false;
        }
        match (wanted_rest, found_rest) {
            (None, None) => return true,
            (Some((a, rest_a)), Some((b, rest_b))) if a == b => (pattern, name) = (rest_a, rest_b),
            _ => return false,
        }
    }
}

/// The text before the first separator, and the separator with what follows it.
fn first_segment(text: &str) -> (&str, Option<(char, &str)>) {
    let separator = text.char_indices().find(|(_, c)| SEPARATORS.contains(c));
    let cut = separator
        .and_then(|(at, c)| Some((text.get(..at)?, Some((c, text.get(at + c.len_utf8()..)?)))));
    cut.unwrap_or((text, None))
}

/// Whether `text` is the pieces of `pattern` in order. Taking each at its first place is enough,
/// because a `*` matches whatever lies between.
fn segment_matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let between = text.strip_prefix(first).and_then(|text| text.strip_suffix(last));
    let Some(mut text) = between else {
        return false;
    };
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None if piece.is_empty() => {}
            None => return false,
        }
    }
    true
}

impl FromStr for ActionPattern {
    type Err = ActionPatternError;
    fn from_str(text: &str) -> Result<Self, ActionPatternError> {
        let shown = || text.chars().take(80).flat_map(char::escape_debug).collect();
        let mut parts = text.splitn(3, '.');
        let (Some(resource), Some(kind), Some(_)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ActionPatternError::Malformed(shown()));
        };
        if resource.contains('*') || kind.contains('*') {
            return Err(ActionPatternError::StarBeforeItem(shown()));
        }
        if text.contains("**") {
            return Err(ActionPatternError::AdjacentStars(shown()));
        }
        if text.matches('*').count() > STARS_MAX {
            return Err(ActionPatternError::TooManyStars(shown()));
        }
        // A pattern is a name in which some characters are `*`.
        match text.replace('*', "a").parse::<ActionName>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(ActionPatternError::Malformed(shown())),
        }
    }
}

impl TryFrom<String> for ActionPattern {
    type Error = ActionPatternError;
    fn try_from(text: String) -> Result<Self, ActionPatternError> {
        text.parse()
    }
}

impl From<ActionPattern> for String {
    fn from(pattern: ActionPattern) -> Self {
        pattern.0
    }
}

/// The pattern that matches one action: a name has no `*`.
impl From<&ActionName> for ActionPattern {
    fn from(action: &ActionName) -> Self {
        Self(action.as_str().to_owned())
    }
}

impl fmt::Display for ActionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, action: &str) -> bool {
        pattern.parse::<ActionPattern>().unwrap().matches(&action.parse().unwrap())
    }

    #[test]
    fn a_star_matches_any_run_within_one_segment() {
        for (pattern, action) in [
            ("desk.tool.get_ticket", "desk.tool.get_ticket"),
            ("desk.tool.get_*", "desk.tool.get_ticket"),
            ("desk.tool.get_*", "desk.tool.get_"),
            ("desk.tool.*", "desk.tool.x"),
            ("desk.tool.*_ticket_*", "desk.tool.get_ticket_ticket_1"),
            ("desk.tool.a*b*c", "desk.tool.axbxbc"),
            ("desk.tool.tickets/*", "desk.tool.tickets/get"),
            ("desk.tool.*/*.one", "desk.tool.tickets/get.one"),
        ] {
            assert!(matches(pattern, action), "{pattern} {action}");
        }
        for (pattern, action) in [
            ("desk.tool.get_*", "desk.tool.forget_x"),
            ("desk.tool.get_*", "desk.tool.Get_x"),
            ("desk.tool.get_*", "desk.prompt.get_x"),
            ("desk.tool.get_*", "disk.tool.get_x"),
            ("desk.tool.*", "desk.tool.tickets/get"),
            ("desk.tool.*", "desk.tool.tickets.get"),
            ("desk.tool.a*a", "desk.tool.a"),
            ("desk.tool.a*b*c", "desk.tool.axcxb"),
            ("desk.tool.a/*", "desk.tool.a.b"),
        ] {
            assert!(!matches(pattern, action), "{pattern} {action}");
        }
    }

    #[test]
    fn a_pattern_names_its_resource_and_kind() {
        for text in
            ["*", "*.tool.x", "desk.*.x", "desk.tool", "desk.tool.**", "desk.tool.", "de*k.tool.x"]
        {
            assert!(text.parse::<ActionPattern>().is_err(), "{text}");
        }
        assert!(format!("desk.tool.{}", "a*".repeat(9)).parse::<ActionPattern>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn matching_agrees_with_a_regular_expression(
            pattern in "[ab*/.]{1,8}", item in "[ab/.]{1,10}"
        ) {
            if let Ok(pattern) = format!("r.k.{pattern}").parse::<ActionPattern>() {
                let regex = pattern.as_str().replace('.', "[.]").replace('*', "[^./]*");
                let name = format!("r.k.{item}");
                let expected = regex::Regex::new(&format!("^{regex}$")).unwrap().is_match(&name);
                proptest::prop_assert_eq!(pattern.matches(&name.parse().unwrap()), expected);
            }
        }
    }
}
