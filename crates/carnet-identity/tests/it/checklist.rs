//! The checklist of attacks on tokens: each item has cases or tests that exist, or says what it
//! waits for, and the page says the same.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::cases::numbers;

/// How many items the checklist has.
const ITEMS: usize = 33;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    item: String,
    #[serde(default)]
    cases: Vec<String>,
    #[serde(default)]
    tests: Vec<String>,
    /// What is to be known of the tests.
    says: Option<String>,
    /// What is not there yet.
    awaits: Option<String>,
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn items() -> Vec<Item> {
    let text = std::fs::read_to_string(root().join("conformance/identity/checklist.json"));
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// The names of all functions below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim().split_once("fn "));
            let names = names.filter_map(|(_, rest)| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_item_has_cases_or_tests_that_exist_or_says_what_it_awaits() {
    let (items, numbers) = (items(), numbers());
    assert_eq!(items.len(), ITEMS);
    let mut written = BTreeSet::new();
    functions(&root().join("crates"), &mut written);
    for item in &items {
        for case in &item.cases {
            assert!(numbers.contains(case), "{}: there is no case {case}", item.item);
        }
        for test in &item.tests {
            assert!(written.contains(test), "{}: there is no test `{test}`", item.item);
        }
        let is_shown = !item.cases.is_empty() || !item.tests.is_empty();
        assert!(is_shown || item.awaits.is_some(), "{}: nothing shows it", item.item);
    }
}

#[test]
fn the_page_of_the_checklist_is_what_the_checklist_says() {
    let page = std::fs::read_to_string(root().join("docs/identity-checklist.md")).unwrap();
    let table: Vec<String> = items().iter().map(Item::row).collect();
    let table = table.join("\n");
    assert!(page.contains(&table), "docs/identity-checklist.md needs these rows:\n{table}");
}

impl Item {
    fn row(&self) -> String {
        let mut parts = Vec::new();
        if !self.cases.is_empty() {
            parts.push(spans(&self.cases));
        }
        let tests: Vec<String> = self.tests.iter().map(|name| format!("`{name}`")).collect();
        if !tests.is_empty() {
            let says = self.says.iter().map(|says| format!("{says}; ")).collect::<String>();
            parts.push(format!("{says}{}", tests.join(", ")));
        }
        if let Some(awaits) = &self.awaits {
            parts.push(format!("**awaits** {awaits}"));
        }
        format!("| {} | {} |", self.item, parts.join("; "))
    }
}

/// Numbers that follow each other as one span.
fn spans(cases: &[String]) -> String {
    let follows = |one: &String, next: &String| {
        let number = |case: &str| case[1..].parse::<u32>().unwrap();
        one[..1] == next[..1] && number(one) + 1 == number(next)
    };
    let spans = cases.chunk_by(follows).map(|span| match span {
        [first, .., last] => format!("{first} to {last}"),
        _ => span.concat(),
    });
    spans.collect::<Vec<_>>().join(", ")
}
