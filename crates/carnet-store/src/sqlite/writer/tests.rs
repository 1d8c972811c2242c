use tokio::sync::oneshot;

use super::*;
use crate::sqlite::queue::{GROUP_BYTES_MAX, GROUP_JOBS_MAX};
use crate::watch::{History, WatchError};
use crate::{Expected, Kind, Outgoing};

type Answer = oneshot::Receiver<Result<Committed, StoreError>>;

struct Bench {
    writer: Writer,
    history: History,
    _directory: tempfile::TempDir,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let options = SqliteOptions::default();
    let connection = Connection::open(&path).unwrap();
    schema::prepare(&connection, &path, &options).unwrap();
    let counters = Counters::read(&connection).unwrap();
    let (publisher, history) = History::new(counters.revision, 10, 10_000);
    let reserve = Some(Reserve::hold(directory.path().join("reserve"), 4_096));
    let failure = Arc::default();
    let writer =
        Writer::new(connection, path, options, counters, reserve, publisher, failure).unwrap();
    Bench { writer, history, _directory: directory }
}

fn job(id: &str, expected: Option<Option<Revision>>) -> (Job, Answer) {
    let key = Key::new(Kind::Task, id);
    let commit = Commit {
        expected: expected
            .map(|revision| Expected { key: key.clone(), revision })
            .into_iter()
            .collect(),
        changes: vec![Change::Put { key, value: vec![1, 2, 3] }],
        outgoing: vec![Outgoing { id: id.to_owned(), bytes: vec![4], narrows: false }],
        narrows: false,
    };
    let (reply, answer) = oneshot::channel();
    (Job::Commit { commit, reply }, answer)
}

fn count(writer: &Writer, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn in_one_group_a_refused_commit_leaves_the_others_be() {
    let mut bench = bench();
    let (first, mut first_answer) = job("a", Some(None));
    let (conflict, mut conflict_answer) = job("a", Some(None));
    let (last, mut last_answer) = job("b", Some(None));
    bench.writer.perform(vec![first, conflict, last]);
    let first = first_answer.try_recv().unwrap().unwrap();
    let last = last_answer.try_recv().unwrap().unwrap();
    assert_eq!((first.revision, first.seqs), (Revision::new(1), 1..2));
    assert_eq!((last.revision, last.seqs), (Revision::new(2), 2..3));
    let error = conflict_answer.try_recv().unwrap().unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict { found: Some(found), .. } if found == Revision::new(1))
    );
    assert_eq!(Counters::read(&bench.writer.connection).unwrap(), bench.writer.counters);
    assert_eq!((count(&bench.writer, "record"), count(&bench.writer, "outbox")), (2, 2));
}

/// Makes the commit of the transaction fail, late, when a record with the id `doomed` is inserted.
fn doom(writer: &Writer) {
    let sql = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE orphan (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER doom AFTER INSERT ON record WHEN new.id = 'doomed'
            BEGIN INSERT INTO orphan VALUES (1); END;";
    writer.connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_acknowledged_any_more() {
    let mut bench = bench();
    doom(&bench.writer);
    let mut watch = bench.history.watch(Revision::ZERO);
    let (fine, mut fine_answer) = job("fine", None);
    let (doomed, mut doomed_answer) = job("doomed", None);
    bench.writer.perform(vec![fine, doomed]);
    for answer in [&mut fine_answer, &mut doomed_answer] {
        let error = answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { unchanged: false, .. }), "{error}");
    }
    let (later, mut later_answer) = job("later", None);
    bench.writer.perform(vec![later]);
    let error = later_answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { unchanged: true, .. }), "{error}");
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    assert_eq!(bench.writer.counters.revision, Revision::ZERO);
    assert_eq!(count(&bench.writer, "record"), 0);
}

#[test]
fn a_fault_within_a_statement_takes_the_group_back_and_the_store_goes_on() {
    let mut bench = bench();
    let sql = "CREATE TRIGGER fault AFTER INSERT ON record WHEN new.id = 'bad'
        BEGIN SELECT raise(ABORT, 'made to fail'); END;";
    bench.writer.connection.execute_batch(sql).unwrap();
    let (fine, mut fine_answer) = job("fine", None);
    let (bad, mut bad_answer) = job("bad", None);
    bench.writer.perform(vec![fine, bad]);
    for answer in [&mut fine_answer, &mut bad_answer] {
        let error = answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { unchanged: true, .. }), "{error}");
    }
    let (later, mut later_answer) = job("later", None);
    bench.writer.perform(vec![later]);
    assert_eq!(later_answer.try_recv().unwrap().unwrap().revision, Revision::new(1));
    assert_eq!(count(&bench.writer, "record"), 1);
}

#[tokio::test]
async fn narrowing_commits_are_taken_before_others_and_groups_are_bounded() {
    let queue = Queue::new(2 * GROUP_JOBS_MAX);
    for number in 0..=GROUP_JOBS_MAX {
        queue.push(job(&number.to_string(), None).0).await.unwrap();
    }
    let (reply, _answer) = oneshot::channel();
    let commit = Commit { narrows: true, ..Commit::default() };
    queue.push(Job::Commit { commit, reply }).await.unwrap();
    let group = queue.take().unwrap();
    assert!(group[0].narrows());
    assert_eq!(group.len(), GROUP_JOBS_MAX);
    assert_eq!(queue.take().unwrap().len(), 2);

    for _ in 0..3 {
        let (reply, _answer) = oneshot::channel();
        let value = vec![0; GROUP_BYTES_MAX / 2];
        let key = Key::new(Kind::Task, "large");
        let changes = vec![Change::Put { key, value }];
        let commit = Commit { changes, ..Commit::default() };
        queue.push(Job::Commit { commit, reply }).await.unwrap();
    }
    assert_eq!(queue.take().unwrap().len(), 1);
    queue.close();
    assert_eq!(queue.take().unwrap().len(), 1, "what was let in is still taken");
    assert!(queue.push(job("late", None).0).await.is_err());
    assert_eq!(queue.take().unwrap().len(), 1);
    assert!(queue.take().is_none());
}

#[tokio::test]
async fn a_full_lane_of_ordinary_commits_does_not_hold_up_a_narrowing_one() {
    let queue = Queue::new(1);
    queue.push(job("a", None).0).await.unwrap();
    let mut waiting = Box::pin(queue.push(job("b", None).0));
    let poll =
        std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context)));
    assert!(poll.await.is_pending());
    let (reply, _answer) = oneshot::channel();
    let commit = Commit { narrows: true, ..Commit::default() };
    queue.push(Job::Commit { commit, reply }).await.unwrap();
    assert_eq!(queue.take().unwrap().len(), 2);
    waiting.await.unwrap();
}
