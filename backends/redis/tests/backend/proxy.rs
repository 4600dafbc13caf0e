//! A TCP proxy that can lose an answer: the request arrives, its answer does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    port: u16,
    lose_next: Arc<AtomicBool>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let own = listener.local_addr().expect("address").port();
        let lose_next = Arc::new(AtomicBool::new(false));
        let lose = Arc::clone(&lose_next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.expect("server");
                tokio::spawn(carry(client, server, Arc::clone(&lose)));
            }
        });
        Self { port: own, lose_next }
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next answer is lost and its connection cut.
    pub fn lose_next_answer(&self) {
        self.lose_next.store(true, Ordering::SeqCst);
    }

    pub fn has_lost_it(&self) -> bool {
        !self.lose_next.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, lose: Arc<AtomicBool>) {
    let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut there) => match read {
                Ok(bytes) if bytes > 0 => server.write_all(&there[..bytes]).await.expect("to server"),
                _ => return,
            },
            read = server.read(&mut back) => match read {
                Ok(bytes) if bytes > 0 => {
                    if lose.swap(false, Ordering::SeqCst) {
                        return;
                    }
                    if client.write_all(&back[..bytes]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
