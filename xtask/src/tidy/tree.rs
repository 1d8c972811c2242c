//! The text files of the repository.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// What is never looked into: what is built, what is installed, and what git keeps.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];
/// Above this a file is data, not text that someone wrote.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// One text file.
#[derive(Debug)]
pub(super) struct File {
    /// From the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Every file under `root` that is text.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        let entries = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                left.push(path);
            } else if kind.is_file() {
                files.extend(read_text(root, path, entry.metadata()?.len()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// A file that went away meanwhile, or is not text, is not looked at.
fn read_text(root: &Path, path: PathBuf, bytes: u64) -> Option<File> {
    if bytes > TEXT_BYTES_MAX {
        return None;
    }
    let text = std::fs::read_to_string(&path).ok()?;
    let path = path.strip_prefix(root).ok()?.to_str()?.replace('\\', "/");
    Some(File { path, text })
}

impl File {
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether it holds nothing but tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    #[cfg(test)]
    pub(super) fn of(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_file_is_seen_and_what_is_built_is_not() {
        let files = read(crate::workspace::root()).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy/tree.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
