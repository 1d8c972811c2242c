//! A small log on a disk in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use carnet_core::Timestamp;
use carnet_ledger::{
    Disk, Entry, ForgetfulDisk, Kind, Ledger, LedgerConfig, LedgerError, LedgerKeys,
    OutboxPosition, Recovered, Report, SEGMENT_BYTES_MIN, Sealed, VerifyingKey, verify_on,
};
use serde_json::{Value, json};

pub(crate) const ORIGIN: &str = "carnet.example/log/test";
pub(crate) const SUBJECT: &str = "user:alice";

/// An Ed25519 key in PKCS#8 whose seed is 32 times 7.
pub(crate) const PKCS8: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];

pub(crate) fn keys() -> LedgerKeys {
    LedgerKeys::from_bytes(PKCS8, [5; 32]).unwrap()
}

pub(crate) fn key() -> VerifyingKey {
    keys().verifying_key(ORIGIN).unwrap()
}

pub(crate) fn config() -> LedgerConfig {
    config_in(Path::new("/log"), Path::new("/lock"))
}

pub(crate) fn config_in(dir: &Path, lock_dir: &Path) -> LedgerConfig {
    let mut config = LedgerConfig::new(dir, lock_dir, ORIGIN);
    config.node = "node-1".to_owned();
    config.segment_bytes = SEGMENT_BYTES_MIN;
    config.reserve_bytes = SEGMENT_BYTES_MIN;
    // Tests publish when they mean to.
    config.checkpoint_every = None;
    config
}

pub(crate) fn try_open(disk: &ForgetfulDisk) -> Result<(Ledger, Recovered), LedgerError> {
    Ledger::open(config(), Arc::new(disk.clone()), keys())
}

pub(crate) fn open(disk: &ForgetfulDisk) -> Ledger {
    try_open(disk).unwrap().0
}

pub(crate) fn check(disk: &ForgetfulDisk) -> Report {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_on(&disk, Path::new("/log"), Some(Path::new("/lock")), &key())
}

/// A plain record.
pub(crate) fn entry(number: u64) -> Entry {
    let header = json!({"n": number, "outcome": "permit"});
    Entry {
        kind: Kind::Decision,
        id: format!("dec_{number}"),
        at: Timestamp::from_us(1_800_000_000_000_000 + number as i64),
        header: header.as_object().unwrap().clone(),
        sealed: Vec::new(),
        subject: String::new(),
        position: None,
        narrows: false,
    }
}

/// A record with a header of about `bytes`.
pub(crate) fn long_entry(number: u64, bytes: usize) -> Entry {
    let mut entry = entry(number);
    entry.header.insert("filler".to_owned(), Value::from("x".repeat(bytes)));
    entry
}

/// A record with sealed values.
pub(crate) fn sealed_entry(number: u64) -> Entry {
    let mut entry = entry(number);
    entry.subject = SUBJECT.to_owned();
    entry.sealed = vec![
        Sealed { name: "args".to_owned(), value: arguments(number) },
        Sealed { name: "user".to_owned(), value: Value::from("alice@example.org") },
    ];
    entry
}

pub(crate) fn arguments(number: u64) -> Value {
    json!({"to": "bob@example.org", "amount": number, "big": u64::MAX - number, "rate": 0.5})
}

pub(crate) fn from_outbox(seq: u64) -> Entry {
    let position = Some(OutboxPosition { seq, revision: 1_000 + seq });
    Entry { kind: Kind::Task, position, ..entry(seq) }
}

/// The files of the log whose name ends so, in order.
pub(crate) fn files(disk: &ForgetfulDisk, end: &str) -> Vec<PathBuf> {
    let ends = |path: &PathBuf| path.to_string_lossy().ends_with(end);
    disk.paths().into_iter().filter(ends).collect()
}

/// Waits until a record is durable.
pub(crate) fn durable(append: carnet_ledger::Append) {
    append.wait().unwrap();
}
