//! The format of the file: how it is recognised, brought up to date, and how connections are set.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::fault::{self, Fault};
use super::options::SqliteOptions;
use crate::error::StoreError;

/// "CRNT": by this the file is known to be a store of Carnet.
const APPLICATION_ID: i64 = 0x4352_4e54;

/// The migrations, forward only: entry `n` leads from format `n` to `n + 1`. Entries are added, never changed.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// How long to wait for a foreign program that holds the file, such as a shell looking into it.
const BUSY_WAIT_MS: u64 = 5_000;

/// Enough for every statement of the writer or the reader to stay compiled.
const STATEMENTS_CACHED_MAX: usize = 32;

/// Sets the writing connection and brings the file to the newest format. A file that is not ours, or is newer
/// than this version, is refused before anything in it is touched.
pub(super) fn prepare(
    connection: &Connection,
    path: &Path,
    options: &SqliteOptions,
) -> Result<(), StoreError> {
    let fault = |fault: Fault| fault.to_error(path, true);
    let format = recognise(connection, path)?;
    set_durable(connection).map_err(fault)?;
    bound_file(connection, options.file_bytes_max).map_err(fault)?;
    migrate(connection, format).map_err(fault)
}

/// Like [`prepare`] for a store without a file, where a write-ahead log and syncing mean nothing.
#[cfg(any(test, feature = "testing"))]
pub(super) fn prepare_in_memory(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    set_careful(connection).map_err(|error| fault::unavailable(path, &error, true))?;
    migrate(connection, 0).map_err(|fault| fault.to_error(path, true))
}

/// Sets the reading connection, which must not be able to write even by mistake.
pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    set_careful(connection)?;
    connection.pragma_update(None, "query_only", true)
}

/// Refuses a file whose pages do not fit together, rather than deciding on half of them.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(|error| fault::unavailable(path, &error, true))?;
    if found == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), cause: found })
}

/// Bounds the file; the bound never goes below what the file has already.
pub(super) fn bound_file(connection: &Connection, bytes_max: u64) -> Result<(), Fault> {
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page_bytes = u64::try_from(page_bytes).unwrap_or(0).max(1);
    let pages = i64::from(u32::try_from(bytes_max / page_bytes).unwrap_or(u32::MAX - 1).max(1));
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    Ok(())
}

fn recognise(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let sql = |error| fault::unavailable(path, &error, true);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, format) =
        (number("application_id").map_err(sql)?, number("user_version").map_err(sql)?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql)?;
    if application != APPLICATION_ID && (application, format, tables) != (0, 0, 0) {
        return Err(StoreError::Foreign { path: path.to_owned(), found: application });
    }
    match usize::try_from(format) {
        Ok(known) if known <= MIGRATIONS.len() => Ok(known),
        _ => Err(StoreError::Newer {
            path: path.to_owned(),
            found: format,
            known: i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX),
        }),
    }
}

fn migrate(connection: &Connection, format: usize) -> Result<(), Fault> {
    for (from, sql) in MIGRATIONS.iter().enumerate().skip(format) {
        let tx = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i64::try_from(from + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
    Ok(())
}

/// Every commit synced before it is acknowledged. The log is folded back by the writer between groups, not by
/// SQLite within a commit, where an error of it would go unseen.
fn set_durable(connection: &Connection) -> Result<(), Fault> {
    set_careful(connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let cause = format!("its journal mode is {mode} and cannot be made a write-ahead log");
        return Err(Fault::Damaged(cause));
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten: a removed secret does not stay in a free page.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    Ok(())
}

/// What every connection needs: patience, and no trust in what the file may have been made to say.
pub(super) fn set_careful(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(BUSY_WAIT_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")
}
