//! No acknowledged record is ever lost, whenever the machine stops.

use carnet_ledger::{Entry, ForgetfulDisk, Ledger, LedgerError, Problem};
use proptest::prelude::*;

use crate::common::{
    arguments, check, config, entry, from_outbox, keys, long_entry, open, sealed_entry, try_open,
};
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    /// Records handed in before any is waited for.
    Together(Vec<Record>),
    Publish,
}

#[derive(Debug, Clone, Copy)]
enum Record {
    Plain,
    Long,
    Sealed,
}

#[derive(Debug, Clone, Copy)]
enum Stop {
    PowerLoss(Option<u64>),
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = prop_oneof![Just(Record::Plain), Just(Record::Long), Just(Record::Sealed)];
    let step = prop_oneof![
        4 => prop::collection::vec(record, 1..8).prop_map(Step::Together),
        1 => Just(Step::Publish),
    ];
    prop::collection::vec(step, 1..12)
}

fn stops() -> impl Strategy<Value = Stop> {
    prop_oneof![
        Just(Stop::PowerLoss(None)),
        any::<u64>().prop_map(|seed| Stop::PowerLoss(Some(seed))),
        Just(Stop::Kill),
    ]
}

fn make(record: Record, number: u64) -> Entry {
    match record {
        Record::Plain => entry(number),
        Record::Long => long_entry(number, 30_000),
        Record::Sealed => sealed_entry(number),
    }
}

/// Carries the steps out; returns the acknowledged (number, index).
fn work(ledger: &Ledger, steps: &[Step], number: &mut u64) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    for step in steps {
        match step {
            Step::Together(records) => {
                let mut waiting = Vec::new();
                for record in records {
                    *number += 1;
                    waiting.push((*number, ledger.append(make(*record, *number))));
                }
                for (number, append) in waiting {
                    if let Ok(appended) = append.wait() {
                        acknowledged.push((number, appended.index));
                    }
                }
            }
            // It fails once the machine has stopped.
            Step::Publish => drop(ledger.checkpoint()),
        }
    }
    acknowledged
}

/// The (number, index) of every leaf that can be read.
fn found(ledger: &Ledger) -> Vec<(u64, u64)> {
    let number = |id: &str| id.trim_start_matches("dec_").parse().unwrap();
    let leaves = ledger.leaves(0).map_while(Result::ok);
    leaves.map(|leaf| (number(leaf.id()), leaf.index)).collect()
}

fn assert_kept(ledger: &Ledger, acknowledged: &[(u64, u64)]) -> Result<(), TestCaseError> {
    for (number, index) in acknowledged {
        let leaf = ledger.leaf(*index);
        prop_assert!(leaf.is_ok(), "leaf {index} of record {number}: {leaf:?}");
        let leaf = leaf.unwrap();
        prop_assert_eq!(leaf.id(), format!("dec_{number}"));
        let unsealed = ledger.unseal(&leaf).unwrap();
        prop_assert!(unsealed.missing.is_empty());
        if !leaf.commitments().is_empty() {
            prop_assert_eq!(&unsealed.values["args"], &arguments(*number));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn an_acknowledged_record_survives_every_crash(
        rounds in prop::collection::vec((steps(), 1_u64..90, stops()), 1..4)
    ) {
        let mut disk = ForgetfulDisk::new();
        let mut acknowledged = Vec::new();
        let mut number = 0;
        for (steps, crash_after, stop) in rounds {
            disk.crash_after(crash_after);
            // The crash may come while opening: then nothing is acknowledged.
            if let Ok((ledger, _)) = try_open(&disk) {
                // What a start took over counts as durable from then on.
                acknowledged.extend(found(&ledger));
                acknowledged.extend(work(&ledger, &steps, &mut number));
            }
            disk = match stop {
                Stop::PowerLoss(torn) => disk.after_power_loss(torn),
                Stop::Kill => disk.after_kill(),
            };
            let report = check(&disk);
            let tampered = report.findings.iter().find(|one| one.problem == Problem::Tampered);
            prop_assert_eq!(tampered, None);
        }
        let (ledger, recovered) = try_open(&disk).unwrap();
        prop_assert!(!recovered.rebuilt, "synced tiles were lost");
        assert_kept(&ledger, &acknowledged)?;
        // Writing goes on, and everything is whole in the end.
        let index = ledger.append(sealed_entry(1)).wait().unwrap().index;
        prop_assert_eq!(index, recovered.leaves);
        ledger.close();
        let report = check(&disk);
        prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
        prop_assert_eq!(report.leaves, recovered.leaves + 1);
    }
}

#[test]
fn what_was_not_synced_is_forgotten_by_this_disk() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(entry(1)).wait().unwrap();
    let kept = disk.after_power_loss(None);
    // Two operations more: the write, and the sync that stops the machine.
    disk.crash_after(2);
    assert!(ledger.append(entry(2)).wait().is_err());
    assert!(disk.is_crashed());
    assert_eq!(open(&kept).size(), 1);
    assert_eq!(open(&disk.after_power_loss(None)).size(), 1);
}

#[test]
fn a_torn_tail_is_cut_and_written_over() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(entry(0)).wait().unwrap();
    disk.crash_after(2);
    let torn: Vec<_> = (1..60).map(|number| ledger.append(long_entry(number, 900))).collect();
    assert!(torn.into_iter().all(|append| append.wait().is_err()));
    // Some seed leaves a part of the write behind.
    let torn = (0..64).find_map(|seed| {
        let disk = disk.after_power_loss(Some(seed));
        let (ledger, recovered) = try_open(&disk).unwrap();
        (recovered.torn_bytes > 0).then_some((disk, ledger, recovered))
    });
    let (disk, ledger, recovered) = torn.unwrap();
    assert!(recovered.leaves >= 1);
    assert_eq!(ledger.append(entry(9)).wait().unwrap().index, recovered.leaves);
    ledger.close();
    assert_eq!(check(&disk).findings, []);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_a_restart() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(entry(0)).wait().unwrap();
    disk.fail_sync(1);
    let failed = ledger.append(entry(1)).wait();
    assert!(matches!(failed, Err(LedgerError::Unavailable { .. })), "{failed:?}");
    assert!(!ledger.is_writable());
    // The disk works again; this ledger must not.
    let later = Entry { narrows: true, ..entry(2) };
    assert!(matches!(ledger.append(later).wait(), Err(LedgerError::Unavailable { .. })));
    assert!(matches!(ledger.checkpoint(), Err(LedgerError::Unavailable { .. })));
    drop(ledger);
    assert_eq!(open(&disk.after_power_loss(None)).size(), 1);
}

#[test]
fn a_failed_sync_of_the_sidecar_stops_the_ledger_too() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(sealed_entry(0)).wait().unwrap();
    for n in 1..3 {
        let disk = disk.after_power_loss(None);
        let (ledger, _) = Ledger::open(config(), Arc::new(disk.clone()), keys()).unwrap();
        // Segment and sidecar are synced side by side; whichever fails, nothing is acknowledged.
        disk.fail_sync(n);
        assert!(ledger.append(sealed_entry(1)).wait().is_err());
        assert!(!ledger.is_writable());
        drop(ledger);
        let (again, _) = try_open(&disk.after_power_loss(None)).unwrap();
        assert_eq!(again.size(), 1);
    }
}

#[test]
fn the_last_outbox_position_is_known_after_a_crash() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    for seq in 1..=3 {
        ledger.append(from_outbox(seq)).wait().unwrap();
    }
    let (_, recovered) = try_open(&disk.after_power_loss(None)).unwrap();
    let position = recovered.outbox.unwrap();
    assert_eq!((position.seq, position.revision), (3, 1_003));
}

#[test]
fn what_a_start_takes_over_from_a_killed_process_is_durable_with_its_sealed_values() {
    let mut taken_over = 0;
    for operations in 1..=4 {
        let disk = ForgetfulDisk::new();
        let ledger = open(&disk);
        ledger.append(sealed_entry(0)).wait().unwrap();
        disk.crash_after(operations);
        assert!(ledger.append(sealed_entry(1)).wait().is_err());
        let killed = disk.after_kill();
        let (ledger, recovered) = try_open(&killed).unwrap();
        taken_over += recovered.leaves - 1;
        drop(ledger);
        let ledger = open(&killed.after_power_loss(None));
        assert_eq!(ledger.size(), recovered.leaves);
        for leaf in ledger.leaves(0).map(Result::unwrap) {
            assert_eq!(ledger.unseal(&leaf).unwrap().values.len(), 2);
        }
    }
    // At the last operation both writes were done.
    assert!(taken_over > 0);
}
