//! A full store: ordinary commits are refused, narrowing ones pass on the reserve.

use std::path::{Path, PathBuf};

use carnet_store::{Commit, SqliteOptions, SqliteStore, Store, StoreError};

use crate::{changing, delete, outgoing, put};

const VALUE_BYTES: usize = 20_000;

fn options() -> SqliteOptions {
    SqliteOptions {
        file_bytes_max: 512 * 1024,
        reserve_bytes: 256 * 1024,
        ..SqliteOptions::default()
    }
}

fn reserve_of(path: &Path) -> PathBuf {
    path.with_file_name("store.db.reserve")
}

fn ordinary(number: usize) -> Commit {
    changing(vec![put(&format!("value-{number}"), vec![1; VALUE_BYTES])])
}

fn narrowing(number: usize) -> Commit {
    Commit {
        outgoing: vec![outgoing(format!("revoke-{number}"))],
        narrows: true,
        ..changing(vec![put(&format!("lock-{number}"), vec![2; VALUE_BYTES])])
    }
}

async fn fill(store: &SqliteStore) -> usize {
    for number in 0.. {
        match store.commit(ordinary(number)).await {
            Ok(_) => {}
            Err(StoreError::Unavailable { unchanged: true, .. }) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the store never became full")
}

#[tokio::test]
async fn a_full_store_refuses_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    let filled = fill(&store).await;
    assert!(filled > 10, "{filled}");
    let error = store.commit(ordinary(filled)).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("store.db") && message.contains("free space"), "{message}");
    assert_eq!(store.revision().await.unwrap().number(), filled as u64);
    assert_eq!(store.load().await.unwrap().1.len(), filled);
    assert!(reserve_of(&path).exists(), "the reserve is not for ordinary commits");
}

#[tokio::test]
async fn a_narrowing_commit_passes_on_the_reserve_and_no_other_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    let filled = fill(&store).await;
    for number in 0..5 {
        store.commit(narrowing(number)).await.unwrap();
        store.commit(ordinary(filled + number)).await.unwrap_err();
    }
    assert_eq!(store.outbox(0, 100).await.unwrap().len(), 5);
    drop(store);
    let store = SqliteStore::open(&path, options()).unwrap();
    assert_eq!(store.load().await.unwrap().1.len(), filled + 5);
    store.commit(ordinary(filled)).await.unwrap_err();
    store.commit(narrowing(5)).await.unwrap();
}

#[tokio::test]
async fn when_there_is_space_again_ordinary_commits_pass_and_the_reserve_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(&path, options()).unwrap();
    let filled = fill(&store).await;
    store.commit(narrowing(0)).await.unwrap();
    assert!(!reserve_of(&path).exists(), "its space was given to the revocation");
    let ids: Vec<_> = (0..filled).map(|number| format!("value-{number}")).collect();
    let freeing = changing(ids.iter().map(|id| delete(id)).collect());
    store.commit(Commit { narrows: true, ..freeing }).await.unwrap();
    store.commit(ordinary(0)).await.unwrap();
    assert_eq!(reserve_of(&path).metadata().unwrap().len(), options().reserve_bytes);
}

#[tokio::test]
async fn while_no_reserve_can_be_set_aside_only_narrowing_commits_pass() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    // A directory in its place cannot be removed as a file nor created as one.
    std::fs::create_dir(reserve_of(&path)).unwrap();
    let store = SqliteStore::open(&path, options()).unwrap();
    let error = store.commit(ordinary(0)).await.unwrap_err();
    assert!(error.to_string().contains("reserve"), "{error}");
    let seqs = store.commit(narrowing(0)).await.unwrap().seqs;
    store.drained(seqs.start).await.unwrap();
}
