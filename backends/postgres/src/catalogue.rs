//! Indexes and rules of the tables that a store relies on: verified, and made when they are missing.

use syntrix_storage_core::{Error, ErrorKind, Result};
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::row::value;
use crate::session::Session;
use crate::sql::in_schema;

/// A named part of the schema, with how PostgreSQL's catalogue describes it.
///
/// Also a step of a released migration: never change a released text. A new rule needs a new name and a new step.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    pub(crate) statement: &'static str,
    /// The definition as the server prints it, and whether it must be usable.
    definition: &'static str,
}

/// Keeps names unique; the name of a deleted account is free.
pub(crate) const USERNAME_KEY: Part = Part {
    name: "users_username_key",
    statement: "CREATE UNIQUE INDEX users_username_key ON {schema}.users (username_key) WHERE deleted_at IS NULL;",
    definition: "CREATE UNIQUE INDEX users_username_key ON {schema}.users USING btree (username_key) \
        WHERE (deleted_at IS NULL)",
};
/// Finds the records whose time is over.
pub(crate) const KEEP_UNTIL: Part = Part {
    name: "revocations_keep_until",
    statement: "CREATE INDEX revocations_keep_until ON {schema}.revocations (keep_until);",
    definition: "CREATE INDEX revocations_keep_until ON {schema}.revocations USING btree (keep_until)",
};
/// Whoever writes around this crate cannot take a revocation back by an update.
pub(crate) const NEVER_LOOSEN: Part = Part {
    name: "revocations_never_loosen",
    statement: "CREATE FUNCTION {schema}.revocations_never_loosen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        NEW.token := OLD.token; \
        NEW.revoked_at := least(OLD.revoked_at, NEW.revoked_at); \
        NEW.immediate := OLD.immediate OR NEW.immediate; \
        NEW.expires_at := greatest(OLD.expires_at, NEW.expires_at); \
        NEW.keep_until := greatest(OLD.keep_until, NEW.keep_until); \
        RETURN NEW; END $$;\n\
        CREATE TRIGGER revocations_never_loosen BEFORE UPDATE ON {schema}.revocations \
        FOR EACH ROW EXECUTE FUNCTION {schema}.revocations_never_loosen();",
    definition: "CREATE TRIGGER revocations_never_loosen BEFORE UPDATE ON {schema}.revocations \
        FOR EACH ROW EXECUTE FUNCTION {schema}.revocations_never_loosen()",
};

/// What of that name is there, as the server prints it, if it works.
const STORED: &str = "SELECT pg_get_indexdef(i.indexrelid), i.indisvalid AND i.indisready \
    FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relname = $1 \
    UNION ALL SELECT pg_get_triggerdef(t.oid), t.tgenabled <> 'D' \
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid \
    WHERE c.relnamespace = '{schema}'::regnamespace AND t.tgname = $1";
const REPEATED: &str = "SELECT count(*) FROM (SELECT FROM {schema}.users WHERE deleted_at IS NULL \
    GROUP BY username_key HAVING count(*) > 1) AS repeated";

/// Verifies what accounts rely on.
pub(crate) async fn ensure_users(session: &mut Session, schema: &str) -> Result<()> {
    if is_there(session, schema, &USERNAME_KEY).await? {
        return Ok(());
    }
    refuse_repeated_names(session, schema).await?;
    make(session, schema, &USERNAME_KEY).await
}

/// Verifies what revoked tokens rely on.
pub(crate) async fn ensure_revocations(session: &mut Session, schema: &str) -> Result<()> {
    for part in [&KEEP_UNTIL, &NEVER_LOOSEN] {
        if !is_there(session, schema, part).await? {
            make(session, schema, part).await?;
        }
    }
    Ok(())
}

async fn is_there(session: &mut Session, schema: &str, part: &Part) -> Result<bool> {
    let rows = session.query_once(&in_schema(STORED, schema), &[(&part.name, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (definition, usable): (&str, bool) = (value(row, 0)?, value(row, 1)?);
    // The server quotes a name only where it must.
    let plain = |text: &str| text.replace('"', "");
    match usable && plain(definition) == plain(&in_schema(part.definition, schema)) {
        true => Ok(true),
        false => Err(wrong(schema, part)),
    }
}

/// Two processes may find the same part missing: the second then finds it made.
async fn make(session: &mut Session, schema: &str, part: &Part) -> Result<()> {
    let statement = in_schema(part.statement, schema);
    match session.execute(&statement).await {
        Ok(()) => Ok(()),
        Err(error) if is_made_already(&error) => match is_there(session, schema, part).await? {
            true => Ok(()),
            false => Err(error),
        },
        Err(error) if error.fact("sqlstate") == Some("42501") => Err(missing(part, &statement)),
        Err(error) => Err(error),
    }
}

fn is_made_already(error: &Error) -> bool {
    matches!(error.fact("sqlstate"), Some("42P07" | "42710" | "42723" | "23505"))
}

async fn refuse_repeated_names(session: &mut Session, schema: &str) -> Result<()> {
    let rows = session.query_once(&in_schema(REPEATED, schema), &[]).await?;
    let repeated: i64 = value(rows.first().ok_or_else(damaged)?, 0)?;
    if repeated == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "")
        .with_message("names belong to several accounts; rename or remove them, then try again")
        .with_fact("names", repeated))
}

fn missing(part: &Part, statement: &str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "")
        .with_message(
            "the role may not make what is missing; let the owner of the tables run the statement",
        )
        .with_fact("name", part.name)
        .with_fact("statement", statement)
}

fn wrong(schema: &str, part: &Part) -> Error {
    let message =
        "an index or trigger of this name is not what it should be; drop it, then try again";
    Error::new(ErrorKind::Internal, "")
        .with_message(message)
        .with_fact("name", part.name)
        .with_fact("statement", in_schema(part.statement, schema))
}
