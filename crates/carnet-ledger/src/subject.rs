//! Data keys, one for each subject: made durable before first use, wrapped by the ledger's
//! key-encryption key, and destroyed to erase.
//!
//! A key file is named after a keyed hash of the subject and a generation, so that the directory
//! tells no names. A destroyed key leaves a tombstone that names the leaf recording the erasure.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::disk::{Disk, read_small, replace_small};
use crate::error::{IoContext, LedgerError};
use crate::text::hex;

/// Most data keys kept in memory.
const CACHED_MAX: usize = 4_096;
/// Most generations of one subject's key: how often it can be erased and come back.
const GENERATIONS_MAX: u32 = 10_000;
const MAGIC: &[u8; 4] = b"CLK1";
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
/// Longest key id read back: hexadecimal tag, hyphen, generation.
pub(crate) const KEY_ID_BYTES_MAX: usize = 64;

/// A data key and the name of its file.
pub(crate) struct DataKey {
    pub(crate) id: String,
    pub(crate) key: hmac::Key,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It was destroyed, as this leaf records.
    Erased(u64),
    /// Its file is gone without a tombstone.
    Missing,
}

pub(crate) struct SubjectKeys {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    wrap: LessSafeKey,
    tag: hmac::Key,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_subject: HashMap<String, Arc<DataKey>>,
    by_id: HashMap<String, Arc<DataKey>>,
}

impl SubjectKeys {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        wrapping: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, LedgerError> {
        let kek = hmac::Key::new(hmac::HMAC_SHA256, wrapping.as_ref());
        let derived = |label: &[u8]| Zeroizing::new(hmac::sign(&kek, label).as_ref().to_vec());
        let wrap = aead(&derived(b"carnet-ledger/v1/wrap"))?;
        let tag = hmac::Key::new(hmac::HMAC_SHA256, &derived(b"carnet-ledger/v1/subject"));
        Ok(Self { disk, dir, wrap, tag, cache: Mutex::default() })
    }

    /// The live key of a subject; made durable first if there is none.
    pub(crate) fn live(&self, subject: &str) -> Result<Arc<DataKey>, LedgerError> {
        // Held while a key is made, so that one subject never gets two.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = cache.by_subject.get(subject) {
            return Ok(Arc::clone(key));
        }
        let id = self.live_id(subject)?;
        let key = match self.read(&id)? {
            Some(key) => {
                // A process killed while it made the key may have left a name that only the page
                // cache knows: nothing is sealed under a key that a power loss could still take.
                self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
                Arc::new(key)
            }
            None => Arc::new(self.make(&id)?),
        };
        cache.keep(Some(subject), &key);
        Ok(key)
    }

    /// The key of that id, to unseal with.
    pub(crate) fn by_id(&self, id: &str) -> Result<Result<Arc<DataKey>, NoKey>, LedgerError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = cache.by_id.get(id) {
            return Ok(Ok(Arc::clone(key)));
        }
        let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
        if id.len() > KEY_ID_BYTES_MAX || !id.chars().all(plain) {
            return Ok(Err(NoKey::Missing));
        }
        if let Some(leaf) = self.tombstone(id)? {
            return Ok(Err(NoKey::Erased(leaf)));
        }
        Ok(match self.read(id)? {
            Some(key) => {
                let key = Arc::new(key);
                cache.keep(None, &key);
                Ok(key)
            }
            None => Err(NoKey::Missing),
        })
    }

    /// Destroys a subject's live key. `leaf` records the erasure. False when there was none.
    pub(crate) fn destroy(&self, subject: &str, leaf: u64) -> Result<bool, LedgerError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.live_id(subject)?;
        let path = self.path(&id, "key");
        if read_small(&*self.disk, &path).at("read", &path)?.is_none() {
            return Ok(false);
        }
        let tombstone = self.path(&id, "erased");
        replace_small(&*self.disk, &tombstone, leaf.to_string().as_bytes())
            .at("write", &tombstone)?;
        cache.by_subject.remove(subject);
        cache.by_id.remove(&id);
        self.disk.remove(&path).at("remove", &path)?;
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        Ok(true)
    }

    /// Removes what a crash left between a tombstone and the end of an erasure.
    pub(crate) fn finish_erasures(&self) -> Result<(), LedgerError> {
        let names = self.disk.list(&self.dir).at("list", &self.dir)?;
        let mut removed = false;
        for id in names.iter().filter_map(|name| name.strip_suffix(".erased")) {
            if names.iter().any(|name| name.strip_suffix(".key") == Some(id)) {
                let path = self.path(id, "key");
                self.disk.remove(&path).at("remove", &path)?;
                removed = true;
            }
        }
        if removed { self.disk.sync_dir(&self.dir).at("sync", &self.dir) } else { Ok(()) }
    }

    fn path(&self, id: &str, end: &str) -> PathBuf {
        self.dir.join(format!("{id}.{end}"))
    }

    fn live_id(&self, subject: &str) -> Result<String, LedgerError> {
        let tag = hmac::sign(&self.tag, subject.as_bytes());
        let tag = hex(tag.as_ref().get(..16).unwrap_or_default());
        for generation in 0..GENERATIONS_MAX {
            let id = format!("{tag}-{generation}");
            if self.tombstone(&id)?.is_none() {
                return Ok(id);
            }
        }
        Err(LedgerError::invalid("the subject", "its key was erased too often"))
    }

    fn tombstone(&self, id: &str) -> Result<Option<u64>, LedgerError> {
        let path = self.path(id, "erased");
        let Some(bytes) = read_small(&*self.disk, &path).at("read", &path)? else {
            return Ok(None);
        };
        let leaf = std::str::from_utf8(&bytes).ok().and_then(crate::text::decimal);
        let damaged = || LedgerError::damaged(&path, 0, "it should hold a leaf's number");
        leaf.ok_or_else(damaged).map(Some)
    }

    fn make(&self, id: &str) -> Result<DataKey, LedgerError> {
        let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
        crate::random(&mut key)?;
        let data = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let mut nonce = [0; NONCE_BYTES];
        crate::random(&mut nonce)?;
        let mut file = [MAGIC.as_slice(), &nonce].concat();
        // Sealed in place: the plain key does not stay behind in memory.
        let aad = Aad::from(id.as_bytes());
        self.wrap
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *key)
            .map_err(|_| LedgerError::Crypto { what: "wrapping a data key" })?;
        file.extend_from_slice(&key);
        let path = self.path(id, "key");
        replace_small(&*self.disk, &path, &file).at("write", &path)?;
        Ok(DataKey { id: id.to_owned(), key: data })
    }

    fn read(&self, id: &str) -> Result<Option<DataKey>, LedgerError> {
        let path = self.path(id, "key");
        let Some(file) = read_small(&*self.disk, &path).at("read", &path)? else {
            return Ok(None);
        };
        let damaged = |why: &str| LedgerError::damaged(&path, 0, why);
        let parts = file.strip_prefix(MAGIC).and_then(|file| file.split_at_checked(NONCE_BYTES));
        let (nonce, wrapped) = parts.ok_or_else(|| damaged("it is not a key file"))?;
        let nonce =
            Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged("it is not a key file"))?;
        let mut wrapped = Zeroizing::new(wrapped.to_vec());
        let aad = Aad::from(id.as_bytes());
        let key = self
            .wrap
            .open_in_place(nonce, aad, &mut wrapped)
            .map_err(|_| damaged("the key-encryption key does not open it"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Ok(Some(DataKey { id: id.to_owned(), key }))
    }
}

impl Cache {
    fn keep(&mut self, subject: Option<&str>, key: &Arc<DataKey>) {
        if self.by_id.len() >= CACHED_MAX {
            self.by_id.clear();
            self.by_subject.clear();
        }
        self.by_id.insert(key.id.clone(), Arc::clone(key));
        if let Some(subject) = subject {
            self.by_subject.insert(subject.to_owned(), Arc::clone(key));
        }
    }
}

/// An AES-256-GCM key.
pub(crate) fn aead(key: &[u8]) -> Result<LessSafeKey, LedgerError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| LedgerError::Crypto { what: "making an AES-256-GCM key" })
}
