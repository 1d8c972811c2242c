//! A record drained from the outbox twice gives one leaf.

use carnet_ledger::{ForgetfulDisk, LedgerError, SEGMENT_BYTES_MIN};
use proptest::prelude::*;

use crate::common::{durable, from_outbox, long_entry, open};

#[test]
fn a_position_that_is_written_is_acknowledged_with_its_leaf() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    let first = ledger.append(from_outbox(10)).wait().unwrap();
    ledger.append(from_outbox(12)).wait().unwrap();
    assert_eq!(ledger.append(from_outbox(10)).wait().unwrap(), first);
    assert_eq!(ledger.size(), 2);
    let ledger = open(&disk.after_power_loss(None));
    assert_eq!(ledger.append(from_outbox(10)).wait().unwrap(), first);
    assert_eq!(ledger.size(), 2);
}

#[test]
fn a_position_that_was_passed_over_is_refused_not_lost() {
    let ledger = open(&ForgetfulDisk::new());
    ledger.append(from_outbox(10)).wait().unwrap();
    ledger.append(from_outbox(12)).wait().unwrap();
    let passed = ledger.append(from_outbox(11)).wait();
    assert_eq!(passed, Err(LedgerError::OutboxOrder { seq: 11, last: 12 }));
}

#[test]
fn a_position_in_an_older_segment_is_found_on_disk() {
    let disk = ForgetfulDisk::new();
    let ledger = open(&disk);
    let mut written = Vec::new();
    for seq in 1..=6 {
        written.push(ledger.append(from_outbox(seq * 10)).wait().unwrap());
        let filler = SEGMENT_BYTES_MIN as usize / 3;
        (0..3).for_each(|n| durable(ledger.append(long_entry(n, filler))));
    }
    ledger.close();
    // A start reads the last segment only: the older positions are not in memory.
    let ledger = open(&disk.after_power_loss(None));
    let size = ledger.size();
    for (seq, was) in (1..=6).zip(written) {
        assert_eq!(ledger.append(from_outbox(seq * 10)).wait().unwrap(), was);
        let passed = ledger.append(from_outbox(seq * 10 - 5)).wait();
        assert_eq!(passed, Err(LedgerError::OutboxOrder { seq: seq * 10 - 5, last: 60 }));
    }
    assert_eq!(ledger.size(), size);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn draining_again_from_any_earlier_point_adds_no_leaf(
        restarts in prop::collection::vec((1_u64..6, 0_u64..20), 1..8)
    ) {
        let mut disk = ForgetfulDisk::new();
        let mut drained = 0;
        for (more, back) in restarts {
            let ledger = open(&disk);
            let from = drained - back.min(drained);
            let to = drained + more;
            let appends: Vec<_> =
                (from + 1..=to).map(|seq| (seq, ledger.append(from_outbox(seq)))).collect();
            for (seq, append) in appends {
                // Positions count from 1 and nothing else is written: leaf n holds position n + 1.
                prop_assert_eq!(append.wait().unwrap().index, seq - 1);
            }
            drained = to;
            prop_assert_eq!(ledger.size(), drained);
            disk = disk.after_power_loss(None);
        }
    }
}
