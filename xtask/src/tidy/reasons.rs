//! Each dependency on others has its reason written down.

use super::Finding;
use super::tree::File;

const MANIFEST: &str = "Cargo.toml";
const TABLE: &str = "[workspace.dependencies]";
const PAGE: &str = "docs/decisions/0002-dependencies.md";

/// Every dependency of the workspace's table that the page does not name.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let text =
        |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let (Some(manifest), Some(page)) = (text(MANIFEST), text(PAGE)) else {
        return vec![format!("{MANIFEST} or {PAGE}: not found")];
    };
    let unnamed = dependencies(manifest).filter(|name| !page.contains(&format!("`{name}`")));
    unnamed.map(|name| format!("{PAGE}: say why `{name}` is needed")).collect()
}

/// The names in the table, ours left out.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let lines = manifest.lines().skip_while(|line| line.trim() != TABLE).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let entries =
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    entries.filter(|(_, value)| !value.contains("path =")).map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[workspace.dependencies]\nours = { path = \"a\" }\n# words = no entry\n\
                        serde = \"1\"\nleft-pad = { version = \"1\" }\n\n[profile.dev]\ndebug = 1\n";
        let page = "| `serde` | why |\n";
        let findings = check(&[File::of(MANIFEST, manifest), File::of(PAGE, page)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("`left-pad`"), "{findings:?}");
    }
}
