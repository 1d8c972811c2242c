//! `docs/policy.md` says what is so: its sets load, its table is the vocabulary.

use std::collections::BTreeMap;

use carnet_core::{Document, Policy, VerdictEffect};
use carnet_policy::{CedarPolicy, PolicySource, SCHEMA, WORDS};

fn guide() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    std::fs::read_to_string(path).unwrap()
}

/// The fenced blocks marked `cedar FILE`, as one set.
fn examples(guide: &str) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("```cedar ") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let file = files.entry(name.to_owned()).or_default();
            file.push_str(&body.join("\n"));
            file.push('\n');
        }
    }
    files
}

#[test]
fn the_worked_example_loads_and_does_what_the_guide_says() {
    let files = examples(&guide());
    assert!(files.len() >= 3, "{:?}", files.keys());
    let source = PolicySource::from_files(files).unwrap();
    let policy = CedarPolicy::load(&source).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(policy.summary().unscoped, []);

    let folder = "/../../conformance/policy/decide/001-small-refund/case.json";
    let text = std::fs::read_to_string(format!("{}{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let case: serde_json::Value = serde_json::from_str(&text).unwrap();
    let judge = |amount: i64| {
        let mut document = case["document"].clone();
        document["arguments"]["amount_cents"] = amount.into();
        let document: Document = serde_json::from_value(document).unwrap();
        policy.judge(&document)
    };
    assert_eq!(judge(4_200).effect, VerdictEffect::Permit);
    let VerdictEffect::Ask(terms) = judge(40_000).effect else { panic!("{:?}", judge(40_000)) };
    assert_eq!((terms.threshold, terms.timeout_s), (1, 900));
    assert!(terms.approvers.contains("team:finance"));
    assert_eq!(judge(400_000).effect, VerdictEffect::Deny);
}

#[test]
fn the_table_of_facts_is_the_vocabulary() {
    let guide = guide();
    for word in WORDS {
        let row =
            format!("| `{}` | {} | {} | {} |", word.path, word.kind, word.present, word.meaning);
        assert!(guide.contains(&row), "docs/policy.md lacks: {row}");
    }
    let rows = guide.lines().filter(|l| {
        ["| `principal.", "| `resource.", "| `context."].iter().any(|p| l.starts_with(p))
    });
    assert_eq!(rows.count(), WORDS.len());
    for verb in carnet_core::Verb::ALL {
        assert!(guide.contains(&format!("| `{}` |", verb.as_str())), "{verb:?}");
    }
    for line in SCHEMA.lines().filter_map(|l| l.trim().strip_prefix("entity ")) {
        let name: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_annotations_in_the_guide_are_those_that_load() {
    let guide = guide();
    for annotation in
        ["id", "description", "owner", "approvers", "threshold", "timeout_s", "obligation"]
    {
        assert!(guide.contains(&format!("| `@{annotation}` |")), "{annotation}");
    }
    for kind in ["result_bytes_max", "redact", "notify"] {
        assert!(guide.contains(&format!("| `{kind}` |")), "{kind}");
    }
}
