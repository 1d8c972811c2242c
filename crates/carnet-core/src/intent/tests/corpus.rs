//! The fuzzer's corpus, and the neighbourhood of every entry.

use std::path::PathBuf;

fn entries() -> Vec<Vec<u8>> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/intent"));
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn no_entry_of_the_corpus_makes_the_readers_fail() {
    let entries = entries();
    assert!(entries.len() >= 10);
    entries.iter().for_each(|entry| crate::fuzz_intent(entry));
}

#[test]
fn no_cut_or_flipped_entry_makes_the_readers_fail() {
    for entry in entries().iter().filter(|entry| entry.len() < 1200) {
        for at in (0..entry.len()).step_by(1 + entry.len() / 100) {
            crate::fuzz_intent(&entry[..at]);
            let mut flipped = entry.clone();
            flipped[at] ^= 1 << (at % 8);
            crate::fuzz_intent(&flipped);
        }
    }
}
