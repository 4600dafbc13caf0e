//! Which of several hosts is used, and servers that take a connection and are silent.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Access, Backend, OpenContext};
use syntrix_storage_core::{ErrorKind, Operation, Result, Retry};

use crate::common::{context, parse, provider};
use crate::server::Server;

async fn open(ports: [u16; 2], access: Access) -> Result<Arc<dyn Backend>> {
    let [first, second] = ports;
    let dsn = format!("host=127.0.0.1,127.0.0.1 port={first},{second} user=admin dbname=postgres");
    let open = OpenContext::new("unused").with_access(access);
    provider(&json!({"dsn": dsn})).open(&open).await
}

/// A server with a store in it, started again as a standby of nobody.
async fn standby() -> Server {
    let server = Server::start(&[]);
    let backend = open([server.port; 2], Access::Write).await.expect("open");
    backend.close().await.expect("close");
    server.run("pg_ctl", &["-w", "-m", "fast", "stop"]);
    std::fs::write(server.data().join("standby.signal"), "").expect("signal");
    server.up();
    server
}

/// A shadow that is fed may name its own standby first.
#[tokio::test]
async fn a_replica_is_the_host_that_takes_writes_if_there_is_one() {
    let (standby, primary) = (standby().await, Server::start(&[]));
    for ports in [[standby.port, primary.port], [primary.port, standby.port]] {
        let fed = open(ports, Access::Replica).await.expect("open");
        assert!(!fed.is_native_replica());
        fed.documents().expect("documents").health().await.expect("health");
        fed.close().await.expect("close");
    }
    let read = open([standby.port; 2], Access::Replica).await.expect("open");
    assert!(read.is_native_replica());
    let path = parse("case/a");
    let documents = read.documents().expect("documents");
    assert!(documents.get(&path, &context(Operation::Read)).await.expect("get").is_none());
    read.close().await.expect("close");
}

#[tokio::test]
async fn a_server_that_takes_the_connection_and_is_silent_is_given_up() {
    // The system takes connections for it, and nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("port");
    let port = silent.local_addr().expect("address").port();
    for access in [Access::Write, Access::Replica] {
        let block = json!({
            "dsn": format!("postgres://app@127.0.0.1:{port}/app"),
            "connectTimeout": "200ms",
        });
        let (open, started) = (OpenContext::new("unused").with_access(access), Instant::now());
        let error = provider(&block).open(&open).await.expect_err("opened");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

/// Somebody takes the connections and closes them at once.
#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_at_once_while_attempts_to_connect_are_spaced() {
    let server = Server::start(&[]);
    let block = json!({"dsn": server.dsn()});
    let backend = provider(&block).open(&OpenContext::new("unused")).await.expect("open");
    let documents = backend.documents().expect("documents");
    server.kill();
    let listener = TcpListener::bind(("127.0.0.1", server.port)).expect("the port");
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    std::thread::spawn(move || {
        listener.incoming().for_each(|taken| {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(taken);
        });
    });
    let (begun, mut at_once) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(1) {
        let error = documents.get(&parse("case/a"), &context(Operation::Read)).await;
        let error = error.expect_err("nobody is there");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
        at_once += usize::from(error.to_string().contains("a moment ago"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let attempts = attempts.load(Ordering::Relaxed);
    assert!(attempts < 40 && at_once > 50, "{attempts} attempts, {at_once} calls without one");
    backend.close().await.expect("close");
}

/// The connections of reads are opened when they are needed.
#[tokio::test]
async fn a_read_from_a_server_that_has_been_stopped_is_given_up() {
    let server = Server::start(&[]);
    let block = json!({"dsn": server.dsn(), "connectTimeout": "200ms"});
    let backend = provider(&block).open(&OpenContext::new("unused")).await.expect("open");
    let documents = backend.documents().expect("documents");
    let signal = |signal: &str| {
        let file = std::fs::read_to_string(server.data().join("postmaster.pid")).expect("pid");
        let pid = file.lines().next().expect("pid").to_owned();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    };
    signal("-STOP");
    let started = Instant::now();
    let error = documents.get(&parse("case/a"), &context(Operation::Read)).await;
    let error = error.expect_err("answered");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    signal("-CONT");
    // For a moment nobody tries.
    let begun = Instant::now();
    let read = loop {
        match documents.get(&parse("case/a"), &context(Operation::Read)).await {
            Err(error) if begun.elapsed() < Duration::from_secs(5) => {
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            read => break read,
        }
    };
    assert!(read.expect("get").is_none());
    backend.close().await.expect("close");
}
