//! Proof files.

use carnet_ledger::{ForgetfulDisk, LedgerError, check_proof};

use crate::common::{durable, entry, key, open};

#[test]
fn a_proof_of_any_leaf_leads_to_the_signed_root_at_every_kind_of_size() {
    let ledger = open(&ForgetfulDisk::new());
    for size in [1_u64, 2, 3, 255, 256, 257, 515] {
        while ledger.size() < size {
            let appends: Vec<_> =
                (ledger.size()..size).map(|number| ledger.append(entry(number))).collect();
            appends.into_iter().for_each(durable);
        }
        for index in [0, size / 2, size - 1] {
            let proof = ledger.prove(index).unwrap();
            let leaf = ledger.leaf(index).unwrap();
            let (found, checkpoint) = check_proof(&proof, &leaf.bytes, &key()).unwrap();
            assert_eq!((found, checkpoint.size), (index, size));
            let other = [leaf.bytes.as_slice(), b" "].concat();
            assert!(check_proof(&proof, &other, &key()).is_err());
        }
    }
    assert!(matches!(ledger.prove(515), Err(LedgerError::NoSuchLeaf { .. })));
}

#[test]
fn a_proof_with_a_changed_line_is_refused() {
    let ledger = open(&ForgetfulDisk::new());
    for number in 0..5 {
        ledger.append(entry(number)).wait().unwrap();
    }
    let proof = ledger.prove(2).unwrap();
    let leaf = ledger.leaf(2).unwrap().bytes;
    check_proof(&proof, &leaf, &key()).unwrap();
    let lines: Vec<&str> = proof.lines().collect();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        let without = without.join("\n") + "\n";
        assert!(check_proof(&without, &leaf, &key()).is_err(), "without line {at}");
    }
    let moved = proof.replacen("index 2", "index 3", 1);
    assert!(check_proof(&moved, &leaf, &key()).is_err());
}
