//! Closing a store and opening it again.

use super::{Maker, changing, delete, expect, outgoing, put};
use crate::{Change, Commit, Key, Kind, Revision, WatchError};

pub(super) async fn case_27_everything_is_there_after_reopening(make: &impl Maker) {
    let store = make("case-27").await;
    for kind in Kind::ALL {
        let change = Change::Put { key: Key::new(kind, "nul\0and é"), value: vec![0, 1, 255] };
        let commit = Commit { outgoing: vec![outgoing(kind.as_str())], ..changing(vec![change]) };
        store.commit(commit).await.unwrap();
    }
    store.commit(changing(vec![put("gone", "x")])).await.unwrap();
    store.commit(changing(vec![delete("gone")])).await.unwrap();
    let before = (store.load().await.unwrap(), store.outbox(0, 100).await.unwrap());
    drop(store);
    let store = make("case-27").await;
    assert_eq!((store.load().await.unwrap(), store.outbox(0, 100).await.unwrap()), before);
    assert_eq!(store.revision().await.unwrap(), before.0.0);
}

pub(super) async fn case_28_revisions_and_places_go_on_after_reopening(make: &impl Maker) {
    let store = make("case-28").await;
    let commit = |id: &str| Commit { outgoing: vec![outgoing(id)], ..changing(vec![put("a", id)]) };
    let first = store.commit(commit("first")).await.unwrap();
    store.drained(first.seqs.start).await.unwrap();
    drop(store);
    let store = make("case-28").await;
    assert!(store.outbox(0, 100).await.unwrap().is_empty(), "what was drained stays so");
    let expecting =
        Commit { expected: vec![expect("a", Some(first.revision))], ..commit("second") };
    let second = store.commit(expecting).await.unwrap();
    assert_eq!(second.revision, first.revision.next());
    assert!(second.seqs.start >= first.seqs.end, "a place is never used twice");
}

pub(super) async fn case_29_a_watch_from_before_reopening_goes_on_or_says_so(make: &impl Maker) {
    let store = make("case-29").await;
    for value in ["1", "2", "3"] {
        store.commit(changing(vec![put("a", value)])).await.unwrap();
    }
    drop(store);
    let store = make("case-29").await;
    let mut late = store.watch(Revision::new(1));
    match late.next().await {
        Ok(batch) => assert_eq!(batch.revision, Revision::new(2)),
        Err(error) => {
            let oldest = Revision::new(4);
            assert_eq!(error, WatchError::Lagged { at: Revision::new(1), oldest });
        }
    }
    let mut in_time = store.watch(Revision::new(3));
    store.commit(changing(vec![put("a", "4")])).await.unwrap();
    assert_eq!(in_time.next().await.unwrap().revision, Revision::new(4));
}

pub(super) async fn case_30_closing_ends_the_watches(make: &impl Maker) {
    let store = make("case-30").await;
    let mut watch = store.watch(Revision::ZERO);
    store.commit(changing(vec![put("a", "1")])).await.unwrap();
    drop(store);
    assert_eq!(watch.next().await.unwrap().revision, Revision::new(1), "what happened is yielded");
    assert_eq!(watch.next().await, Err(WatchError::Closed));
}
