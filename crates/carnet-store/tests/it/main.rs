//! The embedded store from the outside: files, crashes, full disks, and a model to compare with.

mod bounds;
mod crash;
mod files;
mod full;
mod model;

use std::path::Path;

use carnet_store::{
    Change, Commit, Key, Kind, OutboxRecord, Outgoing, SqliteOptions, SqliteStore, Store,
};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).unwrap()
}

fn key(id: &str) -> Key {
    Key::new(Kind::Grant, id)
}

fn put(id: &str, value: impl AsRef<[u8]>) -> Change {
    Change::Put { key: key(id), value: value.as_ref().to_vec() }
}

fn delete(id: &str) -> Change {
    Change::Delete { key: key(id) }
}

fn outgoing(id: impl Into<String>) -> Outgoing {
    Outgoing { id: id.into(), bytes: b"leaf".to_vec(), narrows: false }
}

fn changing(changes: Vec<Change>) -> Commit {
    Commit { changes, ..Commit::default() }
}

async fn all_waiting(store: &impl Store) -> Vec<OutboxRecord> {
    let mut all: Vec<OutboxRecord> = Vec::new();
    loop {
        let after = all.last().map_or(0, |record| record.seq);
        let page = store.outbox(after, 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}
