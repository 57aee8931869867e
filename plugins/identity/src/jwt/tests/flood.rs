//! Many bad tokens, and what they cost.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::executor::block_on;
use futures::future::join_all;
use serde_json::json;
use turnpike_api::{Authenticator, Presented, Rejection, Verdict};

use super::forge::{Bench, KEYS, checks, token, with_signature};
use crate::jwt::{JwtBearers, SignatureChecks};

const UNKNOWN: Verdict = Verdict::Reject(Rejection::Unknown);

fn bearers(bench: &Bench, checks: &Arc<SignatureChecks>) -> JwtBearers {
    let clock = bench.clock.clone();
    JwtBearers::new(vec![bench.verifier()], clock, [3; 32], checks.clone())
}

async fn verdict(bearers: &JwtBearers, token: &str) -> Verdict {
    bearers.authenticate(Presented::new(token)).get().await
}

fn is_known(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Known(_))
}

fn all(bearers: &JwtBearers, tokens: &[String]) -> Vec<Verdict> {
    block_on(join_all(tokens.iter().map(|token| verdict(bearers, token))))
}

/// Each another, with a signature of nobody's.
fn forged(count: usize) -> Vec<String> {
    let message = token().message();
    let signature = |nth: usize| [&[0; 248], &nth.to_be_bytes()[..]].concat();
    let forged = (1..=count).map(|nth| with_signature(&message, &signature(nth)));
    forged.collect()
}

#[test]
fn a_bad_token_that_is_presented_again_and_again_is_checked_a_few_times() {
    let (bench, checks) = (Bench::new(), checks());
    let bearers = bearers(&bench, &checks);
    let bad = vec![token().signed_with(&KEYS.other_rsa); 500];
    for _ in 0..2 {
        assert!(
            all(&bearers, &bad)
                .iter()
                .all(|verdict| *verdict == UNKNOWN)
        );
    }
    // By each of the two threads, before either of them was done.
    assert!(
        (1..=2).contains(&checks.computed()),
        "{}",
        checks.computed()
    );
    // Another configuration knows it too.
    let later = self::bearers(&bench, &checks);
    assert_eq!(all(&later, &bad[..1]), [UNKNOWN]);
    assert!(checks.computed() <= 2);
}

#[test]
fn ten_thousand_bad_tokens_are_checked_in_turn_or_told_to_come_back() {
    let (bench, checks) = (Bench::new(), checks());
    let bearers = bearers(&bench, &checks);
    let good = token().signed();
    assert!(is_known(&block_on(verdict(&bearers, &good))));
    let gate = Arc::<Mutex<()>>::default();
    let shut = gate.lock().unwrap();
    checks.wait_for(&gate);

    let forged = forged(10_000);
    let mut asked: Vec<_> = (forged.iter())
        .map(|token| Box::pin(verdict(&bearers, token)))
        .collect();
    let at_once = asked.iter_mut().map(|asked| asked.now_or_never());
    let at_once: Vec<_> = at_once.collect();
    let waiting: Vec<_> = (at_once.iter().zip(asked))
        .filter_map(|(told, asked)| told.is_none().then_some(asked))
        .collect();
    let busy = Verdict::Reject(Rejection::Busy);
    let told = at_once.iter().flatten();
    assert!(told.clone().all(|told| *told == busy), "nobody guesses");
    // The two that keep the threads may stand in the queue themselves.
    assert!((510..=512).contains(&waiting.len()), "{}", waiting.len());
    // Who was let in before does not have to wait; not even when that is to be checked again.
    for _ in 0..2 {
        assert!(is_known(&block_on(verdict(&bearers, &good))));
        bench.clock.forward(5 * 60);
    }

    drop(shut);
    let waited = waiting.len() as u64;
    let told = block_on(join_all(waiting));
    assert!(told.iter().all(|told| *told == UNKNOWN));
    assert_eq!(checks.computed(), 2 + waited);
    // Those who were told to come back are told the rest then.
    assert_eq!(all(&bearers, &forged[9_999..]), [UNKNOWN]);
}

#[test]
fn what_was_bad_with_the_keys_of_before_is_checked_with_the_new_ones() {
    let bench = Bench::publishing(&json!({"keys": [KEYS.other_rsa.jwk("rsa")]}));
    let checks = checks();
    let bearers = bearers(&bench, &checks);
    let early = [token().signed()];
    assert_eq!(all(&bearers, &early), [UNKNOWN]);
    assert_eq!(all(&bearers, &early), [UNKNOWN]);
    assert_eq!(checks.computed(), 1);
    bench.endpoint.serve(&KEYS.published());
    bench.clock.forward(31 * 60);
    block_on(bench.keys.keep_fresh()).unwrap();
    assert!(all(&bearers, &early).iter().all(is_known));
}

#[test]
fn what_was_good_and_is_no_more_is_checked_once() {
    let (bench, checks) = (Bench::new(), checks());
    let bearers = bearers(&bench, &checks);
    let good = [token().signed()];
    assert!(all(&bearers, &good).iter().all(is_known));
    let other = KEYS.other_rsa.jwk("rsa");
    bench.endpoint.serve(&json!({"keys": [other]}));
    bench.clock.forward(31 * 60);
    block_on(bench.keys.keep_fresh()).unwrap();
    for _ in 0..100 {
        assert_eq!(all(&bearers, &good), [UNKNOWN]);
    }
    assert_eq!(checks.computed(), 2);
}

#[test]
fn tokens_of_keys_that_nobody_publishes_are_not_checked_at_all() {
    let (bench, checks) = (Bench::new(), checks());
    let bearers = bearers(&bench, &checks);
    for nth in 0..1_000 {
        let stranger = token()
            .header("kid", json!(format!("made-up-{nth}")))
            .message();
        let stranger = with_signature(&stranger, &[1; 256]);
        assert_eq!(block_on(verdict(&bearers, &stranger)), UNKNOWN);
    }
    assert_eq!(checks.computed(), 0);
    assert!(bench.endpoint.fetches() <= 2);
}
