//! What changed between the definition that was reviewed and the one that is listed now.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// The most changes that are listed.
const CHANGES_MAX: usize = 256;
/// How much of a value is shown.
const SHOWN_CHARS_MAX: usize = 240;

/// One member that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where: a JSON pointer, empty for the whole.
    pub at: String,
    /// What was there.
    pub old: Option<Value>,
    /// What is there.
    pub new: Option<Value>,
}

/// All that changed, in the order of the pointers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    /// The changes.
    pub changes: Vec<Change>,
    /// Whether there are more than are listed.
    pub is_cut_short: bool,
}

/// What changed from `old` to `new`.
pub fn difference(old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    difference.compare(String::new(), Some(old), Some(new));
    difference
}

impl Difference {
    fn compare(&mut self, at: String, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            _ if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => self.members(&at, old, new),
            (Some(Value::Array(old)), Some(Value::Array(new))) => {
                for index in 0..old.len().max(new.len()) {
                    self.compare(format!("{at}/{index}"), old.get(index), new.get(index));
                }
            }
            _ if self.changes.len() >= CHANGES_MAX => self.is_cut_short = true,
            _ => self.changes.push(Change { at, old: old.cloned(), new: new.cloned() }),
        }
    }

    fn members(&mut self, at: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            self.compare(at, old.get(name), new.get(name));
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Change { at, old, new } in &self.changes {
            let at = at.escape_debug();
            writeln!(f, "{at}: {} -> {}", shown(old.as_ref()), shown(new.as_ref()))?;
        }
        if self.is_cut_short {
            writeln!(f, "and more")?;
        }
        Ok(())
    }
}

/// A value for a reviewer: every character that could hide or reorder text is written out.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(nothing)".to_owned() };
    let text = value.to_string();
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(|c| {
            let plain = c.is_ascii_graphic() || c == ' ' || c.is_alphabetic();
            let escaped = (!plain).then(|| c.escape_unicode());
            escaped.into_iter().flatten().chain(plain.then_some(c))
        })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
