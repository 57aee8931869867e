//! Three servers that are one cluster.

use turnpike_api::testing::conforming_draws;

use super::process::{Process, until};
use super::*;
use crate::Servers;

pub(super) struct Cluster([Process; 3]);

/// So many there are.
const SLOTS: u16 = 16_384;

impl Cluster {
    pub(super) fn start() -> Self {
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

    pub(super) fn store(&self) -> Redis {
        Redis::open(&Options {
            servers: Servers::Cluster(self.0.iter().map(Process::address).collect()),
            deadline: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            // Nobody is there: the nodes are asked.
            ..Options::at("redis://127.0.0.1:1")
        })
        .unwrap()
    }

    /// Moves the key's slot with all that is in it to the next node. Returns which that is.
    pub(super) fn give_away(&self, key: &str) -> usize {
        self.give_away_and(key, || {})
    }

    /// The same, and does `meanwhile` when all of it is there and nobody has said so.
    fn give_away_and(&self, key: &str, meanwhile: impl FnOnce()) -> usize {
        let (from, slot) = self.home(key);
        let to = (from + 1) % 3;
        let (source, target) = (&self.0[from], &self.0[to]);
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
        loop {
            let keys = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
            let keys: Vec<String> = redis::from_redis_value(keys.unwrap()).unwrap();
            if keys.is_empty() {
                break;
            }
            for key in &keys {
                source
                    .ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
                    .unwrap();
            }
        }
        meanwhile();
        for node in [target, source] {
            set(node, &["NODE", &ids[1]]);
        }
        to
    }

    /// What this node keeps of the one limit with this tag: all that was granted, all that was used.
    pub(super) fn kept(&self, node: usize, tag: &str) -> (u64, u64) {
        let ask = |words: &[&str]| self.0[node].ask(words).unwrap();
        let any = format!("turnpike:1:{tag}:0:*|requests|*");
        let keys: Vec<String> = redis::from_redis_value(ask(&["KEYS", &any])).unwrap();
        assert_eq!(keys.len(), 1, "{keys:?}");
        redis::from_redis_value(ask(&["HMGET", &keys[0], "total", "used"])).unwrap()
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
    conforming_draws(&cluster);
}

#[test]
fn slots_move_while_it_is_used() {
    let cluster = Cluster::start();
    let store = cluster.store();
    for at in 0..20 {
        put(&store, &at.to_string(), None).unwrap();
    }
    let half = || assert!(put(&store, "5", None).unwrap().is_some(), "it is asked for");
    cluster.give_away_and("{kind}", half);
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
