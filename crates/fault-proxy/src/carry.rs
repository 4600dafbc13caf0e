//! One connection: two directions, each carried by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Fault;

/// Largest piece that is carried at once.
const PIECE_BYTES: usize = 65_536;

/// Waited after a failed `accept`: too many open files end by themselves, or not at all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

type Faults = watch::Receiver<Fault>;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Questions,
    Answers,
}

/// Takes connections for ever. All of them end when this is dropped.
pub(crate) async fn accept(listener: TcpListener, targets: Vec<SocketAddr>, faults: Faults) {
    let mut open = JoinSet::new();
    let mut next = targets.iter().cycle();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let Some(target) = next.next() else { return };
                    open.spawn(connection(client, *target, faults.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

/// Carries one connection to its end. Whoever breaks it, both sides see it as it happened.
async fn connection(mut client: TcpStream, target: SocketAddr, faults: Faults) {
    let mut cuts = faults.clone();
    // A connection that nobody answers is one that is reset: the server is not there.
    let done = tokio::select! {
        done = carry(&mut client, target, faults) => done,
        _ = cuts.wait_for(|fault| *fault == Fault::Cut) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if done.is_err() {
        let _ = client.set_zero_linger();
    }
}

async fn carry(client: &mut TcpStream, target: SocketAddr, mut faults: Faults) -> io::Result<()> {
    ready(&mut faults).await?;
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (questions, to_client) = client.split();
    let (answers, to_server) = server.split();
    tokio::try_join!(
        pump(questions, to_server, faults.clone(), Way::Questions),
        pump(answers, to_client, faults, Way::Answers),
    )?;
    Ok(())
}

/// Carries one direction until its end, and passes that on.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut faults: Faults,
    way: Way,
) -> io::Result<()> {
    let mut ends = faults.clone();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = tokio::select! {
            biased;
            () = half_closed(&mut ends, way) => 0,
            read = from.read(&mut piece) => read?,
        };
        ready(&mut faults).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..bytes]).await?;
    }
}

/// Waits until a piece may go on.
async fn ready(faults: &mut Faults) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionReset);
    let fault = *faults.wait_for(|fault| *fault != Fault::BlackHole).await.map_err(gone)?;
    if let Fault::Delay(late) = fault {
        tokio::time::sleep(late).await;
    }
    Ok(())
}

/// Comes when this direction is to end early; never for questions.
async fn half_closed(faults: &mut Faults, way: Way) {
    if way == Way::Questions || faults.wait_for(|it| *it == Fault::HalfClose).await.is_err() {
        std::future::pending::<()>().await;
    }
}
