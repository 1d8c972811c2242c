//! What a writer hands in, and the part of a leaf that can be written before its place is known.

use std::fmt;
use std::str::FromStr;

use carnet_core::Timestamp;
use serde_json::{Map, Value};

use crate::canonical::{self, Wide};
use crate::error::LedgerError;

/// Longest leaf: a tlog-tiles entry bundle gives its length 16 bits.
pub const LEAF_BYTES_MAX: usize = 65_535;
/// Longest sealed part of one record: its values in canonical form.
pub const SEALED_BYTES_MAX: usize = 1024 * 1024;
/// Most sealed values of one record.
pub const SEALED_FIELDS_MAX: usize = 64;
/// Longest name of a sealed value, id and node.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest subject.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// The longest text the committer adds: two wide numbers and the place in the sidecar.
const PLACE_BYTES_MAX: usize = 128;

/// What a leaf records. The text forms are lasting format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A decision, before its effect.
    Decision,
    /// What became of a decided operation.
    Outcome,
    /// A task's transition.
    Task,
    /// A grant's transition.
    Grant,
    /// A lease's transition.
    Lease,
    /// An approval's transition.
    Approval,
    /// A lock's transition.
    Lock,
    /// A policy set's activation.
    Policy,
    /// A change to the registry's agents.
    Agent,
    /// A change to the registry's resources.
    Resource,
    /// A reservation's transition.
    Reservation,
    /// Something is known to be missing: overflow, loss, or a new origin after a loss.
    Gap,
    /// A node's own events: start, stop, keys, erasures.
    Node,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Decision,
        Self::Outcome,
        Self::Task,
        Self::Grant,
        Self::Lease,
        Self::Approval,
        Self::Lock,
        Self::Policy,
        Self::Agent,
        Self::Resource,
        Self::Reservation,
        Self::Gap,
        Self::Node,
    ];

    /// The kind in a leaf.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Task => "task",
            Self::Grant => "grant",
            Self::Lease => "lease",
            Self::Approval => "approval",
            Self::Lock => "lock",
            Self::Policy => "policy",
            Self::Agent => "agent",
            Self::Resource => "resource",
            Self::Reservation => "reservation",
            Self::Gap => "gap",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            LedgerError::invalid(format!("the kind `{shown}`"), "no leaf kind has this name")
        })
    }
}

/// A value that the leaf only commits to. It is stored in the sidecar, under its subject's key.
#[derive(Clone, PartialEq)]
pub struct Sealed {
    /// The name of the field; in clear, in the leaf.
    pub name: String,
    /// The value.
    pub value: Value,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}: ..)", self.name)
    }
}

/// Where a record stands in the store's outbox. Positions are drained in order of `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxPosition {
    /// The running number in the outbox.
    pub seq: u64,
    /// The store's revision that committed the record.
    pub revision: u64,
}

/// One record, as a writer hands it in.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it records.
    pub kind: Kind,
    /// The thing it is about, e.g. `dec_…` or `task_…`.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What anyone may read: no personal data.
    pub header: Map<String, Value>,
    /// What is only committed to.
    pub sealed: Vec<Sealed>,
    /// Whose data key seals the values; erasing that key erases them. For example `user:alice`.
    pub subject: String,
    /// The position in the store's outbox, for a record that comes from there.
    pub position: Option<OutboxPosition>,
    /// Whether the record narrows authority: it may then use the reserve when the disk is full.
    pub narrows: bool,
}

impl Entry {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_name("an entry's id", &self.id)?;
        if self.subject.len() > SUBJECT_BYTES_MAX {
            let why = format!("it is longer than {SUBJECT_BYTES_MAX} bytes");
            return Err(LedgerError::invalid("an entry's subject", why));
        }
        if self.sealed.len() > SEALED_FIELDS_MAX {
            let why = format!("more than {SEALED_FIELDS_MAX} values are to be sealed");
            return Err(LedgerError::invalid(format!("the entry `{}`", self.id), why));
        }
        let mut names: Vec<&str> = self.sealed.iter().map(|sealed| sealed.name.as_str()).collect();
        names.iter().try_for_each(|name| check_name("a sealed value's name", name))?;
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.get(1)) {
            let why = "two sealed values have the same name";
            return Err(LedgerError::invalid(format!("the entry `{}`", self.id), why));
        }
        Ok(())
    }

    /// The leaf up to the value of `seq`: all that does not depend on its place. Members are in
    /// canonical order, which puts `seq`, `sidecar` and `v` last.
    pub(crate) fn leaf_start(
        &self,
        node: &str,
        commitments: &[(&str, String)],
    ) -> Result<Vec<u8>, LedgerError> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"at_us\":");
        canonical::write_i64(&mut out, self.at.us());
        out.extend_from_slice(b",\"commitments\":");
        let commitments: Map<String, Value> = commitments
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Value::from(text.as_str())))
            .collect();
        canonical::write_map(&mut out, &commitments, Wide::Text)?;
        out.extend_from_slice(b",\"header\":");
        canonical::write_map(&mut out, &self.header, Wide::Text)?;
        out.extend_from_slice(b",\"id\":");
        canonical::write_text(&mut out, &self.id)?;
        out.extend_from_slice(b",\"kind\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"node\":");
        canonical::write_text(&mut out, node)?;
        if let Some(position) = self.position {
            out.extend_from_slice(b",\"outbox\":{\"revision\":");
            canonical::write_u64(&mut out, position.revision);
            out.extend_from_slice(b",\"seq\":");
            canonical::write_u64(&mut out, position.seq);
            out.push(b'}');
        }
        out.extend_from_slice(b",\"seq\":");
        let bytes = out.len() + PLACE_BYTES_MAX;
        if bytes > LEAF_BYTES_MAX {
            let bytes_max = LEAF_BYTES_MAX;
            return Err(LedgerError::LeafTooLarge { id: self.id.clone(), bytes, bytes_max });
        }
        Ok(out)
    }
}

/// Where the sealed values of a leaf lie: the sidecar file, by number, and the byte in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SidecarPlace {
    pub(crate) file: u64,
    pub(crate) offset: u64,
}

/// The rest of a leaf, from the value of `seq` on.
pub(crate) fn leaf_end(index: u64, sidecar: Option<SidecarPlace>) -> Vec<u8> {
    let mut out = Vec::with_capacity(PLACE_BYTES_MAX);
    canonical::write_u64(&mut out, index);
    if let Some(place) = sidecar {
        out.extend_from_slice(b",\"sidecar\":{\"file\":");
        canonical::write_u64(&mut out, place.file);
        out.extend_from_slice(b",\"offset\":");
        canonical::write_u64(&mut out, place.offset);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"v\":1}");
    out
}

fn check_name(what: &str, name: &str) -> Result<(), LedgerError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(LedgerError::invalid(what, format!("1 to {NAME_BYTES_MAX} bytes are needed")));
    }
    Ok(())
}
