//! Checkpoints: signed notes (C2SP signed-note and tlog-checkpoint, Ed25519).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::error::LedgerError;
use crate::merkle::Hash;
use crate::text::{base64, decimal, from_base64, hex};

/// Longest checkpoint read: enough for its text and many cosignatures.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Most signature lines looked at.
const SIGNATURES_MAX: usize = 100;
/// Longest origin.
pub(crate) const ORIGIN_BYTES_MAX: usize = 200;
/// Signed-note signature type Ed25519.
const ED25519_TYPE: u8 = 1;
const SIGNATURE_START: &str = "\u{2014} ";

/// The public key that checks a log's checkpoints, in the text form of C2SP signed notes
/// (`origin+keyid+base64`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

/// A signed statement: the log of this origin has this many leaves and this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: [u8; 32],
    /// The signed note, as published.
    pub note: String,
}

/// Whether `name` can name a signing key: signed notes forbid spaces and `+`.
pub(crate) fn check_origin(name: &str) -> Result<(), LedgerError> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if name.is_empty() || name.len() > ORIGIN_BYTES_MAX || !name.chars().all(plain) {
        let why = format!("1 to {ORIGIN_BYTES_MAX} bytes, without spaces and `+`, are needed");
        return Err(LedgerError::invalid(format!("the origin `{}`", name.escape_debug()), why));
    }
    Ok(())
}

impl VerifyingKey {
    /// The key `key` under the name `origin`.
    pub fn new(origin: &str, key: [u8; 32]) -> Result<Self, LedgerError> {
        check_origin(origin)?;
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [origin.as_bytes(), &[0x0a, ED25519_TYPE], &key] {
            context.update(part);
        }
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Ok(Self { name: origin.to_owned(), id, key })
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.name
    }

    fn accepts(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = std::iter::once(ED25519_TYPE).chain(self.key).collect();
        write!(f, "{}+{}+{}", self.name, hex(&self.id), base64(&key))
    }
}

impl FromStr for VerifyingKey {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let refused = |why: &str| LedgerError::note("the verifying key", why);
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused("it is not of the form origin+keyid+base64"));
        };
        let bytes = from_base64(key).ok_or_else(|| refused("its key is not base64"))?;
        let key = match bytes.split_first() {
            Some((&ED25519_TYPE, key)) => <[u8; 32]>::try_from(key).ok(),
            _ => None,
        };
        let key = Self::new(name, key.ok_or_else(|| refused("it is not an Ed25519 key"))?)?;
        if hex(&key.id) != id {
            return Err(refused("its key id does not belong to this name and key"));
        }
        Ok(key)
    }
}

/// The text that is signed.
fn text(origin: &str, size: u64, root: &Hash) -> String {
    format!("{origin}\n{size}\n{}\n", base64(root))
}

impl Checkpoint {
    /// Signs the statement.
    pub(crate) fn sign(key: &VerifyingKey, pair: &Ed25519KeyPair, size: u64, root: Hash) -> Self {
        let text = text(&key.name, size, &root);
        let signed = pair.sign(text.as_bytes());
        let signature: Vec<u8> = key.id.iter().chain(signed.as_ref()).copied().collect();
        let note = format!("{text}\n{SIGNATURE_START}{} {}\n", key.name, base64(&signature));
        Self { origin: key.name.clone(), size, root, note }
    }

    /// Reads a signed note and checks that `key` signed it. Signatures of other keys are ignored;
    /// one that claims to be by `key` and is not refuses the note.
    pub fn open(note: &str, key: &VerifyingKey) -> Result<Self, LedgerError> {
        let refused = |why: &str| LedgerError::note("the checkpoint", why);
        if note.len() > NOTE_BYTES_MAX {
            return Err(refused("it is too long"));
        }
        let cut = note.rfind("\n\n").ok_or_else(|| refused("it has no signatures"))?;
        let (text, signatures) = note.split_at_checked(cut + 1).unwrap_or(("", ""));
        let signatures = signatures.strip_prefix('\n').unwrap_or_default();
        check_signatures(text, signatures, key)?;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        if origin != Some(key.name.as_str()) {
            return Err(refused("it is of another origin"));
        }
        let size = size.and_then(decimal).ok_or_else(|| refused("its size is not a number"))?;
        let root = root
            .and_then(from_base64)
            .and_then(|root| Hash::try_from(root.as_slice()).ok())
            .ok_or_else(|| refused("its root is not a base64 SHA-256 hash"))?;
        Ok(Self { origin: key.name.clone(), size, root, note: note.to_owned() })
    }
}

fn check_signatures(text: &str, lines: &str, key: &VerifyingKey) -> Result<(), LedgerError> {
    let refused = |why: &str| LedgerError::note("the checkpoint", why);
    if !lines.ends_with('\n') {
        return Err(refused("its last line does not end"));
    }
    let mut found = false;
    for (i, line) in lines.trim_end_matches('\n').split('\n').enumerate() {
        let parts = line.strip_prefix(SIGNATURE_START).and_then(|rest| rest.split_once(' '));
        let (name, signature) = parts.ok_or_else(|| refused("a signature line does not read"))?;
        let bytes = from_base64(signature);
        let bytes = bytes.ok_or_else(|| refused("a signature is not base64"))?;
        let Some((id, signature)) = bytes.split_at_checked(4).filter(|_| i < SIGNATURES_MAX) else {
            return Err(refused("a signature is too short, or there are too many"));
        };
        if name != key.name || id != key.id {
            continue;
        }
        if !key.accepts(text, signature) {
            return Err(refused("its signature does not verify: it was forged or changed"));
        }
        found = true;
    }
    if found { Ok(()) } else { Err(refused("it is not signed by this log's key")) }
}

/// The public half of a signing key, under an origin.
pub(crate) fn verifying_key(
    pair: &Ed25519KeyPair,
    origin: &str,
) -> Result<VerifyingKey, LedgerError> {
    let public = <[u8; 32]>::try_from(pair.public_key().as_ref());
    VerifyingKey::new(origin, public.map_err(|_| LedgerError::Crypto { what: "the public key" })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn signed() -> (VerifyingKey, Checkpoint) {
        let key = verifying_key(&pair(), "carnet.example/log/one").unwrap();
        let checkpoint = Checkpoint::sign(&key, &pair(), 42, [9; 32]);
        (key, checkpoint)
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_key() {
        let (key, checkpoint) = signed();
        assert_eq!(Checkpoint::open(&checkpoint.note, &key).unwrap(), checkpoint);
        assert_eq!(key.to_string().parse::<VerifyingKey>().unwrap(), key);
    }

    #[test]
    fn a_changed_size_or_a_foreign_key_is_refused() {
        let (key, checkpoint) = signed();
        let forged = checkpoint.note.replacen("\n42\n", "\n43\n", 1);
        assert!(Checkpoint::open(&forged, &key).is_err());
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let other = verifying_key(&other, "carnet.example/log/one").unwrap();
        assert!(Checkpoint::open(&checkpoint.note, &other).is_err());
    }

    #[test]
    fn a_cosignature_by_an_unknown_key_does_not_disturb() {
        let (key, mut checkpoint) = signed();
        checkpoint.note += &format!("\u{2014} witness.example {}\n", base64(&[1; 76]));
        assert_eq!(Checkpoint::open(&checkpoint.note, &key).unwrap().size, 42);
    }

    #[test]
    fn an_origin_with_a_space_a_plus_or_a_line_break_is_refused() {
        for origin in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
            assert!(VerifyingKey::new(origin, [0; 32]).is_err(), "{origin:?}");
        }
    }
}
