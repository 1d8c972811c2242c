//! Compare-and-swap, all or nothing.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Maker, changing, delete, expect, key, outgoing, put, record};
use crate::limits::{
    CHANGES_MAX, COMMIT_BYTES_MAX, EXPECTED_MAX, ID_BYTES_MAX, LIST_LIMIT_MAX, OUTGOING_BYTES_MAX,
    OUTGOING_MAX, VALUE_BYTES_MAX,
};
use crate::{Commit, Kind, Outgoing, Revision, Store, StoreError};

pub(super) async fn case_08_each_commit_makes_the_revision_one_larger(make: &impl Maker) {
    let store = make("case-08").await;
    for number in 1..=5 {
        let committed = store.commit(changing(vec![put("a", "x")])).await.unwrap();
        assert_eq!(committed.revision, Revision::new(number));
        assert_eq!(store.revision().await.unwrap(), committed.revision);
        let stale = Commit {
            expected: vec![expect("a", Some(Revision::new(number + 7)))],
            ..changing(vec![put("a", "y")])
        };
        store.commit(stale).await.unwrap_err();
        assert_eq!(store.revision().await.unwrap(), committed.revision);
    }
}

pub(super) async fn case_09_a_wrong_expectation_is_refused_and_named(make: &impl Maker) {
    let store = make("case-09").await;
    store.commit(changing(vec![put("a", "1"), put("b", "1")])).await.unwrap();
    store.commit(changing(vec![put("a", "2")])).await.unwrap();
    let (one, two) = (Revision::new(1), Revision::new(2));
    let wrong = [
        (expect("a", None), Some(two)),
        (expect("a", Some(one)), Some(two)),
        (expect("a", Some(Revision::new(3))), Some(two)),
        (expect("absent", Some(two)), None),
    ];
    for (expected, found) in wrong {
        let commit = Commit {
            expected: vec![expect("b", Some(one)), expected.clone()],
            ..changing(vec![put("b", "x")])
        };
        let refused =
            StoreError::Conflict { key: expected.key.clone(), expected: expected.revision, found };
        assert_eq!(store.commit(commit).await.unwrap_err(), refused);
    }
    let right = Commit {
        expected: vec![expect("a", Some(two)), expect("b", Some(one)), expect("absent", None)],
        ..changing(vec![put("b", "2")])
    };
    assert_eq!(store.commit(right).await.unwrap().revision, Revision::new(3));
}

pub(super) async fn case_10_a_record_made_again_is_not_the_one_before(make: &impl Maker) {
    let store = make("case-10").await;
    let first = store.commit(changing(vec![put("a", "same")])).await.unwrap().revision;
    store.commit(changing(vec![delete("a")])).await.unwrap();
    assert_eq!(store.read(&key("a")).await.unwrap(), None);
    let again = Commit { expected: vec![expect("a", None)], ..changing(vec![put("a", "same")]) };
    store.commit(again).await.unwrap();
    let stale =
        Commit { expected: vec![expect("a", Some(first))], ..changing(vec![put("a", "new")]) };
    let error = store.commit(stale).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { found: Some(found), .. } if found > first));
}

pub(super) async fn case_11_a_refused_commit_leaves_nothing_behind(make: &impl Maker) {
    let store = make("case-11").await;
    let kept = Commit { outgoing: vec![outgoing("kept")], ..changing(vec![put("a", "1")]) };
    store.commit(kept).await.unwrap();
    let before = (store.load().await.unwrap(), store.outbox(0, 100).await.unwrap());
    let conflict = Commit {
        expected: vec![expect("a", None)],
        changes: vec![put("a", "2"), put("b", "1"), delete("a2")],
        outgoing: vec![outgoing("lost")],
        narrows: true,
    };
    store.commit(conflict).await.unwrap_err();
    let twice = Commit {
        outgoing: vec![outgoing("new"), outgoing("kept")],
        ..changing(vec![put("a", "2"), put("b", "1")])
    };
    store.commit(twice).await.unwrap_err();
    assert_eq!((store.load().await.unwrap(), store.outbox(0, 100).await.unwrap()), before);
    let next = Commit { outgoing: vec![outgoing("next")], ..changing(vec![put("b", "1")]) };
    let committed = store.commit(next).await.unwrap();
    assert_eq!(committed.revision, Revision::new(2));
    assert_eq!(store.load().await.unwrap().1, [record("a", 1, "1"), record("b", 2, "1")]);
}

pub(super) async fn case_12_deleting_what_is_not_there_changes_nothing(make: &impl Maker) {
    let store = make("case-12").await;
    let committed = store.commit(changing(vec![delete("never")])).await.unwrap();
    assert_eq!(store.load().await.unwrap(), (committed.revision, vec![]));
}

pub(super) async fn case_13_every_bound_is_kept(make: &impl Maker) {
    let store = make("case-13").await;
    let long = "i".repeat(ID_BYTES_MAX + 1);
    let big = vec![0; VALUE_BYTES_MAX + 1];
    let many = |count: usize| (0..count).map(|number| number.to_string());
    let large_leaf = Outgoing { bytes: vec![0; OUTGOING_BYTES_MAX + 1], ..outgoing("o") };
    let part = vec![0; COMMIT_BYTES_MAX / 3 + 1];
    let beyond = [
        changing(vec![put(&long, "x")]),
        changing(vec![put("a", &big)]),
        changing(many(CHANGES_MAX + 1).map(|id| put(&id, "x")).collect()),
        changing(vec![put("a", &part), put("b", &part), put("c", &part)]),
        Commit {
            expected: many(EXPECTED_MAX + 1).map(|id| expect(&id, None)).collect(),
            ..changing(vec![put("a", "x")])
        },
        Commit {
            outgoing: many(OUTGOING_MAX + 1).map(|id| outgoing(&id)).collect(),
            ..Commit::default()
        },
        Commit { outgoing: vec![large_leaf], ..Commit::default() },
        Commit { outgoing: vec![outgoing(&long)], ..Commit::default() },
    ];
    for (number, commit) in beyond.into_iter().enumerate() {
        let error = store.commit(commit).await.unwrap_err();
        assert!(matches!(error, StoreError::Exceeds { .. }), "{number}: {error}");
    }
    let error = store.list(Kind::Task, None, LIST_LIMIT_MAX + 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Exceeds { .. }));
    let error = store.outbox(0, LIST_LIMIT_MAX + 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Exceeds { .. }));
    assert_eq!(store.revision().await.unwrap(), Revision::ZERO);
    let largest = Commit {
        expected: many(EXPECTED_MAX).map(|id| expect(&id, None)).collect(),
        outgoing: many(OUTGOING_MAX).map(|id| outgoing(&id)).collect(),
        ..changing(many(CHANGES_MAX).map(|id| put(&id, "x")).collect())
    };
    store.commit(largest).await.unwrap();
}

pub(super) async fn case_14_senseless_requests_are_refused(make: &impl Maker) {
    let store = make("case-14").await;
    let senseless = [
        Commit::default(),
        Commit { expected: vec![expect("a", None)], ..Commit::default() },
        changing(vec![put("", "x")]),
        changing(vec![put("a", "x"), delete("a")]),
        Commit {
            expected: vec![expect("a", None), expect("a", None)],
            ..changing(vec![put("a", "x")])
        },
        Commit { outgoing: vec![outgoing("")], ..Commit::default() },
    ];
    for (number, commit) in senseless.into_iter().enumerate() {
        let error = store.commit(commit).await.unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{number}: {error}");
    }
    let error = store.list(Kind::Task, None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }));
    let error = store.read(&key("")).await.unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }));
    assert_eq!(store.revision().await.unwrap(), Revision::ZERO);
}

pub(super) async fn case_15_of_many_who_create_one_record_one_succeeds(make: &impl Maker) {
    const RIVALS: usize = 32;
    let store = make("case-15").await;
    let mut rivals = JoinSet::new();
    for rival in 0..RIVALS {
        let store = Arc::clone(&store);
        rivals.spawn(async move {
            let commit = Commit {
                expected: vec![expect("one", None)],
                outgoing: vec![outgoing(&rival.to_string())],
                ..changing(vec![put("one", rival.to_string())])
            };
            store.commit(commit).await.map(|_| rival)
        });
    }
    let answers = rivals.join_all().await;
    let winners: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let one = Some(Revision::new(1));
        assert!(matches!(error, StoreError::Conflict { found, .. } if *found == one));
    }
    let kept = store.read(&key("one")).await.unwrap().unwrap();
    assert_eq!(kept.value, winners[0].to_string().as_bytes());
    assert_eq!(super::waiting_ids(&*store).await, [winners[0].to_string()]);
}

pub(super) async fn case_16_concurrent_increments_are_all_counted(make: &impl Maker) {
    const TASKS: u64 = 100;
    let store = make("case-16").await;
    store.commit(changing(vec![put("count", "0")])).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move { increment(&*store, task).await });
    }
    tasks.join_all().await;
    let count = store.read(&key("count")).await.unwrap().unwrap();
    assert_eq!(count.value, TASKS.to_string().as_bytes());
    assert_eq!(store.revision().await.unwrap(), Revision::new(TASKS + 1));
    assert_eq!(super::waiting_ids(&*store).await.len() as u64, TASKS);
}

async fn increment(store: &dyn Store, task: u64) {
    loop {
        let record = store.read(&key("count")).await.unwrap().unwrap();
        let count: u64 = String::from_utf8(record.value).unwrap().parse().unwrap();
        let commit = Commit {
            expected: vec![expect("count", Some(record.revision))],
            outgoing: vec![outgoing(&task.to_string())],
            ..changing(vec![put("count", (count + 1).to_string())])
        };
        match store.commit(commit).await {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
