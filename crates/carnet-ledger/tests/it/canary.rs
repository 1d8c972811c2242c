//! A sealed value's plain text is nowhere on the disk.

use carnet_ledger::{Entry, ForgetfulDisk, Sealed};
use serde_json::json;

use crate::common::{entry, open};

const CANARY: &str = "canary-4f1d9c";

#[test]
fn neither_a_sealed_value_nor_its_subject_appears_in_any_file() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    for number in 0..260 {
        let sealed = Sealed {
            name: "args".to_owned(),
            value: json!({"text": CANARY, (CANARY): [CANARY, number]}),
        };
        let subject = format!("user:{CANARY}");
        let entry = Entry { sealed: vec![sealed], subject, ..entry(number) };
        drop(ledger.append(entry));
    }
    ledger.append(entry(999)).wait().unwrap();
    ledger.close();
    let paths = disk.paths();
    assert!(paths.iter().any(|path| path.starts_with("/log/tile/entries")));
    assert!(paths.iter().any(|path| path.starts_with("/log/sidecar/keys")));
    let mut seen = 0;
    for path in paths {
        assert!(!path.to_string_lossy().contains(CANARY));
        let bytes = disk.content(&path).unwrap();
        seen += usize::from(bytes.windows(7).any(|text| text == b"dec_259"));
        let found = bytes.windows(CANARY.len()).any(|text| text == CANARY.as_bytes());
        assert!(!found, "{}", path.display());
    }
    // The search itself works: the record's id is in segment, bundle and sidecar.
    assert!(seen >= 3, "{seen}");
}

#[test]
fn a_sealed_value_is_not_shown_by_debug() {
    let sealed = Sealed { name: "args".to_owned(), value: json!(CANARY) };
    let entry = Entry { sealed: vec![sealed], ..entry(1) };
    assert!(!format!("{entry:?}").contains(CANARY));
    let ledger = open(&ForgetfulDisk::new());
    let index = ledger.append(entry).wait().unwrap().index;
    let unsealed = ledger.unseal(&ledger.leaf(index).unwrap()).unwrap();
    assert_eq!(unsealed.values["args"], CANARY);
    assert!(!format!("{unsealed:?}").contains(CANARY));
}
