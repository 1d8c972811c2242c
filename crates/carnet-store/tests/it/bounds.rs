//! The bounds of the whole store, and what is never shown.

use carnet_store::{
    Batch, Commit, OutboxRecord, Record, Revision, SqliteOptions, SqliteStore, Store, StoreError,
    WatchError,
};

use crate::{changing, delete, key, outgoing, put};

fn open(options: SqliteOptions) -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("store.db"), options).unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_full_outbox_refuses_all_but_narrowing_commits_until_it_is_drained() {
    let (_directory, store) =
        open(SqliteOptions { outbox_records_max: 2, ..SqliteOptions::default() });
    let commit = |id: &str, narrows| Commit {
        outgoing: vec![outgoing(id)],
        narrows,
        ..changing(vec![put(id, "x")])
    };
    store.commit(commit("a", false)).await.unwrap();
    store.commit(commit("b", false)).await.unwrap();
    let error = store.commit(commit("c", false)).await.unwrap_err();
    assert_eq!(error, StoreError::OutboxFull { waiting: 2, max: 2 });
    assert_eq!(store.read(&key("c")).await.unwrap(), None, "nothing happened unexplained");
    let narrowed = store.commit(commit("d", true)).await.unwrap();
    store.drained(narrowed.seqs.start).await.unwrap();
    store.commit(commit("c", false)).await.unwrap();
}

#[tokio::test]
async fn a_full_store_refuses_new_records_but_not_changes_or_narrowing_ones() {
    let (_directory, store) = open(SqliteOptions { records_max: 2, ..SqliteOptions::default() });
    store.commit(changing(vec![put("a", "1"), put("b", "1")])).await.unwrap();
    let error = store.commit(changing(vec![put("c", "1")])).await.unwrap_err();
    assert_eq!(error, StoreError::Full { live: 2, max: 2 });
    store.commit(changing(vec![put("a", "2")])).await.unwrap();
    store.commit(changing(vec![delete("b"), put("c", "1")])).await.unwrap();
    store.commit(Commit { narrows: true, ..changing(vec![put("lock", "1")]) }).await.unwrap();
    assert_eq!(store.load().await.unwrap().1.len(), 3);
}

#[tokio::test]
async fn a_watch_that_falls_behind_is_told_so_and_never_skips() {
    let (_directory, store) =
        open(SqliteOptions { watch_batches_max: 3, ..SqliteOptions::default() });
    let mut watch = store.watch(Revision::ZERO);
    for number in 0..5 {
        store.commit(changing(vec![put("a", number.to_string())])).await.unwrap();
    }
    let lagged = WatchError::Lagged { at: Revision::ZERO, oldest: Revision::new(3) };
    assert_eq!(watch.next().await, Err(lagged.clone()));
    assert_eq!(watch.next().await, Err(lagged), "it stays so until the caller loads again");
    let mut in_time = store.watch(Revision::new(2));
    assert_eq!(in_time.next().await.unwrap().revision, Revision::new(3));
}

#[tokio::test]
async fn the_memory_kept_for_watches_is_bounded_by_bytes_too() {
    let (_directory, store) =
        open(SqliteOptions { watch_bytes_max: 100_000, ..SqliteOptions::default() });
    for _ in 0..4 {
        store.commit(changing(vec![put("a", vec![0; 40_000])])).await.unwrap();
    }
    let lagged = WatchError::Lagged { at: Revision::new(1), oldest: Revision::new(3) };
    assert_eq!(store.watch(Revision::new(1)).next().await, Err(lagged));
    assert_eq!(store.watch(Revision::new(2)).next().await.unwrap().revision, Revision::new(3));
    store.commit(changing(vec![put("a", vec![0; 200_000])])).await.unwrap();
    let lagged = WatchError::Lagged { at: Revision::new(4), oldest: Revision::new(6) };
    assert_eq!(store.watch(Revision::new(4)).next().await, Err(lagged));
}

#[tokio::test]
async fn values_are_not_shown_by_debug_nor_by_errors() {
    const CANARY: &str = "canary-7f3a";
    let value = CANARY.as_bytes().to_vec();
    let commit = Commit {
        outgoing: vec![carnet_store::Outgoing {
            id: "o".to_owned(),
            bytes: value.clone(),
            narrows: false,
        }],
        ..changing(vec![put("a", CANARY), delete("b")])
    };
    let record = Record { key: key("a"), revision: Revision::new(1), value: value.clone() };
    let waiting = OutboxRecord {
        seq: 1,
        revision: Revision::new(1),
        id: "o".to_owned(),
        bytes: value.clone(),
        narrows: false,
    };
    let batch = Batch {
        revision: Revision::new(1),
        changes: vec![(key("a"), Some(record.clone()))],
        narrows: false,
        seqs: 1..2,
    };
    let (_directory, store) = open(SqliteOptions::default());
    store.commit(commit.clone()).await.unwrap();
    let error = store.commit(commit.clone()).await.unwrap_err();
    let shown = format!("{commit:?}{record:?}{waiting:?}{batch:#?}{store:?}{error:?}{error}");
    let bytes = format!("{value:?}");
    assert!(!shown.contains(CANARY) && !shown.contains(&bytes[1..20]), "{shown}");
    assert!(shown.contains("<11 bytes>"));
}
