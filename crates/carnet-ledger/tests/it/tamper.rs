//! Whatever is changed, cut or forged is found.

use std::path::Path;

use carnet_ledger::{ForgetfulDisk, LedgerError, Problem, Verdict};
use proptest::prelude::*;

use crate::common::{check, durable, entry, files, long_entry, open, sealed_entry, try_open};

/// A closed log of 300 leaves: one full tile, a partial one, and several segments.
fn log() -> ForgetfulDisk {
    static LOG: std::sync::OnceLock<ForgetfulDisk> = std::sync::OnceLock::new();
    LOG.get_or_init(make_log).after_kill()
}

fn make_log() -> ForgetfulDisk {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    let appends: Vec<_> = (0..300)
        .map(|number| match number % 3 {
            0 => ledger.append(sealed_entry(number)),
            1 => ledger.append(long_entry(number, 500)),
            _ => ledger.append(entry(number)),
        })
        .collect();
    appends.into_iter().for_each(durable);
    ledger.close();
    disk
}

fn flip(disk: &ForgetfulDisk, path: &Path, byte: usize, bit: u8) {
    let mut bytes = disk.content(path).unwrap();
    bytes[byte] ^= 1 << bit;
    disk.overwrite(path, &bytes);
}

/// How much of a file is not the zeros behind what was written.
fn written(disk: &ForgetfulDisk, path: &Path) -> usize {
    let bytes = disk.content(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_log_that_nobody_touched_is_whole() {
    let disk = log();
    let report = check(&disk);
    assert_eq!(report.findings, []);
    assert_eq!((report.verdict, report.leaves), (Verdict::Whole, 300));
    assert_eq!(report.verdict.exit_code(), 0);
    assert_eq!(report.checkpoint.unwrap().size, 300);
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_segment_is_found() {
    let whole = log();
    for path in files(&whole, ".wal") {
        let end = written(&whole, &path);
        for byte in (0..end).step_by(149).chain(end - 40..end) {
            let disk = whole.after_kill();
            flip(&disk, &path, byte, (byte % 8) as u8);
            assert_eq!(check(&disk).verdict, Verdict::Tampered, "{} at {byte}", path.display());
        }
    }
}

#[test]
fn a_bit_set_in_the_unwritten_rest_of_a_segment_is_found() {
    let disk = log();
    let path = files(&disk, ".wal").pop().unwrap();
    let bytes = disk.content(&path).unwrap().len();
    for byte in [written(&disk, &path) + 1, bytes - 1] {
        let disk = disk.after_kill();
        flip(&disk, &path, byte, 4);
        assert_ne!(check(&disk).verdict, Verdict::Whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_in_any_tile_bundle_or_note_is_found(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8
    ) {
        let disk = log();
        // Partial tiles of older sizes are not read: a full or later one stands in their place.
        let paths: Vec<_> = disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("/log/tile") || path.ends_with("checkpoint"))
            .collect();
        let path = file.get(&paths);
        let length = disk.content(path).unwrap().len();
        flip(&disk, path, at.index(length), bit);
        prop_assert_ne!(check(&disk).verdict, Verdict::Whole, "{}", path.display());
    }

    #[test]
    fn a_changed_byte_in_a_sidecar_frame_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let disk = log();
        let path = files(&disk, ".sealed").remove(0);
        let begin = 4 + disk.content(&path).unwrap().iter().position(|byte| *byte == b'}').unwrap();
        let end = written(&disk, &path);
        flip(&disk, &path, begin + at.index(end - begin), bit);
        prop_assert_eq!(check(&disk).verdict, Verdict::Tampered);
    }
}

#[test]
fn a_dropped_tail_is_found_and_the_ledger_does_not_start() {
    let disk = log();
    let path = files(&disk, ".wal").pop().unwrap();
    let mut bytes = disk.content(&path).unwrap();
    let end = written(&disk, &path);
    // The last frame begins where its leaf's text does, less nine bytes.
    let last = bytes[..end].windows(9).rposition(|text| text == b"{\"at_us\":").unwrap() - 9;
    bytes[last..end].fill(0);
    disk.overwrite(&path, &bytes);
    let report = check(&disk);
    assert_eq!((report.verdict, report.leaves), (Verdict::Incomplete, 299));
    assert_eq!(report.verdict.exit_code(), 2);
    match try_open(&disk) {
        Err(LedgerError::Lost { leaves: 299, signed: 300, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_set_back_to_an_older_copy_is_refused_with_what_to_do() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(entry(0)).wait().unwrap();
    ledger.checkpoint().unwrap();
    let old = disk.after_power_loss(None);
    ledger.append(entry(1)).wait().unwrap();
    ledger.close();
    for path in disk.paths().iter().filter(|path| path.starts_with("/log")) {
        disk.overwrite(path, &old.content(path).unwrap_or_default());
    }
    let report = check(&disk);
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.findings);
    let refused = try_open(&disk).unwrap_err().to_string();
    assert!(refused.contains("Restore the newest copy"), "{refused}");
}

#[test]
fn a_missing_lock_is_never_made_again() {
    let disk = log();
    let lock = files(&disk, "test.checkpoint").remove(0);
    let emptied = ForgetfulDisk::new();
    for path in disk.paths().iter().filter(|path| **path != lock) {
        emptied.overwrite(path, &disk.content(path).unwrap());
    }
    open(&ForgetfulDisk::new()).close();
    for dir in ["/log/seg", "/log/sidecar/keys", "/log/reserve", "/log/tile", "/lock"] {
        carnet_ledger::Disk::make_dir(&emptied, Path::new(dir)).unwrap();
    }
    let refused = try_open(&emptied);
    assert!(matches!(refused, Err(LedgerError::LockMissing { .. })), "{refused:?}");
}

#[test]
fn a_forged_checkpoint_is_found() {
    let disk = log();
    let path = Path::new("/log/checkpoint");
    let note = String::from_utf8(disk.content(path).unwrap()).unwrap();
    disk.overwrite(path, note.replacen("\n300\n", "\n299\n", 1).as_bytes());
    assert_eq!(check(&disk).verdict, Verdict::Tampered);
}

#[test]
fn a_checkpoint_signed_by_another_key_is_found() {
    let disk = log();
    let other = carnet_ledger::LedgerKeys::generate().unwrap();
    let other = other.verifying_key(crate::common::ORIGIN).unwrap();
    let disk: std::sync::Arc<dyn carnet_ledger::Disk> = std::sync::Arc::new(disk);
    let report = carnet_ledger::verify_on(&disk, Path::new("/log"), None, &other);
    assert_eq!(report.verdict, Verdict::Tampered);
}

/// Replaces the leaf `dec_2`'s text by one of the same length, with a right checksum.
fn rewrite(disk: &ForgetfulDisk) {
    let path = files(disk, ".wal").remove(0);
    let mut bytes = disk.content(&path).unwrap();
    let needle = b"\"n\":2,\"outcome\":\"permit\"";
    let found = bytes.windows(needle.len()).position(|text| text == needle).unwrap();
    let start = bytes[..found].windows(9).rposition(|text| text == b"{\"at_us\":").unwrap() - 9;
    bytes[found + needle.len() - 7..found + needle.len() - 1].copy_from_slice(b"denied");
    let length = u32::from_be_bytes(bytes[start + 1..start + 5].try_into().unwrap()) as usize;
    let sum = crc32c::crc32c(&bytes[start..start + 5]);
    let sum = crc32c::crc32c_append(sum, &bytes[start + 9..start + 9 + length]);
    bytes[start + 5..start + 9].copy_from_slice(&sum.to_be_bytes());
    disk.overwrite(&path, &bytes);
}

#[test]
fn a_rewritten_record_with_a_right_checksum_is_found() {
    let disk = log();
    rewrite(&disk);
    let report = check(&disk);
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(report.findings.iter().any(|one| one.what.contains("do not have the signed root")));
}

#[test]
fn a_ledger_whose_leaves_are_not_those_signed_does_not_start() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    (0..5).for_each(|number| durable(ledger.append(entry(number))));
    ledger.close();
    rewrite(&disk);
    let refused = try_open(&disk);
    assert!(matches!(refused, Err(LedgerError::Changed { signed: 5, .. })), "{refused:?}");
}

#[test]
fn damage_before_a_later_batch_is_not_taken_for_an_unfinished_write() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    // Two batches, neither signed.
    ledger.append(entry(0)).wait().unwrap();
    ledger.append(entry(1)).wait().unwrap();
    let disk = disk.after_power_loss(None);
    let path = files(&disk, ".wal").remove(0);
    let bytes = disk.content(&path).unwrap();
    let first = bytes.windows(7).position(|text| text == b"\"dec_0\"").unwrap();
    flip(&disk, &path, first + 2, 0);
    let refused = try_open(&disk);
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{refused:?}");
    assert_eq!(check(&disk).verdict, Verdict::Tampered);
}

#[test]
fn tiles_that_are_gone_are_reported_and_made_again() {
    let disk = log();
    let bare = disk.after_kill();
    carnet_ledger::Disk::remove_dir(&bare, Path::new("/log/tile")).unwrap();
    let report = check(&bare);
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(report.findings.iter().all(|one| one.problem == Problem::Incomplete));
    let (ledger, recovered) = try_open(&bare).unwrap();
    assert!(recovered.rebuilt);
    ledger.close();
    assert_eq!(check(&bare).findings, []);
}

#[test]
fn a_published_copy_without_segments_is_checked_from_its_bundles() {
    let disk = log();
    let copy = ForgetfulDisk::new();
    let published = |path: &&std::path::PathBuf| {
        path.starts_with("/log/tile") || path.ends_with("log/checkpoint")
    };
    let paths = disk.paths();
    for path in paths.iter().filter(published) {
        copy.overwrite(path, &disk.content(path).unwrap());
    }
    let copied: std::sync::Arc<dyn carnet_ledger::Disk> = std::sync::Arc::new(copy.clone());
    let verify =
        || carnet_ledger::verify_on(&copied, Path::new("/log"), None, &crate::common::key());
    let report = verify();
    // The sealed values are not part of what is published.
    assert!(report.findings.iter().all(|one| one.problem != Problem::Tampered));
    assert_eq!(report.leaves, 300);
    flip(&copy, Path::new("/log/tile/entries/000"), 1_000, 3);
    assert_eq!(verify().verdict, Verdict::Tampered);
}
