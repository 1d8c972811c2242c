//! The bytes on disk. A change here breaks every log ever written.

use std::path::{Path, PathBuf};

use carnet_core::Timestamp;
use carnet_ledger::{
    Entry, ForgetfulDisk, Kind, LEAF_BYTES_MAX, Leaf, LedgerError, OutboxPosition, Sealed, Verdict,
    check_proof,
};
use serde_json::{Value, json};

use crate::common::{check, durable, entry, files, key, long_entry, open, sealed_entry};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares with the checked-in bytes. Remove the file to write it anew: that is a new format.
fn assert_golden(name: &str, bytes: &[u8]) {
    let path = golden(name);
    match std::fs::read(&path) {
        Ok(expected) => assert_eq!(
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&expected),
            "{name} changed"
        ),
        Err(_) => {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            panic!("{name} did not exist and was written: check it and run again");
        }
    }
}

fn full_entry() -> Entry {
    let header = json!({
        "z": null, "a": {"list": [1, 2.5, true], "text": "tab\t \u{20ac} \u{1}"},
        "wide": u64::MAX, "\u{e9}": -1,
    });
    Entry {
        kind: Kind::Grant,
        id: "grant_01".to_owned(),
        at: Timestamp::from_us(1_800_000_000_123_456),
        header: header.as_object().unwrap().clone(),
        sealed: Vec::new(),
        subject: String::new(),
        position: Some(OutboxPosition { seq: 41, revision: 9_007_199_254_740_993 }),
        narrows: false,
    }
}

#[test]
fn a_leaf_a_frame_and_a_checkpoint_are_the_checked_in_bytes() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    ledger.append(entry(0)).wait().unwrap();
    ledger.append(full_entry()).wait().unwrap();
    assert_golden("leaf.json", &ledger.leaf(1).unwrap().bytes);
    assert_golden("checkpoint", ledger.checkpoint().unwrap().note.as_bytes());
    assert_golden("vkey", key().to_string().as_bytes());
    let bytes = disk.content(&files(&disk, ".wal")[0]).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_golden("segment.hex", dump(&bytes[..end]).as_bytes());
}

/// Hexadecimal, 32 bytes a line.
fn dump(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(|chunk| line(chunk) + "\n").collect()
}

fn undump(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// Sealing is salted, so its bytes cannot be made again; a log that was written once must open for
/// ever instead.
#[test]
fn a_log_written_by_version_one_still_opens_verifies_and_unseals() {
    let path = golden("log-v1.txt");
    if !path.exists() {
        let disk = ForgetfulDisk::new();
        let ledger = open(&disk);
        ledger.append(sealed_entry(5)).wait().unwrap();
        ledger.append(full_entry()).wait().unwrap();
        ledger.close();
        let kept = |path: &&PathBuf| !path.starts_with("/log/reserve");
        let text: String = disk
            .paths()
            .iter()
            .filter(kept)
            .map(|path| {
                let bytes = disk.content(path).unwrap();
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                format!("{}\n{}\n", path.display(), dump(&bytes[..end]))
            })
            .collect();
        assert_golden("log-v1.txt", text.as_bytes());
    }
    let disk = ForgetfulDisk::new();
    open(&disk).close();
    for file in std::fs::read_to_string(path).unwrap().split("\n\n").filter(|file| !file.is_empty())
    {
        let (path, content) = file.split_once('\n').unwrap_or((file, ""));
        let path = Path::new(path);
        carnet_ledger::Disk::make_dir(&disk, path.parent().unwrap()).unwrap();
        disk.overwrite(path, &undump(content));
    }
    let report = check(&disk);
    assert_eq!((report.verdict, report.leaves), (Verdict::Whole, 2), "{:?}", report.findings);
    let ledger = open(&disk);
    let unsealed = ledger.unseal(&ledger.leaf(0).unwrap()).unwrap();
    assert_eq!(unsealed.values["user"], "alice@example.org");
    assert_eq!(unsealed.values["args"], crate::common::arguments(5));
    assert_eq!(ledger.append(entry(2)).wait().unwrap().index, 2);
    let proof = ledger.prove(0).unwrap();
    check_proof(&proof, &ledger.leaf(0).unwrap().bytes, &key()).unwrap();
}

#[test]
fn a_leaf_is_canonical_json_and_says_what_was_handed_in() {
    let ledger = open(&ForgetfulDisk::new());
    let index = ledger.append(Entry { sealed: sealed_entry(1).sealed, ..full_entry() });
    let leaf = ledger.leaf(index.wait().unwrap().index).unwrap();
    let value: Value = serde_json::from_slice(&leaf.bytes).unwrap();
    assert_eq!(leaf.bytes, serde_json_canonicalizer::to_vec(&value).unwrap());
    let read = (leaf.kind(), leaf.id(), leaf.at(), leaf.outbox(), leaf.node());
    let entry = full_entry();
    assert_eq!(read, (entry.kind, entry.id.as_str(), entry.at, entry.position, "node-1"));
    assert_eq!(leaf.header()["a"], entry.header["a"]);
    assert_eq!(leaf.header()["wide"], "18446744073709551615");
    assert_eq!(leaf.commitments().len(), 2);
    assert_eq!(Leaf::parse(leaf.index, &leaf.bytes).unwrap(), leaf);
}

#[test]
fn a_leaf_that_would_be_too_long_is_refused_and_not_cut() {
    let ledger = open(&ForgetfulDisk::new());
    let refused = ledger.append(long_entry(0, LEAF_BYTES_MAX)).wait();
    assert!(matches!(refused, Err(LedgerError::LeafTooLarge { .. })), "{refused:?}");
    // The longest that is taken, and the first that is not, are next to each other.
    let taken = |bytes| ledger.append(long_entry(0, bytes)).wait();
    let longest = (65_000..LEAF_BYTES_MAX).rev().find(|bytes| taken(*bytes).is_ok()).unwrap();
    assert!(taken(longest + 1).is_err());
    let leaf = ledger.leaf(ledger.size() - 1).unwrap();
    assert!(leaf.bytes.len() <= LEAF_BYTES_MAX);
    assert_eq!(leaf.header()["filler"].as_str().unwrap().len(), longest);
}

#[test]
fn an_entry_that_breaks_a_rule_is_refused() {
    let ledger = open(&ForgetfulDisk::new());
    let sealed = |name: &str| Sealed { name: name.to_owned(), value: json!("v".repeat(100)) };
    let mut huge = sealed("huge");
    huge.value = json!("x".repeat(2 * 1024 * 1024));
    let wrong = [
        Entry { id: String::new(), ..entry(0) },
        Entry { id: "x".repeat(300), ..entry(0) },
        Entry { sealed: vec![sealed("a"), sealed("a")], ..entry(0) },
        Entry { sealed: vec![sealed("")], ..entry(0) },
        Entry { sealed: (0..65).map(|n| sealed(&n.to_string())).collect(), ..entry(0) },
        Entry { sealed: vec![huge], ..entry(0) },
        Entry { subject: "s".repeat(2_000), ..entry(0) },
    ];
    for entry in wrong {
        assert!(ledger.append(entry).wait().is_err());
    }
    assert_eq!(ledger.size(), 0);
}

#[test]
fn leaves_are_read_back_from_any_place_across_segments() {
    let ledger = open(&ForgetfulDisk::new());
    let appends: Vec<_> = (0..400).map(|n| ledger.append(long_entry(n, 1_000))).collect();
    appends.into_iter().for_each(durable);
    for from in [0, 1, 31, 32, 33, 250, 399, 400] {
        let read: Vec<u64> = ledger.leaves(from).map(|leaf| leaf.unwrap().index).collect();
        assert_eq!(read, (from..400).collect::<Vec<_>>());
    }
    for index in (0..400).step_by(7) {
        assert_eq!(ledger.leaf(index).unwrap().id(), format!("dec_{index}"));
    }
    assert_eq!(ledger.leaf(400), Err(LedgerError::NoSuchLeaf { index: 400, size: 400 }));
}

#[test]
fn every_kind_reads_back_from_its_text() {
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse::<Kind>().unwrap(), kind);
    }
    assert!("decisions".parse::<Kind>().is_err());
}
