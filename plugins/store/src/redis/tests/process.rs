//! Real servers on ports of their own, for those that speak with each other.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::{AGE, signalled};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Process {
    pub(super) port: u16,
    child: Child,
    _directory: TempDir,
}

impl Process {
    /// Starts one on a free port, and returns when its log has `ready`. `write` makes its
    /// configuration.
    pub(super) fn start(ready: &str, flags: &[&str], write: impl Fn(u16) -> String) -> Self {
        loop {
            // Somebody may take the port in between.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("redis.conf");
            let dir = directory.path().display();
            let text = format!("port {port}\nbind 127.0.0.1\ndir {dir}\n{}", write(port));
            std::fs::write(&path, text).unwrap();
            let mut child = Command::new("redis-server")
                .arg(&path)
                .args(flags)
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()
                .expect("redis-server is missing: run scripts/prepare build");
            let log = BufReader::new(child.stdout.take().unwrap());
            let mut lines = log.lines().map_while(Result::ok);
            let is_ready = lines.any(|line| line.contains(ready));
            let mut process = Self {
                port,
                child,
                _directory: directory,
            };
            if is_ready {
                // It goes on to write, and must not be stopped by nobody reading.
                std::thread::spawn(move || lines.for_each(drop));
                return process;
            }
            process.end();
        }
    }

    pub(super) fn server(more: &str) -> Self {
        let text = format!("save \"\"\nrepl-diskless-sync-delay 0\n{more}");
        Self::start("eady to accept connections", &[], |_| text.clone())
    }

    pub(super) fn end(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(super) fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// Lets everything that ends end so much sooner.
    pub(super) fn age(&self, by: Duration) {
        let by = by.as_millis().to_string();
        self.ask(&["EVAL", AGE, "0", &by]).unwrap();
    }

    /// `STOP` or `CONT`; returns when it has.
    pub(super) fn signal(&self, name: &str) {
        signalled(self.child.id(), name);
    }

    /// `host:port`.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn is_master(&self) -> bool {
        let role = self.ask(&["ROLE"]);
        format!("{role:?}").contains("master")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers and sentinels tell a test nothing by themselves, and are not to be kept from their work"
)]
pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
