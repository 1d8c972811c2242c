//! A consistent copy of the store while it is in use.

use std::fs::File;
use std::path::Path;
use std::thread;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{fault, files, reader, schema};
use crate::error::StoreError;
use crate::record::Revision;

/// Copies `from` to `to` on a thread and a connection of its own, so that reads do not wait for it.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<Revision, StoreError> {
    let (source, target) = (from.to_owned(), to.to_owned());
    let (reply, answer) = oneshot::channel();
    let thread = thread::Builder::new().name("store-copy".to_owned());
    thread
        .spawn(move || drop(reply.send(write(&source, &target))))
        .map_err(|error| fault::io(to, "the copying thread cannot start", &error))?;
    answer.await.unwrap_or_else(|_| Err(fault::closed(to, true)))
}

fn write(from: &Path, to: &Path) -> Result<Revision, StoreError> {
    let io = |error: std::io::Error| fault::io(to, "the copy cannot be written", &error);
    let sql = |error: rusqlite::Error| fault::unavailable(to, &error, true);
    let Some(name) = to.to_str() else {
        return Err(StoreError::malformed("the name of the copy is not UTF-8 text"));
    };
    drop(files::create_private(to).map_err(io)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(sql)?;
    schema::set_careful(&source).map_err(sql)?;
    source.execute("VACUUM INTO ?1", [name]).map_err(sql)?;
    // SQLite leaves the syncing of a copy to whoever asked for it.
    File::open(to).and_then(|file| file.sync_all()).map_err(io)?;
    files::sync_directory(to).map_err(io)?;
    let copy = Connection::open_with_flags(to, flags).map_err(sql)?;
    let (revision, ()) =
        reader::within_transaction(&copy, |_| Ok(())).map_err(|fault| fault.to_error(to, true))?;
    Ok(revision)
}
