//! The examples of `docs/intent.md`: each is read as it stands there.

use crate::{Binding, Intent};

const PAGE: &str = include_str!("../../../../../docs/intent.md");

/// The fenced blocks of the page that are marked `mark`.
fn blocks(mark: &str) -> Vec<String> {
    let open = format!("```{mark}\n");
    PAGE.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_worked_example_is_an_intent() {
    let examples = blocks("toml");
    assert!(examples.len() >= 4);
    for example in examples {
        let intent: Intent =
            toml::from_str(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let json = serde_json::to_vec(&intent).unwrap();
        assert_eq!(Intent::from_json(&json).unwrap(), intent);
    }
}

#[test]
fn every_binding_of_the_table_is_a_binding() {
    let bindings: Vec<&str> =
        PAGE.lines().filter_map(|line| line.strip_prefix("| `{ ")?.split("` |").next()).collect();
    assert!(bindings.len() >= 10);
    for binding in bindings {
        let text = format!("it = {{ {binding}");
        let table: toml::Table =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let it: Binding = table["it"].clone().try_into().unwrap();
        assert_eq!(it.validate(), Ok(()), "{text}");
    }
}
