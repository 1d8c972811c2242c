//! The fuzzer's corpus, run as an ordinary test.

use carnet_identity::fuzz_token;
use proptest::prelude::*;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/token");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_whole_corpus_is_read_without_harm() {
    let files = corpus();
    assert!(files.len() >= 20, "the corpus is checked in: {}", files.len());
    for (name, data) in files {
        println!("{name}");
        fuzz_token(&data);
    }
}

proptest! {
    #[test]
    fn so_is_the_corpus_with_bytes_changed(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let files = corpus();
        let mut data = files[file.index(files.len())].1.clone();
        prop_assume!(!data.is_empty());
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        fuzz_token(&data);
    }
}
