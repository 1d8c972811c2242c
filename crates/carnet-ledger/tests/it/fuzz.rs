//! Arbitrary bytes in the place of a segment: nothing panics, no wrong checksum is accepted.

use std::fs;
use std::path::{Path, PathBuf};

use carnet_ledger::{ForgetfulDisk, Ledger, LedgerConfig, fuzz_recovery};
use proptest::prelude::*;

use crate::common::{entry, files, keys, sealed_entry};

fn assert_sums(data: &[u8]) {
    for offset in fuzz_recovery(data).unwrap() {
        let at = offset as usize;
        let length = u32::from_be_bytes(data[at + 1..at + 5].try_into().unwrap()) as usize;
        let sum = u32::from_be_bytes(data[at + 5..at + 9].try_into().unwrap());
        let right = crc32c::crc32c(&data[at..at + 5]);
        let right = crc32c::crc32c_append(right, &data[at + 9..at + 9 + length]);
        assert_eq!(sum, right, "frame at {at}");
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/recovery")
}

/// A whole segment of the log `fuzz`, as the fuzz target reads it.
fn seed() -> Vec<u8> {
    let disk = ForgetfulDisk::new();
    let mut config = LedgerConfig::new("/log", "/lock", "fuzz");
    config.segment_bytes = carnet_ledger::SEGMENT_BYTES_MIN;
    config.reserve_bytes = carnet_ledger::SEGMENT_BYTES_MIN;
    config.checkpoint_every = None;
    let (ledger, _) = Ledger::open(config, std::sync::Arc::new(disk.clone()), keys()).unwrap();
    for number in 0..3 {
        ledger.append(entry(number)).wait().unwrap();
    }
    ledger.append(sealed_entry(3)).wait().unwrap();
    let path = files(&disk, ".wal").remove(0);
    let mut bytes = disk.content(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end + 64);
    bytes
}

#[test]
fn the_checked_in_corpus_does_no_harm() {
    let mut read = 0;
    for file in fs::read_dir(corpus()).unwrap() {
        assert_sums(&fs::read(file.unwrap().path()).unwrap());
        read += 1;
    }
    assert!(read >= 8, "the corpus has {read} files");
}

#[test]
fn a_whole_segment_gives_all_its_leaves() {
    assert_eq!(fuzz_recovery(&seed()).unwrap().len(), 4);
}

#[test]
fn a_segment_cut_at_any_byte_gives_only_whole_frames() {
    let seed = seed();
    for end in 0..seed.len() {
        assert_sums(&seed[..end]);
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..4_096)) {
        assert_sums(&data);
    }

    #[test]
    fn a_segment_with_random_changes_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut data = seed();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        assert_sums(&data);
    }
}
