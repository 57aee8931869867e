//! Which credential is next, over generated pools: always one that is ready, of the best priority
//! that has one, and in the strategy's shares.

use std::path::Path;

use proptest::prelude::*;
use turnpike::assemble::{Ground, assemble, provider_kinds};
use turnpike::clock::Time;
use turnpike::snapshot::Snapshot;
use turnpike::upstream::Pool;
use turnpike::upstream::standing::Failure;
use turnpike_api::{Dialect, Fault, Hint};
use turnpike_config::{Environment, Kinds};

const NOW: u64 = 1_800_000_000_000;
const MODEL: &str = "gpt-4o";

/// A credential of a pool.
#[derive(Clone, Debug)]
struct Key {
    priority: i64,
    weight: u32,
    disabled: bool,
    cooling: bool,
    /// Its quota is spent.
    spent: bool,
}

impl Key {
    fn is_ready(&self) -> bool {
        !(self.disabled || self.cooling || self.spent)
    }
}

fn keys() -> impl Strategy<Value = Vec<Key>> {
    let rarely = || prop::bool::weighted(0.2);
    let key = (1i64..4, 1u32..6, rarely(), rarely(), rarely());
    let key = key.prop_map(|(priority, weight, disabled, cooling, spent)| Key {
        priority,
        weight,
        disabled,
        cooling,
        spent,
    });
    prop::collection::vec(key, 1..30)
}

fn strategies() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "round_robin",
        "fill_first",
        "priority",
        "quota_aware",
        "weighted",
    ])
}

/// The pool of these keys, as a gateway has it at that moment.
fn snapshot(strategy: &str, keys: &[Key]) -> Snapshot {
    let rows: String = keys
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let (priority, weight, disabled) = (key.priority, key.weight, key.disabled);
            format!(
                "      - {{api_key: sk-key-{n:04}, label: \"{n}\", priority: {priority}, weight: {weight}, disabled: {disabled}, quota: {{limit: 1000000}}}}\n"
            )
        })
        .collect();
    let text = format!(
        "routing: {{strategy: {strategy}}}\nproviders:\n  openai:\n    credentials:\n{rows}"
    );
    let kinds = provider_kinds();
    let nothing: [(&str, &str); 0] = [];
    let plan = turnpike_config::load_str(
        &text,
        Path::new("."),
        &Environment::from_pairs(nothing),
        &Kinds { providers: &kinds },
    );
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}"));
    let ground = Ground::new(Time::simulated(NOW), 1).unwrap();
    let snapshot = assemble(&plan, [].iter(), &ground, 1, true).unwrap();
    for (n, key) in keys.iter().enumerate() {
        let id = format!("openai/{n}");
        let Some(credential) = snapshot.usable().find(|one| *one.id == *id) else {
            // It is disabled.
            continue;
        };
        let standing = &credential.standing;
        standing.allowance.begin(0, u64::MAX, 0, 0);
        if key.cooling {
            let failure = Failure {
                model: MODEL,
                began: NOW,
                now: NOW,
                fault: Fault::RateLimited,
                hint: Hint::default(),
                probe: None,
            };
            standing.failed(failure, &snapshot.back_off);
        }
        if key.spent {
            standing.allowance.spend(1_000_000);
        }
    }
    snapshot
}

/// The labels of those that a number of requests begin with.
fn picked(pool: &Pool, requests: usize) -> Vec<Option<usize>> {
    let one = |_| {
        let taken = pool.take(pool.next_turn(), NOW, NOW + 1, |_| true)?;
        let id = &pool.member(taken.at).credential.id;
        id.rsplit('/').next()?.parse().ok()
    };
    (0..requests).map(one).collect()
}

fn counts(picked: &[Option<usize>], keys: usize) -> Vec<usize> {
    let mut counts = vec![0; keys];
    picked.iter().flatten().for_each(|at| counts[*at] += 1);
    counts
}

/// Those of the best priority that has somebody ready.
fn best(keys: &[Key]) -> Vec<usize> {
    let ready = || (0..keys.len()).filter(|at| keys[*at].is_ready());
    let priority = ready().map(|at| keys[at].priority).min();
    ready()
        .filter(|at| Some(keys[*at].priority) == priority)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn somebody_ready_of_the_best_priority_or_nobody(strategy in strategies(), keys in keys()) {
        let snapshot = snapshot(strategy, &keys);
        let served = snapshot.tenants.house.catalogue().find(MODEL).unwrap();
        let pool = served.pool(Dialect::OpenAi).unwrap();
        let best = best(&keys);
        for at in picked(pool, 100) {
            match at {
                None => prop_assert!(best.is_empty(), "nobody, though {best:?} were ready"),
                Some(at) => prop_assert!(best.contains(&at), "{at} is not of {best:?}"),
            }
        }
    }

    #[test]
    fn shares_are_the_strategys(strategy in strategies(), keys in keys()) {
        let snapshot = snapshot(strategy, &keys);
        let served = snapshot.tenants.house.catalogue().find(MODEL).unwrap();
        let pool = served.pool(Dialect::OpenAi).unwrap();
        let best = best(&keys);
        prop_assume!(!best.is_empty());
        let sum: usize = best.iter().map(|at| keys[*at].weight as usize).sum();
        let requests = 40 * best.len() * sum;
        let counts = counts(&picked(pool, requests), keys.len());
        for at in &best {
            let share = counts[*at];
            let even = requests / best.len();
            match strategy {
                "round_robin" => prop_assert_eq!(share, even),
                "weighted" => {
                    prop_assert_eq!(share, requests * keys[*at].weight as usize / sum);
                }
                // Nothing is used between, so all have the same left.
                "quota_aware" => prop_assert!(share.abs_diff(even) * 2 <= even, "{share} of {even}"),
                _ => prop_assert!(share == 0 || share == requests),
            }
        }
    }
}
