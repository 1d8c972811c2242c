//! `docs/attacks.md` claims that tests show something: each test it names exists.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::File;

const PAGE: &str = "docs/attacks.md";
/// A test reads as a sentence: what is in code style and has this many words is meant as one.
const WORDS_MIN: usize = 4;

/// Every test that the page names and nobody wrote.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![format!("{PAGE}: not found")];
    };
    let sources = files.iter().filter(|file| file.is_rust());
    let written: BTreeSet<&str> = sources.flat_map(|file| functions(&file.text)).collect();
    let named = tests_named(&page.text);
    let lost = named.into_iter().filter(|name| !written.contains(name));
    lost.map(|name| format!("{PAGE}: there is no test `{name}`")).collect()
}

/// What is written in code style in a table and reads as a sentence.
fn tests_named(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let spans = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let is_test = |span: &&str| {
        let is_plain =
            span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_plain && span.split('_').count() >= WORDS_MIN
    };
    spans.filter(is_test).collect()
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    let names = text.lines().filter_map(|line| line.split_once("fn "));
    names.filter_map(|(_, rest)| rest.split(['(', '<']).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, source: &str) -> usize {
        check(&[File::of(PAGE, page), File::of("crates/a/tests/it/b.rs", source)]).len()
    }

    #[test]
    fn a_test_that_nobody_wrote_is_found() {
        let page = "| a | b | `a_token_of_another_is_refused`, `Permit` and `same_user` |\n";
        assert_eq!(found(page, "#[test]\nfn a_token_of_another_is_refused() {\n"), 0);
        assert_eq!(found(page, "fn a_token_of_another_is_refused_too() {\n"), 1);
        assert_eq!(found(page, "// a_token_of_another_is_refused\n"), 1);
    }

    #[test]
    fn a_page_that_is_gone_is_found() {
        assert_eq!(check(&[]).len(), 1);
    }
}
