//! How many commits a second the store takes, each answered only when it is synced.
//!
//! ```text
//! cargo run --release -p carnet-store --example commit_rate -- [DIRECTORY]
//! ```
//!
//! The store is made in a new directory in `DIRECTORY` (default: where temporary files go; mind that this may be
//! memory) and removed afterwards. Every commit checks and changes one record of 1 KB and puts one ledger record of
//! 1 KB into the outbox, which is drained as it goes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carnet_store::{
    Change, Commit, Expected, Key, Kind, Outgoing, Revision, SqliteOptions, SqliteStore, Store,
    StoreError,
};
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 1_024;
const RUN_S: u64 = 3;
const DRAIN_EVERY: u64 = 256;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    println!(
        "{:>10} {:>10} {:>9} {:>9} {:>9}",
        "committers", "commits/s", "p50 ms", "p99 ms", "max ms"
    );
    for committers in [1, 16, 64] {
        for _ in 0..3 {
            let directory = tempfile::tempdir_in(&base)?;
            run(directory.path(), committers).await?;
        }
    }
    Ok(())
}

async fn run(directory: &Path, committers: usize) -> Result<(), StoreError> {
    let store = SqliteStore::open(&directory.join("store.db"), SqliteOptions::default())?;
    let store = Arc::new(store);
    let until = Instant::now() + Duration::from_secs(RUN_S);
    let mut tasks = JoinSet::new();
    for committer in 0..committers {
        tasks.spawn(commit_until(Arc::clone(&store), committer, until));
    }
    let mut waits = Vec::new();
    for waited in tasks.join_all().await {
        waits.extend(waited?);
    }
    waits.sort_unstable();
    let at = |share: usize| {
        waits
            .get((waits.len() * share / 1_000).min(waits.len() - 1))
            .map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    };
    let rate = waits.len() as u64 / RUN_S;
    println!("{committers:>10} {rate:>10} {:>9.2} {:>9.2} {:>9.2}", at(500), at(990), at(1_000));
    Ok(())
}

async fn commit_until(
    store: Arc<SqliteStore>,
    committer: usize,
    until: Instant,
) -> Result<Vec<Duration>, StoreError> {
    let key = Key::new(Kind::Reservation, format!("reservation_{committer}"));
    let (mut revision, mut waits, mut number): (Option<Revision>, _, u64) = (None, Vec::new(), 0);
    while Instant::now() < until {
        number += 1;
        let commit = Commit {
            expected: vec![Expected { key: key.clone(), revision }],
            changes: vec![Change::Put { key: key.clone(), value: vec![b'v'; VALUE_BYTES] }],
            outgoing: vec![Outgoing {
                id: format!("dec_{committer}_{number}"),
                bytes: vec![b'l'; VALUE_BYTES],
                narrows: false,
            }],
            narrows: false,
        };
        let started = Instant::now();
        let committed = store.commit(commit).await?;
        waits.push(started.elapsed());
        revision = Some(committed.revision);
        if committer == 0 && number.is_multiple_of(DRAIN_EVERY) {
            store.drained(committed.seqs.start).await?;
        }
    }
    Ok(waits)
}
