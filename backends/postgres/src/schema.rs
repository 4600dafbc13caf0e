//! Tables, their versions, and the one row of metadata.

use syntrix_storage_core::backend::{Canary, StoreId};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry, TokenSeal};
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::row::{unsigned, value};
use crate::session::Session;
use crate::sql::{identifier, in_schema};
use crate::{catalogue, expression};

/// The number of this backend in resume tokens.
const TOKEN_KIND: u8 = 3;
/// The oldest server whose features are used: `xid8`, `pg_snapshot`, and what was tested.
const SERVER_VERSION_MIN: i32 = 150_000;

/// One step from one schema version to the next; step `n` leads to version `n + 1`. Released steps never change.
const MIGRATIONS: &[&[&str]] = &[
    &[
        expression::KEY_FUNCTION,
        DOCUMENTS,
        IDENTITIES,
        catalogue::USERNAME_KEY.statement,
        catalogue::KEEP_UNTIL.statement,
        catalogue::NEVER_LOOSEN.statement,
    ],
    &[LEDGER],
    &[ACCOUNT_CHANGES],
];

/// Every text that is compared or ordered is so byte by byte, whatever the database's own collation.
const DOCUMENTS: &str = r#"
CREATE TABLE {schema}.documents (
  id bytea PRIMARY KEY,
  fullpath text COLLATE "C" NOT NULL,
  collection text COLLATE "C" NOT NULL,
  parent text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  version bigint NOT NULL,
  deleted boolean NOT NULL,
  data jsonb NOT NULL
);
CREATE INDEX documents_fullpath ON {schema}.documents (fullpath);
CREATE INDEX documents_collection ON {schema}.documents (collection, id);
CREATE INDEX documents_created_at ON {schema}.documents (collection, created_at, id);
CREATE INDEX documents_updated_at ON {schema}.documents (collection, updated_at, id);
CREATE INDEX documents_parent ON {schema}.documents (parent);
CREATE INDEX documents_deleted ON {schema}.documents (updated_at) WHERE deleted;

CREATE SEQUENCE {schema}.changes_seq CACHE 1;
CREATE TABLE {schema}.changes (
  seq bigint PRIMARY KEY DEFAULT nextval('{schema}.changes_seq'),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  nonce bigint NOT NULL DEFAULT (random() * 9e18)::bigint,
  event smallint NOT NULL,
  id bytea NOT NULL,
  fullpath text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  version bigint NOT NULL,
  deleted boolean NOT NULL,
  data jsonb NOT NULL,
  before_created_at bigint,
  before_updated_at bigint,
  before_version bigint,
  before_data jsonb,
  committed_at bigint NOT NULL
);
CREATE INDEX changes_xid ON {schema}.changes (xid, seq);

CREATE TABLE {schema}.metadata (
  one int PRIMARY KEY CHECK (one = 1),
  format_version int NOT NULL,
  schema_version int NOT NULL,
  store_id bytea NOT NULL,
  epoch bigint NOT NULL,
  token_key bytea NOT NULL,
  floor_seq bigint NOT NULL DEFAULT 0,
  floor_nonce bigint NOT NULL DEFAULT 0,
  floor_at bigint NOT NULL DEFAULT 0,
  floor_xid bigint NOT NULL DEFAULT 0,
  floor_xids bigint[] NOT NULL DEFAULT '{}',
  floor_snapshot pg_snapshot,
  fence_minimum bigint NOT NULL DEFAULT 0
);

CREATE TABLE {schema}.indexes (
  name text COLLATE "C" PRIMARY KEY,
  collection text COLLATE "C" NOT NULL,
  fields jsonb NOT NULL,
  state text NOT NULL
);
"#;

const IDENTITIES: &str = r#"
CREATE TABLE {schema}.users (
  id text COLLATE "C" CONSTRAINT users_pkey PRIMARY KEY,
  username text NOT NULL,
  username_key text COLLATE "C" NOT NULL,
  key_rule_version int NOT NULL,
  password_hash text,
  password_algorithm text,
  password_changed_at bigint,
  roles text[] NOT NULL,
  db_admin text[] NOT NULL,
  disabled boolean NOT NULL,
  disabled_at bigint,
  disabled_reason text,
  profile jsonb NOT NULL,
  token_epoch bigint NOT NULL,
  tokens_valid_after bigint,
  version bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  deleted_at bigint,
  last_login_at bigint,
  last_failed_at bigint,
  failed_attempts bigint NOT NULL,
  lockout_until bigint,
  lockout_count bigint NOT NULL,
  login_window bigint NOT NULL,
  login_sequence bigint NOT NULL
);

CREATE TABLE {schema}.revocations (
  token text COLLATE "C" PRIMARY KEY,
  revoked_at bigint NOT NULL,
  immediate boolean NOT NULL,
  expires_at bigint NOT NULL,
  keep_until bigint NOT NULL,
  reason text,
  subject text,
  family text,
  successor text
);

CREATE TABLE {schema}.revocations_canary (
  one int PRIMARY KEY CHECK (one = 1),
  canary bytea NOT NULL
);
INSERT INTO {schema}.revocations_canary VALUES (1, decode(replace(gen_random_uuid()::text, '-', ''), 'hex'));
"#;

const LEDGER: &str = r#"
CREATE TABLE {schema}.ledger (
  name text COLLATE "C" PRIMARY KEY,
  revision bigint NOT NULL,
  body bytea NOT NULL
);
"#;

/// Number and transaction of each account's last write. Numbers only tell writes of one transaction apart.
const ACCOUNT_CHANGES: &str = r#"
CREATE SEQUENCE {schema}.users_change_seq;
ALTER TABLE {schema}.users
  ADD COLUMN change_seq bigint NOT NULL DEFAULT nextval('{schema}.users_change_seq'),
  ADD COLUMN change_xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX users_change ON {schema}.users (change_xid, change_seq);
"#;

/// What starts anew after the mark was lost.
const NEW_CANARY: &str = "INSERT INTO {schema}.revocations_canary \
    VALUES (1, decode(replace(gen_random_uuid()::text, '-', ''), 'hex')) \
    ON CONFLICT (one) DO UPDATE SET canary = EXCLUDED.canary";

const SERVER: &str = "SELECT current_setting('server_version_num')::int, \
    current_setting('server_encoding'), current_setting('server_version')";
/// Wherever the table is not there or may not be seen, there is no version yet.
const HAS_METADATA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relname = 'metadata')";
const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
const VERSION: &str = "SELECT schema_version FROM {schema}.metadata";
/// One key for all schemas: making them one after the other costs little, and happens once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7234017283807667300)";
const SEQUENCE_CACHE: &str = "SELECT seqcache, seqcycle FROM pg_catalog.pg_sequence \
    WHERE seqrelid = '{schema}.changes_seq'::regclass";
const IDENTITY: &str = "SELECT m.store_id, m.epoch, m.token_key, c.canary \
    FROM {schema}.metadata AS m LEFT JOIN {schema}.revocations_canary AS c ON c.one = 1";

/// What a store is known by, and which server holds it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) seal: TokenSeal,
    pub(crate) store_id: StoreId,
    /// `None` if it was lost: documents and accounts do not depend on it.
    pub(crate) canary: Option<Canary>,
    pub(crate) server_version: String,
    /// Where processes tell each other of commits: one for each store, so it carries the store's id.
    pub(crate) channel: String,
}

/// The newest schema this release knows.
pub(crate) fn version_current() -> i32 {
    MIGRATIONS.len() as i32
}

/// Checks the server, brings the schema to the current version and reads who the store is.
pub(crate) async fn open(session: &mut Session, schema: &str) -> Result<Identity> {
    let server_version = check_server(session).await?;
    migrate(session, schema).await?;
    check_sequence(session, schema).await?;
    identify(session, schema, server_version).await
}

/// As [`open`], where nothing can be created: what is not there yet may still come from the primary.
pub(crate) async fn open_standby(session: &mut Session, schema: &str) -> Result<Identity> {
    let server_version = check_server(session).await?;
    let found = version(session, schema).await?;
    refuse_newer(found)?;
    if found < version_current() {
        return Err(Error::new(ErrorKind::Unavailable, "open")
            .with_retry(Retry::Safe)
            .with_message("the standby does not have the schema's current version yet: open the primary with this release, and let the standby replay it")
            .with_fact("schema_version", found)
            .with_fact("schema_version_needed", version_current()));
    }
    identify(session, schema, server_version).await
}

async fn identify(session: &mut Session, schema: &str, server_version: String) -> Result<Identity> {
    let rows = session.query_once(&in_schema(IDENTITY, schema), &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let array = |column| -> Result<&[u8]> { value(row, column) };
    let store_id: [u8; 8] = array(0)?.try_into().map_err(|_| damaged())?;
    let channel = format!("syntrix_storage_{}", hex(&store_id));
    let token_key = array(2)?.try_into().map_err(|_| damaged())?;
    let seal = TokenSeal::new(TOKEN_KIND, store_id, unsigned(value(row, 1)?)?, token_key);
    let canary: Option<&[u8]> = value(row, 3)?;
    let canary = canary.and_then(|canary| canary.try_into().ok()).map(Canary);
    let store_id = StoreId(store_id);
    Ok(Identity { seal, store_id, canary, server_version, channel })
}

/// The mark beside the revoked tokens is not there.
pub(crate) fn lost_canary(schema: &str) -> Error {
    Error::new(ErrorKind::StateLost, "open")
        .with_message(
            "the mark beside the revoked tokens is gone, so some of them may be gone too; treat every token as revoked until \
             the data are restored, or make a new mark to start anew, by",
        )
        .with_fact("statement", in_schema(NEW_CANARY, schema))
}

async fn check_server(session: &mut Session) -> Result<String> {
    let rows = session.query_once(SERVER, &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let (number, encoding): (i32, &str) = (value(row, 0)?, value(row, 1)?);
    let version: String = value(row, 2)?;
    if number < SERVER_VERSION_MIN {
        return Err(Error::new(ErrorKind::Unsupported, "open")
            .with_message("the server is too old; PostgreSQL 15 or later is needed")
            .with_fact("server_version", version));
    }
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::ConfigInvalid, "open")
            .with_message("the database must have the encoding UTF8; create one that has")
            .with_fact("encoding", encoding));
    }
    Ok(version)
}

/// A number drawn ahead would be given out behind later ones, and the changes of one document would come in the wrong order.
async fn check_sequence(session: &mut Session, schema: &str) -> Result<()> {
    let rows = session.query_once(&in_schema(SEQUENCE_CACHE, schema), &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    if value::<i64>(row, 0)? == 1 && !value::<bool>(row, 1)? {
        return Ok(());
    }
    let statement = in_schema("ALTER SEQUENCE {schema}.changes_seq CACHE 1 NO CYCLE", schema);
    Err(Error::new(ErrorKind::ConfigInvalid, "open")
        .with_message(
            "the sequence of the change log was altered, so changes would come out of order",
        )
        .with_fact("statement", statement))
}

/// The version of the schema; 0 if it is not there.
pub(crate) async fn version(session: &mut Session, schema: &str) -> Result<i32> {
    let rows = session.query_once(HAS_METADATA, &[(&schema, Type::TEXT)]).await?;
    if !value::<bool>(rows.first().ok_or_else(damaged)?, 0)? {
        return Ok(0);
    }
    let rows = session.query_once(&in_schema(VERSION, schema), &[]).await?;
    value(rows.first().ok_or_else(damaged)?, 0)
}

/// Brings an empty or older schema to the current version, all steps in one transaction with their number.
async fn migrate(session: &mut Session, schema: &str) -> Result<()> {
    // A current schema needs neither lock nor rights.
    let found = version(session, schema).await?;
    if found == version_current() {
        return Ok(());
    }
    refuse_newer(found)?;
    session.transaction("BEGIN").await?;
    session.query_once(LOCK, &[]).await?;
    // Another process may have been first: what counts is what is there under the lock.
    let found = version(session, schema).await?;
    refuse_newer(found)?;
    if found == version_current() {
        return session.rollback().await;
    }
    let statements = statements(session, schema, found).await?;
    if let Err(error) = session.execute(&statements).await {
        return Err(explain(error, &statements));
    }
    session.commit().await
}

fn refuse_newer(found: i32) -> Result<()> {
    if found <= version_current() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "open")
        .with_message("the schema was made by a newer release; use that release or a newer one")
        .with_fact("schema_version", found)
        .with_fact("schema_version_max", version_current()))
}

/// All that is missing, for this program or for whoever has the right to run it.
async fn statements(session: &mut Session, schema: &str, found: i32) -> Result<String> {
    let mut all = String::new();
    let rows = session.query_once(HAS_SCHEMA, &[(&schema, Type::TEXT)]).await?;
    // IF NOT EXISTS would still ask for the right to create one.
    if !value::<bool>(rows.first().ok_or_else(damaged)?, 0)? {
        all.push_str(&format!("CREATE SCHEMA {};\n", identifier(schema)));
    }
    for step in MIGRATIONS[found.max(0) as usize..].iter().copied().flatten() {
        all.push_str(&in_schema(step, schema));
        all.push('\n');
    }
    all.push_str(&match found {
        0 => first_metadata(schema)?,
        _ => {
            in_schema("UPDATE {schema}.metadata SET schema_version = ", schema)
                + &format!("{};\n", version_current())
        }
    });
    Ok(all)
}

/// The key is made here and not by the server, so that it is as random as the operating system can.
fn first_metadata(schema: &str) -> Result<String> {
    let (mut store_id, mut token_key) = ([0; 8], [0; 32]);
    let no_randomness = |_| {
        Error::new(ErrorKind::Unavailable, "open")
            .with_message("the operating system gives no random numbers")
    };
    getrandom::fill(&mut store_id).map_err(no_randomness)?;
    getrandom::fill(&mut token_key).map_err(no_randomness)?;
    let (store_id, token_key) = (hex(&store_id), hex(&token_key));
    let insert = "INSERT INTO {schema}.metadata (one, format_version, schema_version, store_id, epoch, token_key) VALUES ";
    let values = format!(
        "(1, 1, {}, decode('{store_id}', 'hex'), 1, decode('{token_key}', 'hex'));\n",
        version_current()
    );
    Ok(in_schema(insert, schema) + &values)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A role without the right to create gets what somebody else has to run. The token key is not among it.
fn explain(error: Error, statements: &str) -> Error {
    if error.fact("sqlstate") != Some("42501") {
        return error;
    }
    let shown = statements.lines().filter(|line| !line.contains("token_key) VALUES"));
    let shown: Vec<_> = shown.collect();
    Error::new(ErrorKind::ConfigInvalid, "open")
        .with_message(
            "the role may not create the tables; let their owner run `syntrix-storage` once with the same configuration, \
             then grant as in docs/backends/postgres-role.sql. Missing",
        )
        .with_fact("statements", shown.join("\n"))
}
