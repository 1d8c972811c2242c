//! What came of a step, as one line of JSON.

use std::{error::Error, time::Duration};

use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock},
    transport::streamable_http_client::{
        AuthRequiredError, HttpStatusError, InsufficientScopeError,
    },
};
use serde::Serialize;
use serde_json::Value;

/// The longest error message that is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 600;
/// How many causes of an error are looked through for a status.
const CAUSES_MAX: usize = 16;

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Whether the step did what it was to do.
    pub ok: bool,
    /// What it was about: a tool, a list, a resource.
    pub subject: String,
    /// Text the server returned, or one JSON document an item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Value>,
    /// A tool's structured result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The HTTP status, where the SDK tells it: only for failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The `WWW-Authenticate` challenge of a 401 or 403.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// `tool` (the tool said so), `protocol` (a JSON-RPC error), `transport`, `timeout` or `local`.
    pub kind: &'static str,
    /// In one sentence.
    pub message: String,
    /// The JSON-RPC error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The JSON-RPC error data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    #[serde(skip)]
    http_status: Option<u16>,
    #[serde(skip)]
    challenge: Option<String>,
}

impl Outcome {
    pub(super) fn of(subject: String, taken: Result<Self, Failure>) -> Self {
        match taken {
            Ok(outcome) => Self { subject, ..outcome },
            Err(failure) => Self {
                subject,
                http_status: failure.http_status,
                challenge: failure.challenge.clone(),
                error: Some(failure),
                ..Self::empty(false)
            },
        }
    }

    /// The outcome of a line that is not a step.
    #[must_use]
    pub fn unreadable(message: String) -> Self {
        Self::of("script".to_owned(), Err(Failure::local(message)))
    }

    pub(super) fn from_tool(result: CallToolResult) -> Self {
        let failed = result.is_error.unwrap_or(false);
        let content: Vec<Value> = result.content.iter().map(content_value).collect();
        let error = failed.then(|| {
            let texts: Vec<&str> = content.iter().filter_map(Value::as_str).collect();
            Failure::new("tool", &texts.join("\n"))
        });
        Self { content, structured: result.structured_content, error, ..Self::empty(!failed) }
    }

    pub(super) fn listing<T: Serialize>(items: &[T]) -> Result<Self, Failure> {
        let content = items.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        let content = content.map_err(|error| Failure::local(error.to_string()))?;
        Ok(Self { content, ..Self::empty(true) })
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            serde_json::json!({ "ok": false, "error": { "message": error.to_string() } })
                .to_string()
        })
    }

    fn empty(ok: bool) -> Self {
        Self {
            ok,
            subject: String::new(),
            content: Vec::new(),
            structured: None,
            error: None,
            http_status: None,
            challenge: None,
        }
    }
}

impl Failure {
    pub(super) fn local(message: String) -> Self {
        Self::new("local", &message)
    }

    pub(super) fn patience(patience: Duration) -> Self {
        Self::new("timeout", &format!("no answer within {} s", patience.as_secs()))
    }

    pub(super) fn protocol(error: &ErrorData) -> Self {
        Self {
            code: Some(error.code.0),
            data: error.data.clone(),
            ..Self::new("protocol", &error.message)
        }
    }

    pub(super) fn transport(
        message: String,
        cause: Option<&(dyn Error + Send + Sync + 'static)>,
        challenge: Option<String>,
    ) -> Self {
        let http_status = cause.and_then(|cause| http_status(cause));
        // The SDK's own wording repeats itself; the innermost transport error says it once.
        let message = cause.map_or(message, ToString::to_string);
        Self { http_status, challenge, ..Self::new("transport", &message) }
    }

    fn new(kind: &'static str, message: &str) -> Self {
        let mut shown: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        if shown.len() < message.len() {
            shown.push('…');
        }
        let (code, data, http_status, challenge) = (None, None, None, None);
        Self { kind, message: shown, code, data, http_status, challenge }
    }
}

fn content_value(block: &ContentBlock) -> Value {
    match block {
        ContentBlock::Text(text) => Value::String(text.text.clone()),
        other => serde_json::to_value(other).unwrap_or(Value::Null),
    }
}

/// The status in an SDK error: it has a type of its own for some, and puts the rest into words.
fn http_status(error: &(dyn Error + 'static)) -> Option<u16> {
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let current = cause?;
        if current.is::<AuthRequiredError>() {
            return Some(401);
        }
        if current.is::<InsufficientScopeError>() {
            return Some(403);
        }
        if let Some(status) = current.downcast_ref::<HttpStatusError>() {
            return Some(status.status);
        }
        if let Some(status) = status_in_words(&current.to_string()) {
            return Some(status);
        }
        cause = current.source();
    }
    None
}

fn status_in_words(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("HTTP ")?;
    let digits = rest.get(..3)?;
    digits.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_in_the_words_of_an_error() {
        assert_eq!(
            status_in_words("unexpected server response: HTTP 403 Forbidden: no"),
            Some(403)
        );
        assert_eq!(status_in_words("Session expired (HTTP 404)"), Some(404));
        assert_eq!(status_in_words("HTTP x"), None);
        assert_eq!(status_in_words("no status"), None);
    }

    #[test]
    fn a_long_error_is_cut() {
        let failure = Failure::local("ä".repeat(10_000));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }
}
