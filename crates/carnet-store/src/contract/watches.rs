//! Watching commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinSet;

use super::{Maker, changing, delete, key, outgoing, put, record};
use crate::{Batch, Commit, Key, Record, Revision, Store, WatchError};

pub(super) async fn case_22_a_watch_yields_every_commit_after_its_start(make: &impl Maker) {
    let store = make("case-22").await;
    let mut from_zero = store.watch(Revision::ZERO);
    store.commit(changing(vec![put("a", "1"), put("b", "1")])).await.unwrap();
    let narrowing = Commit {
        narrows: true,
        outgoing: vec![outgoing("o")],
        ..changing(vec![delete("a"), delete("never"), put("b", "2")])
    };
    let narrowing = store.commit(narrowing).await.unwrap();
    let first = Batch {
        revision: Revision::new(1),
        changes: vec![(key("a"), Some(record("a", 1, "1"))), (key("b"), Some(record("b", 1, "1")))],
        narrows: false,
        seqs: narrowing.seqs.start..narrowing.seqs.start,
    };
    let second = Batch {
        revision: Revision::new(2),
        changes: vec![
            (key("a"), None),
            (key("never"), None),
            (key("b"), Some(record("b", 2, "2"))),
        ],
        narrows: true,
        seqs: narrowing.seqs,
    };
    assert_eq!(from_zero.next().await.unwrap(), first);
    assert_eq!(from_zero.next().await.unwrap(), second);
    let mut from_one = store.watch(Revision::new(1));
    assert_eq!(from_one.next().await.unwrap(), second);
    store.commit(changing(vec![put("c", "1")])).await.unwrap();
    assert_eq!(from_one.next().await.unwrap().revision, Revision::new(3));
    assert_eq!(from_zero.next().await.unwrap().revision, Revision::new(3));
}

pub(super) async fn case_23_concurrent_commits_are_watched_in_order_without_gaps(
    make: &impl Maker,
) {
    const TASKS: u64 = 8;
    const COMMITS: u64 = 25;
    let store = make("case-23").await;
    let mut watch = store.watch(Revision::ZERO);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut made = Vec::new();
            for number in 0..COMMITS {
                let change = put(&task.to_string(), number.to_string());
                made.push((store.commit(changing(vec![change])).await.unwrap().revision, number));
            }
            (task, made)
        });
    }
    let mut seen = BTreeMap::new();
    for number in 1..=TASKS * COMMITS {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, Revision::new(number));
        seen.insert(batch.revision, batch.changes);
    }
    for (task, made) in tasks.join_all().await {
        for (revision, number) in made {
            let id = task.to_string();
            let written = record(&id, revision.number(), &number.to_string());
            assert_eq!(seen[&revision], [(key(&id), Some(written))]);
        }
    }
}

pub(super) async fn case_24_a_watch_from_what_was_loaded_misses_nothing(make: &impl Maker) {
    const COMMITS: u64 = 60;
    let store = make("case-24").await;
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for number in 0..COMMITS {
            let change = match number % 7 {
                6 => delete(&(number % 5).to_string()),
                _ => put(&(number % 5).to_string(), number.to_string()),
            };
            writer.commit(changing(vec![change])).await.unwrap();
        }
    });
    let mut views = Vec::new();
    while !writing.is_finished() {
        views.push(store.load().await.unwrap());
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    let (last, last_view) = store.load().await.unwrap();
    assert_eq!(last, Revision::new(COMMITS));
    for (from, view) in views.into_iter().step_by(9) {
        assert_eq!(follow(&*store, from, view, last).await, index(last_view.clone()));
    }
}

async fn follow(
    store: &dyn Store,
    from: Revision,
    view: Vec<Record>,
    to: Revision,
) -> BTreeMap<Key, Record> {
    let (mut at, mut records, mut watch) = (from, index(view), store.watch(from));
    while at < to {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, at.next());
        at = batch.revision;
        for (key, changed) in batch.changes {
            match changed {
                Some(record) => drop(records.insert(key, record)),
                None => drop(records.remove(&key)),
            }
        }
    }
    records
}

fn index(records: Vec<Record>) -> BTreeMap<Key, Record> {
    records.into_iter().map(|record| (record.key.clone(), record)).collect()
}

pub(super) async fn case_25_a_watch_from_the_future_is_refused(make: &impl Maker) {
    let store = make("case-25").await;
    store.commit(changing(vec![put("a", "1")])).await.unwrap();
    let ahead = WatchError::Ahead { at: Revision::new(2), latest: Revision::new(1) };
    assert_eq!(store.watch(Revision::new(2)).next().await, Err(ahead));
}

pub(super) async fn case_26_a_dropped_wait_loses_nothing(make: &impl Maker) {
    let store = make("case-26").await;
    let mut watch = store.watch(Revision::ZERO);
    for number in 1..=3 {
        let mut waiting = Box::pin(watch.next());
        let polled = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context)));
        assert!(polled.await.is_pending());
        drop(waiting);
        store.commit(changing(vec![put("a", number.to_string())])).await.unwrap();
        assert_eq!(watch.next().await.unwrap().revision, Revision::new(number));
    }
}
