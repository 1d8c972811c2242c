//! On the operating system's files.

use std::sync::Arc;

use carnet_ledger::{
    LINGER_MAX, Ledger, LedgerConfig, LedgerError, LedgerKeys, RealDisk, Verdict, verify,
};

use crate::common::{arguments, config_in, entry, key, keys, sealed_entry};

fn open(config: LedgerConfig, keys: LedgerKeys) -> Result<Ledger, LedgerError> {
    Ledger::open(config, Arc::new(RealDisk), keys).map(|(ledger, _)| ledger)
}

#[test]
fn many_writers_get_every_record_durable_once_and_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                let mut last = None;
                for number in 0..50 {
                    let index =
                        ledger.append(sealed_entry(writer * 1_000 + number)).wait().unwrap().index;
                    assert!(last.is_none_or(|last| last < index));
                    last = Some(index);
                }
            });
        }
    });
    assert_eq!(ledger.size(), 400);
    let mut ids: Vec<String> = ledger.leaves(0).map(|leaf| leaf.unwrap().id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 400);
    ledger.close();
    let report = verify(&log, Some(&lock), &key());
    assert_eq!((report.verdict, report.live), (Verdict::Whole, false), "{:?}", report.findings);
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    let leaf = ledger.leaf(399).unwrap();
    let number: u64 = leaf.id().trim_start_matches("dec_").parse().unwrap();
    assert_eq!(ledger.unseal(&leaf).unwrap().values["args"], arguments(number));
}

#[test]
fn a_record_nobody_waits_for_goes_with_the_next_one_or_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let slow = LedgerConfig { linger: LINGER_MAX, ..config_in(&log, &lock) };
    let ledger = open(slow, keys()).unwrap();
    let behind = ledger.append_behind(&entry(1));
    let awaited = ledger.append(entry(2)).wait().unwrap().index;
    assert_eq!((awaited, ledger.size()), (1, 2));
    assert_eq!(behind.wait().unwrap().index, 0);
    let alone = ledger.append_behind(&entry(3));
    assert_eq!(alone.wait().unwrap().index, 2);
    let last = ledger.append_behind(&entry(4));
    ledger.close();
    assert_eq!(last.wait().unwrap().index, 3);
    let endless = LedgerConfig { linger: LINGER_MAX * 2, ..config_in(&log, &lock) };
    assert!(matches!(open(endless, keys()), Err(LedgerError::Invalid { .. })));
}

#[test]
fn a_second_ledger_on_the_directory_or_on_the_lock_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    let second = open(config_in(&log, &dir.path().join("other-lock")), keys());
    assert!(matches!(second, Err(LedgerError::InUse { .. })));
    let copy = open(config_in(&dir.path().join("other-log"), &lock), keys());
    assert!(matches!(copy, Err(LedgerError::InUse { .. })));
    drop(ledger);
    open(config_in(&log, &lock), keys()).unwrap();
}

#[test]
fn a_running_log_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    ledger.append(entry(0)).wait().unwrap();
    ledger.checkpoint().unwrap();
    ledger.append(entry(1)).wait().unwrap();
    let report = verify(&log, Some(&lock), &key());
    assert!(report.live);
    assert_eq!((report.verdict, report.leaves), (Verdict::Whole, 2), "{:?}", report.findings);
}

#[test]
fn a_lock_changed_by_someone_else_stops_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    ledger.append(entry(0)).wait().unwrap();
    let file = lock.join("carnet.example%2flog%2ftest.checkpoint");
    let mut note = std::fs::read_to_string(&file).unwrap();
    note.push('\n');
    std::fs::write(&file, note).unwrap();
    assert!(matches!(ledger.checkpoint(), Err(LedgerError::Unavailable { .. })));
    assert!(matches!(ledger.append(entry(1)).wait(), Err(LedgerError::Unavailable { .. })));
}

#[tokio::test]
async fn an_append_can_be_awaited_and_waited_for_inside_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let ledger = open(config_in(&log, &lock), keys()).unwrap();
    assert_eq!(ledger.append(entry(0)).await.unwrap().index, 0);
    assert_eq!(ledger.append(entry(1)).wait().unwrap().index, 1);
    ledger.clone().close();
    assert_eq!(ledger.append(entry(2)).await, Err(LedgerError::Closed));
    assert!(!ledger.is_writable());
}

#[test]
fn a_checkpoint_is_published_by_itself_once_the_log_grew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, lock) = (dir.path().join("log"), dir.path().join("lock"));
    let mut config = config_in(&log, &lock);
    config.checkpoint_every = Some(std::time::Duration::from_millis(1));
    let ledger = open(config, keys()).unwrap();
    ledger.append(entry(0)).wait().unwrap();
    let published = || {
        let note = std::fs::read_to_string(log.join("checkpoint")).unwrap();
        carnet_ledger::Checkpoint::open(&note, &key()).unwrap().size
    };
    let begin = std::time::Instant::now();
    while published() == 0 && begin.elapsed().as_secs() < 60 {
        std::thread::yield_now();
    }
    assert_eq!(published(), 1);
}
