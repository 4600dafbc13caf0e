//! A Redis Cluster: of one node, and of three, so that keys are on different ones.

use std::time::{Duration, Instant};

use syntrix_storage_core::backend::Insertion;
use syntrix_storage_core::{ErrorKind, Retry};

use crate::common::{Fixture, context, is_revoked, provider, read, token};
use crate::server::{SAFE, Server, free_port};

/// A node that nobody knows, and the port under which the others talk to it.
fn node() -> (Server, String) {
    // The second port of a node is 10000 more by default, which may be none.
    let bus = free_port().to_string();
    let line = format!("cluster-port {bus}");
    let lines = ["cluster-enabled yes", "cluster-node-timeout 2000", &line];
    (Server::with(&[SAFE, &lines].concat()), bus)
}

/// Nodes that share all slots.
pub fn cluster(count: u16) -> Vec<Server> {
    let (nodes, buses): (Vec<_>, Vec<_>) = (0..count).map(|_| node()).unzip();
    let share = 16_384 / count;
    for (number, node) in (0..count).zip(&nodes) {
        let last = if number + 1 == count { 16_383 } else { (number + 1) * share - 1 };
        let (first, last) = ((number * share).to_string(), last.to_string());
        node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        let port = nodes[0].port().to_string();
        node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &buses[0]]);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    for node in &nodes {
        let known = format!("cluster_known_nodes:{count}");
        let is_ready = || {
            let info: String = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        while !is_ready() {
            assert!(Instant::now() < deadline, "the cluster does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    nodes
}

pub async fn open(nodes: &[Server], namespace: Option<&str>) -> Fixture {
    let addr = nodes[0].addr();
    let settings = [("addr", addr.as_str()), ("cluster", "true"), ("minReplicas", "0")];
    Fixture::in_namespace(&settings, namespace).await.expect("the cluster serves")
}

async fn works(nodes: &[Server]) {
    let store = open(nodes, None).await;
    for number in 0..300 {
        store.revoke(&format!("t{number}")).await.expect("the cluster serves");
    }
    assert!(store.find("t7").await.expect("the cluster serves").is_some());
    assert!(store.find("u7").await.expect("the cluster serves").is_none());
    assert_eq!(store.insert("refresh").await.expect("the cluster serves"), Insertion::Inserted);
    assert!(matches!(
        store.insert("refresh").await.expect("the cluster serves"),
        Insertion::Present(_)
    ));

    let tokens: Vec<_> = (0..1000).map(|number| token(&format!("t{number}"))).collect();
    let many = store.revocations.get_many(&tokens, &read()).await.expect("the cluster serves");
    assert_eq!(many.canary, Some(store.revocations.canary()));
    let found = many.value.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(found, (0..1000).map(|number| number < 300).collect::<Vec<_>>());

    let health = store.revocations.health().await.expect("the cluster serves");
    assert!(health.ready, "{health:?}");
    assert_eq!(open(nodes, None).await.revocations.canary(), store.revocations.canary());
}

#[tokio::test]
async fn a_cluster_of_one_node_serves() {
    works(&cluster(1)).await;
}

#[tokio::test]
async fn a_cluster_of_three_nodes_serves() {
    let nodes = cluster(3);
    works(&nodes).await;
    let stored = nodes.iter().map(|node| node.command::<u32>(&["DBSIZE"]));
    let stored: Vec<_> = stored.collect();
    assert!(stored.iter().all(|keys| *keys > 50), "keys on every node: {stored:?}");
    assert_eq!(stored.iter().sum::<u32>(), 256 + 1 + 301);
}

/// A node that follows the first one of a cluster.
fn replica_in(nodes: &[Server]) -> Server {
    let (replica, bus) = node();
    let ports = (nodes[0].port().to_string(), replica.port().to_string());
    nodes[0].command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &ports.1, &bus]);
    let id: String = nodes[0].command(&["CLUSTER", "MYID"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while replica.try_command::<()>(&["CLUSTER", "REPLICATE", &id]).is_err() {
        assert!(Instant::now() < deadline, "the replica never hears of its primary");
        std::thread::sleep(Duration::from_millis(50));
    }
    let info = || -> String { replica.command(&["INFO", "replication"]) };
    while !info().contains("master_link_status:up") {
        assert!(Instant::now() < deadline, "the replica does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
    replica
}

/// Unless the operator says otherwise: a cluster fails over by itself.
#[tokio::test]
async fn in_a_cluster_a_replica_has_what_is_acknowledged() {
    let nodes = cluster(1);
    let replica = replica_in(&nodes);
    let addr = nodes[0].addr();
    let store = Fixture::open(&[("addr", &addr), ("cluster", "true")]).await.unwrap();
    for number in 0..100 {
        store.revoke(&number.to_string()).await.unwrap();
        assert_eq!(replica.command::<u32>(&["DBSIZE"]), 258 + number);
    }
    replica.freeze();
    let error = store.revoke("late").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
    replica.thaw();
    store.revoke("late").await.unwrap();
}

#[tokio::test]
async fn a_node_that_lost_its_data_is_not_believed_while_the_others_are() {
    let nodes = cluster(3);
    let store = open(&nodes, None).await.engine();
    nodes[1].command::<()>(&["FLUSHALL"]);
    let (mut lost, mut fine) = (0, 0);
    for number in 0..60 {
        match is_revoked(&store, &format!("t{number}")).await {
            Ok(revoked) => {
                assert!(!revoked);
                fine += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StateLost, "{error}");
                lost += 1;
            }
        }
    }
    assert!(lost > 5 && fine > 5, "{lost} lost, {fine} fine");
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_an_error_and_not_one_that_is_not_there() {
    let nodes = cluster(1);
    let store = open(&nodes, None).await;
    store.revoke("a").await.unwrap();
    let keys: Vec<String> = nodes[0].command(&["KEYS", "*"]);
    let is_record = |key: &&String| !key.ends_with("canary") && !key.ends_with("store");
    let record = keys.iter().find(is_record).unwrap();
    nodes[0].command::<()>(&["DEL", record]);
    nodes[0].command::<u32>(&["RPUSH", record, "x"]);
    for result in [
        store.find("a").await.map(drop),
        store.revocations.get_many(&[token("a")], &read()).await.map(drop),
        store.revoke("a").await.map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Internal);
    }
}

#[tokio::test]
async fn the_documented_rights_are_enough_for_a_cluster_too() {
    let nodes = cluster(3);
    for node in &nodes {
        let words = ["ACL", "SETUSER", "revoker", "reset", "on", ">secret", "~syntrix:rev:*"];
        let rule = crate::rights::CLUSTER_RULE.split(' ');
        node.command::<()>(&words.into_iter().chain(rule).collect::<Vec<_>>());
    }
    let url = format!("redis://revoker:secret@{}", nodes[0].addr());
    let store =
        Fixture::open(&[("addr", &url), ("cluster", "true"), ("minReplicas", "0")]).await.unwrap();
    store.revoke("a").await.unwrap();
    assert!(store.find("a").await.unwrap().is_some());
    assert!(store.revocations.health().await.unwrap().ready);
}

#[tokio::test]
async fn every_primary_of_a_cluster_must_be_safe() {
    let nodes = cluster(3);
    nodes[2].command::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let addr = nodes[0].addr();
    let error = Fixture::open(&[("addr", &addr), ("cluster", "true"), ("minReplicas", "0")])
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("acceptEviction"), "{error}");
}

#[tokio::test]
async fn a_namespace_is_removed_from_every_node() {
    let nodes = cluster(3);
    let store = open(&nodes, Some("x")).await;
    for number in 0..30 {
        store.revoke(&number.to_string()).await.unwrap();
    }
    store.close().await;
    let addr = nodes[0].addr();
    let provider = provider(&[("addr", &addr), ("cluster", "true"), ("minReplicas", "0")]).unwrap();
    provider.remove_namespace(&context(Some("x"))).await.unwrap();
    for node in &nodes {
        assert_eq!(node.command::<u32>(&["DBSIZE"]), 0);
    }
}

#[tokio::test]
async fn close_leaves_no_connection_to_any_node() {
    let nodes = cluster(3);
    let store = open(&nodes, None).await;
    store.close().await;
    let deadline = Instant::now() + Duration::from_secs(2);
    let others = |node: &Server| -> usize {
        let list: String = node.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
        list.lines().count() - 1
    };
    while nodes.iter().map(others).sum::<usize>() > 0 {
        assert!(Instant::now() < deadline, "connections are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_refused_as_one() {
    let server = Server::safe();
    let addr = server.addr();
    let refused =
        Fixture::open(&[("addr", &addr), ("cluster", "true"), ("minReplicas", "0")]).await;
    assert!(refused.is_err());
}
