//! `unsafe` is forbidden everywhere: the workspace says so, and each crate takes it over.

use super::Finding;
use super::tree::File;
use crate::workspace::{self, Package};

/// The manifests of our crates, that of the workspace first.
pub(super) fn manifests<'a>(packages: &[Package], files: &'a [File]) -> Vec<&'a File> {
    let paths: Vec<String> =
        packages.iter().map(|package| workspace::shown(&package.manifest_path)).collect();
    let root = files.iter().filter(|file| file.path == "Cargo.toml");
    root.chain(files.iter().filter(|file| paths.contains(&file.path))).collect()
}

/// Every manifest through which `unsafe` could come back.
pub(super) fn check(manifests: &[&File]) -> Vec<Finding> {
    let Some((root, crates)) = manifests.split_first() else {
        return vec!["Cargo.toml: not found".into()];
    };
    let mut findings = Vec::new();
    if value(&root.text, "[workspace.lints.rust]", "unsafe_code") != Some("\"forbid\"") {
        findings
            .push(format!("{}: [workspace.lints.rust] unsafe_code must be \"forbid\"", root.path));
    }
    for manifest in crates {
        if value(&manifest.text, "[lints]", "workspace") != Some("true") {
            findings.push(format!("{}: add `[lints]` with `workspace = true`", manifest.path));
        }
    }
    findings
}

/// The value of `key` in the table headed `table`.
fn value<'a>(text: &'a str, table: &str, key: &str) -> Option<&'a str> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != table).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
    const MEMBER: &str = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";

    fn found(root: &str, member: &str) -> usize {
        check(&[&File::of("Cargo.toml", root), &File::of("crates/a/Cargo.toml", member)]).len()
    }

    #[test]
    fn a_crate_that_does_not_take_the_lints_over_is_found() {
        assert_eq!(found(ROOT, MEMBER), 0);
        assert_eq!(found(ROOT, "[package]\nname = \"a\"\n"), 1);
        assert_eq!(found(ROOT, "[lints]\nworkspace = false\n"), 1);
        assert_eq!(found(ROOT, "[lints]\n[dependencies]\nworkspace = true\n"), 1);
    }

    #[test]
    fn forbid_is_not_deny() {
        assert_eq!(found(&ROOT.replace("forbid", "deny"), MEMBER), 1);
        assert_eq!(found("", MEMBER), 1);
        assert_eq!(check(&[]).len(), 1);
    }
}
