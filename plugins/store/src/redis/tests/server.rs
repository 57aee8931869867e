//! A real server on a socket of its own, which a test may do anything to.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use turnpike_api::Secret;

use super::super::{Options, Redis};

/// Ample: what a test is not about must not fail for want of speed.
const AMPLE: Duration = Duration::from_secs(20);

/// A place for a server, and the one that runs there, if any.
pub(super) struct Server {
    directory: TempDir,
    running: Option<Child>,
}

impl Server {
    /// Where one could be.
    pub(super) fn absent() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            running: None,
        }
    }

    pub(super) fn running() -> Self {
        let mut server = Self::absent();
        server.start();
        server
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Starts an empty one, and returns when it takes commands.
    pub(super) fn start(&mut self) {
        assert!(
            self.start_with(&["--port", "0"]),
            "redis-server did not start"
        );
    }

    /// With TLS and its own certificate, on a free port, which it answers with. Where there are
    /// authorities of clients, those have to show a certificate.
    pub(super) fn start_with_tls(
        &mut self,
        certificate: &str,
        key: &str,
        clients: Option<&str>,
    ) -> u16 {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let (cert_file, key_file, ca_file) = (file("a.crt"), file("a.key"), file("ca.crt"));
        std::fs::write(&cert_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        std::fs::write(&ca_file, clients.unwrap_or(certificate)).unwrap();
        let auth = if clients.is_some() { "yes" } else { "no" };
        loop {
            // Somebody may take the port in between.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let number = port.to_string();
            let listening = ["--port", "0", "--bind", "127.0.0.1", "--tls-port", &number];
            let files = ["--tls-cert-file", &cert_file, "--tls-key-file", &key_file];
            let clients = ["--tls-ca-cert-file", &ca_file, "--tls-auth-clients", auth];
            if self.start_with(&[&listening[..], &files, &clients].concat()) {
                break port;
            }
        }
    }

    /// Whether it came so far as to take commands.
    fn start_with(&mut self, listening: &[&str]) -> bool {
        self.end();
        let mut child = Command::new("redis-server")
            .args(listening)
            .args(["--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("redis-server is missing: run scripts/prepare build");
        let log = BufReader::new(child.stdout.as_mut().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line.contains("eady to accept connections"));
        self.running = Some(child);
        is_ready
    }

    /// At once, as by a machine that loses power.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `STOP` or `CONT`; returns when it has.
    pub(super) fn signal(&self, name: &str) {
        signalled(self.running.as_ref().unwrap().id(), name);
    }

    pub(super) fn options(&self) -> Options {
        Options {
            deadline: AMPLE,
            connect_timeout: AMPLE,
            ..Options::at(format!("unix://{}", self.socket().display()))
        }
    }

    /// A store that waits for as long as it takes.
    pub(super) fn store(&self) -> Redis {
        Redis::open(&self.options()).unwrap()
    }

    /// A store as it is in a gateway.
    pub(super) fn hasty(&self) -> Redis {
        let options = Options::at(self.options().url);
        Redis::open(&options).unwrap()
    }

    pub(super) fn with_password(&self, password: &str) -> Redis {
        let options = Options {
            password: Some(Secret::new(password)),
            ..self.options()
        };
        Redis::open(&options).unwrap()
    }

    /// Asks the server itself.
    pub(super) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.options().url).unwrap();
        let mut connection = client.get_connection().unwrap();
        let (name, args) = command.split_first().unwrap();
        redis::cmd(name).arg(args).query(&mut connection).unwrap()
    }

    /// Lets everything that ends end so much sooner. The server's own clock cannot be set.
    pub(super) fn age(&self, by: Duration) {
        let by = by.as_millis().to_string();
        let _: u8 = self.ask(&["EVAL", AGE, "0", &by]);
    }
}

/// Sends a process `STOP` or `CONT`, and waits until it has it.
pub(super) fn signalled(pid: u32, name: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
    let stat = format!("/proc/{pid}/stat");
    let is_stopped = || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    while is_stopped() != (name == "STOP") {
        std::thread::yield_now();
    }
}

pub(super) const AGE: &str = "
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'zset' and string.find(key, '{fleet}', 1, true) then
    for _, replica in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, -ARGV[1], replica)
    end
  elseif kind == 'hash' and string.find(key, '{fleet}', 1, true) then
    redis.call('HINCRBY', key, 'since', -ARGV[1])
  elseif kind == 'hash' and string.find(key, '{draws.', 1, true) then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local entry, till = string.match(redis.call('HGET', key, field), '^(%d+ %d+ %d+) (%d+)$')
      if till then redis.call('HSET', key, field, entry .. string.format(' %.0f', till - ARGV[1])) end
    end
  end
end
return 1
";

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
