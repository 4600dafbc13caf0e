//! Which files are opened, which are refused, and that a refused one stays as it is.

use std::fs;
use std::path::Path;

use serde_json::json;
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{Error, ErrorKind};

use crate::common::{Fixture, node, provider};

async fn refuse(folder: &Path, path: &str) -> Error {
    let provider = provider(&json!({ "path": path }));
    provider.open(&OpenContext::new(folder)).await.expect_err("the file was opened")
}

fn make(file: &Path, sql: &str) {
    rusqlite::Connection::open(file).expect("open").execute_batch(sql).expect("sql");
    #[cfg(unix)]
    set_mode(file, 0o600);
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[cfg(unix)]
fn mode(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).expect("metadata").permissions().mode() & 0o777
}

#[cfg(unix)]
#[tokio::test]
async fn folder_and_all_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data/inner");
    let backend = provider(&json!({})).open(&OpenContext::new(&data)).await.expect("open");
    assert_eq!(mode(&data), 0o700);
    for name in ["storage.db", "storage.db-wal", "storage.db-shm"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    backend.close().await.expect("close");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    let fixture = Fixture::open().await;
    fixture.backend.close().await.expect("close");
    set_mode(&fixture.file(), 0o640);
    let error = refuse(fixture.folder.path(), "storage.db").await;
    assert_eq!((error.kind(), error.fact("mode")), (ErrorKind::ConfigInvalid, Some("640")));
}

#[tokio::test]
async fn a_file_of_another_application_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("foreign.db");
    for sql in [
        "CREATE TABLE notes (text); INSERT INTO notes VALUES ('keep');",
        "PRAGMA application_id = 77; PRAGMA user_version = 1; CREATE TABLE documents (id);",
    ] {
        let _ = fs::remove_file(&file);
        make(&file, sql);
        let bytes = fs::read(&file).expect("read");
        let error = refuse(folder.path(), "foreign.db").await;
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert_eq!(fs::read(&file).expect("read"), bytes);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("notes.txt");
    for content in ["short", "a text that is longer than the header of any SQLite database file"] {
        fs::write(&file, content).expect("write");
        let error = refuse(folder.path(), "notes.txt").await;
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert_eq!(fs::read_to_string(&file).expect("read"), content);
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/lobby", json!({"a": 1})).await;
    fixture.backend.close().await.expect("close");
    let mut bytes = fs::read(fixture.file()).expect("read");
    bytes[100..2000].fill(0xa5);
    fs::write(fixture.file(), &bytes).expect("write");
    let error = refuse(fixture.folder.path(), "storage.db").await;
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(fs::read(fixture.file()).expect("read"), bytes);
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused_and_left_alone() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/lobby", json!({"a": 1})).await;
    fixture.backend.close().await.expect("close");
    fixture.raw().pragma_update(None, "user_version", 99).expect("pragma");
    let bytes = fs::read(fixture.file()).expect("read");
    let error = refuse(fixture.folder.path(), "storage.db").await;
    assert_eq!((error.kind(), error.fact("schema_version")), (ErrorKind::Unsupported, Some("99")));
    assert_eq!(fs::read(fixture.file()).expect("read"), bytes);
}

/// The tests may run as root, whom modes do not stop; a folder that is a file stops everybody.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("plain"), "content").expect("write");
    let error = refuse(folder.path(), "plain/storage.db").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("plain")).expect("read"), "content");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_refused_and_its_target_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let target = folder.path().join("target.db");
    fs::write(&target, "").expect("write");
    std::os::unix::fs::symlink(&target, folder.path().join("storage.db")).expect("link");
    let error = refuse(folder.path(), "storage.db").await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert_eq!(fs::metadata(&target).expect("metadata").len(), 0);
}

#[tokio::test]
async fn an_empty_file_that_was_made_beforehand_is_used() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("storage.db");
    fs::write(&file, "").expect("write");
    #[cfg(unix)]
    set_mode(&file, 0o600);
    let backend = provider(&json!({})).open(&OpenContext::new(folder.path())).await.expect("open");
    assert!(backend.documents().expect("documents").health().await.expect("health").ready);
}

#[tokio::test]
async fn two_opens_of_a_new_file_at_once_share_one_store() {
    // One of them looks at the file while the other one makes it: a matter of luck, so it is tried often.
    for _ in 0..20 {
        open_twice_at_once().await;
    }
}

async fn open_twice_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let context = OpenContext::new(folder.path());
    let (one, other) = (provider(&json!({})), provider(&json!({})));
    let (one, other) = tokio::join!(one.open(&context), other.open(&context));
    let seal = |backend: syntrix_storage_core::Result<
        std::sync::Arc<dyn syntrix_storage_core::backend::Backend>,
    >| {
        let documents = backend.expect("open").documents().expect("documents");
        let token = documents.token_seal().seal(&Default::default(), Default::default());
        token.as_str().to_owned()
    };
    assert_eq!(seal(one), seal(other));
}

#[tokio::test]
async fn a_namespace_is_a_file_beside_and_is_removed_with_its_companions() {
    let fixture = Fixture::open().await;
    let provider = provider(&json!({}));
    let context = OpenContext::new(fixture.folder.path()).with_namespace("t1").expect("namespace");
    let backend = provider.open(&context).await.expect("open");
    let file = fixture.folder.path().join("storage.ns-t1.db");
    assert!(file.exists());
    assert!(fixture.folder.path().join("storage.ns-t1.db-wal").exists());
    drop(backend);
    provider.remove_namespace(&context).await.expect("remove");
    let left = || fs::read_dir(fixture.folder.path()).expect("folder").filter_map(Result::ok);
    assert!(!left().any(|entry| entry.file_name().to_string_lossy().contains("ns-t1")));
    assert!(fixture.file().exists());
    provider.remove_namespace(&context).await.expect("remove again");
}

#[tokio::test]
async fn the_configured_data_cannot_be_removed_as_a_namespace() {
    let fixture = Fixture::open().await;
    let context = OpenContext::new(fixture.folder.path());
    let error = provider(&json!({})).remove_namespace(&context).await.expect_err("removed");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(fixture.file().exists());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for settings in [
        json!({"path": "../storage.db"}),
        json!({"path": "file:storage.db?mode=ro"}),
        json!({"path": ":memory:"}),
        json!({"readersMax": 0}),
        json!({"readersMax": 65}),
        json!({"synchronous": "off"}),
        json!({"watchRetention": "31d"}),
        json!({"softDeleteRetention": "1d"}),
        json!({"busyTimeout": "5"}),
        json!({"inlineRead": true}),
    ] {
        let refused = syntrix_storage_sqlite::factory().configure(&node(&settings));
        assert_eq!(refused.expect_err("accepted").kind(), ErrorKind::ConfigInvalid, "{settings}");
    }
    provider(&json!({
        "path": "a/b.db", "softDeleteRetention": "2d", "watchRetention": "48h", "synchronous": "normal",
        "inlineReads": false, "readersMax": 1, "busyTimeout": "250ms",
    }));
}

#[test]
fn the_schema_of_the_settings_names_every_key() {
    let schema = syntrix_storage_sqlite::factory().settings_schema();
    let properties = schema["properties"].as_object().expect("properties");
    let keys: Vec<_> = properties.keys().map(String::as_str).collect();
    let expected = [
        "busyTimeout",
        "inlineReads",
        "path",
        "readersMax",
        "softDeleteRetention",
        "synchronous",
        "watchRetention",
    ];
    assert_eq!(keys, expected);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["path"]["default"], "storage.db");
}
