//! What a client sees behind each fault, before a server that echoes and one that counts.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
const SHORT: Duration = Duration::from_millis(150);

/// A server that echoes, and what it has received.
struct Echo {
    address: SocketAddr,
    received: Arc<AtomicUsize>,
}

async fn echo() -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("loopback");
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut piece = [0; 1024];
                while let Ok(bytes @ 1..) = stream.read(&mut piece).await {
                    counter.fetch_add(bytes, Ordering::SeqCst);
                    if stream.write_all(&piece[..bytes]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Echo { address, received }
}

async fn connected() -> (Echo, Proxy, TcpStream) {
    let echo = echo().await;
    let proxy = Proxy::start(echo.address).await.expect("loopback");
    let mut client = TcpStream::connect(proxy.address()).await.expect("loopback");
    assert_eq!(ask(&mut client).await.expect("loopback"), *b"ping");
    (echo, proxy, client)
}

async fn ask(client: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    client.write_all(b"ping").await?;
    answer(client).await
}

async fn answer(client: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    timeout(LONG, client.read_exact(&mut answer)).await.expect("an answer or an end")?;
    Ok(answer)
}

#[tokio::test]
async fn without_a_fault_everything_is_carried_also_the_end() {
    let (_echo, _proxy, mut client) = connected().await;
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 4]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_delay_makes_answers_late_and_changes_nothing() {
    let (_echo, proxy, mut client) = connected().await;
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    let started = Instant::now();
    assert_eq!(ask(&mut client).await.unwrap(), *b"ping");
    assert!(started.elapsed() >= Duration::from_millis(120), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_cut_resets_open_connections_and_new_ones_until_it_is_over() {
    let (echo, proxy, mut client) = connected().await;
    proxy.set(Fault::Cut);
    let error = answer(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(ask(&mut new).await.is_err());
    proxy.set(Fault::None);
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut new).await.unwrap(), *b"ping");
    assert_eq!(echo.received.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_black_hole_holds_everything_and_gives_it_back() {
    let (echo, proxy, mut client) = connected().await;
    proxy.set(Fault::BlackHole);
    client.write_all(b"ping").await.unwrap();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    new.write_all(b"ping").await.unwrap();
    assert!(timeout(SHORT, client.read(&mut [0; 4])).await.is_err(), "something came through");
    assert_eq!(echo.received.load(Ordering::SeqCst), 4);

    proxy.set(Fault::None);
    assert_eq!(answer(&mut client).await.unwrap(), *b"ping");
    assert_eq!(answer(&mut new).await.unwrap(), *b"ping");
}

#[tokio::test]
async fn a_half_close_lets_the_question_through_and_loses_its_answer() {
    let (echo, proxy, mut client) = connected().await;
    proxy.set(Fault::HalfClose);
    client.write_all(b"ping").await.unwrap();
    let error = answer(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let deadline = Instant::now() + LONG;
    while echo.received.load(Ordering::SeqCst) < 8 {
        assert!(Instant::now() < deadline, "the question did not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_looks_like_a_reset_and_may_come_later() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let proxy = Proxy::start(address).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(answer(&mut client).await.is_err());
}

#[tokio::test]
async fn dropped_it_takes_its_connections_along() {
    let (_echo, proxy, mut client) = connected().await;
    let address = proxy.address();
    drop(proxy);
    assert!(answer(&mut client).await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn another_machine_is_refused() {
    let error = Proxy::start(([192, 0, 2, 1], 5432).into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
