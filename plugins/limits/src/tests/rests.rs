//! What is left of a limit is had by somebody in the end: in parts of which none suffices for a call, or
//! too little for one call and enough for another.

use turnpike_api::Measure;

use super::fleet::{PERIOD, Replica, Shared, Time, minutes, rule};
use crate::reservation::{Expected, Spent};

const REPLICAS: u32 = 3;

/// What a call uses. A little less is expected of it: so what is left is no multiple of anything.
const CALL: u64 = 560;
const EXPECTED: u64 = 551;

/// So many may be made in all.
const CALLS: u64 = 10;

fn expects(input: u64) -> Expected {
    Expected {
        input,
        ..Expected::default()
    }
}

#[test]
fn replicas_that_all_need_the_rest_do_not_keep_parts_of_it() {
    let time = Time::at(10 * PERIOD);
    let mut store = Shared {
        replicas: REPLICAS,
        ..Shared::default()
    };
    let mut fleet: Vec<_> = (1..=REPLICAS)
        .map(|id| Replica::new(id, &time, 0))
        .collect();
    let rules = [rule(Measure::Tokens, minutes(), CALLS * CALL)];
    let expected = expects(EXPECTED);
    let mut admitted = 0;
    // Calls come at all of them, faster than any of them looks at its pace.
    for _ in 0..100 {
        for replica in &mut fleet {
            admitted += replica.call(&rules, expected);
        }
        for replica in &mut fleet {
            admitted += replica.exchange(&mut store, &time);
            for call in replica.running.drain(..) {
                call.spend(Spent {
                    input: CALL,
                    ..Spent::default()
                });
            }
        }
        time.advance(100);
    }
    assert_eq!(admitted as u64, CALLS);
}

/// Who comes at the same moment as one who needs too much is not refused for it.
#[test]
fn what_is_too_little_for_a_large_call_is_there_for_a_small_one() {
    for replicas in [1, 3] {
        let time = Time::at(10 * PERIOD);
        let mut store = Shared {
            replicas,
            ..Shared::default()
        };
        let mut replica = Replica::new(1, &time, 0);
        let rules = [rule(Measure::Tokens, minutes(), 1000)];
        let mut call = |input| {
            let mut admitted = replica.call(&rules, expects(input));
            let mut exchanges = 0;
            while replica.waits() > 0 {
                admitted += replica.exchange(&mut store, &time);
                exchanges += 1;
            }
            (admitted == 1, exchanges > 0)
        };
        assert_eq!(call(500), (true, true));
        assert_eq!(call(600), (false, true), "of 500 that are left");
        assert!(call(300).0);
        for _ in 0..10 {
            assert_eq!(call(600), (false, false), "it is known");
        }
        assert!(call(200).0);
    }
}
