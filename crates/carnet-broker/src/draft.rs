//! A change being composed: records to write, what they are expected to be, and their ledger
//! records, committed together or not at all.

use carnet_core::{Effect, Lifecycle, Principal, Task, TaskId, Timestamp};
use carnet_ledger::{Entry, Kind as LeafKind, Sealed};
use carnet_store::{Change, Expected, Key, Outgoing};
use serde_json::{Map, Value, json};

use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::{State, Touched};

/// How much of a commit's bounds a change fills of itself. What is left is room for its last part.
const CHANGES_MAX: usize = 128;
const RECORDS_MAX: usize = 48;
const BYTES_MAX: usize = 128 * 1024;

/// A change being composed against one state.
pub(crate) struct Draft<'a> {
    state: &'a State,
    now: Timestamp,
    by: String,
    expected: Vec<Expected>,
    changes: Vec<Change>,
    touched: Vec<Touched>,
    entries: Vec<Entry>,
    bytes: usize,
    narrows: bool,
    is_brake: bool,
}

/// What a draft becomes: the parts of a commit for the store, and what it means.
#[derive(Clone)]
pub(crate) struct Composed {
    pub(crate) expected: Vec<Expected>,
    pub(crate) changes: Vec<Change>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) touched: Vec<Touched>,
    pub(crate) narrows: bool,
    pub(crate) is_brake: bool,
}

impl Composed {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outgoing.is_empty()
    }
}

impl<'a> Draft<'a> {
    /// An empty draft in the name of `by`. It narrows until something in it does not.
    pub(crate) fn new(state: &'a State, by: &Principal, now: Timestamp) -> Self {
        Self {
            state,
            now,
            by: by.to_string(),
            expected: Vec::new(),
            changes: Vec::new(),
            touched: Vec::new(),
            entries: Vec::new(),
            bytes: 0,
            narrows: true,
            is_brake: false,
        }
    }

    /// Writes `item`, expecting it to be what the state says it is. It takes the place of what this
    /// change wrote under the same key before.
    pub(crate) fn put(&mut self, item: Item) -> Result<(), BrokerError> {
        let key = item.key();
        self.expect(&key);
        self.changes
            .retain(|change| !matches!(change, Change::Put { key: put, .. } if *put == key));
        self.touched.retain(|(touched, _)| *touched != key);
        let value = item.encode()?;
        self.bytes = self.bytes.saturating_add(value.len());
        self.changes.push(Change::Put { key: key.clone(), value });
        self.touched.push((key, Some(item)));
        Ok(())
    }

    /// Writes a new version of what a lifecycle moved, with a ledger record for each transition.
    pub(crate) fn transition(
        &mut self,
        item: Item,
        effects: &[Effect],
        details: Value,
    ) -> Result<(), BrokerError> {
        self.put(item)?;
        for effect in effects {
            if let Effect::Append { lifecycle, id, transition, narrows } = effect {
                self.record(leaf_kind(*lifecycle), id, transition, *narrows, &details, None);
            }
        }
        Ok(())
    }

    /// The task as this change leaves it, where it has written it already.
    pub(crate) fn task(&self, id: &TaskId) -> Option<&Task> {
        self.touched.iter().rev().find_map(|(_, item)| match item {
            Some(Item::Task(task)) if task.id == *id => Some(task),
            _ => None,
        })
    }

    /// Removes the record under `key`.
    pub(crate) fn delete(&mut self, key: Key) {
        self.expect(&key);
        self.changes.push(Change::Delete { key: key.clone() });
        self.touched.push((key, None));
    }

    /// Whether one more part surely fits in the same commit.
    pub(crate) fn has_room(&self) -> bool {
        self.changes.len() < CHANGES_MAX
            && self.entries.len() < RECORDS_MAX
            && self.bytes < BYTES_MAX
    }

    /// Says that the change is a brake: it takes effect even where the store cannot write it.
    pub(crate) fn brakes(&mut self) {
        self.is_brake = true;
    }

    /// Says that the change does not only take away: it enters the view once its records are in the
    /// ledger, and may not use what the store keeps in reserve.
    pub(crate) fn widens(&mut self) {
        self.narrows = false;
    }

    /// Adds a ledger record. `sealed` values are committed to and kept apart, under `subject`'s key.
    pub(crate) fn record(
        &mut self,
        kind: LeafKind,
        id: &str,
        transition: &str,
        narrows: bool,
        details: &Value,
        sealed: Option<(&str, Vec<Sealed>)>,
    ) {
        let mut header = Map::new();
        header.insert("transition".to_owned(), json!(transition));
        header.insert("by".to_owned(), json!(self.by));
        if let Value::Object(details) = details {
            header.extend(details.clone());
        }
        let (subject, sealed) = match sealed {
            Some((subject, sealed)) => (subject.to_owned(), sealed),
            None => (self.by.clone(), Vec::new()),
        };
        let id = id.to_owned();
        let position = None;
        self.entry(Entry { kind, id, at: self.now, header, sealed, subject, position, narrows });
    }

    /// Adds a ledger record made elsewhere.
    pub(crate) fn entry(&mut self, entry: Entry) {
        self.narrows &= entry.narrows;
        self.entries.push(entry);
    }

    /// The finished change. `seal` turns each ledger record into the bytes that wait in the outbox.
    pub(crate) fn compose(
        self,
        seal: impl Fn(&Entry) -> Result<Vec<u8>, BrokerError>,
    ) -> Result<Composed, BrokerError> {
        let mut outgoing = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            // One thing may have several records waiting: the id in the outbox is each record's own.
            let (id, narrows) = (format!("{}#{:x}", entry.id, fresh_bits()), entry.narrows);
            outgoing.push(Outgoing { id, bytes: seal(entry)?, narrows });
        }
        Ok(Composed {
            expected: self.expected,
            changes: self.changes,
            outgoing,
            touched: self.touched,
            narrows: self.narrows,
            is_brake: self.is_brake && self.narrows,
        })
    }

    fn expect(&mut self, key: &Key) {
        if self.expected.iter().any(|expected| expected.key == *key) {
            return;
        }
        let revision = self.state.revision_of(key);
        self.expected.push(Expected { key: key.clone(), revision });
    }
}

const fn leaf_kind(lifecycle: Lifecycle) -> LeafKind {
    match lifecycle {
        Lifecycle::Task => LeafKind::Task,
        Lifecycle::Grant => LeafKind::Grant,
        Lifecycle::Approval => LeafKind::Approval,
        Lifecycle::Lock => LeafKind::Lock,
        Lifecycle::Lease => LeafKind::Lease,
    }
}
