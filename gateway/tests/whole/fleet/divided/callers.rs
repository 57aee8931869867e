//! Gateways on the sides of a network, and who calls them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::task::JoinSet;
use turnpike_loadtest::FakeProvider;

use super::network::Side;
use crate::binary::{Binary, Launch};
use crate::calls::get_with;
use crate::harness::{Answer, Client, Http};
use crate::pools::OPENAI;

/// Fail-overs, leases and a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two calls of the same caller.
const PAUSE: Duration = Duration::from_millis(20);

/// How many call each gateway at a time.
const CALLERS: usize = 2;

/// How often one looks.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// So many refusals in a row, and there is nothing left: what another one holds goes back meanwhile.
const DRY: usize = 20;

/// Waits for what an event elsewhere brings about.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    let come = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(come.is_ok(), "it did not come about: {what}");
}

pub(super) struct Fleet<'n> {
    gateways: Vec<Arc<Gateway>>,
    sides: Vec<&'n Side>,
}

struct Gateway {
    binary: Binary,
    place: std::path::PathBuf,
    admitted: AtomicU64,
}

impl Gateway {
    async fn client(&self, at: std::net::SocketAddr) -> Client {
        Client::on(Side::connect(&self.place, at), Http::One).await
    }

    async fn chat(&self) -> Answer {
        let mut client = self.client(self.binary.proxy).await;
        let answer = client.post(OPENAI.path, OPENAI.body).await;
        if answer.status == 200 {
            self.admitted.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    /// One series of its metrics.
    async fn metric(&self, series: &str) -> Option<f64> {
        let mut client = self.client(self.binary.admin).await;
        let metrics = get_with(&mut client, "/metrics", &[]).await;
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::SeqCst)
    }
}

impl<'n> Fleet<'n> {
    /// One gateway on each of these sides.
    pub(super) async fn start(yaml: &str, sides: &[&'n Side]) -> Self {
        let start = async |side: &&Side| {
            let launch = Launch {
                flags: &["--log-level", "info"],
                network: Some(&side.place),
                ..Launch::of(yaml)
            };
            Arc::new(Gateway {
                binary: Binary::launch(launch).await,
                place: side.place.clone(),
                admitted: AtomicU64::new(0),
            })
        };
        Self {
            gateways: join_all(sides.iter().map(start)).await,
            sides: sides.to_vec(),
        }
    }

    /// Until each goes by as many as there are.
    pub(super) async fn know_each_other(&self) {
        let all = Some(self.gateways.len() as f64);
        until("all know how many they are", async || {
            let told = self
                .gateways
                .iter()
                .map(|one| one.metric("turnpike_limit_replicas"));
            join_all(told).await.iter().all(|known| *known == all)
        })
        .await;
    }

    /// Whether a gateway does without its Redis as far as limits go.
    pub(super) async fn is_away(&self, at: usize) -> bool {
        self.gateways[at].metric("turnpike_limits_away").await == Some(1.0)
    }

    pub(super) async fn chat(&self, at: usize) -> Answer {
        self.gateways[at].chat().await
    }

    pub(super) async fn until_admitted(&self, at: usize) {
        until("a call is admitted", async || {
            self.chat(at).await.status == 200
        })
        .await;
    }

    pub(super) async fn until_refused(&self, at: usize, status: u16, code: &str) {
        until("a call is refused", async || {
            let answer = self.chat(at).await;
            if answer.status == 200 {
                return false;
            }
            // Near the end of a limit, it may be told from the others' hold on it first.
            answer.status == status && answer.json()["error"]["code"] == code
        })
        .await;
    }

    /// Until each of these has admitted so many calls more.
    pub(super) async fn admit_more(&self, which: &[usize], more: u64) {
        let known: Vec<u64> = which
            .iter()
            .map(|at| self.gateways[*at].admitted())
            .collect();
        until("calls are admitted", async || {
            let mut grown = which.iter().zip(&known);
            grown.all(|(at, before)| self.gateways[*at].admitted() >= before + more)
        })
        .await;
    }

    pub(super) fn admitted(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.admitted()).sum()
    }

    /// What all providers were asked for.
    pub(super) fn billed(&self) -> u64 {
        let mut places: Vec<&&Side> = self.sides.iter().collect();
        places.dedup_by_key(|side| &side.place);
        let calls = |provider: &FakeProvider| provider.usage_total().calls;
        places.iter().map(|side| calls(&side.provider)).sum()
    }

    /// Callers of every gateway, who go on whatever they are answered.
    pub(super) fn call_on(&self) -> Calling {
        let stops = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for gateway in &self.gateways {
            for _ in 0..CALLERS {
                callers.spawn(call_until(stops.clone(), gateway.clone()));
            }
        }
        Calling { stops, callers }
    }

    /// Until these admit no more.
    pub(super) async fn spend_the_rest(&self, which: &[usize]) {
        let caller = async |at: &usize| {
            let mut refused = 0;
            while refused < DRY {
                let answer = self.chat(*at).await;
                match answer.status {
                    200 => refused = 0,
                    403 => refused += 1,
                    // Others are under way, or the Redis of a slow machine is late.
                    429 | 503 => {}
                    _ => panic!("{}", answer.text()),
                }
                if answer.status != 200 {
                    tokio::time::sleep(5 * LOOK).await;
                }
            }
        };
        let spent = join_all(which.iter().map(caller));
        let spent = tokio::time::timeout(PATIENCE, spent).await;
        spent.expect("there is an end to it");
    }

    /// In good order: what is held goes back.
    pub(super) async fn stop(self) {
        for gateway in self.gateways {
            let gateway = Arc::into_inner(gateway).unwrap();
            let log = gateway.binary.stop().await;
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// Callers that have been set going.
pub(super) struct Calling {
    stops: Arc<AtomicBool>,
    callers: JoinSet<Duration>,
}

impl Calling {
    /// Answers with how long the longest call took.
    pub(super) async fn end(self) -> Duration {
        self.stops.store(true, Ordering::SeqCst);
        let longest = self.callers.join_all().await;
        longest.into_iter().max().unwrap_or_default()
    }
}

async fn call_until(stops: Arc<AtomicBool>, gateway: Arc<Gateway>) -> Duration {
    let mut longest = Duration::ZERO;
    while !stops.load(Ordering::SeqCst) {
        let began = Instant::now();
        let answer = gateway.chat().await;
        longest = longest.max(began.elapsed());
        let (status, text) = (answer.status, answer.text());
        assert!([200, 403, 429, 503].contains(&status), "{status}: {text}");
        tokio::time::sleep(PAUSE).await;
    }
    longest
}
