//! Sealed values: committed to in the leaf, stored in the sidecar.
//!
//! One frame a record. The frame key comes from the subject's data key and 32 random bytes, so that
//! the field's number can be the nonce. Each field has a salt of its own, sealed with the value:
//! whoever cannot open the frame cannot test guesses against the commitment either.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::hmac;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::canonical::{self, Wide};
use crate::entry::{Entry, SEALED_BYTES_MAX};
use crate::error::LedgerError;
use crate::leaf::Leaf;
use crate::subject::{DataKey, NoKey, SubjectKeys, aead};
use crate::text::hex;

/// Begins every commitment's input.
const COMMITMENT_LABEL: &[u8] = b"carnet-ledger/v1";
const FRAME_LABEL: &[u8] = b"carnet-ledger/v1/frame";
const SALT_BYTES: usize = 32;

/// A leaf's sealed values, opened and checked against their commitments.
#[derive(Clone, PartialEq, Default)]
pub struct Unsealed {
    /// The values that are still there.
    pub values: BTreeMap<String, Value>,
    /// The names of those that are not, and why.
    pub missing: BTreeMap<String, Missing>,
}

impl std::fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Unsealed").field("names", &names).field("missing", &self.missing).finish()
    }
}

/// Why a sealed value cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Its subject's key was destroyed.
    #[error("erased under leaf {leaf}")]
    Erased {
        /// The leaf that records the erasure.
        leaf: u64,
    },
    /// The key's file is gone, and nothing says that it was erased.
    #[error("the subject's data key is missing without a recorded erasure")]
    KeyMissing,
    /// The sidecar does not hold the frame.
    #[error("the sidecar does not hold the record's values")]
    FrameMissing,
}

/// The part of a sidecar frame that does not depend on the leaf's place, and the commitments.
pub(crate) struct SealedPart<'a> {
    pub(crate) content: Vec<u8>,
    pub(crate) commitments: Vec<(&'a str, String)>,
}

/// Seals the values of an entry.
pub(crate) fn seal<'a>(
    entry: &'a Entry,
    origin: &str,
    keys: &SubjectKeys,
) -> Result<Option<SealedPart<'a>>, LedgerError> {
    if entry.sealed.is_empty() {
        return Ok(None);
    }
    let data = keys.live(&entry.subject)?;
    let mut random = [0; SALT_BYTES];
    crate::random(&mut random)?;
    let key = frame_key(&data, &random)?;
    let mut content = Vec::with_capacity(512);
    put(&mut content, 1, entry.kind.as_str().as_bytes());
    put(&mut content, 2, entry.id.as_bytes());
    put(&mut content, 1, data.id.as_bytes());
    content.extend_from_slice(&random);
    content.extend_from_slice(&(entry.sealed.len() as u16).to_be_bytes());
    let mut commitments = Vec::with_capacity(entry.sealed.len());
    let mut total = 0;
    for (number, field) in entry.sealed.iter().enumerate() {
        let mut plain = Zeroizing::new(vec![0; SALT_BYTES]);
        crate::random(&mut plain)?;
        canonical::write(&mut plain, &field.value, Wide::Digits)?;
        total += plain.len();
        if total > SEALED_BYTES_MAX {
            let (id, bytes_max) = (entry.id.clone(), SEALED_BYTES_MAX);
            return Err(LedgerError::SealedTooLarge { id, bytes: total, bytes_max });
        }
        let (salt, value) = plain.split_at_checked(SALT_BYTES).unwrap_or_default();
        commitments.push((field.name.as_str(), commitment(salt, &field.name, value)));
        let aad = field_aad(origin, entry.kind.as_str(), &entry.id, &field.name);
        key.seal_in_place_append_tag(nonce(number), Aad::from(aad), &mut *plain)
            .map_err(|_| LedgerError::Crypto { what: "sealing a value" })?;
        put(&mut content, 2, field.name.as_bytes());
        put(&mut content, 4, &plain);
    }
    Ok(Some(SealedPart { content, commitments }))
}

/// Opens a frame's content (after the leaf's index) and checks every commitment of `leaf`.
pub(crate) fn unseal(
    leaf: &Leaf,
    content: &[u8],
    origin: &str,
    keys: &SubjectKeys,
) -> Result<Unsealed, LedgerError> {
    let changed = |name: &str, why: &str| LedgerError::SealedChanged {
        index: leaf.index,
        name: name.to_owned(),
        why: why.to_owned(),
    };
    let frame =
        SealedFrame::read(content).ok_or_else(|| changed("*", "its frame does not read"))?;
    if frame.kind != leaf.kind().as_str() || frame.id != leaf.id() {
        return Err(changed("*", "its frame belongs to another record"));
    }
    let data = match keys.by_id(frame.key_id)? {
        Ok(data) => data,
        Err(gone) => return Ok(all_missing(leaf, gone)),
    };
    let key = frame_key(&data, frame.random)?;
    let mut out = Unsealed::default();
    for (name, committed) in leaf.commitments() {
        let value =
            open_field(&frame, &key, origin, name, committed).map_err(|why| changed(name, why))?;
        out.values.insert(name.clone(), value);
    }
    Ok(out)
}

/// Opens one value and checks its commitment; an error says how it was changed.
fn open_field(
    frame: &SealedFrame<'_>,
    key: &LessSafeKey,
    origin: &str,
    name: &str,
    committed: &Value,
) -> Result<Value, &'static str> {
    let mut fields = frame.fields.iter().enumerate();
    let (number, (_, sealed)) =
        fields.find(|(_, field)| field.0 == name).ok_or("its frame lacks the field")?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let aad = field_aad(origin, frame.kind, frame.id, name);
    let plain = key
        .open_in_place(nonce(number), Aad::from(aad), &mut plain)
        .map_err(|_| "it does not open under its subject's key")?;
    let (salt, value) = plain.split_at_checked(SALT_BYTES).unwrap_or_default();
    if committed.as_str() != Some(&commitment(salt, name, value)) {
        return Err("it does not match its commitment");
    }
    serde_json::from_slice(value).map_err(|_| "it is not JSON, though it matches its commitment")
}

fn all_missing(leaf: &Leaf, gone: NoKey) -> Unsealed {
    let why = match gone {
        NoKey::Erased(leaf) => Missing::Erased { leaf },
        NoKey::Missing => Missing::KeyMissing,
    };
    let missing = leaf.commitments().keys().map(|name| (name.clone(), why)).collect();
    Unsealed { values: BTreeMap::new(), missing }
}

/// The frame that should be there is not.
pub(crate) fn frame_missing(leaf: &Leaf) -> Unsealed {
    let missing =
        leaf.commitments().keys().map(|name| (name.clone(), Missing::FrameMissing)).collect();
    Unsealed { values: BTreeMap::new(), missing }
}

/// HMAC-SHA256 under the salt, over label, name and value, each of the two led by its length.
fn commitment(salt: &[u8], name: &str, value: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    context.update(COMMITMENT_LABEL);
    for part in [name.as_bytes(), value] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    format!("hmac-sha256:{}", hex(context.sign().as_ref()))
}

fn frame_key(data: &DataKey, random: &[u8]) -> Result<LessSafeKey, LedgerError> {
    let mut context = hmac::Context::with_key(&data.key);
    context.update(FRAME_LABEL);
    context.update(random);
    aead(context.sign().as_ref())
}

fn nonce(number: usize) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().rev().zip((number as u64).to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Binds a sealed value to its log, record and name.
fn field_aad(origin: &str, kind: &str, id: &str, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    [origin, kind, id, name].iter().for_each(|part| put(&mut out, 2, part.as_bytes()));
    out
}

/// Appends `bytes` led by their length in `width` bytes, big-endian.
fn put(out: &mut Vec<u8>, width: usize, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_be_bytes();
    out.extend_from_slice(length.get(8 - width..).unwrap_or_default());
    out.extend_from_slice(bytes);
}

/// Takes what [`put`] appended.
fn take<'a>(from: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let (length, rest) = from.split_at_checked(width)?;
    let length = length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    let (bytes, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

/// A sidecar frame's content as it reads without any key.
pub(crate) struct SealedFrame<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    key_id: &'a str,
    random: &'a [u8],
    pub(crate) fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> SealedFrame<'a> {
    pub(crate) fn read(content: &'a [u8]) -> Option<Self> {
        let mut rest = content;
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let kind = text(take(&mut rest, 1)?)?;
        let id = text(take(&mut rest, 2)?)?;
        let key_id = text(take(&mut rest, 1)?)?;
        let (random, after) = rest.split_at_checked(SALT_BYTES)?;
        let (count, after) = after.split_at_checked(2)?;
        rest = after;
        let count = count.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push((text(take(&mut rest, 2)?)?, take(&mut rest, 4)?));
        }
        rest.is_empty().then_some(Self { kind, id, key_id, random, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::disk::Disk;
    use crate::entry::{Kind, Sealed, leaf_end};
    use crate::forgetful::ForgetfulDisk;

    fn keys() -> SubjectKeys {
        let disk = Arc::new(ForgetfulDisk::new());
        disk.make_dir(&PathBuf::from("/keys")).unwrap();
        SubjectKeys::new(disk, "/keys".into(), &Zeroizing::new([5; 32])).unwrap()
    }

    fn entry(value: &str) -> Entry {
        Entry {
            kind: Kind::Decision,
            id: "dec_1".to_owned(),
            at: carnet_core::Timestamp::from_us(0),
            header: serde_json::Map::new(),
            sealed: vec![Sealed { name: "args".to_owned(), value: value.into() }],
            subject: "user:alice".to_owned(),
            position: None,
            narrows: false,
        }
    }

    fn leaf(entry: &Entry, part: &SealedPart<'_>) -> Leaf {
        let mut bytes = entry.leaf_start("node", &part.commitments).unwrap();
        bytes.extend_from_slice(&leaf_end(0, None));
        Leaf::parse(0, &bytes).unwrap()
    }

    #[test]
    fn a_commitment_is_the_published_hmac() {
        let salt: Vec<u8> = (0..32).collect();
        // Computed with another library.
        let expected = "0c1cb1e6bb9c99e385005c66b330fb7bed733e9cec4cd681ab9810e2eee3eac9";
        assert_eq!(commitment(&salt, "args", br#"{"a":1}"#), format!("hmac-sha256:{expected}"));
    }

    #[test]
    fn a_value_sealed_again_by_someone_with_the_keys_does_not_match_the_leaf() {
        let keys = keys();
        let (was, now) = (entry("was"), entry("now"));
        let sealed = seal(&was, "origin", &keys).unwrap().unwrap();
        let leaf = leaf(&was, &sealed);
        let opened = unseal(&leaf, &sealed.content, "origin", &keys).unwrap();
        assert_eq!(opened.values["args"], "was");
        let other = seal(&now, "origin", &keys).unwrap().unwrap();
        let refused = unseal(&leaf, &other.content, "origin", &keys).unwrap_err();
        assert!(refused.to_string().contains("does not match its commitment"), "{refused}");
    }

    #[test]
    fn a_frame_of_another_log_does_not_open() {
        let keys = keys();
        let entry = entry("was");
        let sealed = seal(&entry, "origin", &keys).unwrap().unwrap();
        let leaf = leaf(&entry, &sealed);
        assert!(unseal(&leaf, &sealed.content, "another", &keys).is_err());
    }
}
