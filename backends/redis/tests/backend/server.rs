//! A private `redis-server` on a free loopback port, gone with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::Connection;
use tempfile::TempDir;

/// Longest a server may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What makes a server safe for revoked tokens.
pub const SAFE: &[&str] = &["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"];

pub struct Server {
    folder: TempDir,
    port: u16,
    child: Child,
    more: &'static [&'static str],
}

impl Server {
    /// A server as it should be.
    pub fn safe() -> Self {
        Self::with(SAFE)
    }

    /// A server with these lines in its configuration beside the address.
    pub fn with(lines: &[&str]) -> Self {
        Self::run(lines, &[])
    }

    /// A server that watches over another one.
    pub fn sentinel(lines: &[&str]) -> Self {
        Self::run(lines, &["--sentinel"])
    }

    fn run(lines: &[&str], more: &'static [&'static str]) -> Self {
        let attempt = || {
            let (folder, port) = (tempfile::tempdir().expect("folder"), free_port());
            write_settings(folder.path(), port, lines);
            let child = spawn(folder.path(), more);
            let mut server = Self { folder, port, child, more };
            server.serves().then_some(server).ok_or(port)
        };
        // Somebody else may have taken the port meanwhile.
        let server = attempt().or_else(|_| attempt()).or_else(|_| attempt());
        server.unwrap_or_else(|port| panic!("redis-server does not start, last on port {port}"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection that goes around the backend.
    pub fn raw(&self) -> Connection {
        let client = redis::Client::open(format!("redis://{}", self.addr())).expect("client");
        client.get_connection().expect("raw connection")
    }

    /// Runs a command around the backend.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).expect("command")
    }

    pub fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(*word));
        command.query(&mut self.raw())
    }

    /// Ends it without a chance to write anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Starts it again on the same port and data.
    pub fn start(&mut self) {
        self.child = spawn(self.folder.path(), self.more);
        self.until_it_serves();
    }

    /// Starts it again with other settings.
    pub fn start_with(&mut self, lines: &[&str]) {
        write_settings(self.folder.path(), self.port, lines);
        self.start();
    }

    /// Stops it where it is: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("kill").success());
    }

    fn until_it_serves(&mut self) {
        if !self.serves() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            panic!("redis-server does not start again:\n{log}");
        }
    }

    /// Waits until it does, or has ended.
    fn serves(&mut self) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline && self.child.try_wait().expect("wait").is_none() {
            if pings(self.port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pings(port: u16) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer.to_vec())
    };
    // One that wants a password or loads its data says so; only the first is ready.
    ask().is_ok_and(|answer| answer == b"+PONG" || answer == b"-NOAU")
}

fn write_settings(folder: &Path, port: u16, lines: &[&str]) {
    let mut text = format!("port {port}\nbind 127.0.0.1\ndir \"{}\"\n", folder.display());
    // A sentinel has neither snapshots nor debugging, and refuses to be asked for them.
    if !lines.iter().any(|line| line.starts_with("sentinel")) {
        text += "save \"\"\nenable-debug-command local\nrepl-diskless-sync-delay 0\n";
    }
    std::fs::write(folder.join("conf"), text + &lines.join("\n") + "\n").expect("settings");
}

fn spawn(folder: &Path, more: &[&str]) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("log");
    let mut command = Command::new("redis-server");
    command.arg(folder.join("conf")).args(more).stdin(Stdio::null()).stdout(log);
    command.spawn().expect(
        "redis-server 7 or later must be on the PATH (Debian: apt-get install redis-server)",
    )
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("port").port()
}
