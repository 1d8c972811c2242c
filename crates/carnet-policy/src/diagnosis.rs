//! Cedar's complaints in Carnet's words, with a place and a suggestion.

use cedar_policy::ffi::DetailedError;
use cedar_policy::{ParseError, ValidationError, ValidationWarning};

use crate::suggestion::{did_you_mean, nearest};
use crate::vocabulary::{GROUPS, TYPES, WORDS};

/// The longest message that is passed on.
const WHAT_CHARS_MAX: usize = 300;

/// A complaint about a text: where in bytes, what, and what to do.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) at: Option<usize>,
    pub(crate) what: String,
    pub(crate) suggestion: Option<String>,
}

/// What is wrong with a text that does not parse.
pub(crate) fn parse_diagnosis(error: &ParseError) -> Diagnosis {
    let detail = DetailedError::from(error);
    let mut what = detail.message;
    let label = detail.source_locations.iter().find_map(|l| l.label.as_deref());
    if let Some(label) = label.filter(|label| !label.is_empty()) {
        what = format!("{what}: {label}");
    }
    let at = detail.source_locations.first().map(|l| l.loc.start);
    Diagnosis { at, what: shorten(&what), suggestion: detail.help }
}

/// What is wrong with a policy that parses and does not fit the vocabulary. `text` is its file.
pub(crate) fn validation_diagnosis(error: &ValidationError, text: &str) -> Diagnosis {
    let detail = DetailedError::from(error);
    let span = detail.source_locations.first().map(|l| l.loc);
    let snippet = span.and_then(|s| text.get(s.start..s.end)).unwrap_or_default();
    let what = without_policy(&detail.message);
    let suggestion = match error {
        ValidationError::UnsafeAttributeAccess(_) => attribute_suggestion(snippet),
        ValidationError::UnrecognizedEntityType(_) => quoted(&what).and_then(type_suggestion),
        ValidationError::UnrecognizedActionId(_) => quoted(&what).and_then(action_suggestion),
        _ => None,
    };
    let suggestion = suggestion.or(detail.help);
    Diagnosis { at: span.map(|s| s.start), what: shorten(&what), suggestion }
}

/// What is wrong with a policy the validator only warns of. Carnet refuses it all the same: what
/// can never match, or reads otherwise than it looks, is a mistake or worse.
pub(crate) fn warning_diagnosis(warning: &ValidationWarning) -> Diagnosis {
    let detail = DetailedError::from(warning);
    let (what, suggestion) = match warning {
        ValidationWarning::ImpossiblePolicy(_) => (
            "can never match: its condition is false for every request its scope allows".to_owned(),
            Some("check that the conditions do not contradict each other or the scope".to_owned()),
        ),
        ValidationWarning::InvalidActionApplication(_) => (
            "can never match: none of its actions is ever asked by such a principal about such a resource"
                .to_owned(),
            Some("operations are inside a resource: write `resource in Carnet::Resource::\"NAME\"`; only people operate".to_owned()),
        ),
        _ => (without_policy(&detail.message), None),
    };
    let at = detail.source_locations.first().map(|l| l.loc.start);
    Diagnosis { at, what: shorten(&what), suggestion: suggestion.or(detail.help) }
}

fn without_policy(message: &str) -> String {
    let rest = message.strip_prefix("for policy `").and_then(|rest| rest.split_once('`'));
    rest.map_or(message, |(_, rest)| rest.trim_start_matches([',', ':', ' '])).to_owned()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(WHAT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What stands between the first and the last backtick.
fn quoted(text: &str) -> Option<&str> {
    let start = text.find('`')? + 1;
    text.get(start..text.rfind('`')?)
}

/// The fact that was meant, or why it is not there for every request of the policy's scope.
fn attribute_suggestion(snippet: &str) -> Option<String> {
    let snippet: String = snippet.chars().filter(|c| !c.is_whitespace()).collect();
    let words = || WORDS.iter().map(|word| word.path);
    if words().any(|path| {
        path == snippet || path.strip_prefix(&snippet).is_some_and(|r| r.starts_with('.'))
    }) {
        let narrow = if snippet.starts_with("principal.") {
            "write `principal is Carnet::Agent` in the scope"
        } else {
            "name the action in the scope, such as `action in Carnet::Action::\"call\"`"
        };
        return Some(format!(
            "`{snippet}` is not there for every request this scope allows: {narrow}"
        ));
    }
    did_you_mean(&snippet, words()).or_else(|| same_name_elsewhere(&snippet))
}

/// `context.purpose` for `context.task.purpose`: the right name in the wrong place.
fn same_name_elsewhere(snippet: &str) -> Option<String> {
    let name = snippet.rsplit('.').next()?;
    let found = WORDS.iter().find(|word| word.path.rsplit('.').next() == Some(name))?;
    Some(format!("did you mean `{}`?", found.path))
}

fn type_suggestion(name: &str) -> Option<String> {
    let last = name.rsplit("::").next()?;
    nearest(last, TYPES).map(|known| format!("did you mean `Carnet::{known}`?"))
}

fn action_suggestion(name: &str) -> Option<String> {
    let id = name.split('"').nth(1)?;
    let known = carnet_core::Verb::ALL.iter().map(|verb| verb.as_str()).chain(GROUPS);
    nearest(id, known).map(|known| format!("did you mean `Carnet::Action::\"{known}\"`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_or_misplaced_fact_is_answered_with_the_one_meant() {
        for (snippet, expected) in [
            ("context.task.purpos", "did you mean `context.task.purpose`?"),
            ("context.purpose", "did you mean `context.task.purpose`?"),
            ("resource.label", "did you mean `resource.labels`?"),
            ("principal.enviroment", "did you mean `principal.environment`?"),
        ] {
            assert_eq!(attribute_suggestion(snippet).as_deref(), Some(expected));
        }
        assert!(attribute_suggestion("context.task").unwrap().contains("in the scope"));
        assert_eq!(attribute_suggestion("context.frobnicate"), None);
    }

    #[test]
    fn types_and_actions_are_found_without_their_namespace() {
        assert_eq!(type_suggestion("User").as_deref(), Some("did you mean `Carnet::User`?"));
        let action = action_suggestion("Action::\"mcp.reed\"");
        assert_eq!(action.as_deref(), Some("did you mean `Carnet::Action::\"mcp.read\"`?"));
    }
}
