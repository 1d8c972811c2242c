//! Names that say nothing are not given.

use super::Finding;
use super::tree::File;

/// What a thing is called when nobody has said what it is.
const EMPTY_WORDS: [&str; 5] = ["manager", "helper", "util", "service", "handler"];
/// Definitions whose name a foreign trait or format dictates: file and name.
const DICTATED: &[(&str, &str)] = &[];
/// What introduces the name of a type or a module.
const INTRODUCERS: [&str; 6] = ["struct", "enum", "trait", "type", "union", "mod"];

/// Every type, module and file with an empty word in its name.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let stem = file.name().trim_end_matches(".rs");
        findings.extend(empty_word(stem).map(|word| {
            format!("{}: `{word}` says nothing: name the noun it is about", file.path)
        }));
        for (number, line) in file.text.lines().enumerate() {
            let Some(name) = defined(line) else { continue };
            let is_dictated = DICTATED.contains(&(file.path.as_str(), name));
            if let Some(word) = empty_word(name).filter(|_| !is_dictated) {
                let place = format!("{}:{}", file.path, number + 1);
                findings.push(format!("{place}: `{name}`: `{word}` says nothing: name what it is"));
            }
        }
    }
    findings
}

/// The name of the type or module that `line` defines.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        *word == "pub" || word.starts_with("pub(") || *word == "unsafe" || is_end_of_pub_in(word)
    });
    let introducer = words.next()?;
    if !INTRODUCERS.contains(&introducer) {
        return None;
    }
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

/// Whether `word` is the second half of `pub(in crate::a)`.
fn is_end_of_pub_in(word: &str) -> bool {
    word.ends_with(')') && ["crate", "super", "self"].iter().any(|root| word.starts_with(root))
}

/// The empty word among the words of `name`, in either spelling, alone or as plural.
fn empty_word(name: &str) -> Option<&'static str> {
    let words = words_of(name);
    let is_in = |empty: &&&str| {
        words.iter().any(|word| word == *empty || word.strip_suffix('s') == Some(**empty))
    };
    EMPTY_WORDS.iter().find(is_in).copied()
}

fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&[File::of("crates/a/src/noun.rs", text)]).len()
    }

    #[test]
    fn empty_words_are_found_in_both_spellings() {
        assert_eq!(found("pub struct TaskManager {\n"), 1);
        assert_eq!(found("pub(crate) enum ManagerKind {\n"), 1);
        assert_eq!(found("mod token_helpers;\n"), 1);
        assert_eq!(found("    pub(in crate::a) trait Handler<T>: Send {\n"), 1);
        assert_eq!(found("type Service = u8;\n"), 1);
        assert_eq!(check(&[File::of("crates/a/src/utils.rs", "")]).len(), 1);
    }

    #[test]
    fn words_that_only_contain_one_are_not() {
        assert_eq!(found("struct Utility;\nmod managers_desk_x;\n"), 1);
        assert_eq!(found("struct Handled;\nenum Helpful {}\n"), 0);
        assert_eq!(
            found("use tower::Service;\nimpl Service<R> for Front {\n// a struct Helper\n"),
            0
        );
    }
}
