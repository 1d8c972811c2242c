//! Records, their keys, and the revision that orders every change.

use std::fmt;
use std::ops::Range;

/// The state of the whole store as a number: zero for a new store, one more with each commit.
///
/// A refused commit uses none up, so revisions have no gaps and a missed one shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a store nothing was ever committed to.
    pub const ZERO: Self = Self(0);

    /// The revision with this number, for reading one back from where it was noted.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The plain number, for writing it down.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The revision of the commit that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What sort of thing a record describes. The store only keeps kinds apart; it does not know what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A registered kind of workload.
    Agent,
    /// One attested running copy of an agent.
    Instance,
    /// A thing behind a gateway.
    Resource,
    /// A bounded piece of work.
    Task,
    /// An allowance made live.
    Grant,
    /// A person's answer to one question.
    Approval,
    /// What a target honours without asking.
    Lease,
    /// A pushed stop.
    Lock,
    /// Uses, totals and budget set aside.
    Reservation,
    /// An activated policy set.
    Policy,
    /// A person who operates Carnet.
    Operator,
    /// Facts about the installation itself.
    Meta,
    /// A sealed secret of the broker.
    Secret,
    /// A token that was taken back before its time.
    Token,
}

impl Kind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 14] = [
        Self::Agent,
        Self::Instance,
        Self::Resource,
        Self::Task,
        Self::Grant,
        Self::Approval,
        Self::Lease,
        Self::Lock,
        Self::Reservation,
        Self::Policy,
        Self::Operator,
        Self::Meta,
        Self::Secret,
        Self::Token,
    ];

    /// The name on disk. It lasts: a kind may be added, none may be renamed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Instance => "instance",
            Self::Resource => "resource",
            Self::Task => "task",
            Self::Grant => "grant",
            Self::Approval => "approval",
            Self::Lease => "lease",
            Self::Lock => "lock",
            Self::Reservation => "reservation",
            Self::Policy => "policy",
            Self::Operator => "operator",
            Self::Meta => "meta",
            Self::Secret => "secret",
            Self::Token => "token",
        }
    }

    /// The kind of this name; `None` for a name this version does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a record: its kind and an id unique within the kind. Ids are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Which one; any non-empty text up to [`crate::limits::ID_BYTES_MAX`] bytes.
    pub id: String,
}

impl Key {
    /// The key of this kind and id.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for Key {
    /// `kind/id`, with the id escaped: it may come from outside and ends up in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id.escape_debug())
    }
}

/// One record as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub key: Key,
    /// The revision of its last change, to be named as expected when changing it.
    pub revision: Revision,
    /// Its bytes; opaque to the store.
    pub value: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .field("value", &Length(self.value.len()))
            .finish()
    }
}

/// One commit as a watch yields it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The revision it made; exactly one more than that of the batch before.
    pub revision: Revision,
    /// What it changed, in the order of the commit; `None` for a deleted record.
    pub changes: Vec<(Key, Option<Record>)>,
    /// Whether it only took authority away, so that it may enter snapshots at once.
    pub narrows: bool,
    /// Its records in the outbox. A commit that widens may enter snapshots once these are in the ledger.
    pub seqs: Range<u64>,
}

/// Stands for bytes in `Debug`, where contents must not appear.
pub(crate) struct Length(pub(crate) usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}
