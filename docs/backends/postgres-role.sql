-- What a role needs that uses a store and does not own it.
--
-- Run as the owner of the schema, after the owner has opened the store once (that makes the tables), and again after
-- an upgrade that made new ones:
--
--   psql -v ON_ERROR_STOP=1 -v schema=syntrix_storage -v role=app -f postgres-role.sql
--
-- The role cannot create, alter or drop anything. Indexes are created by the owner: `syntrix-storage index create`.
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC;
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".documents, :"schema".users, :"schema".revocations TO :"role";
-- Where routes keep their leases and checkpoints.
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".ledger TO :"role";
-- The change log is written and trimmed, never altered.
GRANT SELECT, INSERT, DELETE ON :"schema".changes TO :"role";
GRANT USAGE ON SEQUENCE :"schema".changes_seq, :"schema".users_change_seq TO :"role";
-- Where the log begins moves when it is trimmed; the store's identity and key do not.
GRANT SELECT ON :"schema".metadata, :"schema".indexes, :"schema".revocations_canary TO :"role";
GRANT UPDATE (floor_seq, floor_nonce, floor_at, floor_xid, floor_xids, floor_snapshot) ON :"schema".metadata TO :"role";
GRANT EXECUTE ON FUNCTION :"schema".ds_key(jsonb) TO :"role";
