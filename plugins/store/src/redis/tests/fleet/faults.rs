//! What happens to a shared limit while something happens to its store, or to a replica.

use tokio::time::sleep;
use turnpike_limits::Expected;

use super::super::cluster::Cluster;
use super::load::{Fleet, Load, REPLICAS, on_one_thread};
use super::*;

const CALLS: u64 = 60_000;
/// Less than there are calls.
const MOST: u64 = 40_000;

fn requests() -> Rule {
    rule(Measure::Requests, Window::Total, MOST)
}

/// For about as many calls, which use some 300 of 500 that are expected.
fn tokens() -> Rule {
    rule(Measure::Tokens, Window::Total, MOST * 300)
}

/// The load on a fleet, while something happens to it.
struct Scene {
    fleet: Fleet,
    load: Arc<Load>,
    running: JoinHandle<()>,
}

impl Scene {
    async fn at_a_quarter(rule: Rule, lease: Duration, open: fn(&Server) -> Redis) -> Self {
        Self::at(CALLS / 4, rule, lease, open).await
    }

    async fn at(calls: u64, rule: Rule, lease: Duration, open: fn(&Server) -> Redis) -> Self {
        let fleet = Fleet::start(rule.clone(), lease, open);
        let load = Load::new(rule);
        let (runs, replicas) = (load.clone(), fleet.replicas.clone());
        let running = tokio::spawn(async move { runs.run(&replicas, CALLS).await });
        load.has_begun(calls).await;
        Self {
            fleet,
            load,
            running,
        }
    }

    /// The calls that are left, and as many more as bring all to the limit once it goes on.
    async fn run_on(&mut self) {
        (&mut self.running).await.unwrap();
        for replica in &self.fleet.replicas {
            self.load.until_admitted(replica).await;
        }
        self.load.run(&self.fleet.replicas, CALLS).await;
        self.fleet.close().await;
    }

    /// Nothing was granted twice, next to nothing was not, and what each call used is known to the
    /// server. Beyond the limit is only what calls used beyond what was expected of them.
    fn is_exact(&self, what: &str) {
        let outcome = self.load.outcome();
        let (rounds, failed) = (self.fleet.rounds(), self.fleet.failed());
        eprintln!("{what}: {outcome:?}, {rounds} round trips, {failed} failed");
        let most = self.load.rule().limit.most;
        // A round ends by its deadline, and whoever waits for it hears so then.
        assert!(outcome.waited <= 1, "{outcome:?}");
        assert!(outcome.most_charged <= most, "{outcome:?}");
        assert!(outcome.used <= most + outcome.beyond, "{outcome:?}");
        assert!(outcome.used * 100 >= most * 99, "{outcome:?}");
        assert_eq!(self.fleet.kept(), (outcome.used, outcome.used));
    }
}

async fn frozen(rule: Rule) {
    let mut scene = Scene::at_a_quarter(rule, LEASE, Server::hasty).await;
    scene.fleet.server.signal("STOP");
    scene.fleet.are_away(true).await;
    // There are more calls to come than can have been granted before.
    while scene.load.outcome().away == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    scene.fleet.server.signal("CONT");
    scene.run_on().await;
    scene.is_exact("frozen");
}

#[test]
fn the_server_is_frozen() {
    on_one_thread(frozen(requests()));
}

#[test]
fn the_server_is_frozen_that_counts_tokens() {
    on_one_thread(frozen(tokens()));
}

/// Little is granted ahead of need there: many wait for a round that gets no answer.
#[test]
fn the_server_is_frozen_near_the_limit() {
    on_one_thread(async {
        let near = MOST * 97 / 100;
        let mut scene = Scene::at(near, requests(), LEASE, Server::hasty).await;
        scene.fleet.server.signal("STOP");
        scene.fleet.are_away(true).await;
        (&mut scene.running).await.unwrap();
        scene.fleet.server.signal("CONT");
        scene.fleet.are_away(false).await;
        scene.load.run(&scene.fleet.replicas, CALLS).await;
        scene.fleet.close().await;
        scene.is_exact("frozen near the limit");
    });
}

#[test]
fn the_server_is_paused() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, Server::hasty).await;
        let () = scene.fleet.server.ask(&["CLIENT", "PAUSE", "3000", "ALL"]);
        scene.fleet.are_away(true).await;
        scene.run_on().await;
        assert!(scene.fleet.failed() > 0);
        scene.is_exact("paused");
    });
}

/// Everybody is still there who had been granted anything: nothing is granted twice.
async fn started_empty(rule: Rule) {
    let mut scene = Scene::at_a_quarter(rule, LEASE, Server::store).await;
    scene.fleet.server.end();
    scene.fleet.are_away(true).await;
    scene.fleet.server.start();
    scene.run_on().await;
    assert!(scene.fleet.failed() > 0);
    scene.is_exact("started empty");
}

#[test]
fn the_server_is_killed_and_started_empty() {
    on_one_thread(started_empty(requests()));
}

#[test]
fn the_server_is_killed_and_started_empty_that_counts_tokens() {
    on_one_thread(started_empty(tokens()));
}

/// What was used by a replica that has ended, a Redis that lost it hears of nobody: so much may be
/// admitted once more, and not a call beyond.
#[test]
fn the_server_is_started_empty_after_a_replica_was_killed() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, Server::store).await;
        let dead = scene.fleet.replicas.remove(0);
        dead.kill();
        scene.fleet.server.end();
        scene.fleet.are_away(true).await;
        scene.fleet.server.start();
        scene.run_on().await;
        let admitted = scene.load.outcome().admitted;
        let others = admitted - dead.admitted();
        eprintln!("started empty: {admitted} admitted, {others} of others");
        assert!(others <= MOST, "{others}");
        assert_eq!(scene.fleet.kept(), (others, others));
    });
}

/// It answers, and takes no more: as good as one that is away.
#[test]
fn the_server_is_out_of_memory() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, Server::store).await;
        let maxmemory = |bytes: &str| {
            let () = scene
                .fleet
                .server
                .ask(&["CONFIG", "SET", "maxmemory", bytes]);
        };
        maxmemory("1");
        scene.fleet.are_away(true).await;
        // There are more calls to come than can have been granted before.
        while scene.load.outcome().away == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        maxmemory("0");
        scene.run_on().await;
        assert!(scene.fleet.failed() > 0);
        scene.is_exact("out of memory");
    });
}

/// What the one user has for a password from now on.
fn has_for_password(server: &Server, password: &str) {
    let password = format!(">{password}");
    let user = ["ACL", "SETUSER", "gateway", "on", "resetpass", &password];
    let () = server.ask(&[&user[..], &["~*", "+@all"]].concat());
}

/// A store that logs in as this user.
fn logged_in(server: &Server) -> Redis {
    has_for_password(server, "right");
    let options = Options {
        username: "gateway".to_owned(),
        password: Some(turnpike_api::Secret::new("right")),
        ..server.options()
    };
    Redis::open(&options).unwrap()
}

/// Everybody is sent away, and let in again when the password is what it was.
#[test]
fn the_password_is_changed() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, logged_in).await;
        has_for_password(&scene.fleet.server, "another");
        let kill = ["CLIENT", "KILL", "TYPE", "normal"];
        let killed: usize = scene.fleet.server.ask(&kill);
        assert!(killed >= REPLICAS, "{killed}");
        scene.fleet.are_away(true).await;
        // There are more calls to come than can have been granted before.
        while scene.load.outcome().away == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let admitted = scene.load.outcome().admitted;
        assert!(admitted < MOST, "{admitted}: there was something left");
        has_for_password(&scene.fleet.server, "right");
        scene.run_on().await;
        assert!(scene.fleet.failed() >= REPLICAS as u64);
        scene.is_exact("wrong password");
    });
}

/// What is kept of the limit moves to another node of a cluster, key by key, while it is drawn from.
#[test]
fn the_limit_moves_to_another_node() {
    on_one_thread(async {
        let cluster = Arc::new(Cluster::start());
        let start = |at| Replica::start(format!("replica-{at}"), cluster.store(), LEASE);
        let replicas: Vec<_> = (0..3).map(start).collect();
        let load = Load::new(requests());
        let (runs, callers) = (load.clone(), replicas.clone());
        let running = tokio::spawn(async move { runs.run(&callers, CALLS).await });
        load.has_begun(CALLS / 4).await;
        let moves = cluster.clone();
        let home = tokio::task::spawn_blocking(move || moves.give_away("{draws.acme}"));
        let home = home.await.unwrap();
        let before = load.outcome().admitted;
        running.await.unwrap();
        for replica in &replicas {
            load.until_admitted(replica).await;
        }
        load.run(&replicas, CALLS).await;
        for replica in &replicas {
            replica.close().await;
        }
        let outcome = load.outcome();
        eprintln!("moved: {before} admitted by then, {outcome:?}");
        assert!(before < MOST, "the limit was drawn from meanwhile");
        assert!(outcome.admitted <= MOST, "{outcome:?}");
        assert!(outcome.admitted * 100 >= MOST * 99, "{outcome:?}");
        let kept = cluster.kept(home, "{draws.acme}");
        assert_eq!(kept, (outcome.admitted, outcome.admitted));
    });
}

#[test]
fn the_server_forgets_its_scripts() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, Server::store).await;
        for part in 3..8 {
            let () = scene.fleet.server.ask(&["SCRIPT", "FLUSH"]);
            scene.load.has_begun(CALLS * part / 10).await;
        }
        (&mut scene.running).await.unwrap();
        scene.fleet.close().await;
        assert_eq!(scene.fleet.failed(), 0);
        scene.is_exact("scripts forgotten");
    });
}

/// What it was granted counts as used, for nobody can tell what of it was not. Of the rest, all is
/// admitted.
#[test]
fn a_replica_is_killed() {
    on_one_thread(async {
        let mut scene = Scene::at_a_quarter(requests(), LEASE, Server::store).await;
        let dead = scene.fleet.replicas.remove(0);
        dead.kill();
        (&mut scene.running).await.unwrap();
        scene.load.run(&scene.fleet.replicas, CALLS).await;
        scene.fleet.close().await;

        let (had, said) = scene.fleet.kept_of(&dead).unwrap();
        let outcome = scene.load.outcome();
        let others = outcome.admitted - dead.admitted();
        eprintln!(
            "killed: {outcome:?}, it had {had}, said {said}, admitted {}",
            dead.admitted()
        );
        assert!(dead.admitted() <= had);
        assert!((had + others) <= MOST);
        assert!((had + others) * 100 >= MOST * 99, "{had} {others}");
        assert_eq!(scene.fleet.kept(), (had + others, said + others));
    });
}

/// What it was granted of running calls is another's once its lease is over, and not before.
#[test]
fn a_replica_is_killed_while_its_calls_run() {
    const SLOTS: u64 = 100;
    on_one_thread(async {
        let rule = rule(Measure::Concurrency, Window::Running, SLOTS);
        let lease = Duration::from_secs(2);
        let mut scene = Scene::at_a_quarter(rule.clone(), lease, Server::store).await;
        let had = |at: &usize| scene.fleet.kept_of(&scene.fleet.replicas[*at]);
        let richest = (0..REPLICAS).max_by_key(had).unwrap();
        let dead = scene.fleet.replicas.remove(richest);
        dead.kill();
        scene.running.abort();
        assert!(scene.fleet.kept_of(&dead).unwrap().0 > 0);
        let heir = scene.fleet.replicas.pop().unwrap();
        scene.fleet.close().await;

        let one = [(&rule, "")];
        let reserve = || heir.book.reserve(&one, Expected::default());
        let mut held = Vec::new();
        while (held.len() as u64) < SLOTS {
            match reserve().await {
                Ok(reservation) => held.push(reservation),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
            let of_dead = scene.fleet.kept_of(&dead).unwrap_or_default().0;
            assert!(held.len() as u64 + of_dead <= SLOTS, "{of_dead}");
        }
        assert!(reserve().await.is_err(), "there are no more");
        assert_eq!(scene.fleet.replicas.len(), REPLICAS - 2);
    });
}
