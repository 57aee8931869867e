//! Three servers that are one cluster.

use super::process::{Process, until};
use super::*;
use crate::Servers;

struct Cluster([Process; 3]);

/// So many there are.
const SLOTS: u16 = 16_384;

impl Cluster {
    fn start() -> Self {
        let node = || Process::server("cluster-enabled yes\ncluster-node-timeout 5000\n");
        let cluster = Self([node(), node(), node()]);
        let first = cluster.0[0].port.to_string();
        for (at, node) in (0u16..).zip(&cluster.0) {
            let (from, to) = (at * SLOTS / 3, (at + 1) * SLOTS / 3 - 1);
            let range = [from.to_string(), to.to_string()];
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]])
                .unwrap();
            if at > 0 {
                node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first]).unwrap();
            }
        }
        until("all are one", || {
            cluster.0.iter().all(|node| {
                let info = format!("{:?}", node.ask(&["CLUSTER", "INFO"]));
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        });
        cluster
    }

    fn store(&self) -> Redis {
        Redis::open(&Options {
            servers: Servers::Cluster(self.0.iter().map(Process::address).collect()),
            deadline: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            // Nobody is there: the nodes are asked.
            ..Options::at("redis://127.0.0.1:1")
        })
        .unwrap()
    }

    /// The node that has a key, and the key's slot.
    fn home(&self, key: &str) -> (usize, u16) {
        let slot: u16 =
            redis::from_redis_value(self.0[0].ask(&["CLUSTER", "KEYSLOT", key]).unwrap()).unwrap();
        let at = (0..3).find(|at| (at + 1) * u64::from(SLOTS) / 3 > u64::from(slot));
        (usize::try_from(at.unwrap()).unwrap(), slot)
    }
}

impl StoreBench for Cluster {
    fn open(&self) -> Box<dyn Store> {
        for node in &self.0 {
            node.ask(&["FLUSHALL"]).unwrap();
        }
        whole(self.store())
    }

    fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        drop(store);
        whole(self.store())
    }

    fn beside(&self) -> Box<dyn Store> {
        whole(self.store())
    }

    fn advance(&self, by: Duration) {
        for node in &self.0 {
            node.age(by);
        }
    }
}

#[test]
fn usage_adds_up() {
    let cluster = Cluster::start();
    usage::adds_up(|| cluster.store());
}

#[test]
fn a_cluster_keeps_the_rules_too() {
    let cluster = Cluster::start();
    conforming_directory(&cluster);
    conforming_bulletin(&cluster);
}

#[test]
fn slots_move_while_it_is_used() {
    let cluster = Cluster::start();
    let store = cluster.store();
    for at in 0..20 {
        put(&store, &at.to_string(), None).unwrap();
    }
    let (from, slot) = cluster.home("{kind}");
    let (source, target) = (&cluster.0[from], &cluster.0[(from + 1) % 3]);
    let id = |node: &Process| -> String {
        redis::from_redis_value(node.ask(&["CLUSTER", "MYID"]).unwrap()).unwrap()
    };
    let (slot, ids) = (slot.to_string(), [id(source), id(target)]);
    let port = target.port.to_string();
    let set = |node: &Process, words: &[&str]| {
        let command = [&["CLUSTER", "SETSLOT", &slot], words].concat();
        node.ask(&command).unwrap();
    };
    set(target, &["IMPORTING", &ids[0]]);
    set(source, &["MIGRATING", &ids[1]]);
    let keys: Vec<String> = redis::from_redis_value(
        source
            .ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"])
            .unwrap(),
    )
    .unwrap();
    assert!(keys.len() > 20);
    for key in &keys {
        source
            .ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
            .unwrap();
    }
    // All of it is there already, and nobody has said so.
    assert!(put(&store, "5", None).unwrap().is_some(), "it is asked for");
    for node in [target, source] {
        set(node, &["NODE", &ids[1]]);
    }
    assert!(put(&store, "6", None).unwrap().is_some(), "it has moved");
    assert_eq!(block_on(store.list("kind")).unwrap().len(), 20);
}

/// Nothing else is kept from what belongs to the others.
#[test]
fn a_node_is_frozen() {
    let cluster = Cluster::start();
    let hasty = Redis::open(&Options {
        servers: Servers::Cluster(cluster.0.iter().map(Process::address).collect()),
        ..Options::at("redis://127.0.0.1:1")
    })
    .unwrap();
    let store = cluster.store();
    assert!(put(&store, "k", None).unwrap().is_some());
    let (home, _) = cluster.home("{kind}");
    cluster.0[home].signal("STOP");
    let reason = match put(&hasty, "k", None) {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("gave no answer"), "{reason}");
    cluster.0[home].signal("CONT");
    until("it is back", || put(&hasty, "k", None).is_ok());
    assert!(put(&store, "k", None).unwrap().is_some());
}
