//! The least that a user must be allowed; `docs/backends/redis.md` shows the same rule.

use syntrix_storage_core::{ErrorKind, Retry};

use crate::common::Fixture;
use crate::server::Server;

/// What the documentation says.
const RULE: &str = "+get +set +mget +time +evalsha +eval +info";

/// What the documentation says for a cluster.
pub const CLUSTER_RULE: &str = "+get +set +mget +time +evalsha +eval +info +cluster|slots";

fn documented() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/backends/redis.md");
    std::fs::read_to_string(file).expect("docs/backends/redis.md")
}

fn with_user(server: &Server, rule: &str) {
    let words = ["ACL", "SETUSER", "revoker", "reset", "on", ">secret", "~syntrix:rev:*"];
    let words: Vec<_> = words.into_iter().chain(rule.split(' ')).collect();
    server.command::<()>(&words);
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_no_more() {
    let text = documented();
    assert!(text.contains(RULE) && text.contains("`+cluster|slots`"), "it is documented otherwise");
    let server = Server::safe();
    with_user(&server, RULE);
    let url = format!("redis://revoker:secret@{}", server.addr());
    let store = Fixture::open(&[("addr", &url)]).await.unwrap();
    store.revoke("a").await.unwrap();
    store.insert("b").await.unwrap();
    assert!(store.find("a").await.unwrap().is_some());
    assert!(store.revocations.health().await.unwrap().ready);
    store.revocations.ensure_indexes().await.unwrap();

    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_connection().unwrap();
    for words in
        [&["DEL", "syntrix:rev:{00}:store"][..], &["FLUSHALL"], &["GET", "other"], &["KEYS", "*"]]
    {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(*word));
        assert!(command.query::<redis::Value>(&mut connection).is_err(), "{words:?}");
    }
}

#[tokio::test]
async fn a_missing_right_is_told_by_its_code_and_not_to_be_tried_again() {
    let server = Server::safe();
    let url = format!("redis://revoker:secret@{}", server.addr());
    with_user(&server, RULE);
    let store = Fixture::open(&[("addr", &url)]).await.unwrap();
    server.command::<()>(&["ACL", "SETUSER", "revoker", "-get"]);
    let error = store.find("a").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ConfigInvalid, Retry::Never));
    assert_eq!(error.fact("redis_code"), Some("NOPERM"));
}

#[tokio::test]
async fn waiting_for_replicas_and_listing_need_one_right_each() {
    let text = documented();
    assert!(text.contains("`+wait`") && text.contains("`+scan`"), "it is documented otherwise");
    let server = Server::safe();
    let _replica = crate::replicas::replica_of(&server);
    let url = format!("redis://revoker:secret@{}", server.addr());
    let settings = [("addr", url.as_str()), ("minReplicas", "1")];
    with_user(&server, RULE);
    let error = Fixture::open(&settings).await.err().expect("opened without the right");
    assert_eq!(error.fact("redis_code"), Some("NOPERM"), "{error}");
    with_user(&server, &format!("{RULE} +wait +scan"));
    let store = crate::replicas::open_at(&url, "1", "1s").await;
    store.revoke("a").await.unwrap();
    let listed = store.revocations.scan(None, 10, &crate::common::read()).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn another_database_needs_one_right_more() {
    let server = Server::safe();
    with_user(&server, &format!("{RULE} +select"));
    let url = format!("redis://revoker:secret@{}/2", server.addr());
    let store = Fixture::open(&[("addr", &url)]).await.unwrap();
    store.revoke("a").await.unwrap();
}
