//! The fuzz corpus, run as an ordinary test.

use std::path::Path;

use proptest::prelude::*;

use crate::mcp::codec::fuzz_jsonrpc;

#[test]
fn every_seed_of_the_corpus_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/jsonrpc");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 40, "{}", seeds.len());
    for seed in seeds {
        let data = std::fs::read(seed.unwrap().path()).unwrap();
        fuzz_jsonrpc(&data);
        // Cut short and with a byte turned, too: what a fuzzer would try first.
        for cut in 0..data.len().min(512) {
            fuzz_jsonrpc(&data[..cut]);
            let mut turned = data.clone();
            turned[cut] ^= 0x15;
            fuzz_jsonrpc(&turned);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..256)) {
        fuzz_jsonrpc(&data);
    }

    #[test]
    fn anything_that_looks_like_a_message_is_read_or_refused(
        data in r#"\{"jsonrpc":"2\.0","(id|method|params)":[\[\]{}",:a-z0-9\\.\-]{0,60}\}"#,
    ) {
        fuzz_jsonrpc(data.as_bytes());
    }
}
