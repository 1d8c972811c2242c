//! Each crate says first what it is for.

use super::Finding;
use super::tree::File;
use crate::workspace::{self, Package};

/// What a crate doc is too short to say anything below.
const BYTES_MIN: usize = 24;

/// The root file of every library and every program.
pub(super) fn roots<'a>(packages: &[Package], files: &'a [File]) -> Vec<&'a File> {
    let is_root = |kind: &String| ["lib", "bin", "proc-macro"].contains(&kind.as_str());
    let targets = packages.iter().flat_map(|package| &package.targets);
    let roots = targets.filter(|target| target.kind.iter().any(is_root));
    let paths: Vec<String> = roots.map(|target| workspace::shown(&target.src_path)).collect();
    files.iter().filter(|file| paths.contains(&file.path)).collect()
}

/// Every root without a doc comment that says something.
pub(super) fn check(roots: &[&File]) -> Vec<Finding> {
    let says_nothing = |file: &&&File| doc_of(&file.text).len() < BYTES_MIN;
    let finding = |file: &&File| {
        format!("{}: open it with a `//!` comment: purpose, words, what it does not do", file.path)
    };
    roots.iter().filter(says_nothing).map(finding).collect()
}

fn doc_of(text: &str) -> String {
    text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_say_what_it_is_for_is_found() {
        let silent = File::of("crates/a/src/lib.rs", "// a\nfn main() {}\n");
        let short = File::of("crates/b/src/lib.rs", "//! B.\n");
        let good = File::of(
            "crates/c/src/lib.rs",
            "//! The words of the house, and what\n//! they mean here.\n",
        );
        assert_eq!(check(&[&silent, &short, &good]).len(), 2);
    }

    #[test]
    fn the_root_of_every_crate_is_looked_at() {
        let files = super::super::tree::read(workspace::root()).unwrap();
        let packages = workspace::packages().unwrap();
        let paths: Vec<&str> =
            roots(&packages, &files).iter().map(|file| file.path.as_str()).collect();
        assert!(paths.contains(&"crates/carnet-core/src/lib.rs"), "{paths:?}");
        assert!(paths.contains(&"xtask/src/main.rs"), "{paths:?}");
    }
}
