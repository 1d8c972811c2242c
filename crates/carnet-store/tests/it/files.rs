//! The file: its format, who may have it, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carnet_store::{Revision, SqliteOptions, SqliteStore, Store, StoreError};
use rusqlite::Connection;

use crate::{changing, open, put};

fn refused(path: &Path) -> StoreError {
    SqliteStore::open(path, SqliteOptions::default()).unwrap_err()
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(open(&path));
    (directory, path)
}

#[test]
fn the_schema_is_the_one_written_down() {
    let (_directory, path) = made();
    let connection = Connection::open(&path).unwrap();
    let mut schema = String::new();
    for name in ["application_id", "user_version", "encoding"] {
        let value: rusqlite::types::Value =
            connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        schema.push_str(&format!("-- {name} = {value:?}\n"));
    }
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let tables = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for table in tables {
        schema.push_str(&table.unwrap());
        schema.push_str(";\n");
    }
    assert_eq!(schema, include_str!("../golden/schema.sql"), "found:\n{schema}");
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let (_directory, path) = made();
    let first = open(&path);
    let error = refused(&path);
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("store.db.lock"), "{error}");
    drop(first);
    drop(open(&path));
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let (_directory, path) = made();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(refused(&path), StoreError::Newer { path: path.clone(), found: 2, known: 1 });
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("tables", "CREATE TABLE thing (a)"),
        ("id", "PRAGMA application_id = 7"),
        ("version", "PRAGMA user_version = 1"),
    ] {
        let path = directory.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let before = fs::read(&path).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Foreign { .. }), "{name}: {error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (_directory, path) = made();
    let store = open(&path);
    for number in 0..200 {
        store.commit(changing(vec![put(&format!("id-{number}"), vec![7; 500])])).await.unwrap();
    }
    drop(store);
    let sound = fs::read(&path).unwrap();
    let mut torn = sound.clone();
    for byte in &mut torn[8_192..12_288] {
        *byte = 0xa5;
    }
    fs::write(&path, torn).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    fs::write(&path, b"no database at all, whatever its name may say").unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    fs::write(&path, sound).unwrap();
    assert_eq!(open(&path).revision().await.unwrap(), Revision::new(200));
}

#[test]
fn a_file_open_to_others_is_refused() {
    let (_directory, path) = made();
    for mode in [0o604, 0o602, 0o620, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&path), StoreError::Exposed { path: path.clone(), mode });
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    drop(open(&path));
}

#[tokio::test]
async fn every_file_of_the_store_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("store.db"));
    store.commit(changing(vec![put("a", "1")])).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let expected =
        ["store.db", "store.db-shm", "store.db-wal", "store.db.lock", "store.db.reserve"];
    assert_eq!(names, expected);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = refused(Path::new("/nonexistent-directory/store.db"));
    assert!(matches!(error, StoreError::Unavailable { unchanged: true, .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent-directory/store.db"), "{error}");
}

#[tokio::test]
async fn a_backup_is_a_whole_store_and_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("store.db"));
    store.commit(changing(vec![put("a", "1")])).await.unwrap();
    let copy = directory.path().join("copy.db");
    assert_eq!(store.backup(&copy).await.unwrap(), Revision::new(1));
    let error = store.backup(&copy).await.unwrap_err();
    assert!(error.to_string().contains("copy.db"), "{error}");
    store.commit(changing(vec![put("a", "2")])).await.unwrap();
    let copied = open(&copy);
    let (revision, records) = copied.load().await.unwrap();
    assert_eq!(revision, Revision::new(1), "older than the store: the ledger will tell");
    assert_eq!(records[0].value, b"1");
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_file() {
    const CANARY: &[u8] = b"sealed-canary-51c0";
    let (_directory, path) = made();
    let store = open(&path);
    let value = [CANARY, &[b'x'; 300]].concat();
    store.commit(changing(vec![put("secret", &value), put("kept", "k")])).await.unwrap();
    drop(store);
    let holds = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY);
    assert!(holds(&fs::read(&path).unwrap()), "the test would prove nothing");
    let store = open(&path);
    store.commit(changing(vec![crate::delete("secret")])).await.unwrap();
    drop(store);
    assert!(!holds(&fs::read(&path).unwrap()));
}
