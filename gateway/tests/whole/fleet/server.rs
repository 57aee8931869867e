//! A real Redis on a socket of its own, which a test may do anything to.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A place for a server, and the one that runs there, if any. Whatever is written there is in its
/// append-only file.
pub(crate) struct Server {
    directory: TempDir,
    running: Option<Child>,
}

impl Server {
    /// Where one could be.
    pub(crate) fn absent() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            running: None,
        }
    }

    pub(crate) fn running() -> Self {
        let mut server = Self::absent();
        server.start();
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts one with what the one before has left, and returns when it takes commands.
    pub(crate) fn start(&mut self) {
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes"])
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
        assert!(is_ready, "redis-server did not start");
    }

    /// At once, as by a machine that loses power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Whatever it kept is gone.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.directory.path().join("appendonlydir")).unwrap();
    }

    /// `STOP` or `CONT`; returns when it has.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.running.as_ref().unwrap().id().to_string();
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

    /// Everything that was ever written there.
    pub(crate) fn written(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory.path().join("appendonlydir"));
        let files = files.into_iter().flatten().map(|file| file.unwrap().path());
        files
            .flat_map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// Asks the server itself; the answer is a line or a text.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket.write_all(command.as_bytes()).unwrap();
        let mut answer = BufReader::new(socket);
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        let Some(length) = line.strip_prefix('$') else {
            assert!(!line.starts_with('-'), "{words:?}: {line}");
            return line[1..].trim_end().to_owned();
        };
        let mut text = vec![0; length.trim_end().parse().unwrap()];
        answer.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Lets everything that ends end so much sooner. The server's own clock cannot be set.
    pub(crate) fn age(&self, by: Duration) {
        self.ask(&["EVAL", AGE, "0", &by.as_millis().to_string()]);
    }
}

const AGE: &str = "
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
return 1
";

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
