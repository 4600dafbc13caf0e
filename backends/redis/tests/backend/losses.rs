//! Whatever the server loses, no token becomes valid by it unnoticed.

use std::time::{Duration, Instant};

use syntrix_storage_core::{ErrorKind, Result, Retry};

use crate::common::{Fixture, is_revoked, read, token};
use crate::server::{SAFE, Server};

/// The keys of a token, found by looking for the newest one.
fn record_of(server: &Server) -> String {
    let keys: Vec<String> = server.command(&["KEYS", "*"]);
    let mut records =
        keys.into_iter().filter(|key| !key.ends_with("canary") && !key.ends_with("store"));
    records.next().expect("a record")
}

/// Asks until there is an answer; the server is on its way back.
async fn until_answered<T>(mut ask: impl AsyncFnMut() -> Result<T>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return (answer, started.elapsed()),
            Err(error) if started.elapsed() > Duration::from_secs(20) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn after_flushall_every_check_is_state_lost_and_no_answer() {
    let server = Server::safe();
    let store = Fixture::on(&server).await.engine();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    assert!(is_revoked(&store, "a").await.unwrap());
    server.command::<()>(&["FLUSHALL"]);
    for name in ["a", "never revoked"] {
        assert_eq!(is_revoked(&store, name).await.unwrap_err().kind(), ErrorKind::StateLost);
    }
    let many = fixture.revocations.get_many(&[token("a"), token("b")], &read()).await;
    assert_ne!(many.unwrap().canary, Some(fixture.revocations.canary()));
    let verified = fixture.revocations.ensure_indexes().await.unwrap_err();
    assert_eq!(verified.kind(), ErrorKind::StateLost);
}

#[tokio::test]
async fn with_its_id_in_the_settings_a_store_that_is_gone_is_not_made_anew() {
    let mut server = Server::safe();
    let addr = server.addr();
    let first = Fixture::on(&server).await;
    let health = first.revocations.health().await.unwrap();
    let id = &health.facts.iter().find(|(name, _)| name == "storeId").expect("id").1;
    let settings = [("addr", addr.as_str()), ("storeId", id)];
    Fixture::open(&settings).await.unwrap().revoke("a").await.unwrap();
    server.command::<()>(&["FLUSHALL"]);
    // As after a restart of everything: no process remembers the mark.
    server.kill();
    server.start();
    let gone = Fixture::open(&settings).await.err().expect("opened");
    assert_eq!(gone.kind(), ErrorKind::StateLost);
    Fixture::on(&server).await;
    let another = Fixture::open(&settings).await.err().expect("opened");
    assert_eq!(another.kind(), ErrorKind::StateLost);
}

#[tokio::test]
async fn a_bucket_that_lost_its_mark_or_has_anothers_is_not_believed() {
    let server = Server::safe();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    let record = record_of(&server);
    let canary = record[..record.find("}:").unwrap() + 2].to_owned() + "canary";
    let mark: String = server.command(&["GET", &canary]);

    let store = fixture.engine();
    server.command::<()>(&["DEL", &canary]);
    assert_eq!(is_revoked(&store, "a").await.unwrap_err().kind(), ErrorKind::StateLost);
    server.command::<()>(&["SET", &canary, "00000000000000000000000000000000"]);
    assert_eq!(is_revoked(&store, "a").await.unwrap_err().kind(), ErrorKind::StateLost);
    // Whoever opens the store now must not take the loss for a new store.
    let again = Fixture::open(&[("addr", &server.addr())]).await.err().expect("opened");
    assert_eq!(again.kind(), ErrorKind::StateLost);
    server.command::<()>(&["DEL", "syntrix:rev:{00}:store"]);
    let again = Fixture::open(&[("addr", &server.addr())]).await.err().expect("opened");
    assert_eq!(again.kind(), ErrorKind::StateLost);

    server.command::<()>(&["SET", &canary, &mark]);
    assert!(is_revoked(&store, "a").await.unwrap());
}

#[tokio::test]
async fn a_record_that_no_release_wrote_is_an_error_for_checks_and_changes() {
    let server = Server::safe();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    let record = record_of(&server);
    let store = fixture.engine();
    for words in [
        vec!["SET", &record, "rubbish"],
        vec!["SET", &record, "1 1 0 2 3 0 6 -1 -1 -1\nshort"],
        vec!["SET", &record, ""],
        vec!["DEL", &record],
        vec!["RPUSH", &record, "x"],
    ] {
        server.command::<redis::Value>(&words);
        if words[0] == "DEL" {
            continue;
        }
        let checked = is_revoked(&store, "a").await;
        assert_eq!(checked.unwrap_err().kind(), ErrorKind::Internal, "{words:?}");
        let many = fixture.revocations.get_many(&[token("b"), token("a")], &read()).await;
        assert_eq!(many.unwrap_err().kind(), ErrorKind::Internal, "{words:?}");
        let joined = fixture.revoke("a").await;
        assert_eq!(joined.unwrap_err().kind(), ErrorKind::Internal, "{words:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut server = Server::safe();
    let fixture = Fixture::on(&server).await;
    for number in 0..1000 {
        fixture.revoke(&number.to_string()).await.unwrap();
    }
    server.kill();
    let down = fixture.find("1").await.unwrap_err();
    assert_eq!(down.kind(), ErrorKind::Unavailable, "{down}");
    server.start();
    // The handle that was open goes on by itself, and soon.
    let (_, after) = until_answered(async || fixture.find("1").await).await;
    assert!(after < Duration::from_secs(1), "{after:?}");
    for number in 0..1000 {
        assert!(fixture.find(&number.to_string()).await.unwrap().is_some(), "{number}");
    }
}

#[tokio::test]
async fn a_restart_that_lost_everything_is_told_and_not_taken_for_nothing_revoked() {
    let mut server = Server::with(&["appendonly no"]);
    let addr = server.addr();
    let fixture = Fixture::open(&[("addr", &addr), ("acceptVolatile", "true")]).await.unwrap();
    fixture.revoke("a").await.unwrap();
    let store = fixture.engine();
    server.kill();
    server.start();
    let lost = async || match is_revoked(&store, "a").await {
        Err(error) if error.kind() == ErrorKind::StateLost => Ok(()),
        other => other.map(|revoked| panic!("the check answered {revoked}")),
    };
    until_answered(lost).await;
}

#[tokio::test]
async fn a_server_that_comes_back_unsafe_does_not_answer() {
    let mut server = Server::safe();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    server.kill();
    server.start_with(&["appendonly yes", "maxmemory-policy allkeys-lru"]);
    let error = fixture.find("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    server.kill();
    server.start_with(SAFE);
    until_answered(async || fixture.find("a").await).await;
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_stops_answering() {
    let (server, other) = (Server::safe(), Server::safe());
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    server.command::<()>(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    // Whoever writes is told at once; whoever reads soon, though the connection stays open.
    let deadline = Instant::now() + Duration::from_secs(10);
    while fixture.revocations.get(&token("a"), &read()).await.is_ok() {
        assert!(Instant::now() < deadline, "a replica is believed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = fixture.revoke("b").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe), "{error}");
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]);
}

#[tokio::test]
async fn a_server_that_is_made_unsafe_stops_answering_and_goes_on_when_it_is_safe_again() {
    let server = Server::safe();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    server.command::<()>(&["CONFIG", "SET", "appendonly", "no"]);
    while fixture.find("a").await.is_ok() {
        assert!(Instant::now() < deadline, "an unsafe server is believed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(fixture.find("a").await.unwrap_err().kind(), ErrorKind::ConfigInvalid);
    server.command::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    until_answered(async || fixture.find("a").await).await;
}

#[tokio::test]
async fn a_full_memory_refuses_revocations_and_still_answers_checks() {
    let server = Server::safe();
    let fixture = Fixture::on(&server).await;
    fixture.revoke("a").await.unwrap();
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = fixture.revoke("b").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    assert_eq!(error.fact("redis_code"), Some("OOM"));
    assert!(fixture.find("a").await.unwrap().is_some());
    assert!(fixture.find("b").await.unwrap().is_none());
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    fixture.revoke("b").await.unwrap();
}
