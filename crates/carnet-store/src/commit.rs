//! What one commit asks for, and the bounds it has to keep before any driver looks at it.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use crate::error::StoreError;
use crate::limits::{
    CHANGES_MAX, COMMIT_BYTES_MAX, EXPECTED_MAX, ID_BYTES_MAX, LIST_LIMIT_MAX, OUTGOING_BYTES_MAX,
    OUTGOING_MAX, VALUE_BYTES_MAX,
};
use crate::record::{Key, Length, Revision};

/// What the caller believes about one record; a commit is refused if any belief is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The record.
    pub key: Key,
    /// The revision of its last change; `None` says that it must not exist.
    pub revision: Option<Revision>,
}

/// One change to one record.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes the record, new or not.
    Put {
        /// The record.
        key: Key,
        /// Its bytes from now on.
        value: Vec<u8>,
    },
    /// Removes the record; removing what does not exist changes nothing.
    Delete {
        /// The record.
        key: Key,
    },
}

impl Change {
    /// The record this changes.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    const fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => f
                .debug_struct("Put")
                .field("key", key)
                .field("value", &Length(value.len()))
                .finish(),
            Self::Delete { key } => f.debug_struct("Delete").field("key", key).finish(),
        }
    }
}

/// A ledger record on its way: committed with the state it explains, drained to the ledger afterwards.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The id by which the ledger deduplicates it; unique among the records still waiting.
    pub id: String,
    /// The record; opaque to the store.
    pub bytes: Vec<u8>,
    /// Whether what it explains only takes authority away, so that the ledger may use its own reserve for it.
    pub narrows: bool,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("id", &self.id)
            .field("bytes", &Length(self.bytes.len()))
            .field("narrows", &self.narrows)
            .finish()
    }
}

/// A ledger record waiting in the outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Its place in the order of all outgoing records; never used twice, not even after draining.
    pub seq: u64,
    /// The commit it came with.
    pub revision: Revision,
    /// See [`Outgoing::id`].
    pub id: String,
    /// See [`Outgoing::bytes`].
    pub bytes: Vec<u8>,
    /// See [`Outgoing::narrows`].
    pub narrows: bool,
}

impl fmt::Debug for OutboxRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxRecord")
            .field("seq", &self.seq)
            .field("revision", &self.revision)
            .field("id", &self.id)
            .field("bytes", &Length(self.bytes.len()))
            .field("narrows", &self.narrows)
            .finish()
    }
}

/// Everything that happens together: if one part cannot, none does.
///
/// A change whose key is not named in `expected` is unconditional. Use that only for records with one writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must hold beforehand.
    pub expected: Vec<Expected>,
    /// What changes; each key at most once.
    pub changes: Vec<Change>,
    /// The ledger records that go with it.
    pub outgoing: Vec<Outgoing>,
    /// Whether it only takes authority away: it then passes ahead of others, may use the reserve on a full
    /// disk, and is not held up by a full outbox.
    pub narrows: bool,
}

impl Commit {
    /// Refuses what no driver may accept: nothing to do, a key twice, a bound exceeded.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] or [`StoreError::Exceeds`], naming what is wrong.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.changes.is_empty() && self.outgoing.is_empty() {
            return Err(StoreError::malformed("it has neither a change nor an outgoing record"));
        }
        within("expected revisions of a commit", self.expected.len(), EXPECTED_MAX)?;
        within("changes of a commit", self.changes.len(), CHANGES_MAX)?;
        within("outgoing records of a commit", self.outgoing.len(), OUTGOING_MAX)?;
        for change in &self.changes {
            within("bytes of a value", change.value_bytes(), VALUE_BYTES_MAX)?;
        }
        for outgoing in &self.outgoing {
            check_id(&outgoing.id)?;
            within("bytes of an outgoing record", outgoing.bytes.len(), OUTGOING_BYTES_MAX)?;
        }
        check_keys("expected", self.expected.iter().map(|expected| &expected.key))?;
        check_keys("changed", self.changes.iter().map(Change::key))?;
        within("bytes of a commit", self.byte_count(), COMMIT_BYTES_MAX)
    }

    /// Ids, values and outgoing bytes together.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        let expected: usize = self.expected.iter().map(|expected| expected.key.id.len()).sum();
        let changes: usize =
            self.changes.iter().map(|change| change.key().id.len() + change.value_bytes()).sum();
        let outgoing: usize =
            self.outgoing.iter().map(|outgoing| outgoing.id.len() + outgoing.bytes.len()).sum();
        expected + changes + outgoing
    }
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision it made.
    pub revision: Revision,
    /// The places of its outgoing records in the outbox, in their order.
    pub seqs: Range<u64>,
}

/// Refuses an id that is empty or too long.
pub(crate) fn check_id(id: &str) -> Result<(), StoreError> {
    if id.is_empty() {
        return Err(StoreError::malformed("an id is empty"));
    }
    within("bytes of an id", id.len(), ID_BYTES_MAX)
}

/// Refuses a page of no records or of too many.
pub(crate) fn check_limit(limit: usize) -> Result<(), StoreError> {
    if limit == 0 {
        return Err(StoreError::malformed("a page of zero records was asked for"));
    }
    within("records of a page", limit, LIST_LIMIT_MAX)
}

fn check_keys<'a>(role: &str, keys: impl Iterator<Item = &'a Key>) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    for key in keys {
        check_id(&key.id)?;
        if !seen.insert(key) {
            return Err(StoreError::malformed(format!("{key} is {role} twice")));
        }
    }
    Ok(())
}

fn within(what: &'static str, found: usize, max: usize) -> Result<(), StoreError> {
    if found > max { Err(StoreError::Exceeds { what, found, max }) } else { Ok(()) }
}
