//! What stands behind the URI: its kind, its version, and whether it can be used.

use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::error::{code_of, from_driver};

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

/// Asks the server what it is and refuses one that is too old. The number is its set's.
pub(crate) async fn inspect(database: &Database) -> Result<(Topology, u64)> {
    let hello = hello(database).await?;
    let wire_version = hello.get_i32("maxWireVersion").unwrap_or_default();
    if wire_version < WIRE_VERSION_MIN {
        return Err(Error::new(ErrorKind::Unsupported, "")
            .with_message("the server is too old; 6.0 or later is needed")
            .with_fact("wire_version", wire_version));
    }
    let set = set_of(database, &hello).await?;
    Ok((Topology::of(&hello), set))
}

/// A number of the server's set: one of its name in the upper half, one of its birth in the lower.
async fn set_of(database: &Database, hello: &Document) -> Result<u64> {
    let Ok(name) = hello.get_str("setName") else { return Ok(0) };
    let birth = birth_of(database).await?.map_or(0, |id| short(&id.bytes()));
    Ok(u64::from(short(name.as_bytes())) << 32 | u64::from(birth))
}

/// What tells apart sets of one name, such as one and what its backup was restored to. `None` if the role may not see it.
async fn birth_of(database: &Database) -> Result<Option<ObjectId>> {
    let reply = match database.run_command(doc! { "replSetGetConfig": 1 }).await {
        Ok(reply) => reply,
        Err(error) if code_of(&error).is_some() => return Ok(None),
        Err(error) => return Err(from_driver(&error)),
    };
    let config = reply.get_document("config").ok();
    let settings = config.and_then(|config| config.get_document("settings").ok());
    Ok(settings.and_then(|settings| settings.get_object_id("replicaSetId").ok()))
}

fn short(text: &[u8]) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&blake3::hash(text).as_bytes()[..4]);
    u32::from_be_bytes(number)
}

/// Whether two numbers are of one set. Of a set whose birth was not told only the name is compared.
pub(crate) fn is_same_set(one: u64, other: u64) -> bool {
    let (names, births) = ((one >> 32, other >> 32), (one as u32, other as u32));
    names.0 == names.1 && (births.0 == births.1 || births.0 == 0 || births.1 == 0)
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
    fn sets_of_one_name_differ_by_their_birth_where_it_is_known() {
        assert!(is_same_set(7 << 32 | 1, 7 << 32 | 1));
        assert!(!is_same_set(7 << 32 | 1, 7 << 32 | 2));
        assert!(is_same_set(7 << 32 | 1, 7 << 32) && is_same_set(7 << 32, 7 << 32 | 1));
        assert!(!is_same_set(7 << 32, 8 << 32));
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
