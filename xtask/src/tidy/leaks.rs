//! Nothing of the machine a change was written on stays in the repository: none of its file paths,
//! and no host that packages came from.

use std::path::{Path, PathBuf};

use super::Finding;
use super::tree::File;

/// Where every machine has the same things, so that naming them tells nothing.
const EVERYWHERE: [&str; 13] = [
    "bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var",
];
/// Hosts packages come from, in parts so that this file does not name them.
const REGISTRY_HOSTS: [[&str; 2]; 5] = [
    ["index.", "crates.io"],
    ["static.", "crates.io"],
    ["pypi.", "org"],
    ["files.pythonhosted", ".org"],
    ["registry.npmjs", ".org"],
];
/// Variables that name the host packages are fetched from on this machine.
const REGISTRY_VARIABLES: [&str; 4] =
    ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "npm_config_registry", "NPM_CONFIG_REGISTRY"];

/// What is to be kept out.
pub(super) struct Machine {
    exists: fn(&Path) -> bool,
    hosts: Vec<String>,
}

impl Machine {
    /// The machine this runs on.
    pub(super) fn this() -> Self {
        let known = REGISTRY_HOSTS.iter().map(|parts| parts.concat());
        let own = REGISTRY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
        let own = own.filter_map(|url| host_of(&url));
        Self { exists: Path::exists, hosts: known.chain(own).collect() }
    }
}

/// Every line that names a path of this machine or a host packages come from.
pub(super) fn check(files: &[File], machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.name() != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, number + 1);
            if let Some(path) = paths(line).into_iter().find(|path| is_of_machine(path, machine)) {
                findings
                    .push(format!("{place}: `{path}` is a path of this machine: make it relative"));
            }
            if let Some(host) = machine.hosts.iter().find(|host| line.contains(host.as_str())) {
                findings
                    .push(format!("{place}: `{host}` is a host packages come from: leave it out"));
            }
        }
    }
    findings
}

/// What looks like an absolute path: it begins where a word begins.
fn paths(line: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let mut found = Vec::new();
    let mut rest = line;
    let mut before = ' ';
    while let Some(at) = rest.find('/') {
        before = rest[..at].chars().next_back().unwrap_or(before);
        let tail = &rest[at..];
        let end = tail.find(|c| !is_part(c)).unwrap_or(tail.len());
        if !is_part(before) && before != ':' && before != '}' {
            found.push(tail[..end].trim_end_matches(['.', '/']));
        }
        before = tail[..end].chars().next_back().unwrap_or(before);
        rest = &tail[end..];
    }
    found
}

/// Whether the first two parts of `path` exist here and only here.
fn is_of_machine(path: &str, machine: &Machine) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return false };
    // `/./x` and `/../x` are what tests of file paths say; no tool prints them.
    if [first, second].iter().any(|part| part.trim_matches('.').is_empty()) {
        return false;
    }
    let start: PathBuf = ["/", first, second].iter().collect();
    !EVERYWHERE.contains(&first) && (machine.exists)(&start)
}

fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?.rsplit('@').next()?;
    Some(host.to_owned()).filter(|host| host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Finding> {
        let machine = Machine {
            exists: |path| path.starts_with("/build/house"),
            hosts: vec!["mirror.example".into()],
        };
        check(&[File::of("docs/a.md", text)], &machine)
    }

    #[test]
    fn a_path_of_this_machine_is_found_wherever_it_stands() {
        for text in
            ["/build/house", "see /build/house/x.md.", "a=\"/build/house/b\"", "(/build/house)"]
        {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn paths_that_are_not_of_this_machine_are_not() {
        for text in [
            "a/build/house",
            "/read/mcp/desk",
            "/build",
            "/etc/passwd",
            "https://build/house",
            "/build/../house",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_host_packages_come_from_is_found() {
        assert_eq!(found("fetched from https://mirror.example/x").len(), 1);
        assert_eq!(
            host_of("https://user:word@mirror.example/simple"),
            Some("mirror.example".into())
        );
    }

    #[test]
    fn the_lock_file_names_its_registry_by_right() {
        let machine = Machine { exists: |_| false, hosts: vec!["mirror.example".into()] };
        assert!(check(&[File::of("Cargo.lock", "mirror.example")], &machine).is_empty());
    }
}
