//! Servers of a test's own: to be killed, or set up as the shared one is not.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server of this test's own. PostgreSQL refuses to run as root, so then it runs as `postgres`.
pub struct Server {
    folder: TempDir,
    pub port: u16,
}

impl Server {
    pub fn start(settings: &[&str]) -> Self {
        let server = Self::prepare();
        server.run(
            "initdb",
            &["-U", "admin", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        );
        server.configure(settings);
        let include = "\ninclude = 'more.conf'\n";
        let file = server.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&file).expect("settings") + include;
        std::fs::write(&file, text).expect("settings");
        server.up();
        server
    }

    /// A place for one, with a port.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))
            .expect("mode");
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        Self { folder, port }
    }

    /// What differs from the defaults.
    pub fn configure(&self, settings: &[&str]) {
        let port = self.port;
        // In the data folder: a killed server leaves its shared memory behind, and that goes with the folder.
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
             dynamic_shared_memory_type = mmap\n{}\n",
            settings.join("\n")
        );
        std::fs::write(self.data().join("more.conf"), own).expect("settings");
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn up(&self) {
        let log = self.folder.path().join("log");
        self.run("pg_ctl", &["-w", "-l", &log.to_string_lossy(), "start"]);
    }

    /// Ends the server and all its processes at once, as a power cut of the machine would, but for the disk's cache.
    pub fn kill(&self) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("pid");
        let pid = file.lines().next().expect("pid").to_owned();
        let children =
            Command::new("ps").args(["--ppid", &pid, "-o", "pid="]).output().expect("ps");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let pids = children.split_whitespace().chain([pid.as_str()]);
        Command::new("kill").arg("-9").args(pids).status().expect("kill");
        let gone = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < gone {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn run(&self, program: &str, arguments: &[&str]) {
        let program = bin().join(program);
        let as_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt as _;
            own.uid() == 0
        });
        let mut command = match as_root {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        let data = self.data();
        command.arg("-D").arg(data).args(arguments).current_dir(self.folder.path());
        // A server that keeps our pipe would keep us waiting for its end.
        let log = std::fs::File::create(self.folder.path().join("output")).expect("output");
        let status =
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("output")).stderr(log);
        let status = status.status().expect("PostgreSQL's programs are needed, 15 or later");
        let output = std::fs::read_to_string(self.folder.path().join("output")).expect("output");
        assert!(status.success(), "{output}");
    }

    pub fn dsn(&self) -> String {
        format!("postgres://admin@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.kill();
        }
    }
}

/// Where the server's programs are: in the path, or where Debian keeps them.
pub fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    newest.max().unwrap_or_default()
}
