//! Ledger records on their way.

use super::{Maker, changing, outgoing, put, waiting_ids};
use crate::{Commit, Outgoing, Revision, StoreError};

pub(super) async fn case_17_outgoing_records_wait_in_order_until_drained(make: &impl Maker) {
    let store = make("case-17").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let narrowing = Outgoing { id: "b".to_owned(), bytes: bytes.clone(), narrows: true };
    let first =
        Commit { outgoing: vec![outgoing("a"), narrowing], ..changing(vec![put("x", "1")]) };
    let first = store.commit(first).await.unwrap();
    store.commit(changing(vec![put("x", "2")])).await.unwrap();
    let second = Commit { outgoing: vec![outgoing("c")], ..changing(vec![put("x", "3")]) };
    let second = store.commit(second).await.unwrap();

    let waiting = store.outbox(0, 100).await.unwrap();
    let seqs: Vec<_> = waiting.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, first.seqs.clone().chain(second.seqs.clone()).collect::<Vec<_>>());
    let revisions: Vec<_> = waiting.iter().map(|record| record.revision).collect();
    assert_eq!(revisions, [Revision::new(1), Revision::new(1), Revision::new(3)]);
    assert_eq!((waiting[1].bytes.as_slice(), waiting[1].narrows), (bytes.as_slice(), true));
    assert_eq!((waiting[0].id.as_str(), waiting[0].narrows), ("a", false));
    assert_eq!(store.outbox(0, 100).await.unwrap(), waiting, "reading does not drain");
    assert_eq!(store.outbox(0, 1).await.unwrap(), waiting[..1]);
    assert_eq!(store.outbox(waiting[0].seq, 100).await.unwrap(), waiting[1..]);

    store.drained(waiting[1].seq).await.unwrap();
    assert_eq!(waiting_ids(&*store).await, ["c"]);
    assert_eq!(store.revision().await.unwrap(), Revision::new(3), "draining is no commit");
}

pub(super) async fn case_18_draining_twice_is_harmless(make: &impl Maker) {
    let store = make("case-18").await;
    let commit = Commit { outgoing: vec![outgoing("a"), outgoing("b")], ..Commit::default() };
    let seqs = store.commit(commit).await.unwrap().seqs;
    store.drained(seqs.start).await.unwrap();
    store.drained(seqs.start).await.unwrap();
    store.drained(0).await.unwrap();
    assert_eq!(waiting_ids(&*store).await, ["b"]);
}

pub(super) async fn case_19_what_was_never_put_out_cannot_be_drained(make: &impl Maker) {
    let store = make("case-19").await;
    let commit = Commit { outgoing: vec![outgoing("a")], ..Commit::default() };
    let seqs = store.commit(commit).await.unwrap().seqs;
    for through in [seqs.end, u64::MAX] {
        let error = store.drained(through).await.unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    }
    assert!(store.outbox(u64::MAX, 10).await.unwrap().is_empty());
    assert_eq!(waiting_ids(&*store).await, ["a"]);
}

pub(super) async fn case_20_an_id_that_waits_is_refused_a_second_time(make: &impl Maker) {
    let store = make("case-20").await;
    let commit = || Commit { outgoing: vec![outgoing("same")], ..Commit::default() };
    let first = store.commit(commit()).await.unwrap();
    let refused = StoreError::DuplicateOutgoing { id: "same".to_owned() };
    assert_eq!(store.commit(commit()).await.unwrap_err(), refused);
    let twice = Commit { outgoing: vec![outgoing("x"), outgoing("x")], ..Commit::default() };
    let refused = StoreError::DuplicateOutgoing { id: "x".to_owned() };
    assert_eq!(store.commit(twice).await.unwrap_err(), refused);
    store.drained(first.seqs.start).await.unwrap();
    let second = store.commit(commit()).await.unwrap();
    assert!(second.seqs.start >= first.seqs.end, "a place is never used twice");
}

pub(super) async fn case_21_a_commit_may_be_of_outgoing_records_alone(make: &impl Maker) {
    let store = make("case-21").await;
    let mut watch = store.watch(Revision::ZERO);
    let commit = Commit { outgoing: vec![outgoing("a")], ..Commit::default() };
    let committed = store.commit(commit).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.seqs), (committed.revision, committed.seqs));
    assert!(batch.changes.is_empty());
}
