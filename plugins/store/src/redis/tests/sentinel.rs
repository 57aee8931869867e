//! Two servers, of which one is the master, and three sentinels that see to it.

use super::process::{Process, until};
use super::*;
use crate::Servers;

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
            servers: Servers::Watched {
                sentinels: nodes.map(Process::address).collect(),
                master: "main".to_owned(),
            },
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
    let Servers::Watched { sentinels, .. } = options.servers.clone() else {
        panic!("there are sentinels");
    };
    let unknown = Options {
        servers: Servers::Watched {
            sentinels,
            master: "other".to_owned(),
        },
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
            servers: Servers::Watched {
                sentinels: vec![node.to_owned()],
                master: "main".to_owned(),
            },
            ..Options::at(url)
        };
        let refused = Redis::open(&options).err();
        assert!(matches!(refused, Some(SetupError::Nodes)), "{url} {node}");
    }
}
