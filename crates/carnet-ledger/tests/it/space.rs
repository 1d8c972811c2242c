//! A full disk stops ordinary records, not revocations.

use carnet_ledger::{Entry, ForgetfulDisk, LedgerError, SEGMENT_BYTES_MIN};

use crate::common::{check, entry, long_entry, open, sealed_entry, try_open};

/// Writes long records until the disk is full; returns how many were taken.
fn fill(ledger: &carnet_ledger::Ledger) -> u64 {
    for number in 0..100 {
        match ledger.append(long_entry(number, 40_000)).wait() {
            Ok(_) => {}
            Err(LedgerError::Full) => return number,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never ran full");
}

fn revocation(number: u64) -> Entry {
    Entry { narrows: true, ..sealed_entry(number) }
}

fn full_disk() -> (ForgetfulDisk, carnet_ledger::Ledger) {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(sealed_entry(0)).wait().unwrap();
    disk.set_capacity(Some(disk.used_bytes() + SEGMENT_BYTES_MIN / 2));
    fill(&ledger);
    (disk, ledger)
}

#[test]
fn on_a_full_disk_a_revocation_is_still_durable() {
    let (disk, ledger) = full_disk();
    assert!(!ledger.is_writable());
    let before = ledger.size();
    let ordinary = ledger.append(entry(1)).wait();
    assert_eq!(ordinary, Err(LedgerError::Full));
    // More than the old segment has room for: the reserve is used.
    for number in 0..200 {
        ledger.append(revocation(number)).wait().unwrap();
    }
    assert_eq!(ledger.size(), before + 200);
    let again = disk.after_power_loss(None);
    assert_eq!(try_open(&again).unwrap().1.leaves, before + 200);
}

#[test]
fn when_the_reserve_is_used_up_too_a_revocation_says_that_it_is_not_durable() {
    let (_disk, ledger) = full_disk();
    let long = |number| Entry { narrows: true, ..long_entry(number, 40_000) };
    let refused = (0..20).find_map(|number| ledger.append(long(number)).wait().err());
    assert_eq!(refused, Some(LedgerError::ReserveSpent));
}

#[test]
fn with_space_again_the_ledger_takes_records_and_fills_its_reserve() {
    let (disk, ledger) = full_disk();
    let long = |number| Entry { narrows: true, ..long_entry(number, 40_000) };
    while ledger.append(long(7)).wait().is_ok() {}
    disk.set_capacity(None);
    // A checkpoint looks for space; what it queues is seen by the record behind it.
    ledger.checkpoint().unwrap();
    ledger.append(entry(8)).wait().unwrap();
    assert!(ledger.is_writable());
    assert_eq!(
        disk.paths().iter().filter(|path| path.starts_with("/log/reserve")).count(),
        2,
        "{:?}",
        disk.paths()
    );
    ledger.close();
    assert_eq!(check(&disk).findings, []);
}

#[test]
fn a_ledger_opens_on_a_full_disk_and_takes_revocations() {
    let (disk, ledger) = full_disk();
    drop(ledger);
    let ledger = open(&disk.after_kill());
    ledger.append(revocation(1)).wait().unwrap();
}
