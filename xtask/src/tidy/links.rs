//! Every page can be reached, and every link leads somewhere.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::File;

/// The page that names all others under `docs/`.
const INDEX: &str = "docs/README.md";

/// Every page under `docs/` that the index does not name, and every relative link to nothing.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let known: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let pages = files.iter().filter(|file| file.path.ends_with(".md") && !file.is_test());
    let mut findings = Vec::new();
    let mut listed: BTreeSet<String> = BTreeSet::new();
    for page in pages {
        for target in relative_links(&page.text) {
            let path = resolve(&page.path, target);
            let is_dir = known.iter().any(|file| file.starts_with(&format!("{path}/")));
            if !known.contains(path.as_str()) && !is_dir {
                findings.push(format!("{}: the link to `{target}` leads nowhere", page.path));
            }
            if page.path == INDEX {
                listed.insert(path);
            }
        }
    }
    let is_page =
        |path: &&&str| path.starts_with("docs/") && path.ends_with(".md") && **path != INDEX;
    let lost = known.iter().filter(is_page).filter(|path| !listed.contains(**path));
    findings.extend(lost.map(|path| format!("{path}: link it from {INDEX}")));
    findings
}

/// The targets of `[text](target)` that are neither addresses nor places on the same page.
fn relative_links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let targets = targets.filter_map(|target| target.split(['#', ' ']).next());
        links.extend(targets.filter(|target| {
            !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")
        }));
    }
    links
}

/// `target` as seen from `page`, both from the repository.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_nobody_links_is_found() {
        let index = File::of(INDEX, "[a](a.md) [b](decisions/0001-b.md)\n");
        let (a, b) = (File::of("docs/a.md", ""), File::of("docs/decisions/0001-b.md", ""));
        let lost = File::of("docs/lost.md", "");
        let findings = check(&[index, a, b, lost]);
        assert_eq!(findings, ["docs/lost.md: link it from docs/README.md"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let readme = File::of("README.md", "[gone](docs/gone.md)\n[up](../x)\n");
        assert_eq!(check(&[readme]).len(), 2);
    }

    #[test]
    fn links_to_folders_addresses_and_places_are_fine() {
        let text =
            "[d](../crates) [w](https://a.b/c) [h](#here) [p](b.md#there)\n```\n[x](y)\n```\n";
        let files = [
            File::of("docs/README.md", text),
            File::of("docs/b.md", ""),
            File::of("crates/a/src/lib.rs", ""),
        ];
        assert!(check(&files).is_empty());
    }
}
