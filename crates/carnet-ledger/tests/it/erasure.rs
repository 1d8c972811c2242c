//! Sealed values: opened, checked, erased.

use carnet_ledger::{ForgetfulDisk, LedgerError, Missing, Verdict};

use crate::common::{SUBJECT, arguments, check, entry, files, open, sealed_entry};

#[test]
fn sealed_values_open_exactly_as_they_were_handed_in() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    let index = ledger.append(sealed_entry(7)).wait().unwrap().index;
    for ledger in [ledger, open(&disk.after_power_loss(None))] {
        let leaf = ledger.leaf(index).unwrap();
        let unsealed = ledger.unseal(&leaf).unwrap();
        assert_eq!(unsealed.values["args"], arguments(7));
        assert_eq!(unsealed.values["user"], "alice@example.org");
        assert!(unsealed.missing.is_empty());
    }
}

#[test]
fn equal_values_have_different_commitments() {
    let ledger = open(&ForgetfulDisk::new());
    let commitments: Vec<_> = (0..2)
        .map(|_| ledger.append(sealed_entry(7)).wait().unwrap().index)
        .map(|index| ledger.leaf(index).unwrap().commitments()["user"].clone())
        .collect();
    assert_ne!(commitments[0], commitments[1]);
}

#[test]
fn an_erased_subject_leaves_the_leaf_and_names_the_erasure() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    let before = ledger.append(sealed_entry(1)).wait().unwrap().index;
    let record = ledger.append(entry(2)).wait().unwrap().index;
    assert!(ledger.erase(SUBJECT, record).unwrap());
    assert!(!ledger.erase("user:nobody", record).unwrap());
    // The subject may come back; what was erased does not.
    let after = ledger.append(sealed_entry(3)).wait().unwrap().index;
    ledger.close();
    assert_eq!(check(&disk).verdict, Verdict::Whole);
    let ledger = open(&disk.after_power_loss(None));
    let unsealed = ledger.unseal(&ledger.leaf(before).unwrap()).unwrap();
    assert!(unsealed.values.is_empty());
    assert_eq!(unsealed.missing["args"], Missing::Erased { leaf: record });
    let unsealed = ledger.unseal(&ledger.leaf(after).unwrap()).unwrap();
    assert_eq!(unsealed.values["args"], arguments(3));
}

#[test]
fn an_erasure_must_name_a_durable_leaf() {
    let ledger = open(&ForgetfulDisk::new());
    ledger.append(sealed_entry(1)).wait().unwrap();
    assert_eq!(ledger.erase(SUBJECT, 1), Err(LedgerError::NoSuchLeaf { index: 1, size: 1 }));
}

#[test]
fn a_key_file_that_vanished_is_not_called_an_erasure() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(sealed_entry(1)).wait().unwrap();
    let gone = disk.after_power_loss(None);
    for path in files(&gone, ".key") {
        carnet_ledger::Disk::remove(&gone, &path).unwrap();
    }
    let ledger = open(&gone);
    let unsealed = ledger.unseal(&ledger.leaf(0).unwrap()).unwrap();
    assert_eq!(unsealed.missing["args"], Missing::KeyMissing);
}

/// Gives every sidecar frame a right checksum again.
fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while bytes[at] != 0 {
        let length = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        let sum = crc32c::crc32c(&bytes[at..at + 5]);
        let sum = crc32c::crc32c_append(sum, &bytes[at + 9..at + 9 + length]);
        bytes[at + 5..at + 9].copy_from_slice(&sum.to_be_bytes());
        at += 9 + length;
    }
}

#[test]
fn a_changed_value_with_a_right_checksum_does_not_open() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(sealed_entry(1)).wait().unwrap();
    ledger.close();
    let path = files(&disk, ".sealed").remove(0);
    let mut bytes = disk.content(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 20] ^= 1;
    mend(&mut bytes);
    disk.overwrite(&path, &bytes);
    let ledger = open(&disk);
    let opened = ledger.unseal(&ledger.leaf(0).unwrap());
    assert!(matches!(opened, Err(LedgerError::SealedChanged { index: 0, .. })), "{opened:?}");
}

#[test]
fn a_value_moved_to_another_record_does_not_open() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    for number in [1, 2] {
        ledger.append(sealed_entry(number)).wait().unwrap();
    }
    ledger.close();
    // Frame 1's content in the place of frame 0's, its leaf index and id made to fit: all that
    // someone without the keys can do. Both records have ids of one length.
    let path = files(&disk, ".sealed").remove(0);
    let mut bytes = disk.content(&path).unwrap();
    let starts: Vec<usize> = (0..bytes.len() - 9)
        .filter(|at| bytes[*at] == 4 && bytes[at + 9..].starts_with(&[0; 7]))
        .collect();
    let (one, two) = (starts[0], starts[1]);
    let length = two - one;
    let moved = bytes[two + 17..two + length].to_vec();
    bytes[one + 17..one + length].copy_from_slice(&moved);
    let id = bytes[one..].windows(5).position(|text| text == b"dec_2").unwrap();
    bytes[one + id + 4] = b'1';
    mend(&mut bytes);
    disk.overwrite(&path, &bytes);
    let ledger = open(&disk);
    let opened = ledger.unseal(&ledger.leaf(0).unwrap());
    assert!(matches!(opened, Err(LedgerError::SealedChanged { index: 0, .. })), "{opened:?}");
    assert!(ledger.unseal(&ledger.leaf(1).unwrap()).is_ok());
}
