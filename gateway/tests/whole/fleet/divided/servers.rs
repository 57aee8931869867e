//! A Redis with two replicas, and the three sentinels that watch over them, on the sides of a network.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::network::Side;

const PORT: u16 = 6379;
const WATCHING: u16 = 26379;

/// So long that a slow machine is not taken for a dead one.
const SELDOM: &str = "60000";

pub(super) struct Server {
    pub(super) address: SocketAddrV4,
    child: Child,
    _directory: TempDir,
}

impl Server {
    /// Returns when its log has `ready`.
    fn start(side: &Side, port: u16, (flags, text, ready): (&[&str], &str, &str)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("redis.conf");
        let dir = directory.path().display();
        let text = format!("port {port}\nbind 0.0.0.0\nprotected-mode no\ndir {dir}\n{text}");
        std::fs::write(&path, text).unwrap();
        let mut child = Command::new("nsenter")
            .arg(format!("--net={}", side.place.display()))
            .arg("redis-server")
            .arg(&path)
            .args(flags)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("redis-server is missing: run scripts/prepare build");
        let log = BufReader::new(child.stdout.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line.contains(ready));
        // It goes on to write, and must not be stopped by nobody reading.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self {
            address: SocketAddrV4::new(side.address, port),
            child,
            _directory: directory,
        };
        assert!(is_ready, "a server did not start");
        server
    }

    /// One that nobody watches over.
    pub(super) fn alone(side: &Side) -> Self {
        let text = "save \"\"\nappendonly yes\nmaxmemory-policy noeviction\n";
        Self::start(side, PORT, (&[], text, "eady to accept connections"))
    }

    /// As the documents say that one is set up.
    fn master(side: &Side) -> Self {
        Self::one_of_three(side, PORT, "")
    }

    fn replica(side: &Side, port: u16, of: &Self) -> Self {
        let (host, its_port) = (of.address.ip(), of.address.port());
        Self::one_of_three(side, port, &format!("replicaof {host} {its_port}\n"))
    }

    fn one_of_three(side: &Side, port: u16, more: &str) -> Self {
        let text = format!(
            "save \"\"\nappendonly yes\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n\
             min-replicas-to-write 1\nmin-replicas-max-lag 1\n{more}"
        );
        Self::start(side, port, (&[], &text, "eady to accept connections"))
    }

    fn sentinel(side: &Side, port: u16, of: &Self) -> Self {
        let (host, its_port) = (of.address.ip(), of.address.port());
        let text = format!(
            "sentinel monitor main {host} {its_port} 2\n\
             sentinel down-after-milliseconds main {SELDOM}\n\
             sentinel failover-timeout main 10000\n"
        );
        Self::start(side, port, (&["--sentinel"], &text, "+monitor"))
    }

    /// An answer of several words is one text. An error is what the server says.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let asked = || {
            let mut socket = TcpStream::connect(self.address)?;
            // Ample: it is not cut off from this process.
            socket.set_read_timeout(Some(Duration::from_secs(20)))?;
            socket.write_all(command.as_bytes())?;
            read(&mut BufReader::new(socket))
        };
        let answer: std::io::Result<Result<String, String>> = asked();
        answer.unwrap_or_else(|error| Err(error.to_string()))
    }

    pub(super) fn is_master(&self) -> bool {
        self.ask(&["ROLE"])
            .is_ok_and(|role| role.starts_with("master"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: &mut BufReader<TcpStream>) -> std::io::Result<Result<String, String>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let (kind, rest) = (line.chars().next().unwrap_or('-'), line.trim_end());
    let rest = rest.get(1..).unwrap_or_default();
    let count: i64 = rest.parse().unwrap_or(0);
    match kind {
        '-' => Ok(Err(rest.to_owned())),
        '$' if count >= 0 => {
            let mut text = vec![0; usize::try_from(count).unwrap() + 2];
            from.read_exact(&mut text)?;
            let text = String::from_utf8_lossy(&text);
            Ok(Ok(text.trim_end_matches("\r\n").to_owned()))
        }
        '$' => Ok(Ok(String::new())),
        '*' => {
            let mut words = Vec::new();
            for _ in 0..count {
                words.push(read(from)?);
            }
            let words: Result<Vec<String>, String> = words.into_iter().collect();
            Ok(words.map(|words| words.join(" ")))
        }
        _ => Ok(Ok(rest.to_owned())),
    }
}

/// One that gives up its place to one of the others.
pub(super) struct Watched {
    pub(super) master: Server,
    pub(super) replicas: [Server; 2],
    pub(super) sentinels: [Server; 3],
}

impl Watched {
    /// The master is on the left, the others where they are said to be.
    pub(super) fn start(left: &Side, replicas: [&Side; 2], sentinels: [&Side; 3]) -> Self {
        let master = Server::master(left);
        let mut ports = PORT + 1..;
        let replicas = replicas.map(|side| Server::replica(side, ports.next().unwrap(), &master));
        let mut ports = WATCHING..;
        let sentinels =
            sentinels.map(|side| Server::sentinel(side, ports.next().unwrap(), &master));
        Self {
            master,
            replicas,
            sentinels,
        }
    }

    /// Each knows of all, and what is written is copied.
    pub(super) fn is_settled(&self) -> bool {
        let knows = |sentinel: &Server| {
            let told = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
            told.is_ok_and(|told| {
                told.contains("num-other-sentinels 2") && told.contains("num-slaves 2")
            })
        };
        self.sentinels.iter().all(knows) && self.master.ask(&["INCR", "probe"]).is_ok()
    }

    /// Whether a silent master is taken for dead at once.
    pub(super) fn look_closely(&self, closely: bool) {
        let after = if closely { "1000" } else { SELDOM };
        for sentinel in &self.sentinels {
            let set = ["SENTINEL", "SET", "main", "down-after-milliseconds", after];
            sentinel.ask(&set).unwrap();
        }
    }

    /// The one of the replicas that has taken its place.
    pub(super) fn heir(&self) -> Option<&Server> {
        self.replicas.iter().find(|replica| replica.is_master())
    }

    /// What a gateway's configuration says of them.
    pub(super) fn state(&self) -> String {
        let nodes = self.sentinels.each_ref();
        let nodes = nodes.map(|sentinel| format!("\"{}\"", sentinel.address));
        format!(
            "mode: sentinel, nodes: [{}], master_name: main, url: \"redis://sentinel/0\"",
            nodes.join(", ")
        )
    }
}
