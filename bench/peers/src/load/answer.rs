//! Checking an answer: plain JSON or an event stream, with the right id and the right text.

use serde::Deserialize;
use serde_json::Value;

use super::LoadError;

#[derive(Debug, Deserialize)]
struct Envelope {
    id: Option<Value>,
    result: Option<Value>,
    error: Option<Value>,
}

/// The result with `id` in a body of either form.
pub(super) fn result(body: &[u8], is_event_stream: bool, id: u64) -> Result<Value, LoadError> {
    if !is_event_stream {
        return result_in(body, id)?.ok_or_else(|| wrong("the answer is to another request", body));
    }
    for data in event_data(body) {
        if let Some(result) = result_in(&data, id)? {
            return Ok(result);
        }
    }
    Err(wrong("the event stream ended without the answer", body))
}

/// Whether a tool's result is exactly one text, and that text is `expected`.
pub(super) fn check_echo(result: &Value, expected: &str) -> Result<(), LoadError> {
    let failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    let text = result.pointer("/content/0/text").and_then(Value::as_str);
    if !failed && text == Some(expected) {
        return Ok(());
    }
    Err(wrong("the answer does not carry the argument back", result.to_string().as_bytes()))
}

fn result_in(message: &[u8], id: u64) -> Result<Option<Value>, LoadError> {
    let envelope: Envelope = serde_json::from_slice(message)
        .map_err(|_| wrong("the answer is not JSON-RPC", message))?;
    if envelope.id.as_ref().and_then(Value::as_u64) != Some(id) {
        return Ok(None);
    }
    match (envelope.result, envelope.error) {
        (Some(result), None) => Ok(Some(result)),
        (_, error) => {
            let error = error.unwrap_or_default().to_string();
            Err(wrong("the answer is an error", error.as_bytes()))
        }
    }
}

/// The non-empty `data` of each event.
fn event_data(body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut events = vec![Vec::new()];
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            events.push(Vec::new());
        } else if let (Some(data), Some(event)) = (line.strip_prefix(b"data:"), events.last_mut()) {
            if !event.is_empty() {
                event.push(b'\n');
            }
            event.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
    }
    events.into_iter().filter(|data| !data.is_empty())
}

fn wrong(what: &str, body: &[u8]) -> LoadError {
    let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
    LoadError::Answer(format!("{what}: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str =
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a"}]}}"#;

    #[test]
    fn plain_json_and_event_streams_are_understood() {
        let stream = format!(
            "id: 0\r\nretry: 3000\r\ndata:\r\n\r\n: ping\n\nevent: message\ndata: {}\n\ndata: {RIGHT}\n\n",
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#
        );
        for (body, is_event_stream) in [(RIGHT, false), (stream.as_str(), true)] {
            let result = result(body.as_bytes(), is_event_stream, 7).unwrap();
            check_echo(&result, "a").unwrap();
        }
    }

    #[test]
    fn an_answer_to_another_request_is_an_error() {
        assert!(result(RIGHT.as_bytes(), false, 8).is_err());
        assert!(result(format!("data: {RIGHT}\n\n").as_bytes(), true, 8).is_err());
    }

    #[test]
    fn an_answer_with_another_text_or_that_failed_is_an_error() {
        let result = result(RIGHT.as_bytes(), false, 7).unwrap();
        assert!(check_echo(&result, "b").is_err());
        let failed = serde_json::json!({ "isError": true, "content": [{ "text": "a" }] });
        assert!(check_echo(&failed, "a").is_err());
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refused = br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#;
        assert!(result(refused, false, 7).unwrap_err().to_string().contains("no"));
    }
}
