//! A pattern over the names of operations: `*` is any run of characters, `?` is one.

use std::fmt;

/// A pattern, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    /// The pattern `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it matches the whole of `text`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        let (mut p, mut t) = (0, 0);
        // Where the last `*` was, and how far it has been stretched.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
                _ => match star {
                    Some((at, from)) => {
                        star = Some((at, from + 1));
                        (p, t) = (at + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(p).all(|c| *c == '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (pattern, text, is) in [
            ("get_*", "get_ticket", true),
            ("get_*", "forget_it", false),
            ("*", "", true),
            ("", "", true),
            ("*_ticket", "get_my_ticket", true),
            ("get_?", "get_ab", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("tool/*", "tool/get", true),
            ("(.*)", "anything", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_long() {
        let glob = Glob::new(&"*a".repeat(64));
        assert!(!glob.matches(&("a".repeat(2_000) + "b")));
    }
}
