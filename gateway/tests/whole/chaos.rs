//! A large pool in which keys fail in every way at once.

use futures::future::join_all;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Recorded};

use crate::harness::{Client, Http, until};
use crate::pools::{CLAUDE, Pools, assert_whole, is_look, seconds, server};

const KEYS: usize = 200;

/// Requests at once, of which every second one is a stream.
const CROWD: usize = 50;

/// Seconds, with a crowd each.
const STEPS: usize = 100;

/// A way to fail, in how many of [`STEPS`] seconds a key may be called, and how many seconds after it
/// is over a key is back, at the latest.
struct Ailment {
    what: &'static str,
    behaviour: Behaviour,
    most: usize,
    back: u64,
}

const NO_MODEL: &str =
    r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-sonnet-4-5"}}"#;

/// The time of a probe interval.
const INTERVAL: u64 = 10;

fn ailments() -> Vec<Ailment> {
    let ailment = |what, behaviour, most, back| Ailment {
        what,
        behaviour,
        most,
        back,
    };
    vec![
        ailment("401", Behaviour::unauthorized(), 1, INTERVAL),
        ailment("402", Behaviour::payment_required(), 1, 1800),
        ailment("403", Behaviour::forbidden(), 1, INTERVAL),
        ailment("404", Behaviour::refusing(404, NO_MODEL), 1, INTERVAL),
        ailment("429, 5 min", Behaviour::rate_limited(seconds(300)), 1, 300),
        // At 0, 1, 3, 7, 15, 31 and 63 s.
        ailment("429", Behaviour::rate_limited_without_hint(), 7, 64),
        // Again after a minute.
        ailment("500", Behaviour::server_error(500), 2, INTERVAL),
        ailment("hangs", Behaviour::Hang, 2, INTERVAL),
        ailment(
            "overloaded",
            Behaviour::OverloadedAfter { after_events: 3 },
            2,
            INTERVAL,
        ),
    ]
}

/// Two keys of each ailment, spread over the pool. Keys that hang are neighbours: their callers
/// wait at the same time.
fn patients() -> Vec<(String, Ailment)> {
    let ailments = ailments().into_iter().zip(ailments()).enumerate();
    let two = |(at, (one, other)): (usize, (Ailment, Ailment))| {
        let n = 1 + at * 20;
        [(CLAUDE.key(n), one), (CLAUDE.key(n + 1), other)]
    };
    ailments.flat_map(two).collect()
}

/// A pool of 200 keys, and callers with a connection each.
struct Ward {
    pools: Pools,
    callers: Vec<Client>,
}

impl Ward {
    async fn open() -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let keys: Vec<String> = (1..=KEYS)
            .map(|n| format!("{{api_key: {}}}", CLAUDE.key(n)))
            .collect();
        // Of the real time there is only that of the keys that hang.
        let yaml = format!(
            "{}providers: {{claude: {{base_url: \"{}\", credentials: [{}]}}}}\n",
            server("").replace(
                "{port: 0}\nadmin",
                "{port: 0, timeouts: {first_byte: 2s}}\nadmin"
            ),
            provider.base_url(),
            keys.join(", ")
        );
        let pools = Pools::before(provider, &yaml).await;
        let callers = (0..CROWD).map(|_| Client::connect(&pools.house, Http::One));
        Self {
            callers: join_all(callers).await,
            pools,
        }
    }

    /// Everybody calls at once and is served.
    async fn crowd(&mut self) {
        let call = async |(n, caller): (usize, &mut Client)| match n % 2 {
            0 => caller.post(CLAUDE.path, CLAUDE.body).await,
            _ => caller.post(CLAUDE.stream.path, CLAUDE.stream.body).await,
        };
        let answers = join_all(self.callers.iter_mut().enumerate().map(call)).await;
        for answer in answers {
            assert_whole(&CLAUDE, &answer);
        }
    }
}

fn count(calls: &[Recorded], key: &str, look: bool) -> usize {
    let of_key = calls.iter().filter(|call| call.key == key);
    of_key.filter(|call| is_look(call) == look).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_cost_next_to_nothing_and_are_soon_back() {
    let mut ward = Ward::open().await;
    let patients = patients();
    for (key, ailment) in &patients {
        ward.pools.provider.always(key, ailment.behaviour.clone());
    }
    let mut billed = 0;
    let mut attempts = vec![Vec::new(); patients.len()];
    let mut looks = vec![0; patients.len()];
    for _ in 0..STEPS {
        ward.crowd().await;
        ward.pools.advance(seconds(1));
        let calls = ward.pools.provider.take_calls();
        billed += calls.iter().filter(|call| !is_look(call)).count();
        for (at, (key, _)) in patients.iter().enumerate() {
            attempts[at].extend(Some(count(&calls, key, false)).filter(|&calls| calls > 0));
            looks[at] += count(&calls, key, true);
        }
    }
    assert!(billed >= STEPS * CROWD);
    for (((key, ailment), attempts), looks) in patients.iter().zip(&attempts).zip(looks) {
        let what = format!("{key}, {}: {attempts:?}, {looks} looks", ailment.what);
        assert!((1..=ailment.most).contains(&attempts.len()), "{what}");
        // Once it is known to be bad, one call at a time tries it.
        assert!(attempts[1..].iter().all(|&calls| calls == 1), "{what}");
        assert!(looks <= STEPS / INTERVAL as usize, "{what}");
    }
    let wrong: usize = attempts.iter().flatten().sum();
    assert!(
        wrong * 100 <= billed,
        "{wrong} of {billed} went to bad keys"
    );

    heal(&mut ward, &patients).await;
}

/// Everything is well again: each key is in use within its time.
async fn heal(ward: &mut Ward, patients: &[(String, Ailment)]) {
    for (key, _) in patients {
        ward.pools.provider.reset(key);
    }
    let mut passed = 0;
    for back in [INTERVAL, 64, 300, 1800] {
        ward.pools.advance(seconds(back - passed));
        passed = back;
        let due: Vec<&str> = patients
            .iter()
            .filter(|(_, ailment)| ailment.back <= back)
            .map(|(key, _)| key.as_str())
            .collect();
        let pools = &ward.pools;
        let is_due = |key: &&str| {
            let now = pools.now();
            let cooldowns = pools.cooldowns(key);
            cooldowns.iter().all(|(_, cooldown)| cooldown.until <= now)
        };
        until(|| due.iter().all(is_due)).await;
        // Whose turn it is changes with how many are ready: some crowds pass until all had theirs.
        let mut crowds = 0;
        while !due.iter().all(|key| ward.pools.is_well(key)) {
            assert!(crowds < 10 * KEYS / CROWD, "{due:?} after {back} s");
            ward.crowd().await;
            crowds += 1;
        }
        for key in due {
            assert!(ward.pools.billed(key) > 0, "{key} after {back} s");
        }
    }
}
