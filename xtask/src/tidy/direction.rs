//! Which crate may know which.

use std::collections::BTreeMap;

use super::Finding;
use crate::workspace::{self, Package};

/// The crates of the product and what each may use of the others.
const MAY_USE: &[(&str, &[&str])] = &[
    ("carnet-core", &[]),
    ("carnet-policy", &["carnet-core"]),
    ("carnet-identity", &["carnet-core"]),
    ("carnet-ledger", &["carnet-core"]),
    ("carnet-sql", &["carnet-core"]),
    ("carnet-store", &["carnet-ledger", "carnet-core"]),
    (
        "carnet-broker",
        &["carnet-store", "carnet-policy", "carnet-identity", "carnet-ledger", "carnet-core"],
    ),
    (
        "carnet-gateway",
        &["carnet-policy", "carnet-identity", "carnet-ledger", "carnet-sql", "carnet-core"],
    ),
    (
        "carnet",
        &[
            "carnet-broker",
            "carnet-gateway",
            "carnet-store",
            "carnet-policy",
            "carnet-identity",
            "carnet-ledger",
            "carnet-sql",
            "carnet-core",
        ],
    ),
    // Around the product: it never needs them, and they meet it from outside, as programs.
    ("xtask", &[]),
    ("support-desk", &[]),
    ("bench-peers", &[]),
    // Measures the decision itself, so it has to link it.
    ("bench-decide", &["carnet-core", "carnet-policy"]),
    // Measures minting and checking, so it has to link them; Carnet itself it meets over HTTP.
    ("bench-identity", &["carnet-core", "carnet-identity"]),
];

/// What may be used in the tests of a crate besides.
const MAY_USE_IN_TESTS: &[(&str, &[&str])] = &[("carnet", &["support-desk", "bench-peers"])];

/// Every edge that is not allowed, and every crate that has no place yet.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let in_tests: BTreeMap<&str, &[&str]> = MAY_USE_IN_TESTS.iter().copied().collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let place = workspace::shown(&package.manifest_path);
        let Some(may_use) = rules.get(name) else {
            findings.push(format!(
                "{place}: crate `{name}` has no place: give it one in xtask/src/tidy/direction.rs"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            let is_test = dependency.kind.as_deref() == Some("dev");
            let may_test = is_test && in_tests.get(name).is_some_and(|list| list.contains(&other));
            // A crate may name itself, to switch on what its own tests need.
            let is_allowed = may_use.contains(&other) || may_test || other == name;
            if is_ours(dependency.path.is_some(), other) && !is_allowed {
                findings.push(format!(
                    "{place}: `{name}` may not use `{other}`; see ARCHITECTURE.md, Direction"
                ));
            }
        }
    }
    findings
}

/// A crate found by path is ours, and so is the name of one that has a place.
fn is_ours(has_path: bool, name: &str) -> bool {
    has_path || MAY_USE.iter().any(|(ours, _)| *ours == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).into(),
            path: name.starts_with("carnet").then(|| format!("crates/{name}").into()),
            kind: kind.map(str::to_owned),
        };
        let dependencies = uses.iter().map(dependency).collect();
        Package {
            name: name.into(),
            manifest_path: "Cargo.toml".into(),
            dependencies,
            targets: vec![],
        }
    }

    #[test]
    fn the_gateway_never_reaches_the_store() {
        for kind in [None, Some("dev"), Some("build")] {
            let findings = check(&[package("carnet-gateway", &[("carnet-store", kind)])]);
            assert_eq!(findings.len(), 1, "{kind:?}");
        }
    }

    #[test]
    fn the_core_uses_none_of_ours() {
        assert_eq!(check(&[package("carnet-core", &[("carnet-policy", None)])]).len(), 1);
        assert!(check(&[package("carnet-core", &[("serde", None)])]).is_empty());
    }

    #[test]
    fn what_is_around_the_product_links_none_of_it() {
        assert_eq!(check(&[package("xtask", &[("carnet-core", None)])]).len(), 1);
        assert_eq!(check(&[package("support-desk", &[("carnet", Some("dev"))])]).len(), 1);
    }

    #[test]
    fn an_example_serves_the_tests_of_the_binary_and_nothing_else() {
        assert!(check(&[package("carnet", &[("support-desk", Some("dev"))])]).is_empty());
        assert_eq!(check(&[package("carnet", &[("support-desk", None)])]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_is_named() {
        let findings = check(&[package("carnet-cache", &[])]);
        assert!(findings[0].contains("`carnet-cache`"), "{findings:?}");
    }

    #[test]
    fn the_rules_have_no_circle() {
        let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
        fn reaches(rules: &BTreeMap<&str, &[&str]>, from: &str, to: &str) -> bool {
            rules[from].iter().any(|next| *next == to || reaches(rules, next, to))
        }
        for name in rules.keys() {
            assert!(!reaches(&rules, name, name), "{name}");
        }
    }
}
