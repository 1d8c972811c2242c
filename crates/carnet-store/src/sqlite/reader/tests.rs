use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::record::Batch;
use crate::sqlite::{SqliteOptions, schema};

/// The instant between a commit being durable and the watches knowing of it, held open.
#[tokio::test]
async fn what_a_read_saw_can_be_watched_from_by_the_time_it_returns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let connection = Connection::open(&path).unwrap();
    schema::prepare(&connection, &path, &SqliteOptions::default()).unwrap();
    connection.execute("UPDATE meta SET revision = 1", []).unwrap();
    let (publisher, history) = History::new(Revision::ZERO, 10, 10_000);
    let reader = Reader::start(connection, path, history, Arc::default()).unwrap();

    let mut asked = Box::pin(reader.ask(load));
    let mut poll = async || poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
    assert!(poll().await.is_pending());
    // Questions are answered in order: once this one is, the one before has seen the commit.
    let (reply, answer) = oneshot::channel();
    let next: Question = Box::new(move |_| reply.send(()).unwrap_or(()));
    reader.questions.as_ref().unwrap().send(next).await.unwrap();
    answer.await.unwrap();
    assert!(poll().await.is_pending(), "a read returned what no watch knows of yet");

    let revision = Revision::new(1);
    publisher.publish(Batch { revision, changes: vec![], narrows: false, seqs: 1..1 });
    assert_eq!(asked.await.unwrap(), (revision, vec![]));
}
