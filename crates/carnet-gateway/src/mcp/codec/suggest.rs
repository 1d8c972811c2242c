//! A first guess at how a tool might be registered, for a reviewer to correct.

use std::collections::BTreeMap;

use carnet_core::{ArgumentKind, EffectClass, Path, Reach};
use serde_json::Value;

/// The most arguments looked at.
const ARGUMENTS_MAX: usize = 256;
/// Words in a name that speak of what others may do, or of running what is sent.
const ADMIN_WORDS: &[&str] = &[
    "admin",
    "grant",
    "revoke",
    "permission",
    "permissions",
    "role",
    "roles",
    "policy",
    "sudo",
    "exec",
    "execute",
    "eval",
    "shell",
    "bash",
    "run",
    "deploy",
    "install",
    "impersonate",
];

/// A guess, made from what the server says of itself. It decides nothing: the server's annotations
/// are not trusted, and a tool nobody reviewed is on no path at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The path.
    pub path: Path,
    /// The effect class.
    pub effect: EffectClass,
    /// The arguments that need more than their JSON type to be read.
    pub arguments: BTreeMap<String, ArgumentKind>,
    /// Why, for the reviewer.
    pub because: Vec<&'static str>,
}

/// The guess for `tool`. Where nothing is said, it is a write that cannot be undone and that leaves
/// the organisation.
pub fn suggest(tool: &Value) -> Suggestion {
    let hint = |name: &str| {
        tool.get("annotations").and_then(|hints| hints.get(name)).and_then(Value::as_bool)
    };
    let arguments = arguments(tool);
    let says_read = hint("readOnlyHint") == Some(true);
    let takes_url = arguments.values().any(|kind| *kind == ArgumentKind::Url);
    let reach = if hint("openWorldHint") == Some(false) && !takes_url {
        Reach::Inside
    } else {
        Reach::Egress
    };
    let reversible = says_read || hint("destructiveHint") == Some(false);
    let mut because = Vec::new();
    let takes_program =
        arguments.values().any(|kind| matches!(kind, ArgumentKind::Sql | ArgumentKind::Code));
    let path = if takes_program {
        because.push("an argument looks like SQL or code");
        Path::Admin
    } else if words(tool.get("name")).any(|word| ADMIN_WORDS.contains(&word.as_str())) {
        because.push("its name speaks of rights or of running something");
        Path::Admin
    } else if says_read && reach == Reach::Inside {
        because.push("it says that it only reads, and reaches nothing outside");
        Path::Read
    } else if says_read {
        because.push("it says that it only reads, but what it is sent may leave the organisation");
        Path::Write
    } else {
        because.push("it does not say that it only reads");
        Path::Write
    };
    if takes_url {
        because.push("an argument looks like a URL");
    }
    Suggestion { path, effect: EffectClass { reversible, reach }, arguments, because }
}

fn arguments(tool: &Value) -> BTreeMap<String, ArgumentKind> {
    let properties = tool.get("inputSchema").and_then(|schema| schema.get("properties"));
    let Some(Value::Object(properties)) = properties else { return BTreeMap::new() };
    properties
        .iter()
        .take(ARGUMENTS_MAX)
        .filter_map(|(name, schema)| kind(name, schema).map(|kind| (name.clone(), kind)))
        .collect()
}

fn kind(name: &str, schema: &Value) -> Option<ArgumentKind> {
    let text = |member: &str| schema.get(member).and_then(Value::as_str).unwrap_or("");
    let is_text = match text("type") {
        "string" | "" => true,
        "array" => schema.pointer("/items/type").and_then(Value::as_str) == Some("string"),
        _ => false,
    };
    if !is_text {
        return None;
    }
    match text("format") {
        "email" | "idn-email" => return Some(ArgumentKind::Email),
        "uri" | "url" | "iri" => return Some(ArgumentKind::Url),
        _ => {}
    }
    let description = text("description").to_lowercase();
    let words: Vec<String> = words(Some(&Value::from(name))).collect();
    let named = |any: &[&str]| words.iter().any(|word| any.contains(&word.as_str()));
    let speaks_sql = named(&["query", "statement", "q"]) && description.contains("sql");
    if named(&["sql"]) || speaks_sql {
        Some(ArgumentKind::Sql)
    } else if named(&["command", "cmd", "script", "code", "shell", "program", "expression"]) {
        Some(ArgumentKind::Code)
    } else if named(&["url", "uri", "href", "endpoint", "webhook", "callback", "link"]) {
        Some(ArgumentKind::Url)
    } else if named(&["email", "emails", "mail", "recipient", "recipients", "cc", "bcc"]) {
        Some(ArgumentKind::Email)
    } else if named(&[
        "path",
        "paths",
        "file",
        "filename",
        "filepath",
        "dir",
        "directory",
        "folder",
    ]) {
        Some(ArgumentKind::FilePath)
    } else {
        None
    }
}

/// The words of a name, whether they are joined by marks or by capitals.
fn words(name: Option<&Value>) -> impl Iterator<Item = String> + use<> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.and_then(Value::as_str).unwrap_or("").chars() {
        let begins = !c.is_alphanumeric() || (after_lower && c.is_uppercase());
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words.into_iter().filter(|word| !word.is_empty())
}
