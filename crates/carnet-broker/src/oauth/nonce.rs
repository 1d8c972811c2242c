//! Nonces for proofs (RFC 9449 section 8), without state: a keyed digest of the time.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carnet_core::Timestamp;

/// How long one nonce is handed out. It is accepted for as long again.
const WINDOW_S: i64 = 120;

/// Makes and knows nonces. The key lives as long as the process.
pub(crate) struct Nonces {
    key: Key,
}

impl Nonces {
    /// Nonces under a fresh key, or none where there is no randomness.
    pub(crate) fn generate() -> Option<Self> {
        Key::generate(HMAC_SHA256, &SystemRandom::new()).ok().map(|key| Self { key })
    }

    /// The nonce of this moment.
    pub(crate) fn current(&self, now: Timestamp) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &message(window(now))))
    }

    /// Whether `nonce` is the one of this moment or the one before.
    pub(crate) fn is_good(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else {
            return false;
        };
        let is_of = |window| hmac::verify(&self.key, &message(window), &tag).is_ok();
        is_of(window(now)) || is_of(window(now).saturating_sub(1))
    }
}

fn window(now: Timestamp) -> i64 {
    now.s().div_euclid(WINDOW_S)
}

fn message(window: i64) -> Vec<u8> {
    [b"carnet dpop nonce\n".as_slice(), &window.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_a_while_and_only_under_its_key() {
        let (ours, others) = (Nonces::generate().unwrap(), Nonces::generate().unwrap());
        let start = Timestamp::from_s(1_800_000_000);
        let nonce = ours.current(start);
        assert!(ours.is_good(&nonce, start));
        assert!(ours.is_good(&nonce, start.plus_s(WINDOW_S)));
        assert!(!ours.is_good(&nonce, start.plus_s(2 * WINDOW_S)));
        assert!(!ours.is_good(&nonce, start.plus_s(-WINDOW_S)));
        assert!(!others.is_good(&nonce, start));
        for text in ["", "A", "AAAA", "!"] {
            assert!(!ours.is_good(text, start), "{text}");
        }
    }
}
