//! What is drawn of limits, as the server keeps it.

use proptest::collection::vec;
use proptest::prelude::*;
use turnpike_api::testing::conforming_draws;
use turnpike_api::{Draw, Drawn, Grant, Period};

use super::*;

const LEASE: Duration = Duration::from_secs(10);

/// The most there is of anything.
const MOST: u64 = 1 << 53;

fn draw(bucket: &str, turn: u64) -> Draw {
    Draw {
        bucket: bucket.into(),
        period: Period::ENDLESS,
        returns: false,
        most: 100,
        turn,
        total: 0,
        used: 0,
        least: 0,
        need: 0,
        want: 0,
    }
}

fn drawn(store: &Redis, replica: &str, draws: &[Draw]) -> Drawn {
    block_on(store.draw(replica, LEASE, draws)).unwrap()
}

fn one(store: &Redis, replica: &str, draw: Draw) -> Grant {
    drawn(store, replica, &[draw]).grants[0]
}

#[test]
fn draws_conform() {
    conforming_draws(&Server::running());
}

/// Small numbers, numbers around 2^32, and the largest.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..200_u64,
        (1_u64 << 32) - 100..(1 << 32) + 100,
        0..=MOST,
        MOST - 100..=MOST,
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        cases: 100,
        ..ProptestConfig::default()
    }
}

/// The limit, what others have, the total, least, what is needed beyond it, and wanted beyond that.
type Case = (u64, u64, u64, u64, u64, u64);

/// What the script grants is what [`Draw::grant`] does.
fn grants_agree(store: &Redis, number: usize, replicas: u32, cases: &[Case]) {
    let draws = |mine: bool| {
        let of = cases.iter().enumerate();
        let of = of.map(|(at, (most, others, total, least, more, beyond))| {
            let need = least.saturating_add(*more).min(MOST);
            let said = Draw {
                most: *most,
                ..draw(&format!("t|{number}|{at}"), 1)
            };
            match mine {
                true => Draw {
                    total: *total,
                    least: *least,
                    need,
                    want: need.saturating_add(*beyond).min(MOST),
                    ..said
                },
                false => Draw {
                    total: *others,
                    ..said
                },
            }
        });
        of.collect::<Vec<_>>()
    };
    drawn(store, "replica-0", &draws(false));
    for other in 1..replicas {
        drawn(store, &format!("replica-{other}"), &[]);
    }
    // The one that draws is the last; it knows how many there are from the round before.
    let me = format!("replica-{replicas}");
    assert_eq!(drawn(store, &me, &[]).replicas, replicas + 1);
    let mine = draws(true);
    let granted = drawn(store, &me, &mine).grants;
    for ((case, draw), granted) in cases.iter().zip(&mine).zip(granted) {
        let units = draw.grant(case.1, replicas + 1);
        let left = draw.left(case.1) - units;
        assert_eq!((granted.units, granted.left), (units, left), "{case:?}");
    }
}

#[test]
fn the_script_grants_as_the_rule_says() {
    let server = Server::running();
    let store = server.store();
    let number = std::cell::Cell::new(0);
    let case = (amount(), amount(), amount(), amount(), amount(), amount());
    let cases = vec(case, 1..200);
    proptest!(config(), |(cases in cases, replicas in 1..7_u32)| {
        let () = server.ask(&["DEL", "turnpike:1:{fleet}:replicas"]);
        number.set(number.get() + 1);
        grants_agree(&store, number.get(), replicas, &cases);
    });
}

/// Of whom something was said: the turn, the total, what was used.
type Said = (u64, u64, u64);

fn said_by_others(known: &[Said; 3], who: usize) -> (u64, u64) {
    let others = (0..3).filter(|other| *other != who);
    others.fold((0, 0), |sums, other| {
        (sums.0 + known[other].1, sums.1 + known[other].2)
    })
}

/// Says one thing after another, of which some come late or twice.
fn sums_agree(store: &Redis, bucket: &str, says: &[(usize, u64, u64, u64)]) {
    let mut known = [(3, 0, 0); 3];
    for (who, step, total, used) in says {
        let turn = known[*who].0 + step - 2;
        let said = Draw {
            most: MOST,
            total: total / 4,
            used: used / 4,
            ..draw(bucket, turn)
        };
        let others = said_by_others(&known, *who);
        let expected = Grant {
            units: 0,
            left: said.left(others.0),
            used: said.used + others.1,
        };
        let (of_first, of_last) = (known[*who] == (3, 0, 0), turn > known[*who].0);
        if of_first && !of_last {
            continue;
        }
        if of_last {
            known[*who] = (turn, said.total, said.used);
        }
        assert_eq!(one(store, &format!("r{who}"), said), expected, "{says:?}");
    }
}

#[test]
fn sums_are_what_was_last_said() {
    let server = Server::running();
    let store = server.store();
    let number = std::cell::Cell::new(0);
    let says = vec((0..3_usize, 0..5_u64, amount(), amount()), 1..60);
    proptest!(ProptestConfig { cases: 50, ..config() }, |(says in says)| {
        number.set(number.get() + 1);
        sums_agree(&store, &format!("t|{}", number.get()), &says);
    });
}

#[test]
fn what_is_kept_ends_after_its_period() {
    let server = Server::running();
    let store = server.store();
    let now = drawn(&store, "one", &[]).now;
    let period = Period {
        start: now - 1000,
        end: now + 60_000,
    };
    let counted = Draw {
        period,
        ..draw("acme|counted", 1)
    };
    let running = Draw {
        returns: true,
        ..draw("acme|running", 1)
    };
    drawn(&store, "one", &[counted, running, draw("acme|total", 1)]);
    let lasts = |name: String| server.ask::<u64>(&["TTL", &name]);
    let key = |start: u64, name: &str| format!("turnpike:1:{{draws.acme}}:{start}:acme|{name}");
    let (day, year) = (86_400, 31_536_000);
    let counted = lasts(key(period.start, "counted"));
    assert!((day..=day + 61).contains(&counted), "{counted}");
    let running = lasts(key(0, "running"));
    assert!((15..=20).contains(&running), "{running}");
    let total = lasts(key(0, "total"));
    assert!((9 * year..=10 * year).contains(&total), "{total}");
}

#[test]
fn what_runs_counts_while_it_is_held() {
    let server = Server::running();
    let store = server.store();
    let holds = |turn, total| Draw {
        returns: true,
        total,
        ..draw("acme|b", turn)
    };
    assert_eq!(one(&store, "one", holds(2, 60)).left, 40);
    server.age(LEASE / 2);
    assert_eq!(one(&store, "two", holds(1, 30)).left, 10);
    assert_eq!(one(&store, "one", holds(1, 0)).left, 70, "late: not noted");
    assert_eq!(one(&store, "three", holds(1, 0)).left, 10);
    server.age(LEASE * 3 / 4);
    assert_eq!(one(&store, "three", holds(2, 0)).left, 70, "one has ended");
    let key = "turnpike:1:{draws.acme}:0:acme|b";
    assert!(!server.ask::<bool>(&["HEXISTS", key, "=one"]));
    assert!(server.ask::<bool>(&["HEXISTS", key, "=two"]));
}

#[test]
fn replicas_are_those_heard_of_within_a_lease() {
    let server = Server::running();
    let (one, two) = (server.store(), server.store());
    assert_eq!(drawn(&one, "one", &[]).replicas, 1);
    assert_eq!(drawn(&two, "two", &[]).replicas, 2);
    server.age(LEASE / 2);
    assert_eq!(drawn(&two, "two", &[]).replicas, 2);
    server.age(LEASE * 3 / 4);
    assert_eq!(drawn(&two, "two", &[]).replicas, 1);
    assert_eq!(drawn(&one, "one", &[]).replicas, 2, "it is back");
}

/// A process that restarts again and again leaves nothing behind but what it had.
#[test]
fn entries_of_replicas_that_ended_do_not_pile_up() {
    let server = Server::running();
    let store = server.store();
    let has_two = |turn| Draw {
        most: 10_000,
        total: 2,
        used: 1,
        ..draw("acme|b", turn)
    };
    one(&store, "lasts", has_two(1));
    let key = "turnpike:1:{draws.acme}:0:acme|b";
    let entries = || server.ask::<u64>(&["HLEN", key]) - 2;
    for at in 0..300 {
        if at % 50 == 0 {
            // Longer than who has ended is remembered.
            server.age(Duration::from_secs(2 * 3600));
        }
        drawn(&store, "lasts", &[]);
        let left = one(&store, &format!("brief-{at}"), has_two(1)).left;
        assert_eq!(left, 10_000 - 2 * (at + 2), "{at}");
        // It is removed behind the answer: the next ones wait for it on the same connection.
        assert!(entries() <= 64 + 51, "{} at {at}", entries());
    }
    let seen = one(
        &store,
        "lasts",
        Draw {
            used: 2,
            ..has_two(2)
        },
    );
    assert_eq!(
        (seen.left, seen.used),
        (10_000 - 2 * 301, 302),
        "it was kept"
    );
}

#[test]
fn scripts_are_forgotten() {
    let server = Server::running();
    let store = server.store();
    for turn in 1..=3 {
        let asks = |tenant: &str| Draw {
            total: turn - 1,
            need: 1,
            want: 1,
            ..draw(&format!("{tenant}|b"), turn)
        };
        let granted = drawn(&store, "one", &[asks("a"), asks("b"), asks("c")]).grants;
        assert!(granted.iter().all(|grant| grant.units == 1), "{granted:?}");
        let () = server.ask(&["SCRIPT", "FLUSH"]);
    }
}

/// Others had nearly all; the Redis does not know it any more.
#[test]
fn what_was_lost_is_not_granted_before_it_was_told() {
    let server = Server::running();
    let (one_of, other_of) = (server.store(), server.store());
    let says = |turn, total, need| Draw {
        total,
        need,
        want: need,
        ..draw("acme|b", turn)
    };
    let first = drawn(&one_of, "one", &[says(1, 0, 90)]);
    assert_eq!(first.grants[0].units, 90, "the first life is not held up");
    assert_eq!(one(&other_of, "two", says(1, 0, 5)).units, 5);

    let () = server.ask(&["FLUSHALL"]);
    let second = drawn(&other_of, "two", &[says(2, 5, 50)]);
    assert_ne!(second.epoch, first.epoch);
    assert_eq!(second.grants[0].units, 0, "others have not said yet");
    let fresh = server.store();
    for turn in 1..=2 {
        let granted = one(&fresh, "three", says(turn, 0, 50)).units;
        assert_eq!(granted, 0, "nor is it another's");
    }
    // A book tells everything again when it hears of another epoch.
    assert_eq!(one(&other_of, "two", says(3, 5, 50)).units, 0);
    assert_eq!(one(&one_of, "one", says(2, 90, 0)).left, 5);

    server.age(Duration::from_secs(3));
    drawn(&other_of, "two", &[]);
    assert_eq!(one(&other_of, "two", says(4, 5, 50)).units, 5, "the rest");
    assert_eq!(one(&fresh, "three", says(3, 0, 50)).units, 0);
}

#[test]
fn a_first_life_is_not_held_up() {
    let server = Server::running();
    for replica in ["one", "two", "three"] {
        let asks = Draw {
            need: 10,
            want: 10,
            ..draw("acme|b", 1)
        };
        assert_eq!(one(&server.store(), replica, asks).units, 10, "{replica}");
    }
}

/// A round of everything there is, with eight replicas' entries: nobody is kept waiting by a script.
#[test]
#[ignore = "a measurement"]
fn scripts_are_brief() {
    let server = Server::running();
    let store = server.store();
    for turn in 1..=20 {
        for replica in 0..8 {
            let asks = |at| Draw {
                returns: at % 4 == 0,
                need: 1,
                want: 2,
                ..draw(&format!("acme|bucket-of-a-user|{at}"), turn)
            };
            let draws: Vec<_> = (0..1024).map(asks).collect();
            drawn(&store, &format!("replica-{replica}"), &draws);
        }
    }
    eprintln!("{}", server.ask::<String>(&["INFO", "commandstats"]));
}
