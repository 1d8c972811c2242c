//! File paths, compared by component.
//!
//! The bytes of a component are compared as they are: on most file systems two Unicode forms of one
//! name are two files. Symbolic links are the target's to resolve; a path is only text here.

use std::fmt;

use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use super::{ValueError, first_hidden};

/// The longest file path.
const FILE_PATH_BYTES_MAX: usize = 4096;
/// Bytes that may not be hidden behind a percent sign: dot, slash, backslash, NUL, percent.
const ENCODED_REFUSED: [u8; 5] = [b'.', b'/', b'\\', 0, b'%'];

/// An absolute file path without `.`, `..` or empty components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(Vec<String>);

impl FilePath {
    /// The path `text` writes. `.` components and one final slash are dropped.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > FILE_PATH_BYTES_MAX {
            return Err(ValueError::TooLong);
        }
        if text.contains('\\') {
            return Err(ValueError::Backslash);
        }
        if first_hidden(text).is_some() {
            return Err(ValueError::HiddenCharacter);
        }
        let rest = text.strip_prefix('/').ok_or(ValueError::NotAbsolute)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // `//` is not the root: a leading pair of slashes means something else on some systems.
        if rest.is_empty() && text.len() > 1 {
            return Err(ValueError::EmptyComponent);
        }
        let mut components = Vec::new();
        for component in rest.split('/').filter(|_| !rest.is_empty()) {
            check_component(component)?;
            if component != "." {
                components.push(component.to_owned());
            }
        }
        Ok(Self(components))
    }

    /// Whether this is `directory` itself or anything below it, component by component.
    pub fn is_under(&self, directory: &Self) -> bool {
        self.0.starts_with(&directory.0)
    }
}

fn check_component(component: &str) -> Result<(), ValueError> {
    if component.is_empty() {
        return Err(ValueError::EmptyComponent);
    }
    if component == ".." {
        return Err(ValueError::ParentComponent);
    }
    if encoded_bytes(component).any(|byte| ENCODED_REFUSED.contains(&byte)) {
        return Err(ValueError::EncodedComponent);
    }
    // Some systems replace compatibility characters, and a full-width dot or slash becomes one.
    let replaced: String = component.nfkc().collect();
    let is_changed = replaced != component;
    if is_changed && (replaced.contains(['/', '\\']) || matches!(replaced.as_str(), "." | "..")) {
        return Err(ValueError::CompatibilityCharacter);
    }
    Ok(())
}

/// The bytes that `text` writes as a percent sign and two hexadecimal digits.
pub(super) fn encoded_bytes(text: &str) -> impl Iterator<Item = u8> {
    text.as_bytes().windows(3).filter_map(|triple| match triple {
        [b'%', high, low] => hex_byte(*high, *low),
        _ => None,
    })
}

/// The byte two hexadecimal digits write.
pub(super) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|component| write!(f, "/{component}"))
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_covers_its_components_and_not_its_prefix() {
        let path = |text: &str| FilePath::parse(text).unwrap();
        let directory = path("/srv/x");
        for inside in ["/srv/x", "/srv/x/", "/srv/x/a", "/srv/./x/a/.", "/srv/x/..a", "/srv/x/a b"]
        {
            assert!(path(inside).is_under(&directory), "{inside}");
        }
        for outside in ["/", "/srv", "/srv/xy", "/srv/X", "/srv/x.bak", "/tmp/srv/x"] {
            assert!(!path(outside).is_under(&directory), "{outside}");
        }
        assert!(path("/srv").is_under(&path("/")));
    }

    #[test]
    fn a_path_that_programs_resolve_differently_is_refused() {
        for text in [
            "",
            "x",
            "./x",
            "~/x",
            "//",
            "//host/x",
            "/a//b",
            "/a/../b",
            "/..",
            "/a/..",
            "/a\\b",
            "/a\0b",
            "/a/%2e%2e/b",
            "/a/%2Fb",
            "/a%5cb",
            "/a%00",
            "/a%252e",
            "/a\nb",
            "C:\\x",
            "C:/x",
            "file:///x",
            "/a\u{202e}b",
            "/a//",
            "/a/\u{2025}/b",
            "/a/\u{ff0e}\u{ff0e}/b",
            "/a/x\u{ff0f}y",
        ] {
            assert!(FilePath::parse(text).is_err(), "{text:?}");
        }
        assert!(FilePath::parse(&"/a".repeat(3000)).is_err());
    }
}
