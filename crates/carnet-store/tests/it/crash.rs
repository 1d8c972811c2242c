//! Killed in the middle of committing, again and again: what was acknowledged is there, and nothing is half there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use carnet_store::{Commit, Revision, Store};
use tokio::task::JoinSet;

use crate::{all_waiting, changing, key, open, outgoing, put};

const DIRECTORY: &str = "CARNET_STORE_CRASH_DIRECTORY";
const WRITERS: u64 = 8;
const ROUNDS: usize = 5;
const ACKNOWLEDGED_A_ROUND: usize = 60;

/// What a child has been promised: writer, its count, revision and place in the outbox.
#[derive(Debug)]
struct Acknowledged {
    writer: u64,
    count: u64,
    revision: u64,
    seq: u64,
}

/// Not a test by itself: the process the test below kills. Without its directory it has nothing to do.
#[test]
fn the_child_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_for_ever(&Path::new(&directory).join("store.db")));
}

async fn write_for_ever(path: &Path) {
    let store = Arc::new(open(path));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let id = format!("writer-{writer}");
            let found = store.read(&key(&id)).await.unwrap();
            let mut count: u64 = found.map_or(0, |record| parse(&record.value));
            loop {
                count += 1;
                let commit = Commit {
                    outgoing: vec![outgoing(format!("{writer}:{count}"))],
                    ..changing(vec![
                        put(&id, count.to_string()),
                        put(&twin(writer), count.to_string()),
                    ])
                };
                let made = store.commit(commit).await.unwrap();
                println!("acknowledged {writer} {count} {} {} end", made.revision, made.seqs.start);
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn every_acknowledged_commit_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        write_and_kill(directory.path(), &mut acknowledged);
        assert!(acknowledged.len() >= before + ACKNOWLEDGED_A_ROUND, "round {round}");
        examine(&path, &acknowledged).await;
    }
}

fn write_and_kill(directory: &Path, acknowledged: &mut Vec<Acknowledged>) {
    let mut child = spawn(directory);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while let Some(Ok(line)) = lines.next() {
        acknowledged.extend(read_line(&line));
        seen += 1;
        if seen == ACKNOWLEDGED_A_ROUND * 2 {
            // SIGKILL; what it had printed by then is still read to the end.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the child ended by itself: {status}");
}

fn spawn(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_child_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A whole line of the child; the last one may be torn.
fn read_line(line: &str) -> Option<Acknowledged> {
    let words = line.split_once("acknowledged ")?.1.strip_suffix(" end")?;
    let mut numbers = words.split(' ').map(|word| word.parse().unwrap());
    let mut number = || numbers.next().unwrap();
    Some(Acknowledged { writer: number(), count: number(), revision: number(), seq: number() })
}

async fn examine(path: &Path, acknowledged: &[Acknowledged]) {
    let store = open(path);
    let waiting: BTreeMap<u64, _> =
        all_waiting(&store).await.into_iter().map(|record| (record.seq, record)).collect();
    let (revision, _) = store.load().await.unwrap();
    for promise in acknowledged {
        let record = waiting.get(&promise.seq).unwrap_or_else(|| panic!("lost: {promise:?}"));
        assert_eq!(record.id, format!("{}:{}", promise.writer, promise.count));
        assert_eq!(record.revision, Revision::new(promise.revision));
        assert!(revision >= record.revision);
    }
    let mut total = 0;
    for writer in 0..WRITERS {
        let count = count_of(&store, &format!("writer-{writer}")).await;
        assert_eq!(count_of(&store, &twin(writer)).await, count, "half a commit");
        let promised = acknowledged.iter().filter(|promise| promise.writer == writer);
        assert!(count >= promised.map(|promise| promise.count).max().unwrap_or(0));
        let mine = waiting.values().filter(|record| record.id.starts_with(&format!("{writer}:")));
        assert_eq!(mine.count() as u64, count, "state and outbox differ");
        total += count;
    }
    assert_eq!(revision, Revision::new(total), "revisions and commits differ");
}

async fn count_of(store: &impl Store, id: &str) -> u64 {
    store.read(&key(id)).await.unwrap().map_or(0, |record| parse(&record.value))
}

fn twin(writer: u64) -> String {
    format!("twin-{writer}")
}

fn parse(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}
