//! Asking a server over its own protocol whether it serves, without any driver.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use crate::failure::{Context, Result};

/// Longest one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a loopback port.
pub(super) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether PostgreSQL asks who we are: while it starts up or recovers it refuses instead.
pub(crate) fn postgres_serves(port: u16) -> bool {
    ask(port, &postgres_startup("postgres"), 1).is_ok_and(|answer| answer == b"R")
}

/// The first message of protocol 3.0.
fn postgres_startup(user: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", "postgres", ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().to_vec(), body].concat()
}

/// Whether Redis takes the password and has loaded its data.
pub(crate) fn redis_serves(port: u16, password: &str) -> bool {
    let expected = b"+OK\r\n+PONG\r\n";
    let question = format!("AUTH {password}\r\nPING\r\n");
    ask(port, question.as_bytes(), expected.len()).is_ok_and(|answer| answer == expected)
}

/// What Redis, or a sentinel, answers to these commands, word for word.
///
/// # Errors
///
/// When nobody is there.
pub(crate) fn redis_answers(port: u16, commands: &[&str]) -> Result<String> {
    let ask = || {
        let mut stream = connect(port)?;
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes())?;
        }
        // It answers, and then ends because we did: a sentinel knows no QUIT.
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().context(|| "talking to redis-server".into())
}

fn ask(port: u16, question: &[u8], answer_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(port)?;
    stream.write_all(question)?;
    let mut answer = vec![0; answer_bytes];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_startup_message_is_as_the_manual_has_it() {
        let message = postgres_startup("me");
        assert_eq!(message[..4], u32::try_from(message.len()).unwrap().to_be_bytes());
        assert_eq!(message[4..8], [0, 3, 0, 0]);
        assert_eq!(&message[8..], b"user\0me\0database\0postgres\0\0");
    }

    #[test]
    fn a_port_where_nobody_listens_does_not_serve() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(!postgres_serves(port) && !redis_serves(port, "x"));
    }
}
