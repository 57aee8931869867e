//! What is left of a limit, in parts of which none suffices for a call, is had by somebody in the end.

use turnpike_api::Measure;

use super::fleet::{PERIOD, Replica, Shared, Time, minutes, rule};
use crate::reservation::{Expected, Spent};

const REPLICAS: u32 = 3;

/// What a call uses. A little less is expected of it: so what is left is no multiple of anything.
const CALL: u64 = 560;
const EXPECTED: u64 = 551;

/// So many may be made in all.
const CALLS: u64 = 10;

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
    let expected = Expected {
        input: EXPECTED,
        ..Expected::default()
    };
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
