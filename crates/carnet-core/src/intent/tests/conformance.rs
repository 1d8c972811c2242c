//! The numbered cases of `conformance/intent`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::{ArgumentKind, Binding};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: u32,
    title: String,
    binding: Binding,
    value: Value,
    kind: Option<ArgumentKind>,
    expected: Expected,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Match,
    Mismatch,
}

fn cases() -> Vec<Case> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/intent");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let more: Vec<Case> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases.extend(more);
    }
    cases
}

#[test]
fn every_numbered_case_gives_its_answer() {
    let cases = cases();
    assert!(cases.len() > 150);
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = case.binding.check(&case.value, case.kind);
        let found = if answer.is_ok() { Expected::Match } else { Expected::Mismatch };
        if found != case.expected {
            wrong.push(format!("{} {}: {answer:?}", case.case, case.title));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_number_is_used_twice() {
    let numbers: BTreeSet<u32> = cases().iter().map(|case| case.case).collect();
    assert_eq!(numbers.len(), cases().len());
}

#[test]
fn a_mismatch_never_shows_the_value() {
    for case in cases() {
        let Err(mismatch) = case.binding.check(&case.value, case.kind) else { continue };
        let shown = format!("{mismatch} {}", serde_json::to_string(&mismatch).unwrap());
        if let Some(text) = case.value.as_str().filter(|text| text.len() > 9) {
            assert!(!shown.contains(text), "{}: {shown}", case.case);
        }
        let again = serde_json::from_value(serde_json::to_value(&mismatch).unwrap());
        assert_eq!(again.ok(), Some(mismatch));
    }
}
