//! A real network that is cut between the gateways: nothing comes through, and nobody is refused. Each
//! test runs as a process with networks of its own.

mod callers;
mod network;
mod servers;

use std::time::{Duration, Instant};

use futures::future::join_all;
use turnpike_loadtest::Behaviour;

use super::limits::limit;
use super::{SEALED_WITH, UPSTREAM, openai};
use crate::harness::KEY;
use callers::{Fleet, LOOK, PATIENCE, until};
use network::{Network, PROVIDER, apart_from_the_machine};
use servers::{Server, Watched};

/// What no call may take, however slow the machine: less than anything that has no deadline takes.
const LONGEST: Duration = Duration::from_secs(8);

/// How long a master that is cut off goes on to write: `min-replicas-max-lag 1`, to whole seconds, and
/// a second until it looks. The rest is for a slow machine.
const WRITES_ON: Duration = Duration::from_secs(10);

/// Of a gateway on either side. A Redis that answers late on a busy machine is not away.
fn yaml(state: &str, limits: &str) -> String {
    let provider = format!("http://127.0.0.1:{PROVIDER}");
    let credential = format!("{{api_key: {UPSTREAM}, label: main}}");
    format!(
        "server: {{port: 0, secret_key: {SEALED_WITH}}}\n\
         admin: {{port: 0}}\n\
         state: {{backend: redis, redis: {{{state}, deadline: 1s}}}}\n\
         max_retry_interval: 0\n\
         api_keys: [{{key: {KEY}, name: tests}}]\n{limits}{}",
        openai(&credential).replace("PROVIDER", &provider)
    )
}

/// What a server has of the one limit: all that was granted, all that was used.
fn kept(server: &Server) -> (u64, u64) {
    const KEPT: &str = "
        local key = redis.call('KEYS', 'tp1:1:{draws.*}:0:*|shared|*')[1]
        local sums = redis.call('HMGET', key, 'total', 'used')
        return sums[1] .. ' ' .. sums[2]";
    let kept = server.ask(&["EVAL", KEPT, "0"]).unwrap();
    let (total, used) = kept.split_once(' ').unwrap();
    (total.parse().unwrap(), used.parse().unwrap())
}

/// What was granted to each replica.
fn granted(server: &Server) -> Vec<(String, u64)> {
    const ENTRIES: &str = "
        local key = redis.call('KEYS', 'tp1:1:{draws.*}:0:*|shared|*')[1]
        return redis.call('HGETALL', key)";
    let told = server.ask(&["EVAL", ENTRIES, "0"]).unwrap();
    let mut words = told.split(' ');
    let mut granted = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with('=') {
            let total = words.nth(1).unwrap().parse().unwrap();
            granted.push((word.to_owned(), total));
        }
    }
    granted
}

/// What the one server granted and the other one does not know.
fn forgotten(old: &Server, new: &Server) -> u64 {
    let new = granted(new);
    let known = |name: &str| {
        let entry = new.iter().find(|(of, _)| of == name);
        entry.map_or(0, |(_, total)| *total)
    };
    let old = granted(old).into_iter();
    old.map(|(name, total)| total.saturating_sub(known(&name)))
        .sum()
}

/// Writes to a server for as long as it takes them. Answers with how many it took, and until when.
async fn write_until_refused(server: &Server) -> (u64, Instant) {
    let (mut written, mut last) = (0, Instant::now());
    while last.elapsed() < PATIENCE {
        match server.ask(&["INCR", "probe"]) {
            Ok(count) => (written, last) = (count.parse().unwrap(), Instant::now()),
            Err(why) if why.starts_with("NOREPLICAS") => break,
            Err(why) => panic!("{why}"),
        }
        tokio::time::sleep(LOOK).await;
    }
    (written, last)
}

#[test]
fn the_master_is_cut_off_with_a_gateway() {
    apart_from_the_machine("fleet::divided::a_master_alone_with_a_gateway");
}

/// A fail-over on the other side: what the old master granted in its last seconds is admitted once more,
/// and nothing beyond; and all is known when the sides are one again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in networks of its own"]
async fn a_master_alone_with_a_gateway() {
    const MOST: u64 = 2_500;
    let network = Network::lay();
    let (left, right) = (&network.left, &network.right);
    let watched = Watched::start(left, [right, right], [left, right, right]);
    until("all servers know each other", async || watched.is_settled()).await;
    let limits = limit("requests", "window: total, ", MOST, "deny");
    let fleet = Fleet::start(&yaml(&watched.state(), &limits), &[left, right, right]).await;
    fleet.know_each_other().await;
    let calling = fleet.call_on();
    fleet.admit_more(&[0, 1, 2], 50).await;

    let began = Instant::now();
    let divided = async {
        network.cut();
        watched.look_closely(true);
        fleet.until_refused(0, 503, "limits_unavailable").await;
        until("there is another master", async || watched.heir().is_some()).await;
        watched.look_closely(false);
        // Those beside it go on without anybody's help, to the end of the limit.
        fleet.admit_more(&[1, 2], 20).await;
        fleet.spend_the_rest(&[1, 2]).await;
    };
    let ((), (written, last)) = futures::join!(divided, write_until_refused(&watched.master));
    let heir = watched.heir().unwrap();
    let lost = forgotten(&watched.master, heir);
    let known: u64 = heir.ask(&["GET", "probe"]).unwrap().parse().unwrap();
    let wrote_on = last.saturating_duration_since(began);
    println!(
        "the old master wrote on for {wrote_on:?}, {} writes were lost",
        written.saturating_sub(known)
    );
    assert!(wrote_on <= WRITES_ON, "{wrote_on:?}");

    network.mend();
    fleet.until_refused(0, 403, "insufficient_quota").await;
    until("the old master has given up", async || {
        let copied = watched.master.ask(&["GET", "probe"]);
        !watched.master.is_master() && copied == Ok(known.to_string())
    })
    .await;
    let longest = calling.end().await;
    fleet.spend_the_rest(&[0, 1, 2]).await;
    let admitted = fleet.admitted();
    println!(
        "of {MOST}, {admitted} were admitted; {lost} granted twice at most; the longest call {longest:?}"
    );
    assert!(longest <= LONGEST, "{longest:?}");
    assert!(admitted <= MOST + lost, "{admitted} with {lost}");
    assert!(admitted >= MOST, "{admitted}");
    assert_eq!(fleet.billed(), admitted);
    fleet.stop().await;
    assert_eq!(kept(heir), (admitted, admitted), "to the last call");
}

#[test]
fn gateways_are_cut_off_with_the_minority() {
    apart_from_the_machine("fleet::divided::gateways_with_the_minority");
}

/// There is nothing to fail over to: they spend their shares.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in networks of its own"]
async fn gateways_with_the_minority() {
    const MOST: u64 = 900;
    /// Of the two of three that are cut off.
    const SHARES: u64 = MOST * 2 / 3;
    let network = Network::lay();
    let (left, right) = (&network.left, &network.right);
    let watched = Watched::start(left, [left, right], [left, left, right]);
    until("all servers know each other", async || watched.is_settled()).await;
    let limits = limit("requests", "window: total, ", MOST, "local_share");
    let fleet = Fleet::start(&yaml(&watched.state(), &limits), &[left, right, right]).await;
    fleet.know_each_other().await;
    let calling = fleet.call_on();
    fleet.admit_more(&[0, 1, 2], 20).await;

    network.cut();
    watched.look_closely(true);
    for at in [1, 2] {
        until("it notices", async || fleet.is_away(at).await).await;
    }
    for at in [0, 1, 2] {
        fleet.until_refused(at, 403, "insufficient_quota").await;
    }
    until("it is where the master is", async || {
        !fleet.is_away(0).await
    })
    .await;
    assert!(watched.heir().is_none(), "a minority chooses nobody");
    let longest = calling.end().await;
    let admitted = fleet.admitted();
    println!("of {MOST}, {admitted} were admitted; the longest call {longest:?}");
    assert!(longest <= LONGEST, "{longest:?}");
    assert!(admitted <= MOST + SHARES, "{admitted}");

    watched.look_closely(false);
    network.mend();
    for at in [1, 2] {
        until("it recovers by itself", async || !fleet.is_away(at).await).await;
    }
    fleet.spend_the_rest(&[0, 1, 2]).await;
    let admitted = fleet.admitted();
    assert!(admitted <= MOST + SHARES, "{admitted}");
    assert!(admitted * 100 >= MOST * 99, "{admitted}");
    assert_eq!(fleet.billed(), admitted);
    fleet.stop().await;
    assert_eq!(
        kept(&watched.master),
        (admitted, admitted),
        "to the last call"
    );
}

#[test]
fn calls_run_on_the_other_side() {
    apart_from_the_machine("fleet::divided::calls_on_the_other_side");
}

/// Their places are somebody else's when the lease of who made them is over; and when they end, nothing is
/// left of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in networks of its own"]
async fn calls_on_the_other_side() {
    const MOST: usize = 4;
    let network = Network::lay();
    let (left, right) = (&network.left, &network.right);
    let redis = Server::alone(left);
    let state = format!("url: \"redis://{}\"", redis.address);
    let limits = limit("concurrency", "", MOST as u64, "deny");
    let fleet = Fleet::start(&yaml(&state, &limits), &[left, right]).await;
    let held = || -> usize { redis.ask(&["EVAL", HELD, "0"]).unwrap().parse().unwrap() };
    fleet.know_each_other().await;
    for side in [left, right] {
        side.provider.always(UPSTREAM, Behaviour::Gated);
    }
    let gates = [left, right].map(|side| side.provider.gate(UPSTREAM));
    let running = join_all((0..MOST).map(|_| fleet.until_admitted(1)));
    let beside = async {
        until("all run", async || right.provider.calls().len() == MOST).await;
        assert_eq!(fleet.chat(0).await.status, 429);
        network.cut();
        until("it notices", async || fleet.is_away(1).await).await;
        // It knows of no place as long as its lease goes on, and of nothing afterwards.
        assert!([429, 503].contains(&fleet.chat(1).await.status));
        // When the lease is over, all of them are had, and no more.
        let heirs = join_all((0..MOST).map(|_| fleet.until_admitted(0)));
        let watching = async {
            until("they are somebody else's", async || {
                assert!(held() <= MOST);
                left.provider.calls().len() == MOST
            })
            .await;
            assert_eq!(fleet.chat(0).await.status, 429);
            network.mend();
            until("it recovers by itself", async || !fleet.is_away(1).await).await;
            for gate in &gates {
                gate.open();
            }
        };
        futures::join!(heirs, watching);
    };
    futures::join!(running, beside);
    for at in [0, 1] {
        join_all((0..MOST).map(|_| fleet.until_admitted(at))).await;
    }
    until("nothing is held of what does not run", async || held() == 0).await;
    fleet.stop().await;
}

/// What replicas hold of the one limit of running calls.
const HELD: &str = "
    local time = redis.call('TIME')
    local held, now = 0, time[1] * 1000
    for _, key in ipairs(redis.call('KEYS', 'tp1:1:{draws.*}:*|shared|*')) do
      for _, entry in ipairs(redis.call('HVALS', key)) do
        local total, till = string.match(entry, '^%d+ (%d+) %d+ (%d+)$')
        if tonumber(till) > now then held = held + total end
      end
    end
    return tostring(held)";
