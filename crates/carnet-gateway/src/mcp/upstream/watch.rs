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
        let text = String::from_utf8_lossy(bytes);
        self.secrets.iter().any(|secret| text.contains(secret.expose_secret()))
    }
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
    fn a_short_secret_or_none_is_not_looked_for() {
        assert!(!Watch::new(Some(&SecretString::from("short"))).repeats_credential(b"a short one"));
        assert!(!Watch::new(None).repeats_credential(b""));
    }
}
