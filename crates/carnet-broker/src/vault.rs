//! Sealing at rest: one key-encryption key, AES-256-GCM, a purpose bound into every sealing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use secrecy::{ExposeSecret, SecretBox};

use crate::error::BrokerError;

/// Seals and opens bytes under the broker's key.
pub struct Vault {
    key: SecretBox<[u8; 32]>,
}

impl Vault {
    /// A vault under `key`.
    pub fn new(key: SecretBox<[u8; 32]>) -> Self {
        Self { key }
    }

    /// Seals `bytes` for `purpose`. What is sealed for one purpose does not open for another.
    pub(crate) fn seal(&self, purpose: &str, bytes: Vec<u8>) -> Result<Vec<u8>, BrokerError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| BrokerError::Key("no randomness".into()))?;
        let mut sealed = bytes;
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| BrokerError::Key(format!("sealing for {purpose} failed")))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for `purpose`.
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, BrokerError> {
        let failed = || {
            let problem = "it was sealed under another key or changed; restore the key file";
            BrokerError::Key(format!("{purpose} does not open: {problem}"))
        };
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(failed)?;
        let mut body = body.to_vec();
        let opened = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(purpose.as_bytes()),
                &mut body,
            )
            .map_err(|_| failed())?;
        Ok(opened.to_vec())
    }

    fn cipher(&self) -> Result<LessSafeKey, BrokerError> {
        UnboundKey::new(&AES_256_GCM, self.key.expose_secret())
            .map(LessSafeKey::new)
            .map_err(|_| BrokerError::Key("the key-encryption key is not 32 bytes".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::new(SecretBox::new(Box::new([byte; 32])))
    }

    #[test]
    fn what_is_sealed_for_one_purpose_does_not_open_for_another() {
        let sealed = vault(1).seal("outbox", b"canary".to_vec()).unwrap();
        assert_eq!(vault(1).open("outbox", &sealed).unwrap(), b"canary");
        assert!(vault(1).open("vault", &sealed).is_err());
        assert!(vault(2).open("outbox", &sealed).is_err());
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
    }
}
