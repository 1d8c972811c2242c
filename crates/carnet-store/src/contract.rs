//! The contract suite: numbered cases every driver must pass.
//!
//! A case fails by an assertion, so run it from a test:
//!
//! ```no_run
//! # use std::{path::Path, sync::Arc};
//! # use carnet_store::{SqliteOptions, SqliteStore, Store};
//! # async fn suite(directory: &Path) {
//! carnet_store::contract::run(async |name: &str| {
//!     let store = SqliteStore::open(&directory.join(name), SqliteOptions::default()).unwrap();
//!     Arc::new(store) as Arc<dyn Store>
//! })
//! .await;
//! # }
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

mod commits;
mod outbox;
mod records;
mod reopening;
mod watches;

use std::sync::Arc;

use crate::{Change, Commit, Expected, Key, Kind, Outgoing, Record, Revision, Store};

/// What the suite knows of the driver: how to open the store of a name. A new name is a new, empty store; a
/// name used before, after its handle was dropped, is the same store opened again.
pub trait Maker: AsyncFn(&str) -> Arc<dyn Store> {}
impl<F: AsyncFn(&str) -> Arc<dyn Store>> Maker for F {}

/// Runs every case, each on a store of its own.
///
/// # Panics
/// When the driver breaks the contract; the message names what and where.
pub async fn run<F: Maker>(make: F) {
    records::case_01_a_new_store_is_empty_at_revision_zero(&make).await;
    records::case_02_a_record_is_read_as_it_was_written(&make).await;
    records::case_03_a_record_keeps_the_revision_of_its_last_change(&make).await;
    records::case_04_pages_follow_the_byte_order_of_ids_and_end_empty(&make).await;
    records::case_05_kinds_are_kept_apart(&make).await;
    records::case_06_ids_with_odd_characters_are_kept_byte_for_byte(&make).await;
    records::case_07_values_of_the_largest_size_are_kept(&make).await;
    commits::case_08_each_commit_makes_the_revision_one_larger(&make).await;
    commits::case_09_a_wrong_expectation_is_refused_and_named(&make).await;
    commits::case_10_a_record_made_again_is_not_the_one_before(&make).await;
    commits::case_11_a_refused_commit_leaves_nothing_behind(&make).await;
    commits::case_12_deleting_what_is_not_there_changes_nothing(&make).await;
    commits::case_13_every_bound_is_kept(&make).await;
    commits::case_14_senseless_requests_are_refused(&make).await;
    commits::case_15_of_many_who_create_one_record_one_succeeds(&make).await;
    commits::case_16_concurrent_increments_are_all_counted(&make).await;
    outbox::case_17_outgoing_records_wait_in_order_until_drained(&make).await;
    outbox::case_18_draining_twice_is_harmless(&make).await;
    outbox::case_19_what_was_never_put_out_cannot_be_drained(&make).await;
    outbox::case_20_an_id_that_waits_is_refused_a_second_time(&make).await;
    outbox::case_21_a_commit_may_be_of_outgoing_records_alone(&make).await;
    watches::case_22_a_watch_yields_every_commit_after_its_start(&make).await;
    watches::case_23_concurrent_commits_are_watched_in_order_without_gaps(&make).await;
    watches::case_24_a_watch_from_what_was_loaded_misses_nothing(&make).await;
    watches::case_25_a_watch_from_the_future_is_refused(&make).await;
    watches::case_26_a_dropped_wait_loses_nothing(&make).await;
    reopening::case_27_everything_is_there_after_reopening(&make).await;
    reopening::case_28_revisions_and_places_go_on_after_reopening(&make).await;
    reopening::case_29_a_watch_from_before_reopening_goes_on_or_says_so(&make).await;
    reopening::case_30_closing_ends_the_watches(&make).await;
}

fn key(id: &str) -> Key {
    Key::new(Kind::Task, id)
}

fn put(id: &str, value: impl AsRef<[u8]>) -> Change {
    Change::Put { key: key(id), value: value.as_ref().to_vec() }
}

fn delete(id: &str) -> Change {
    Change::Delete { key: key(id) }
}

fn expect(id: &str, revision: Option<Revision>) -> Expected {
    Expected { key: key(id), revision }
}

fn outgoing(id: &str) -> Outgoing {
    Outgoing { id: id.to_owned(), bytes: format!("leaf of {id}").into_bytes(), narrows: false }
}

fn changing(changes: Vec<Change>) -> Commit {
    Commit { changes, ..Commit::default() }
}

fn record(id: &str, revision: u64, value: &str) -> Record {
    Record { key: key(id), revision: Revision::new(revision), value: value.as_bytes().to_vec() }
}

/// All of a kind, two at a time, as a caller pages.
async fn list_all(store: &dyn Store, kind: Kind) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let after = all.last().map(|record| record.key.id.clone());
        let page = store.list(kind, after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2, "a page is longer than asked for");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn waiting_ids(store: &dyn Store) -> Vec<String> {
    store.outbox(0, 1_000).await.unwrap().into_iter().map(|record| record.id).collect()
}
