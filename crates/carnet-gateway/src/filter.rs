//! `filter`: what a permit obliges to, done to the response. An obligation this gateway does not
//! know, or cannot do, is a deny before anything is forwarded.

use bytes::Bytes;
use carnet_core::{Decision, Obligation, Reason};
use serde_json::Value;

use crate::mcp::codec::{Limits, read};

/// What stands in place of what was taken out.
const REDACTED: &str = "[redacted]";
/// The deepest result that is redacted; a deeper one is withheld.
const RESULT_DEPTH_MAX: usize = 64;

/// What must be done to a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Duties {
    result_bytes_max: Option<usize>,
    redact: Vec<String>,
}

impl Duties {
    /// The duties of a permit, or a deny where one cannot be done.
    pub(crate) fn of(decision: &Decision) -> Result<Self, Reason> {
        let mut obligations = decision.verdict.iter().flat_map(|verdict| &verdict.obligations);
        obligations.try_fold(Self::default(), Self::with)
    }

    fn with(mut self, obligation: &Obligation) -> Result<Self, Reason> {
        match obligation.kind.as_str() {
            "result_bytes_max" => {
                let bytes = obligation.value.parse().map_err(|_| Reason::ObligationUnknown)?;
                self.result_bytes_max =
                    Some(self.result_bytes_max.map_or(bytes, |known| known.min(bytes)));
            }
            "redact" => {
                let names = obligation.value.split(',').map(|name| name.trim().to_owned());
                self.redact.extend(names.filter(|name| !name.is_empty()));
            }
            _ => return Err(Reason::ObligationUnknown),
        }
        Ok(self)
    }

    /// The message after the duties, or none where it must be withheld. Without duties the bytes
    /// stay as they came.
    pub(crate) fn apply(&self, bytes: Bytes) -> Option<Bytes> {
        if self.result_bytes_max.is_some_and(|max| bytes.len() > max) {
            return None;
        }
        if self.redact.is_empty() {
            return Some(bytes);
        }
        let mut message: Value = serde_json::from_slice(&bytes).ok()?;
        for member in ["result", "error", "params"] {
            if let Some(value) = message.get_mut(member) {
                self.redact(value, 0)?;
            }
        }
        serde_json::to_vec(&message).ok().map(Bytes::from)
    }

    fn redact(&self, value: &mut Value, depth: usize) -> Option<()> {
        if depth > RESULT_DEPTH_MAX {
            return None;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match self.redact.iter().any(|redacted| redacted == name) {
                        true => *member = Value::String(REDACTED.to_owned()),
                        false => self.redact(member, depth + 1)?,
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.redact(item, depth + 1)?;
                }
            }
            // A tool may repeat its structured result as text: the same members hide in there.
            Value::String(text) => self.redact_text(text, depth)?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Some(())
    }

    fn redact_text(&self, text: &mut String, depth: usize) -> Option<()> {
        let limits = Limits { depth_max: RESULT_DEPTH_MAX, ..Limits::ANSWER };
        let Ok(document) = read(Bytes::from(text.clone()), &limits) else {
            // What cannot be read cannot be redacted.
            return (!self.may_hide_in(text)).then_some(());
        };
        let (mut inner, _) = document.into_parts();
        let before = inner.clone();
        self.redact(&mut inner, depth + 1)?;
        if inner != before {
            *text = inner.to_string();
        }
        Some(())
    }

    /// Whether a text that is not JSON may hold what must go: it begins like JSON, or a name stands
    /// in quotes in it.
    fn may_hide_in(&self, text: &str) -> bool {
        let opening = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        opening.starts_with(['{', '[']) || self.redact.iter().any(|name| is_quoted_in(name, text))
    }
}

fn is_quoted_in(name: &str, text: &str) -> bool {
    text.match_indices(name).any(|(start, found)| {
        let before = text.get(..start).unwrap_or_default();
        let after = text.get(start.saturating_add(found.len())..).unwrap_or_default();
        before.ends_with(['"', '\'']) && after.starts_with(['"', '\'', '\\'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duties(pairs: &[(&str, &str)]) -> Result<Duties, Reason> {
        pairs.iter().try_fold(Duties::default(), |duties, (kind, value)| {
            duties.with(&Obligation { kind: (*kind).into(), value: (*value).into() })
        })
    }

    #[test]
    fn an_obligation_nobody_knows_is_a_deny() {
        assert_eq!(duties(&[("notify", "team:a")]), Err(Reason::ObligationUnknown));
        assert_eq!(duties(&[("result_bytes_max", "many")]), Err(Reason::ObligationUnknown));
    }

    #[test]
    fn redacted_members_are_gone_wherever_they_hide() {
        let duties = duties(&[("redact", "email")]).unwrap();
        let text = r#"{"result":{"structuredContent":{"email":"a@b.c","n":1},
            "content":[{"type":"text","text":"{\"email\":\"a@b.c\"}"}]}}"#;
        let out = duties.apply(Bytes::from_static(text.as_bytes())).unwrap();
        let out = String::from_utf8(out.to_vec()).unwrap();
        assert!(!out.contains("a@b.c"), "{out}");
        assert!(out.contains(r#""n":1"#), "{out}");
    }

    #[test]
    fn a_text_that_looks_like_json_and_is_none_is_withheld() {
        let duties = duties(&[("redact", "email")]).unwrap();
        let email = r#"{"email":"a@b.c"}"#;
        let deep = format!("{}{email}{}", "[".repeat(200), "]".repeat(200));
        let withheld = [
            format!("{email}\n{email}"),
            format!("{email} and more"),
            format!("\u{feff}{email}"),
            r#"{"email":"a@b.c","email":"d@e.f"}"#.to_owned(),
            r#"{"email":"a@b.c",}"#.to_owned(),
            r#"{"email":"a@b.c""#.to_owned(),
            r#"{"$serde_json::private::RawValue":"{\"email\":1}"}"#.to_owned(),
            deep,
            format!("Found: {email}"),
            format!("```json\n{email}\n```"),
            format!("\"{email}"),
        ];
        for text in withheld {
            let message = serde_json::json!({ "result": { "content": [{ "text": text }] } });
            assert_eq!(duties.apply(Bytes::from(message.to_string())), None, "{text}");
        }
        for text in ["nobody wrote an email", "", "He said \"no\".", r#"{"n":1}"#] {
            let message = serde_json::json!({ "result": { "content": [{ "text": text }] } });
            assert!(duties.apply(Bytes::from(message.to_string())).is_some(), "{text}");
        }
        let twice = Value::from(email).to_string();
        let message = serde_json::json!({ "result": { "text": twice } });
        let out = duties.apply(Bytes::from(message.to_string())).unwrap();
        assert!(!String::from_utf8(out.to_vec()).unwrap().contains("a@b.c"));
    }

    #[test]
    fn the_smaller_of_two_limits_holds_and_a_larger_result_is_withheld() {
        let duties = duties(&[("result_bytes_max", "9"), ("result_bytes_max", "3")]).unwrap();
        assert_eq!(duties.apply(Bytes::from_static(b"four")), None);
        assert_eq!(duties.apply(Bytes::from_static(b"thr")).unwrap(), "thr");
    }
}
