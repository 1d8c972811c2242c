//! A policy set as bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use carnet_core::Digest;
use serde::{Deserialize, Serialize};

use crate::vocabulary::VOCABULARY_VERSION;

/// The most files in a set.
const FILES_MAX: usize = 1024;
/// The largest file of a set.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// All files of a set together.
const SET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest name of a file, with its folder.
const NAME_BYTES_MAX: usize = 160;
/// Folders below the root of a set: `permit/x.cedar` is one down.
const DEPTH_MAX: usize = 1;

/// Why a policy set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder could not be read.
    #[error("cannot read `{file}`: {error}")]
    Io {
        /// Its name in the set.
        file: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A name that a set cannot hold.
    #[error(
        "`{0}` is not a file name a policy set can hold: use at most {NAME_BYTES_MAX} of A-Z, a-z, 0-9, `-`, `_`, `.` and `/`"
    )]
    Name(String),
    /// Neither a file nor a folder.
    #[error("`{0}` is a link or a special file: put the file itself in the set")]
    NotPlain(String),
    /// A folder inside a tier.
    #[error("`{0}` is a folder too deep: a set has permit/, forbid/ and ask/ and files in them")]
    TooDeep(String),
    /// Too many files.
    #[error("the set has more than {FILES_MAX} files: put more policies in one file")]
    TooMany,
    /// Too many bytes.
    #[error("`{0}` is too large: a file has at most {FILE_BYTES_MAX} bytes, a set {SET_BYTES_MAX}")]
    TooLarge(String),
    /// Not text.
    #[error("`{0}` is not UTF-8 text")]
    NotText(String),
    /// Stored bytes that are not a set in its one canonical form.
    #[error("the stored policy set cannot be used: {0}")]
    Stored(String),
}

/// A policy set as bytes: file names relative to its root, and their text. Whether it means
/// anything is for [`crate::CedarPolicy::load`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    files: BTreeMap<String, String>,
}

/// The stored form. Members are in the order of their names, which makes the JSON canonical
/// (RFC 8785): file names are ASCII, so that the order of bytes is the order of UTF-16 units.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    files: BTreeMap<String, String>,
    vocabulary: u32,
}

impl PolicySource {
    /// The set of these files: names such as `permit/support.cedar`, and their text.
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Self, SourceError> {
        if files.len() > FILES_MAX {
            return Err(SourceError::TooMany);
        }
        let mut bytes = 0_usize;
        for (name, text) in &files {
            check_name(name)?;
            bytes = bytes.saturating_add(text.len());
            if text.len() > FILE_BYTES_MAX || bytes > SET_BYTES_MAX {
                return Err(SourceError::TooLarge(name.clone()));
            }
        }
        Ok(Self { files })
    }

    /// The set of no files, which no loader accepts.
    pub(crate) fn empty() -> Self {
        Self { files: BTreeMap::new() }
    }

    /// The set in the folder `root`. Everything in it counts, so that a misplaced file is refused
    /// when the set is loaded rather than overlooked.
    pub fn read_dir(root: &Path) -> Result<Self, SourceError> {
        let mut files = BTreeMap::new();
        let mut bytes = 0;
        read_folder(root, "", 0, &mut files, &mut bytes)?;
        Self::from_files(files)
    }

    /// The files: name and text, sorted by name.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The canonical bytes: one JSON object with the files and the version of the vocabulary they
    /// are written in. What is stored, hashed and replayed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored { files: self.files.clone(), vocabulary: VOCABULARY_VERSION };
        // Strings and a number always serialise; were it otherwise, no bytes match no digest.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// The set that [`Self::to_bytes`] gave. Other bytes are refused, also those that differ only
    /// in form: one set has one digest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SourceError> {
        // Escaping at most sextuples a byte.
        if bytes.len() > SET_BYTES_MAX.saturating_mul(6) {
            return Err(SourceError::Stored("too large".to_owned()));
        }
        let stored: Stored =
            serde_json::from_slice(bytes).map_err(|e| SourceError::Stored(e.to_string()))?;
        if stored.vocabulary != VOCABULARY_VERSION {
            return Err(SourceError::Stored(format!(
                "it is written in vocabulary {}, this Carnet speaks {VOCABULARY_VERSION}",
                stored.vocabulary
            )));
        }
        let source = Self::from_files(stored.files)?;
        if source.to_bytes() != bytes {
            return Err(SourceError::Stored("it is not in canonical form".to_owned()));
        }
        Ok(source)
    }

    /// The digest of the canonical bytes: the name of the set in every decision.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }
}

fn check_name(name: &str) -> Result<(), SourceError> {
    let plain = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain {
        return Ok(());
    }
    Err(SourceError::Name(name.chars().take(80).flat_map(char::escape_debug).collect()))
}

fn read_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
    bytes: &mut usize,
) -> Result<(), SourceError> {
    let failed = |error| SourceError::Io { file: format!("{prefix}."), error };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        check_name(&name)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if depth >= DEPTH_MAX {
                return Err(SourceError::TooDeep(name));
            }
            read_folder(&entry.path(), &format!("{name}/"), depth + 1, files, bytes)?;
        } else if kind.is_file() {
            let text = read_file(&entry.path(), &name)?;
            *bytes = bytes.saturating_add(text.len());
            if *bytes > SET_BYTES_MAX {
                return Err(SourceError::TooLarge(name));
            }
            files.insert(name, text);
            if files.len() > FILES_MAX {
                return Err(SourceError::TooMany);
            }
        } else {
            return Err(SourceError::NotPlain(name));
        }
    }
    Ok(())
}

fn read_file(path: &Path, name: &str) -> Result<String, SourceError> {
    use std::io::Read;
    let failed = |error| SourceError::Io { file: name.to_owned(), error };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than may be, so that a file that grows while it is read is noticed.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SourceError::TooLarge(name.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| SourceError::NotText(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> PolicySource {
        let files = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        PolicySource::from_files(files).unwrap()
    }

    #[test]
    fn stored_bytes_are_canonical_json_and_come_back_the_same() {
        let source =
            set(&[("permit/a.cedar", "\u{1}\u{7f}\"\\\t\n/é\u{1f600}"), ("ask/b.cedar", "")]);
        let bytes = source.to_bytes();
        assert_eq!(PolicySource::from_bytes(&bytes).unwrap(), source);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(Digest::of_json(&value).unwrap(), source.digest());
    }

    #[test]
    fn bytes_in_another_form_or_vocabulary_are_refused() {
        let text = String::from_utf8(set(&[("permit/a.cedar", "x")]).to_bytes()).unwrap();
        for other in [
            format!(" {text}"),
            text.replace("\"vocabulary\":1", "\"vocabulary\":2"),
            text.replace("permit/a.cedar", "permit/../a.cedar"),
            text.replace("{\"files\"", "{\"more\":1,\"files\""),
        ] {
            assert!(PolicySource::from_bytes(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn any_change_of_name_or_text_changes_the_digest() {
        let digests = [
            set(&[("permit/a.cedar", "x")]),
            set(&[("permit/a.cedar", "x ")]),
            set(&[("permit/b.cedar", "x")]),
            set(&[("ask/a.cedar", "x")]),
        ]
        .map(|s| s.digest());
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_folder_is_read_whole_and_links_and_deep_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("permit")).unwrap();
        fs::write(root.path().join("permit/a.cedar"), "x").unwrap();
        fs::write(root.path().join("README.md"), "y").unwrap();
        let source = PolicySource::read_dir(root.path()).unwrap();
        assert_eq!(source, set(&[("README.md", "y"), ("permit/a.cedar", "x")]));

        std::os::unix::fs::symlink("a.cedar", root.path().join("permit/b.cedar")).unwrap();
        assert!(matches!(PolicySource::read_dir(root.path()), Err(SourceError::NotPlain(_))));
        fs::remove_file(root.path().join("permit/b.cedar")).unwrap();
        fs::create_dir(root.path().join("permit/more")).unwrap();
        assert!(matches!(PolicySource::read_dir(root.path()), Err(SourceError::TooDeep(_))));
    }

    #[test]
    fn a_file_over_the_bound_or_not_text_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("big"), vec![b'a'; FILE_BYTES_MAX + 1]).unwrap();
        assert!(matches!(PolicySource::read_dir(root.path()), Err(SourceError::TooLarge(_))));
        fs::write(root.path().join("big"), [0xff]).unwrap();
        assert!(matches!(PolicySource::read_dir(root.path()), Err(SourceError::NotText(_))));
    }
}
