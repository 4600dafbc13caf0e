//! Tables, their versions, and the one row of metadata.

use rusqlite::{Connection, TransactionBehavior};
use syntrix_storage_core::backend::{Canary, StoreId};
use syntrix_storage_core::{Error, ErrorKind, TokenSeal};

use crate::catalogue;
use crate::error::from_sqlite;

/// Marks a database file as ours: "sYtX" in the header, so that no foreign file is taken for one.
pub(crate) const APPLICATION_ID: i32 = 0x7359_7458;
/// The number of this backend in resume tokens.
const TOKEN_KIND: u8 = 2;

/// One step from one schema version to the next; step `n` leads to version `n + 1`. Released steps never change.
const MIGRATIONS: &[&[&str]] = &[
    &[VERSION_1],
    &[
        VERSION_2,
        catalogue::USERNAME_KEY.statement,
        catalogue::KEEP_UNTIL.statement,
        catalogue::NEVER_LOOSEN.statement,
    ],
    &[VERSION_3],
    &[VERSION_4],
];

const VERSION_1: &str = "
CREATE TABLE documents (
  id BLOB PRIMARY KEY NOT NULL,
  fullpath TEXT NOT NULL,
  collection TEXT NOT NULL,
  parent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  data TEXT NOT NULL
) STRICT;
CREATE INDEX documents_fullpath ON documents (fullpath);
CREATE INDEX documents_collection ON documents (collection, id);
CREATE INDEX documents_created_at ON documents (collection, created_at, id);
CREATE INDEX documents_updated_at ON documents (collection, updated_at, id);
CREATE INDEX documents_parent ON documents (parent);
CREATE INDEX documents_deleted ON documents (updated_at) WHERE deleted = 1;

CREATE TABLE changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  nonce INTEGER NOT NULL DEFAULT (random()),
  event INTEGER NOT NULL,
  id BLOB NOT NULL,
  fullpath TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  data TEXT NOT NULL,
  before_created_at INTEGER,
  before_updated_at INTEGER,
  before_version INTEGER,
  before_data TEXT,
  committed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE metadata (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  format_version INTEGER NOT NULL,
  store_id BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  token_key BLOB NOT NULL,
  floor_seq INTEGER NOT NULL,
  floor_nonce INTEGER NOT NULL,
  floor_at INTEGER NOT NULL,
  fence_minimum INTEGER NOT NULL
) STRICT;

CREATE TABLE indexes (
  name TEXT PRIMARY KEY NOT NULL,
  collection TEXT NOT NULL,
  fields TEXT NOT NULL,
  state TEXT NOT NULL
) STRICT;
";

/// The canary of an older file comes from SQLite's own generator; a mark need not be unguessable.
const VERSION_2: &str = "
CREATE TABLE users (
  id TEXT PRIMARY KEY NOT NULL,
  username TEXT NOT NULL,
  username_key TEXT NOT NULL,
  key_rule_version INTEGER NOT NULL,
  password_hash TEXT,
  password_algorithm TEXT,
  password_changed_at INTEGER,
  roles TEXT NOT NULL,
  db_admin TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  disabled_at INTEGER,
  disabled_reason TEXT,
  profile TEXT NOT NULL,
  token_epoch INTEGER NOT NULL,
  tokens_valid_after INTEGER,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  last_login_at INTEGER,
  last_failed_at INTEGER,
  failed_attempts INTEGER NOT NULL,
  lockout_until INTEGER,
  lockout_count INTEGER NOT NULL,
  login_window INTEGER NOT NULL,
  login_sequence INTEGER NOT NULL
) STRICT;

CREATE TABLE revocations (
  token TEXT PRIMARY KEY NOT NULL,
  revoked_at INTEGER NOT NULL,
  immediate INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  keep_until INTEGER NOT NULL,
  reason TEXT,
  subject TEXT,
  family TEXT,
  successor TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE revocations_canary (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  canary BLOB NOT NULL
) STRICT;
INSERT INTO revocations_canary VALUES (1, randomblob(16));
";

const VERSION_3: &str = "
CREATE TABLE ledger (
  name TEXT PRIMARY KEY NOT NULL,
  revision INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The number of each account's last write. Numbers are drawn by the one writer, so they are in the order of commits.
const VERSION_4: &str = "
ALTER TABLE users ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
UPDATE users SET change_seq = rowid;
CREATE INDEX users_change_seq ON users (change_seq);
";

/// The newest schema this release knows.
pub(crate) fn version_current() -> i64 {
    MIGRATIONS.len() as i64
}

/// The schema of the file.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whose file it is and how old, as written in its header and catalogue.
#[derive(Debug)]
pub(crate) struct Identity {
    application_id: i32,
    version: i64,
    tables: i64,
}

impl Identity {
    /// In one view of the file: another process may be making it ours at this moment.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let own_view = connection.is_autocommit().then(|| connection.unchecked_transaction());
        let view = own_view.transpose()?;
        // The catalogue first: it is what fixes the view.
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        let application_id: i64 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let identity =
            Self { application_id: application_id as i32, version: version(connection)?, tables };
        view.map_or(Ok(()), rusqlite::Transaction::commit)?;
        Ok(identity)
    }

    /// Refuses files that are not ours or too new for this release.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let empty = self.application_id == 0 && self.version == 0 && self.tables == 0;
        if !empty && self.application_id != APPLICATION_ID {
            return Err(Error::new(ErrorKind::ConfigInvalid, "open")
                .with_message("the SQLite file belongs to another application; choose another path")
                .with_fact("application_id", self.application_id)
                .with_fact("tables", self.tables));
        }
        if self.version > version_current() {
            return Err(Error::new(ErrorKind::Unsupported, "open")
                .with_message(
                    "the file was made by a newer release; use that release or a newer one",
                )
                .with_fact("schema_version", self.version)
                .with_fact("schema_version_max", version_current()));
        }
        Ok(())
    }
}

/// Brings an empty or older file to the current version, each step in the same transaction as its number.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    // A current file needs no lock: opening must not wait for whoever writes.
    if Identity::read(connection).map_err(failed)?.version == version_current() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been first: what counts is what is there under the lock.
    let identity = Identity::read(&transaction).map_err(failed)?;
    identity.check()?;
    if identity.version < version_current() {
        run_steps(&transaction, identity.version as usize).map_err(failed)?;
        if identity.version == 0 {
            insert_metadata(&transaction)?;
        }
    }
    transaction.commit().map_err(failed)
}

fn run_steps(connection: &Connection, done: usize) -> rusqlite::Result<()> {
    for statements in MIGRATIONS[done..].iter().copied().flatten() {
        connection.execute_batch(statements)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", version_current())
}

fn insert_metadata(connection: &Connection) -> Result<(), Error> {
    let (mut store_id, mut token_key) = ([0; 8], [0; 32]);
    let no_randomness = |_| {
        Error::new(ErrorKind::Unavailable, "open")
            .with_message("the operating system gives no random numbers")
    };
    getrandom::fill(&mut store_id).map_err(no_randomness)?;
    getrandom::fill(&mut token_key).map_err(no_randomness)?;
    let sql = "INSERT INTO metadata VALUES (1, 1, ?1, 1, ?2, 0, 0, 0, 0)";
    connection
        .execute(sql, (&store_id[..], &token_key[..]))
        .map(|_| ())
        .map_err(|error| from_sqlite(&error))
}

/// What seals the tokens of this file.
pub(crate) fn token_seal(connection: &Connection) -> rusqlite::Result<TokenSeal> {
    let sql = "SELECT store_id, epoch, token_key FROM metadata";
    connection.query_row(sql, [], |row| {
        Ok(TokenSeal::new(TOKEN_KIND, row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
    })
}

/// Which data the file holds.
pub(crate) fn store_id(connection: &Connection) -> rusqlite::Result<StoreId> {
    connection.query_row("SELECT store_id FROM metadata", [], |row| row.get(0)).map(StoreId)
}

/// The mark that lies beside the revoked tokens.
pub(crate) fn canary(connection: &Connection) -> rusqlite::Result<Canary> {
    let sql = "SELECT canary FROM revocations_canary";
    connection.query_row(sql, [], |row| row.get(0)).map(Canary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_brought_to_the_current_version_once() {
        let mut connection = Connection::open_in_memory().expect("open");
        migrate(&mut connection).expect("migrate");
        assert_eq!(version(&connection).expect("version"), version_current());
        let position = syntrix_storage_core::Position::default();
        let token = |connection: &Connection| {
            let seal = token_seal(connection).expect("seal");
            seal.seal(&position, Default::default()).as_str().to_owned()
        };
        let first = token(&connection);
        migrate(&mut connection).expect("migrate again");
        assert_eq!(token(&connection), first, "the store keeps its identity");
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().expect("open");
        // In the way of the second statement of the first step.
        connection.execute_batch("CREATE TABLE changes (x)").expect("sql");
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("pragma");
        migrate(&mut connection).expect_err("migrated");
        let identity = Identity::read(&connection).expect("identity");
        assert_eq!((identity.version, identity.tables), (0, 1));
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_data_and_gets_what_is_new() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(VERSION_1).expect("sql");
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("pragma");
        connection.pragma_update(None, "user_version", 1).expect("pragma");
        insert_metadata(&connection).expect("metadata");
        let row = "INSERT INTO documents VALUES (x'00', 'c/d', 'c', '', 1, 1, 1, 0, '{}')";
        connection.execute_batch(row).expect("row");
        migrate(&mut connection).expect("migrate");
        assert_eq!(version(&connection).expect("version"), version_current());
        let count = |table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0)).expect("count")
        };
        let new = ["users", "revocations", "ledger"].map(count);
        assert_eq!((count("documents"), new), (1, [0; 3]));
        assert_ne!(canary(&connection).expect("canary").0, [0; 16]);
    }

    /// A file of the version before accounts had numbers.
    #[test]
    fn accounts_of_a_file_of_the_third_version_are_all_in_the_feed_once() {
        let mut connection = Connection::open_in_memory().expect("open");
        for statements in MIGRATIONS[..3].iter().copied().flatten() {
            connection.execute_batch(statements).expect("sql");
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("pragma");
        connection.pragma_update(None, "user_version", 3).expect("pragma");
        insert_metadata(&connection).expect("metadata");
        for id in ["b", "a"] {
            let row = format!(
                "INSERT INTO users VALUES ('{id}','{id}','{id}',1,NULL,NULL,NULL,'[]','[]',0,NULL,NULL,'{{}}',0,NULL,\
                 1,1,1,NULL,NULL,NULL,0,NULL,0,0,0)"
            );
            connection.execute_batch(&row).expect("row");
        }
        migrate(&mut connection).expect("migrate");
        assert_eq!(version(&connection).expect("version"), version_current());
        let changes =
            crate::user_changes::since(&connection, &Default::default(), 9).expect("feed");
        let ids: Vec<_> = changes.records.iter().map(|record| record.user.id.as_str()).collect();
        assert_eq!((ids, changes.end.sequence, changes.more), (vec!["b", "a"], 2, false));
    }

    #[test]
    fn the_table_itself_refuses_to_loosen_a_revocation() {
        let mut connection = Connection::open_in_memory().expect("open");
        migrate(&mut connection).expect("migrate");
        let row = "INSERT INTO revocations VALUES ('t', 10, 1, 20, 30, NULL, NULL, NULL, NULL)";
        connection.execute_batch(row).expect("row");
        for looser in ["revoked_at = 11", "immediate = 0", "expires_at = 19", "keep_until = 29"] {
            let update = format!("UPDATE revocations SET {looser}");
            connection.execute_batch(&update).expect_err(looser);
        }
        connection.execute_batch("UPDATE revocations SET revoked_at = 9").expect("stricter");
    }

    #[test]
    fn identities_are_told_apart() {
        let check = |application_id, version, tables| {
            let kind = Identity { application_id, version, tables }.check().err();
            kind.map(|error| error.kind())
        };
        assert_eq!(check(0, 0, 0), None);
        assert_eq!(check(APPLICATION_ID, version_current(), 9), None);
        assert_eq!(check(0, 0, 1), Some(ErrorKind::ConfigInvalid));
        assert_eq!(check(7, 0, 0), Some(ErrorKind::ConfigInvalid));
        assert_eq!(check(APPLICATION_ID, version_current() + 1, 9), Some(ErrorKind::Unsupported));
    }
}
