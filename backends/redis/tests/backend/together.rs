//! Checks at the same time: they go to the server together, and each gets its own answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use syntrix_storage_core::{ErrorKind, Result};
use tokio::task::JoinHandle;

use crate::common::{Fixture, read, token};
use crate::server::Server;

const CHECKS: usize = 300;
/// Far more than they take, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A token that is revoked if its number is even.
fn name(number: usize) -> String {
    format!("token-{number}")
}

async fn with_every_second_revoked(server: &Server) -> Fixture {
    let store = Fixture::on(server).await;
    for number in (0..CHECKS).step_by(2) {
        store.revoke(&name(number)).await.expect("revoked");
    }
    store
}

/// Whether the token is revoked, asked in a task of its own.
fn check(store: &Fixture, number: usize) -> JoinHandle<Result<bool>> {
    let (revocations, canary) = (Arc::clone(&store.revocations), store.revocations.canary());
    tokio::spawn(async move {
        let found = revocations.get(&token(&name(number)), &read()).await?;
        assert_eq!(found.canary, Some(canary), "the mark beside {number}");
        Ok(found.value.is_some())
    })
}

async fn all(checks: Vec<JoinHandle<Result<bool>>>) -> Vec<Result<bool>> {
    let all = tokio::time::timeout(LIMIT, join_all(checks)).await.expect("a check hangs");
    all.into_iter().map(|check| check.expect("no panic")).collect()
}

/// How often the server was asked for the time: once in each request that checks.
fn requests(server: &Server) -> u64 {
    let text: String = server.command(&["INFO", "commandstats"]);
    let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_time:calls="));
    calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_share_requests_and_each_gets_its_own_answer() {
    let server = Server::safe();
    let store = with_every_second_revoked(&server).await;
    let before = requests(&server);
    let answers = all((0..CHECKS).map(|number| check(&store, number)).collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("an answer"), number % 2 == 0, "token {number}");
    }
    let sent = requests(&server) - before;
    assert!(sent < CHECKS as u64 / 2, "{CHECKS} checks were {sent} requests");
}

#[tokio::test]
async fn a_check_alone_is_a_request_of_its_own() {
    let server = Server::safe();
    let store = with_every_second_revoked(&server).await;
    let before = requests(&server);
    for number in 0..4 {
        assert_eq!(
            all(vec![check(&store, number)]).await[0].as_ref().ok(),
            Some(&(number % 2 == 0))
        );
    }
    assert_eq!(requests(&server) - before, 4);
}

#[tokio::test]
async fn who_is_not_polled_or_is_dropped_keeps_nobody_waiting() {
    let server = Server::safe();
    let store = with_every_second_revoked(&server).await;
    let tokens: Vec<_> = (0..CHECKS).map(|number| token(&name(number))).collect();
    let context = read();
    let mut begun: Vec<_> =
        tokens.iter().map(|token| store.revocations.get(token, &context)).collect();
    for check in &mut begun {
        assert!(poll_immediate(check).await.is_none(), "it must have something to wait for");
    }
    begun.truncate(CHECKS / 2);
    let answers = all((0..10).map(|number| check(&store, number)).collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("an answer"), number % 2 == 0, "token {number}");
    }
    // Those that were only left alone for a while have their answers, too.
    for (number, found) in join_all(begun).await.into_iter().enumerate() {
        assert_eq!(found.expect("an answer").value.is_some(), number % 2 == 0, "token {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_nobody_drives_keeps_nobody_waiting() {
    let server = Server::safe();
    let store = with_every_second_revoked(&server).await;
    let revocations = Arc::clone(&store.revocations);
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let idle = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let tokens: Vec<_> = (0..20).map(|number| token(&name(number))).collect();
        let context = read();
        let checks: Vec<_> = runtime.block_on(async {
            let mut checks: Vec<_> =
                tokens.iter().map(|token| revocations.get(token, &context)).collect();
            for check in &mut checks {
                let _ = poll_immediate(check).await;
            }
            checks
        });
        // The runtime is there, its checks have begun, and nobody drives them.
        begin.send(()).expect("the test waits");
        ended.recv().expect("the test ends");
        drop(checks);
    });
    begun.await.expect("begun");
    let answers = all((0..CHECKS).map(|number| check(&store, number)).collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("an answer"), number % 2 == 0, "token {number}");
    }
    end.send(()).expect("it waits");
    idle.join().expect("no panic");
}

#[tokio::test]
async fn a_damaged_record_is_the_error_of_its_own_check_alone() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke(&name(7)).await.expect("revoked");
    let keys: Vec<String> = server.command(&["KEYS", "*"]);
    let is_record = |key: &&String| !key.ends_with(":canary") && !key.ends_with(":store");
    let record = keys.iter().find(is_record).expect("a record");
    server.command::<i64>(&["DEL", record]);
    server.command::<i64>(&["LPUSH", record, "x"]);
    let answers = all((0..64).map(|number| check(&store, number)).collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match number {
            7 => assert_ne!(answer.expect_err("damaged").kind(), ErrorKind::NotFound),
            _ => assert!(!answer.expect("an answer"), "token {number}"),
        }
    }
}

#[tokio::test]
async fn when_the_server_dies_every_check_ends_and_the_next_ones_find_it_again() {
    let mut server = Server::safe();
    let store = with_every_second_revoked(&server).await;
    let checks = (0..CHECKS).map(|number| check(&store, number)).collect();
    server.kill();
    // What was answered before is right; the rest are errors, and none of them says "not revoked".
    for (number, answer) in all(checks).await.into_iter().enumerate() {
        assert!(answer.is_err() || answer.is_ok_and(|revoked| revoked == (number % 2 == 0)));
    }
    server.start();
    let start = std::time::Instant::now();
    while all(vec![check(&store, 0)]).await[0].is_err() {
        assert!(start.elapsed() < LIMIT, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answers = all((0..CHECKS).map(|number| check(&store, number)).collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.expect("an answer"), number % 2 == 0, "token {number}");
    }
}
