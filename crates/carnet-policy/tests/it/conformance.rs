//! The numbered cases of `conformance/policy`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carnet_core::{Document, Policy, Verdict};
use carnet_policy::{CedarPolicy, LoadError, PolicySource};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadCase {
    about: String,
    policy: BTreeMap<String, Vec<String>>,
    errors: Vec<ExpectedError>,
}

/// What an error must say: `what` and `suggestion` as parts of the text, the rest exactly.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    file: String,
    line: u32,
    column: u32,
    policy: Option<String>,
    what: String,
    suggestion: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecideCase {
    about: String,
    policy: BTreeMap<String, Vec<String>>,
    document: Document,
    verdict: Verdict,
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/policy").join(kind);
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    for (n, folder) in found.iter().enumerate() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:03}-", n + 1)), "{name} is out of order");
    }
    found
}

fn read<T: for<'a> Deserialize<'a>>(folder: &Path) -> T {
    let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
}

fn source(policy: BTreeMap<String, Vec<String>>) -> PolicySource {
    let files = policy.into_iter().map(|(name, lines)| (name, lines.join("\n"))).collect();
    PolicySource::from_files(files).unwrap()
}

fn fits(expected: &ExpectedError, found: &LoadError) -> bool {
    let suggestion = match (&expected.suggestion, &found.suggestion) {
        (None, None) => true,
        (Some(part), Some(whole)) => whole.contains(part.as_str()),
        _ => false,
    };
    (&expected.file, expected.line, expected.column, &expected.policy)
        == (&found.file, found.line, found.column, &found.policy)
        && found.what.contains(&expected.what)
        && suggestion
}

#[test]
fn every_set_that_must_be_refused_is_refused_with_the_place_and_a_suggestion() {
    let mut wrong = Vec::new();
    for folder in cases("load") {
        let case: LoadCase = read(&folder);
        let Err(errors) = CedarPolicy::load(&source(case.policy)) else {
            wrong.push(format!("{} loads. {}", folder.display(), case.about));
            continue;
        };
        let found = errors.errors();
        let same = found.len() == case.errors.len()
            && case.errors.iter().zip(found).all(|(expected, found)| fits(expected, found));
        if !same {
            wrong.push(format!("{}: {:?}\nfound {errors}", folder.display(), case.errors));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_document_gets_its_verdict() {
    let mut wrong = Vec::new();
    for folder in cases("decide") {
        let case: DecideCase = read(&folder);
        let policy = match CedarPolicy::load(&source(case.policy)) {
            Ok(policy) => policy,
            Err(errors) => {
                wrong.push(format!("{}: {errors}", folder.display()));
                continue;
            }
        };
        let found = policy.judge(&case.document);
        if found != case.verdict {
            let json = serde_json::to_string_pretty(&found).unwrap();
            wrong.push(format!("{}: {}\nfound {json}", folder.display(), case.about));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
