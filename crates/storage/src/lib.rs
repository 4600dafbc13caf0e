//! One storage layer for JSON documents, user accounts and revoked tokens, on any database.
