//! Revocations, checks and rotations on one server.

use std::collections::HashSet;

use syntrix_storage_core::backend::Insertion;
use syntrix_storage_core::{RevokeOutcome, Timestamp};

use crate::common::{Fixture, LATER, read, request, token, write};
use crate::server::Server;

#[tokio::test]
async fn every_field_comes_back_as_it_was_given() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    let mut asked = request("{odd} : * $ \" \\ ü☃");
    asked.reason = Some("a\nb 1 2 3".into());
    asked.subject = Some(String::new());
    asked.family = None;
    asked.successor = Some(token("next"));
    let joined = store.revocations.join(asked.clone(), &write()).await.unwrap();
    assert_eq!(joined.value, RevokeOutcome::Inserted);
    let record = store.find("{odd} : * $ \" \\ ü☃").await.unwrap().expect("record");
    assert_eq!((record.reason, record.subject), (asked.reason, asked.subject));
    assert_eq!((record.family, record.successor), (None, asked.successor));
    assert_eq!((record.expires_at, record.keep_until), (LATER, LATER));
    assert_eq!(record.revoked_at, joined.now);
    assert!(!record.immediate);
}

#[tokio::test]
async fn records_grow_stricter_and_never_looser() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    let earlier = Timestamp::from_milliseconds(LATER.as_milliseconds() - 5000);
    assert_eq!(store.revoke("a").await.unwrap(), RevokeOutcome::Inserted);
    assert_eq!(store.revoke("a").await.unwrap(), RevokeOutcome::Unchanged);
    let first = store.find("a").await.unwrap().unwrap();

    let mut stricter = request("a");
    (stricter.immediate, stricter.expires_at, stricter.keep_until) = (true, earlier, earlier);
    stricter.reason = Some("theft".into());
    let joined = store.revocations.join(stricter, &write()).await.unwrap();
    assert_eq!(joined.value, RevokeOutcome::Tightened);
    let record = store.find("a").await.unwrap().unwrap();
    assert_eq!((record.revoked_at, record.keep_until), (first.revoked_at, LATER));
    assert!(record.immediate && record.reason.as_deref() == Some("theft"));

    assert_eq!(store.revoke("a").await.unwrap(), RevokeOutcome::Unchanged);
    assert_eq!(store.find("a").await.unwrap().unwrap(), record);
}

#[tokio::test]
async fn an_expired_token_is_not_stored_and_a_record_goes_when_its_time_is_over() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    let mut over = request("over");
    over.keep_until = Timestamp::from_milliseconds(1);
    let joined = store.revocations.join(over.clone(), &write()).await.unwrap();
    assert_eq!(joined.value, RevokeOutcome::AlreadyExpired);
    let inserted = store.revocations.insert(over, &write()).await.unwrap();
    assert_eq!(inserted.value, Insertion::AlreadyExpired);

    let mut short = request("short");
    short.keep_until = Timestamp::from_milliseconds(joined.now.as_milliseconds() + 300);
    store.revocations.join(short, &write()).await.unwrap();
    assert!(store.find("short").await.unwrap().is_some());
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert!(store.find("short").await.unwrap().is_none());
    assert_eq!(store.revoke("short").await.unwrap(), RevokeOutcome::Inserted);
}

#[tokio::test]
async fn of_many_who_rotate_a_token_exactly_one_wins_however_many_connections_they_have() {
    let server = Server::safe();
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(std::sync::Arc::new(Fixture::on(&server).await));
    }
    let rotate = |number: usize| {
        let stores = stores.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            for round in 0..100 {
                let mut asked = request(&format!("refresh {round}"));
                asked.successor = Some(token(&format!("by {number}")));
                let store = &stores[number % 8];
                let inserted = store.revocations.insert(asked, &write()).await.unwrap();
                if inserted.value == Insertion::Inserted {
                    won.push(round);
                }
            }
            won
        })
    };
    let racing: Vec<_> = (0..16).map(rotate).collect();
    let mut won = Vec::new();
    for racer in racing {
        won.extend(racer.await.unwrap());
    }
    assert_eq!(won.len(), 100, "winners");
    assert_eq!(won.into_iter().collect::<HashSet<_>>().len(), 100);
}

#[tokio::test]
async fn many_are_found_in_order_with_repeats_and_gaps() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    for number in (0..600).step_by(2) {
        store.revoke(&format!("t{number}")).await.unwrap();
    }
    let mut tokens: Vec<_> = (0..1000).map(|number| token(&format!("t{number}"))).collect();
    tokens[999] = token("t0");
    let found = store.revocations.get_many(&tokens, &read()).await.unwrap();
    assert_eq!(found.canary, Some(store.revocations.canary()));
    for (number, record) in found.value.iter().enumerate() {
        let expected = number == 999 || (number < 600 && number % 2 == 0);
        assert_eq!(record.is_some(), expected, "{number}");
        assert!(record.iter().all(|record| record.token == tokens[number]));
    }
}

#[tokio::test]
async fn a_check_is_one_read_of_the_server_and_a_revocation_one_script() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("warm").await.unwrap();
    server.command::<()>(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        store.find("a").await.unwrap();
    }
    store.revocations.get_many(&[token("a"), token("b"), token("a")], &read()).await.unwrap();
    for number in 0..5 {
        store.revoke(&number.to_string()).await.unwrap();
    }
    let stats: String = server.command(&["INFO", "commandstats"]);
    let calls = |name: &str| {
        let line =
            stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u32>().ok()).unwrap_or(0)
    };
    // Ten checks, one of three tokens, and what the scripts ask for themselves.
    assert_eq!((calls("get"), calls("mget")), (10 * 2 + 3 + 5 * 2, 1), "{stats}");
    assert_eq!((calls("time"), calls("evalsha")), (10 + 1 + 5, 5), "{stats}");
    assert_eq!((calls("eval"), calls("ping"), calls("select")), (0, 0, 0), "{stats}");
}

#[tokio::test]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    for name in ["a", "b"] {
        server.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.revoke(name).await.unwrap(), RevokeOutcome::Inserted);
        assert_eq!(store.revoke(name).await.unwrap(), RevokeOutcome::Unchanged);
    }
}

#[tokio::test]
async fn prefixes_and_databases_keep_stores_apart() {
    let server = Server::safe();
    let addr = server.addr();
    let one = Fixture::open(&[("addr", &addr), ("prefix", "a")]).await.unwrap();
    let two = Fixture::open(&[("addr", &addr), ("prefix", "a:b")]).await.unwrap();
    let url = format!("redis://{addr}/3");
    let three = Fixture::open(&[("addr", &url), ("prefix", "a")]).await.unwrap();
    one.revoke("t").await.unwrap();
    assert!(two.find("t").await.unwrap().is_none());
    assert!(three.find("t").await.unwrap().is_none());
    assert_ne!(one.revocations.canary(), three.revocations.canary());
}
