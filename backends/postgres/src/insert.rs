//! Many new documents as one statement: [`apply::WRITE`](crate::apply) without all that is about documents that are there.
//!
//! Most batches are of this kind, and a plan of half the size starts and runs in two thirds of the time.

use syntrix_storage_core::backend::Write;
use tokio_postgres::types::Type;

use crate::apply::Columns;
use crate::session::Parameter;

/// Inserted in the order of keys, logged in the order of the batch. What is there already comes back instead; of what
/// somebody else inserts at the same time, nothing does.
///
/// $1 id, $2 fullpath, $3 collection, $4 parent, $5 created_at, $6 updated_at, $7 version, $8 deleted, $9 data, $10 the time now.
pub(crate) const INSERT: &str = "WITH input AS MATERIALIZED (\
      SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], \
        $8::boolean[], $9::jsonb[]) \
      WITH ORDINALITY AS i(id, fullpath, collection, parent, created_at, updated_at, version, deleted, data, n)), \
    inserted AS (\
      INSERT INTO {schema}.documents (id, fullpath, collection, parent, created_at, updated_at, version, deleted, data) \
      SELECT id, fullpath, collection, parent, created_at, updated_at, version, deleted, data FROM input \
      ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id), \
    logged AS (\
      INSERT INTO {schema}.changes (event, id, fullpath, created_at, updated_at, version, deleted, data, committed_at) \
      SELECT CASE WHEN i.deleted THEN 3 ELSE 1 END, \
        i.id, i.fullpath, i.created_at, i.updated_at, i.version, i.deleted, i.data, \
        greatest($10::bigint, (SELECT floor_at FROM {schema}.metadata WHERE one = 1), \
          (SELECT committed_at FROM {schema}.changes ORDER BY seq DESC LIMIT 1)) \
      FROM inserted AS w JOIN input AS i ON i.id = w.id ORDER BY i.n RETURNING id) \
    SELECT (i.n - 1)::int, l.id IS NOT NULL, d.id IS NOT NULL, \
      d.fullpath, d.version, d.created_at, d.updated_at, d.deleted, d.data \
    FROM input AS i LEFT JOIN logged AS l ON l.id = i.id \
    LEFT JOIN {schema}.documents AS d ON d.id = CASE WHEN l.id IS NULL THEN i.id END";
/// Where the columns of what is there instead begin.
pub(crate) const CURRENT: usize = 3;

/// Whether `writes` can be run as [`INSERT`].
pub(crate) fn is_insertion(writes: &[&Write]) -> bool {
    writes.iter().all(|write| matches!(write, Write::Insert(_)))
}

/// The values of the statement.
pub(crate) fn parameters<'all>(
    columns: &'all Columns<'_>,
    now: &'all i64,
) -> [Parameter<'all>; 10] {
    [
        (&columns.ids, Type::BYTEA_ARRAY),
        (&columns.paths, Type::TEXT_ARRAY),
        (&columns.collections, Type::TEXT_ARRAY),
        (&columns.parents, Type::TEXT_ARRAY),
        (&columns.created, Type::INT8_ARRAY),
        (&columns.updated, Type::INT8_ARRAY),
        (&columns.versions, Type::INT8_ARRAY),
        (&columns.deleted, Type::BOOL_ARRAY),
        (&columns.bodies, Type::JSONB_ARRAY),
        (now, Type::INT8),
    ]
}
