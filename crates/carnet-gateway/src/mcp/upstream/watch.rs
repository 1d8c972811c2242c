//! What every message of a server is looked at for, whoever it is for: whether it repeats the
//! credential it was called with, and whether what the server offers changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use super::{Inbound, UpstreamError};
use crate::mcp::codec::{Message, Sender, read_message};

/// A shorter secret is not looked for: it could be a word.
const SECRET_BYTES_MIN: usize = 8;
/// How often a text may have been written as JSON within JSON and is still looked into.
const UNESCAPES_MAX: usize = 4;

/// One server's messages, as they come in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    /// The credential as it is, and as JSON writes it.
    secrets: Arc<[SecretString]>,
    changes: Arc<AtomicU64>,
}

impl Watch {
    pub(crate) fn new(secret: Option<&SecretString>) -> Self {
        let secret = secret.map(ExposeSecret::expose_secret).unwrap_or_default();
        if secret.len() < SECRET_BYTES_MIN {
            return Self::default();
        }
        let written = serde_json::Value::from(secret).to_string();
        let written = written.trim_matches('"').to_owned();
        let mut secrets = vec![SecretString::from(secret)];
        if written != secret {
            secrets.push(SecretString::from(written));
        }
        Self { secrets: secrets.into(), changes: Arc::default() }
    }

    /// How often the server has said that what it offers changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Reads a message. One that repeats the credential is for nobody.
    pub(crate) fn read(&self, bytes: Bytes, status: u16) -> Result<Inbound, UpstreamError> {
        self.check(&bytes)?;
        let message = read_message(bytes, Sender::Server)
            .map_err(|refusal| UpstreamError::Answer(refusal.to_string()))?;
        Ok(self.noted(message, status))
    }

    /// Takes a message that was read already. [`Watch::check`] it first.
    pub(crate) fn noted(&self, message: Message, status: u16) -> Inbound {
        if let Message::Notification(notification) = &message
            && notification.method.ends_with("/list_changed")
        {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        Inbound { message, status }
    }

    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), UpstreamError> {
        match self.repeats_credential(bytes) {
            true => {
                Err(UpstreamError::Answer("it repeats the credential it was called with".into()))
            }
            false => Ok(()),
        }
    }

    pub(crate) fn repeats_credential(&self, bytes: &[u8]) -> bool {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        let holds =
            |text: &str| self.secrets.iter().any(|secret| text.contains(secret.expose_secret()));
        if self.secrets.is_empty() || holds(&text) {
            return !self.secrets.is_empty();
        }
        for _ in 0..UNESCAPES_MAX {
            if !text.contains('\\') {
                return false;
            }
            text = unescaped(&text);
            if holds(&text) {
                return true;
            }
        }
        false
    }
}

/// `text` with every escape of JSON read, as a reader of its strings and names would see them.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (character, left) = escape(after);
        out.push(character);
        rest = left;
    }
    out.push_str(rest);
    out
}

/// The character that the escape at the start of `text` means, and what follows it.
fn escape(text: &str) -> (char, &str) {
    let mut characters = text.chars();
    let character = match characters.next() {
        Some('u') => return unicode(characters.as_str()),
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some(other) => other,
        None => '\\',
    };
    (character, characters.as_str())
}

fn unicode(text: &str) -> (char, &str) {
    let Some((first, after)) = four_digits(text) else { return ('u', text) };
    if let Some(character) = char::from_u32(first) {
        return (character, after);
    }
    // Half of a pair: with its other half it is one character.
    let second = after.strip_prefix("\\u").and_then(four_digits);
    let paired = second.and_then(|(second, left)| {
        let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
        let character = char::decode_utf16(units).next()?.ok()?;
        Some((character, left))
    });
    paired.unwrap_or((char::REPLACEMENT_CHARACTER, after))
}

fn four_digits(text: &str) -> Option<(u32, &str)> {
    let (digits, left) = text.split_at_checked(4)?;
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten().map(|code| (code, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_however_json_writes_it() {
        let watch = Watch::new(Some(&SecretString::from("can\"ary-secret")));
        assert!(watch.repeats_credential(br#"{"said":"xcan\"ary-secretx"}"#));
        assert!(watch.repeats_credential(b"raw can\"ary-secret"));
        assert!(!watch.repeats_credential(b"canary"));
    }

    #[test]
    fn a_credential_is_found_behind_escapes_and_in_names() {
        let watch = Watch::new(Some(&SecretString::from("can/ary\u{e9}\u{1f511}secret")));
        let written = [
            r#"{"said":"can\/ary\u00E9\ud83d\udd11secret"}"#,
            r#"{"said":"\u0063an/ary\u00e9\uD83D\uDD11s\u0065cret"}"#,
            r#"{"\u0063an/ary\u00e9\uD83D\uDD11secret":1}"#,
            r#"{"text":"{\"said\":\"\\u0063an\\/ary\\u00e9\\ud83d\\udd11secret\"}"}"#,
        ];
        for text in written {
            assert!(watch.repeats_credential(text.as_bytes()), "{text}");
            let message = text.replacen('{', r#"{"jsonrpc":"2.0","id":1,"result":{"#, 1) + "}";
            assert!(watch.read(Bytes::from(message), 200).is_err(), "{text}");
        }
        for text in [r#"{"said":"\u"}"#, r#"{"said":"\ud83d"}"#, "\\", r#"{"a":"\\u0063an"}"#] {
            assert!(!watch.repeats_credential(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_short_secret_or_none_is_not_looked_for() {
        assert!(!Watch::new(Some(&SecretString::from("short"))).repeats_credential(b"a short one"));
        assert!(!Watch::new(None).repeats_credential(b""));
    }
}
