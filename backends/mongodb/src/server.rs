//! What stands behind the URI: its kind, its version, and whether it can be used.

use mongodb::Database;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::error::from_driver;
use crate::membership::Members;

/// The wire version of the server 6.0.
const WIRE_VERSION_MIN: i32 = 17;

/// How the servers are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One server without a replica set: it has no change stream.
    Standalone,
    /// A replica set, perhaps of one.
    ReplicaSet,
    /// A sharded cluster behind routers.
    Sharded,
}

impl Topology {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::ReplicaSet => "replica set",
            Self::Sharded => "sharded cluster",
        }
    }

    /// A replica set names itself, a router says `isdbgrid`.
    fn of(hello: &Document) -> Self {
        if hello.get_str("msg").ok() == Some("isdbgrid") {
            Self::Sharded
        } else if hello.get_str("setName").is_ok() {
            Self::ReplicaSet
        } else {
            Self::Standalone
        }
    }
}

/// Asks the server what it is and refuses one that is too old.
pub(crate) async fn inspect(database: &Database) -> Result<(Topology, Members)> {
    let hello = hello(database).await?;
    let wire_version = hello.get_i32("maxWireVersion").unwrap_or_default();
    if wire_version < WIRE_VERSION_MIN {
        return Err(Error::new(ErrorKind::Unsupported, "")
            .with_message("the server is too old; 6.0 or later is needed")
            .with_fact("wire_version", wire_version));
    }
    Ok((Topology::of(&hello), Members::of(&hello)))
}

/// What the server says of itself.
pub(crate) async fn hello(database: &Database) -> Result<Document> {
    database.run_command(doc! { "hello": 1 }).await.map_err(|error| from_driver(&error))
}

/// `primary`, `secondary`, `standalone` or `mongos`, for people.
pub(crate) fn role(hello: &Document) -> &'static str {
    match (Topology::of(hello), hello.get_bool("isWritablePrimary")) {
        (Topology::Sharded, _) => "mongos",
        (Topology::Standalone, _) => "standalone",
        (Topology::ReplicaSet, Ok(true)) => "primary",
        (Topology::ReplicaSet, _) => "secondary",
    }
}

/// The commands that spread the documents of `database` over shards by collection.
pub(crate) fn shard_commands(database: &str, collections: &[&str]) -> Vec<Document> {
    let shard = |name: &&str| {
        doc! { "shardCollection": format!("{database}.{name}"), "key": { "collection": 1 } }
    };
    collections.iter().map(shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_what_its_greeting_says() {
        let router = doc! { "msg": "isdbgrid", "isWritablePrimary": true };
        assert_eq!((Topology::of(&router), role(&router)), (Topology::Sharded, "mongos"));
        let primary = doc! { "setName": "rs0", "isWritablePrimary": true };
        assert_eq!((Topology::of(&primary), role(&primary)), (Topology::ReplicaSet, "primary"));
        let secondary = doc! { "setName": "rs0", "isWritablePrimary": false };
        assert_eq!(role(&secondary), "secondary");
        let alone = doc! { "isWritablePrimary": true };
        assert_eq!((Topology::of(&alone), role(&alone)), (Topology::Standalone, "standalone"));
    }

    #[test]
    fn documents_are_spread_by_their_collection() {
        assert_eq!(
            shard_commands("app", &["documents", "sys"]),
            [
                doc! { "shardCollection": "app.documents", "key": { "collection": 1 } },
                doc! { "shardCollection": "app.sys", "key": { "collection": 1 } },
            ]
        );
    }
}
