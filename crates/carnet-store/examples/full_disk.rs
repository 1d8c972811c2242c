//! Fills the disk a store is on and shows that authority can still be taken away.
//!
//! ```text
//! mount -t tmpfs -o size=24m tmpfs /mnt/small
//! cargo run -p carnet-store --example full_disk -- /mnt/small
//! ```
//!
//! Use a small file system of its own; everything left on it is filled. It ends with an error if a step does not go as promised.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use carnet_store::{
    Change, Commit, Key, Kind, Outgoing, SqliteOptions, SqliteStore, Store, StoreError,
};

const NARROWING_COMMITS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory on a small file system")?;
    let directory = Path::new(&directory);
    let path = directory.join("store.db");
    let options = SqliteOptions { reserve_bytes: 4 * 1024 * 1024, ..SqliteOptions::default() };
    let store = SqliteStore::open(&path, options.clone())?;
    store.commit(commit("first", false)).await?;

    let ballast = directory.join("ballast");
    let filled = fill(&ballast)?;
    println!("the rest of the disk, {filled} bytes, is taken by something else");
    let (taken, refused) = commit_until_refused(&store).await?;
    println!("after {taken} more commits: {refused}");
    for number in 0..NARROWING_COMMITS {
        store.commit(commit(&format!("revoke-{number}"), true)).await?;
    }
    println!("{NARROWING_COMMITS} narrowing commits passed on the reserve");
    match store.commit(commit("ordinary", false)).await {
        Ok(_) => return Err("an ordinary commit took space of the reserve".into()),
        Err(refused) => println!("an ordinary one: {refused}"),
    }
    drop(store);
    let store = SqliteStore::open(&path, options.clone())?;
    store.commit(commit("revoke-reopened", true)).await?;
    println!("opened again on the full disk, a narrowing commit passed");
    drop(store);

    fs::remove_file(&ballast)?;
    let store = SqliteStore::open(&path, options)?;
    store.commit(commit("ordinary", false)).await?;
    let (revision, records) = store.load().await?;
    println!(
        "with space again an ordinary commit passed: revision {revision}, {} records",
        records.len()
    );
    if records.len() != taken + NARROWING_COMMITS + 3 {
        return Err("acknowledged commits are missing".into());
    }
    Ok(())
}

fn commit(id: &str, narrows: bool) -> Commit {
    let key = Key::new(Kind::Lock, id);
    Commit {
        changes: vec![Change::Put { key, value: vec![b'v'; 2_000] }],
        outgoing: vec![Outgoing { id: id.to_owned(), bytes: vec![b'l'; 2_000], narrows }],
        narrows,
        ..Commit::default()
    }
}

fn fill(ballast: &Path) -> Result<u64, std::io::Error> {
    let mut file = fs::File::create(ballast)?;
    for bytes in [1024 * 1024, 4 * 1024, 1] {
        while file.write_all(&vec![0xa5; bytes]).is_ok() {}
    }
    let _ = file.sync_all();
    Ok(file.metadata()?.len())
}

async fn commit_until_refused(store: &SqliteStore) -> Result<(usize, StoreError), StoreError> {
    let mut taken = 0;
    loop {
        match store.commit(commit(&format!("ordinary-{taken}"), false)).await {
            Ok(_) => taken += 1,
            Err(refused @ StoreError::Unavailable { unchanged: true, .. }) => {
                return Ok((taken, refused));
            }
            Err(other) => return Err(other),
        }
    }
}
