//! Two servers, of which one is the master, and three sentinels that see to it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::Sentinel;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

struct Process {
    port: u16,
    child: Child,
    _directory: TempDir,
}

impl Process {
    /// Starts one on a free port, and returns when its log has `ready`. `write` makes its
    /// configuration.
    fn start(ready: &str, flags: &[&str], write: impl Fn(u16) -> String) -> Self {
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

    fn server(more: &str) -> Self {
        let text = format!("save \"\"\nrepl-diskless-sync-delay 0\n{more}");
        Self::start("eady to accept connections", &[], |_| text.clone())
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    fn is_master(&self) -> bool {
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
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Watched {
    servers: [Process; 2],
    sentinels: Vec<Process>,
}

impl Watched {
    fn start() -> Self {
        let master = Process::server("");
        let replica = Process::server(&format!("replicaof 127.0.0.1 {}\n", master.port));
        let sentinel = || {
            let watched = format!(
                "sentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main 1000\n\
                 sentinel failover-timeout main 5000\n",
                master.port
            );
            Process::start("+monitor", &["--sentinel"], |_| watched.clone())
        };
        let sentinels = vec![sentinel(), sentinel(), sentinel()];
        until("all know each other", || {
            sentinels.iter().all(|sentinel| {
                has(sentinel, "num-other-sentinels", "2") && has(sentinel, "num-slaves", "1")
            })
        });
        Self {
            servers: [master, replica],
            sentinels,
        }
    }

    fn options(&self) -> Options {
        let nodes = self.sentinels.iter();
        Options {
            // Nobody is there: the sentinels are asked.
            url: "redis://127.0.0.1:1/0".to_owned(),
            sentinel: Some(Sentinel {
                nodes: nodes
                    .map(|node| format!("127.0.0.1:{}", node.port))
                    .collect(),
                master: "main".to_owned(),
            }),
            deadline: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            ..Options::at("")
        }
    }
}

/// Whether a sentinel says this of the master.
fn has(sentinel: &Process, key: &str, value: &str) -> bool {
    let told = sentinel.ask(&["SENTINEL", "MASTER", "main"]).unwrap();
    let told: std::collections::HashMap<String, String> = redis::from_redis_value(told).unwrap();
    told[key] == value
}

/// Whether a write came to this server.
fn writes_come_to(server: &Process, store: &Redis) -> bool {
    let before = ["GET", "turnpike:1:{kind}:version"];
    let before = server
        .is_master()
        .then(|| server.ask(&before).ok())
        .flatten();
    let written = put(store, "k", None);
    let now = server.ask(&["GET", "turnpike:1:{kind}:version"]).ok();
    server.is_master() && written.is_ok() && now.is_some() && now != before
}

#[test]
fn the_store_follows_the_master() {
    let mut watched = Watched::start();
    let store = Redis::open(&watched.options()).unwrap();
    assert!(put(&store, "k", None).unwrap().is_some());
    let place = block_on(store.post("topic", b"")).unwrap();
    assert!(writes_come_to(&watched.servers[0], &store));
    until("it is replicated", || {
        let copied = watched.servers[1].ask(&["EXISTS", "turnpike:1:{kind}:record:k"]);
        copied == Ok(redis::Value::Int(1))
    });

    // The master is lost.
    watched.servers[0].end();
    until("the other one takes its place", || {
        writes_come_to(&watched.servers[1], &store)
    });
    assert!(block_on(store.get("kind", "k")).unwrap().is_some());
    let news = block_on(store.since(place)).unwrap();
    assert!(news.gap, "notices may be lost with the old one");
}

#[test]
fn a_master_that_is_relieved_is_left() {
    let watched = Watched::start();
    let store = Redis::open(&watched.options()).unwrap();
    assert!(writes_come_to(&watched.servers[0], &store));
    until("the sentinels agree to it", || {
        let asked = watched.sentinels[0].ask(&["SENTINEL", "FAILOVER", "main"]);
        asked.is_ok()
    });
    until("the other one takes its place", || {
        writes_come_to(&watched.servers[1], &store)
    });
}

#[test]
fn a_master_that_nobody_knows() {
    let mut watched = Watched::start();
    let options = watched.options();
    let unknown = Options {
        sentinel: options.sentinel.clone().map(|sentinel| Sentinel {
            master: "other".to_owned(),
            ..sentinel
        }),
        ..options.clone()
    };
    let reason = |options: &Options| {
        let store = Redis::open(options).unwrap();
        match put(&store, "k", None) {
            Err(StoreError::Unavailable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let told = reason(&unknown);
    assert!(told.contains("knows the master `other`"), "{told}");
    assert!(told.contains("state.redis.master_name"), "{told}");
    watched.sentinels.iter_mut().for_each(Process::end);
    let told = reason(&options);
    assert!(told.contains("state.redis.nodes"), "{told}");
}

#[test]
fn sentinels_are_hosts_with_ports() {
    for (url, node) in [
        ("redis://127.0.0.1", "127.0.0.1"),
        ("redis://127.0.0.1", "127.0.0.1:port"),
        ("unix:///s", "127.0.0.1:26379"),
    ] {
        let options = Options {
            sentinel: Some(Sentinel {
                nodes: vec![node.to_owned()],
                master: "main".to_owned(),
            }),
            ..Options::at(url)
        };
        let refused = Redis::open(&options).err();
        assert!(
            matches!(refused, Some(SetupError::Sentinels)),
            "{url} {node}"
        );
    }
}
