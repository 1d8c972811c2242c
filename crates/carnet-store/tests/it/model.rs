//! Random sequences of everything a caller can do, compared with a map.

use std::collections::{BTreeMap, BTreeSet};

use carnet_store::{
    Change, Commit, Expected, Key, Kind, Record, Revision, SqliteStore, Store, StoreError, Watch,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{all_waiting, open, outgoing};

const KINDS: [Kind; 2] = [Kind::Task, Kind::Secret];

/// What a commit claims about a record: the truth, that it is absent, or some revision.
#[derive(Clone, Debug)]
enum Claim {
    True,
    Absent,
    At(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Commit {
        claims: Vec<(usize, Claim)>,
        changes: Vec<(usize, Option<Vec<u8>>)>,
        outgoing: Vec<u8>,
        narrows: bool,
    },
    Drain {
        share: u64,
    },
    Reopen,
}

#[derive(Default)]
struct Model {
    revision: u64,
    records: BTreeMap<Key, (u64, Vec<u8>)>,
    waiting: BTreeMap<u64, String>,
    next_seq: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = prop_oneof![
        6 => Just(Claim::True), 1 => Just(Claim::Absent), 1 => (0..6_u64).prop_map(Claim::At)
    ];
    let value = prop_oneof![3 => vec(any::<u8>(), 0..20).prop_map(Some), 1 => Just(None)];
    let commit = (
        vec((0..6_usize, claim), 0..3),
        vec((0..6_usize, value), 0..4),
        vec(0..40_u8, 0..3),
        any::<bool>(),
    )
        .prop_map(|(claims, changes, outgoing, narrows)| Step::Commit {
            claims,
            changes,
            outgoing,
            narrows,
        });
    let step = prop_oneof![
        12 => commit, 2 => (0..5_u64).prop_map(|share| Step::Drain { share }), 1 => Just(Step::Reopen)
    ];
    vec(step, 1..30)
}

fn key(number: usize) -> Key {
    Key::new(KINDS[number % 2], format!("id-{}", number / 2))
}

impl Model {
    fn commit_of(&self, step: &Step) -> Option<Commit> {
        let Step::Commit { claims, changes, outgoing: ids, narrows } = step else { return None };
        let at = |key: &Key| self.records.get(key).map(|(revision, _)| Revision::new(*revision));
        let expected = claims.iter().map(|(number, claim)| {
            let key = key(*number);
            let revision = match claim {
                Claim::True => at(&key),
                Claim::Absent => None,
                Claim::At(revision) => Some(Revision::new(*revision)),
            };
            Expected { key, revision }
        });
        let changes = changes.iter().map(|(number, value)| match value {
            Some(value) => Change::Put { key: key(*number), value: value.clone() },
            None => Change::Delete { key: key(*number) },
        });
        Some(Commit {
            expected: expected.collect(),
            changes: changes.collect(),
            outgoing: ids.iter().map(|id| outgoing(id.to_string())).collect(),
            narrows: *narrows,
        })
    }

    /// The name of the refusal, or nothing and the change is made.
    fn commit(&mut self, commit: &Commit) -> Option<&'static str> {
        let expected: BTreeSet<_> = commit.expected.iter().map(|expected| &expected.key).collect();
        let changed: BTreeSet<_> = commit.changes.iter().map(Change::key).collect();
        let nothing = commit.changes.is_empty() && commit.outgoing.is_empty();
        if nothing || expected.len() < commit.expected.len() || changed.len() < commit.changes.len()
        {
            return Some("malformed");
        }
        for expected in &commit.expected {
            let found = self.records.get(&expected.key).map(|(revision, _)| *revision);
            if found != expected.revision.map(Revision::number) {
                return Some("conflict");
            }
        }
        let mut ids: BTreeSet<_> = self.waiting.values().cloned().collect();
        if commit.outgoing.iter().any(|outgoing| !ids.insert(outgoing.id.clone())) {
            return Some("duplicate");
        }
        self.revision += 1;
        for change in &commit.changes {
            match change {
                Change::Put { key, value } => {
                    self.records.insert(key.clone(), (self.revision, value.clone()));
                }
                Change::Delete { key } => drop(self.records.remove(key)),
            }
        }
        for outgoing in &commit.outgoing {
            self.next_seq += 1;
            self.waiting.insert(self.next_seq, outgoing.id.clone());
        }
        None
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = self
            .records
            .iter()
            .map(|(key, (revision, value))| Record {
                key: key.clone(),
                revision: Revision::new(*revision),
                value: value.clone(),
            })
            .collect();
        records.sort_by(|left, right| {
            (left.key.kind.as_str(), &left.key.id).cmp(&(right.key.kind.as_str(), &right.key.id))
        });
        records
    }
}

async fn compare(store: &SqliteStore, model: &Model) {
    assert_eq!(store.load().await.unwrap(), (Revision::new(model.revision), model.records()));
    assert_eq!(store.revision().await.unwrap(), Revision::new(model.revision));
    let waiting: BTreeMap<_, _> =
        all_waiting(store).await.into_iter().map(|record| (record.seq, record.id)).collect();
    assert_eq!(waiting, model.waiting);
}

async fn perform(store: &SqliteStore, watch: &mut Watch, model: &mut Model, step: &Step) {
    if let Step::Drain { share } = step {
        let through = model.next_seq * share / 4;
        let drained = store.drained(through).await;
        assert_eq!(drained.is_ok(), through <= model.next_seq);
        if drained.is_ok() {
            model.waiting.retain(|seq, _| *seq > through);
        }
    }
    let Some(commit) = model.commit_of(step) else { return };
    let refusal = model.commit(&commit);
    match (store.commit(commit.clone()).await, refusal) {
        (Ok(committed), None) => {
            assert_eq!(committed.revision, Revision::new(model.revision));
            let batch = watch.next().await.unwrap();
            assert_eq!(batch.revision, committed.revision);
            assert_eq!((batch.seqs, batch.narrows), (committed.seqs, commit.narrows));
            let keys: Vec<_> = batch.changes.iter().map(|(key, _)| key).collect();
            assert_eq!(keys, commit.changes.iter().map(Change::key).collect::<Vec<_>>());
        }
        (Err(StoreError::Malformed { .. }), Some("malformed"))
        | (Err(StoreError::Conflict { .. }), Some("conflict"))
        | (Err(StoreError::DuplicateOutgoing { .. }), Some("duplicate")) => {}
        (answer, refusal) => panic!("{answer:?}, but the model says {refusal:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_leaves_the_store_as_a_map_would_be(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        runtime.block_on(async {
            let (mut model, mut store) = (Model::default(), open(&path));
            let mut watch = store.watch(Revision::ZERO);
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(store);
                    store = open(&path);
                    watch = store.watch(Revision::new(model.revision));
                }
                perform(&store, &mut watch, &mut model, step).await;
                compare(&store, &model).await;
            }
        });
    }
}
