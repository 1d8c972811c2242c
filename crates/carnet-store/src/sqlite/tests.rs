use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::{Change, Outgoing};

fn put(id: &str, value: &str) -> Commit {
    let key = Key::new(Kind::Task, id);
    Commit {
        changes: vec![Change::Put { key, value: value.as_bytes().to_vec() }],
        outgoing: vec![Outgoing { id: format!("{id}-{value}"), bytes: vec![1], narrows: false }],
        ..Commit::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sqlite_driver_passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    crate::contract::run(async |name: &str| {
        let path = directory.path().join(name);
        let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_memory_reads_while_it_commits_and_is_alone() {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    let other = SqliteStore::in_memory().unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            store.commit(put(&task.to_string(), "x")).await.unwrap();
            store.load().await.unwrap()
        });
    }
    for (revision, records) in tasks.join_all().await {
        assert_eq!(records.len() as u64, revision.number());
    }
    assert_eq!(store.load().await.unwrap().1.len(), 20);
    assert!(other.load().await.unwrap().1.is_empty());
}

#[tokio::test]
async fn commits_and_syncs_are_set_as_promised() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let connection = Connection::open(&path).unwrap();
    schema::prepare(&connection, &path, &SqliteOptions::default()).unwrap();
    let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(text("journal_mode").unwrap(), "wal");
    assert_eq!(number("synchronous").unwrap(), 2, "full: every commit is synced");
    assert_eq!(number("foreign_keys").unwrap(), 1);
    assert_eq!(number("secure_delete").unwrap(), 1);
    assert_eq!(number("trusted_schema").unwrap(), 0);
    assert_eq!(number("wal_autocheckpoint").unwrap(), 0);
}

#[tokio::test]
async fn the_reading_connection_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let stores = [
        SqliteStore::open(&path, SqliteOptions::default()).unwrap(),
        SqliteStore::in_memory().unwrap(),
    ];
    for store in stores {
        let reader = store.reader().unwrap();
        let write = |connection: &Connection| Ok(connection.execute("DELETE FROM record", [])?);
        let error = reader.ask(write).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_record_of_a_kind_not_known_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.execute("INSERT INTO record VALUES ('wish', 'w', 1, x'00')", []).unwrap();
    drop(connection);
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let error = store.load().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { cause, .. } if cause.contains("wish")),
        "{error}"
    );
}
