//! Reading what was written.

use super::{Maker, changing, key, list_all, put, record};
use crate::limits::VALUE_BYTES_MAX;
use crate::{Change, Key, Kind, Revision};

pub(super) async fn case_01_a_new_store_is_empty_at_revision_zero(make: &impl Maker) {
    let store = make("case-01").await;
    assert_eq!(store.revision().await.unwrap(), Revision::ZERO);
    assert_eq!(store.load().await.unwrap(), (Revision::ZERO, vec![]));
    assert_eq!(store.read(&key("any")).await.unwrap(), None);
    assert!(store.list(Kind::Task, None, 10).await.unwrap().is_empty());
    assert!(store.outbox(0, 10).await.unwrap().is_empty());
}

pub(super) async fn case_02_a_record_is_read_as_it_was_written(make: &impl Maker) {
    let store = make("case-02").await;
    let every_byte: Vec<u8> = (0..=255).collect();
    store.commit(changing(vec![put("bytes", &every_byte), put("empty", "")])).await.unwrap();
    let read = store.read(&key("bytes")).await.unwrap().unwrap();
    assert_eq!(read.value, every_byte);
    assert_eq!(read.key, key("bytes"));
    assert_eq!(store.read(&key("empty")).await.unwrap().unwrap().value, b"");
    let (revision, loaded) = store.load().await.unwrap();
    assert_eq!(revision, Revision::new(1));
    assert_eq!(loaded, store.list(Kind::Task, None, 10).await.unwrap());
    assert_eq!(loaded[0], read);
}

pub(super) async fn case_03_a_record_keeps_the_revision_of_its_last_change(make: &impl Maker) {
    let store = make("case-03").await;
    store.commit(changing(vec![put("a", "1"), put("b", "1")])).await.unwrap();
    store.commit(changing(vec![put("b", "2")])).await.unwrap();
    let expected = vec![record("a", 1, "1"), record("b", 2, "2")];
    assert_eq!(store.load().await.unwrap(), (Revision::new(2), expected.clone()));
    assert_eq!(list_all(&*store, Kind::Task).await, expected);
}

pub(super) async fn case_04_pages_follow_the_byte_order_of_ids_and_end_empty(make: &impl Maker) {
    let store = make("case-04").await;
    let mut ids = vec!["b", "a", "B", "aa", "é", "z", "_", "10", "9", "ä", "日本", "a/b"];
    for id in &ids {
        store.commit(changing(vec![put(id, "x")])).await.unwrap();
    }
    ids.sort_unstable_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    let listed: Vec<_> =
        list_all(&*store, Kind::Task).await.into_iter().map(|found| found.key.id).collect();
    assert_eq!(listed, ids);
    let between = store.list(Kind::Task, Some("aZ"), 1).await.unwrap();
    assert_eq!(between[0].key.id, "aa", "a start that is not there is still a place in the order");
}

pub(super) async fn case_05_kinds_are_kept_apart(make: &impl Maker) {
    let store = make("case-05").await;
    for kind in Kind::ALL {
        let value = kind.as_str().as_bytes().to_vec();
        let change = Change::Put { key: Key::new(kind, "same"), value };
        store.commit(changing(vec![change])).await.unwrap();
    }
    for kind in Kind::ALL {
        let listed = list_all(&*store, kind).await;
        assert_eq!(listed.len(), 1, "{kind}");
        assert_eq!(listed[0].value, kind.as_str().as_bytes());
        assert_eq!(listed[0].key.kind, kind);
    }
    assert_eq!(store.load().await.unwrap().1.len(), Kind::ALL.len());
}

pub(super) async fn case_06_ids_with_odd_characters_are_kept_byte_for_byte(make: &impl Maker) {
    let store = make("case-06").await;
    let ids = [
        "'; DROP TABLE record; --",
        "%_like\\",
        "spaces  and\ttabs\nand lines",
        "nul\0inside",
        "nul\0inside too",
        "../../etc",
        "spiffe://example.org/agent?x=1#y",
        "\u{202e}right to left",
        "e\u{301}",
        "é",
        "🛃",
        "\u{10ffff}",
        " ",
        "task/",
        "Task/",
    ];
    for id in ids {
        store.commit(changing(vec![put(id, id)])).await.unwrap();
    }
    for id in ids {
        let found = store.read(&key(id)).await.unwrap();
        assert_eq!(found.expect(id).value, id.as_bytes(), "{id:?}");
    }
    assert_eq!(list_all(&*store, Kind::Task).await.len(), ids.len());
}

pub(super) async fn case_07_values_of_the_largest_size_are_kept(make: &impl Maker) {
    let store = make("case-07").await;
    let value: Vec<u8> = (0..VALUE_BYTES_MAX).map(|at| u8::try_from(at % 251).unwrap()).collect();
    store.commit(changing(vec![put("large", &value)])).await.unwrap();
    assert_eq!(store.read(&key("large")).await.unwrap().unwrap().value, value);
    for id in ["l1", "l2", "l3"] {
        store.commit(changing(vec![put(id, &value)])).await.unwrap();
    }
    let (_, loaded) = store.load().await.unwrap();
    assert_eq!(loaded.len(), 4);
    assert_eq!(list_all(&*store, Kind::Task).await, loaded);
}
