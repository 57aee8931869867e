use std::sync::{Arc, Barrier};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::join_all;
use serde_json::json;

use super::forge::{Answered, Bench, KEYS, token};
use crate::jwt::{KeySetError, KeysError, Refused};

const HOUR: u64 = 3600;

fn of_unknown_key(attempt: usize) -> String {
    let kid = json!(format!("made-up-{attempt}"));
    token().header("kid", kid).message() + ".AAAA"
}

/// The issuer's keys after a rotation: the other RSA key alone.
fn rotated() -> serde_json::Value {
    json!({"keys": [KEYS.other_rsa.jwk("new")]})
}

fn signed_by_new() -> String {
    let token = token().header("kid", json!("new"));
    token
        .claim("exp", json!(super::forge::NOW + 90 * HOUR))
        .signed_with(&KEYS.other_rsa)
}

fn signed_by_old() -> String {
    token()
        .claim("exp", json!(super::forge::NOW + 90 * HOUR))
        .signed()
}

#[test]
fn ten_thousand_unknown_keys_cause_one_fetch_in_thirty_seconds() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let mut fetches = Vec::new();
    for second in 0..100 {
        for attempt in 0..100 {
            let outcome = block_on(verifier.verify(&of_unknown_key(second * 100 + attempt)));
            assert_eq!(outcome, Err(Refused::UnknownKey));
        }
        fetches.push(bench.endpoint.fetches());
        bench.clock.forward(1);
    }
    let begun: Vec<usize> = (1..100)
        .filter(|&at| fetches[at] > fetches[at - 1])
        .collect();
    assert_eq!(fetches[0], 1);
    assert_eq!(begun, [30, 60, 90]);
    assert_eq!(fetches[99], 4);
}

#[test]
fn good_tokens_are_served_amid_a_flood() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    for attempt in 0..200 {
        assert!(block_on(verifier.verify(&of_unknown_key(attempt))).is_err());
        assert!(block_on(verifier.verify(&token().signed())).is_ok());
    }
    assert_eq!(bench.endpoint.fetches(), 1);
}

#[test]
fn tokens_that_are_refused_anyway_cause_no_fetch() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let expired = token().claim("exp", json!(1)).signed();
    let for_others = token().claim("aud", json!("calendar")).signed();
    let unsigned = token().header("alg", json!("none")).message() + ".";
    for token in [expired, for_others, unsigned] {
        assert!(block_on(verifier.verify(&token)).is_err());
    }
    assert_eq!(bench.endpoint.fetches(), 0);
}

#[test]
fn all_who_come_first_wait_for_one_fetch() {
    let bench = Bench::new();
    let (answer, asked) = oneshot::channel::<()>();
    let document = KEYS.published().to_string().into_bytes();
    let published = asked.map(move |_| document).boxed().shared();
    bench.endpoint.answer(Answered::When(published));

    let verifier = bench.verifier();
    let good = token().signed();
    let mut waiting = Box::pin(join_all((0..1000).map(|_| verifier.verify(&good))));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(bench.endpoint.fetches(), 1);
    answer.send(()).unwrap();
    assert!(block_on(waiting).iter().all(Result::is_ok));
    assert_eq!(bench.endpoint.fetches(), 1);
}

#[test]
fn threads_that_come_first_wait_for_one_fetch() {
    let bench = Bench::new();
    let verifier = Arc::new(bench.verifier());
    let together = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (verifier, together) = (verifier.clone(), together.clone());
            let good = token().signed();
            std::thread::spawn(move || {
                together.wait();
                block_on(verifier.verify(&good)).is_ok()
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(bench.endpoint.fetches(), 1);
}

#[test]
fn a_new_key_is_found_when_a_token_names_it() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    bench.endpoint.serve(&rotated());
    bench.clock.forward(29);
    assert_eq!(
        block_on(verifier.verify(&signed_by_new())),
        Err(Refused::UnknownKey)
    );
    bench.clock.forward(1);
    assert!(block_on(verifier.verify(&signed_by_new())).is_ok());
    assert_eq!(
        block_on(verifier.verify(&signed_by_old())),
        Err(Refused::UnknownKey)
    );
    assert_eq!(bench.endpoint.fetches(), 2);
}

#[test]
fn a_new_key_without_a_name_is_found_too() {
    let unnamed = |key: &serde_json::Value| {
        let mut key = key.clone();
        key.as_object_mut().unwrap().remove("kid");
        json!({ "keys": [key] })
    };
    let bench = Bench::publishing(&unnamed(&KEYS.rsa.jwk("")));
    let verifier = bench.verifier();
    let token = token().without("kid");
    assert!(block_on(verifier.verify(&token.signed())).is_ok());
    bench.endpoint.serve(&unnamed(&KEYS.other_rsa.jwk("")));
    bench.clock.forward(30);
    assert!(block_on(verifier.verify(&token.signed_with(&KEYS.other_rsa))).is_ok());
}

#[test]
fn a_withdrawn_key_is_gone_within_the_hour() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    bench.endpoint.serve(&json!({"keys": []}));
    bench.clock.forward(HOUR - 1);
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    assert_eq!(bench.endpoint.fetches(), 1);
    bench.clock.forward(1);
    assert_eq!(
        block_on(verifier.verify(&signed_by_old())),
        Err(Refused::UnknownKey)
    );
    assert_eq!(bench.endpoint.fetches(), 2);
}

#[test]
fn old_keys_do_for_a_day_while_no_newer_can_be_had() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    for failing in [
        Answered::WithNothing,
        Answered::With(b"<html>busy</html>".to_vec()),
        Answered::With(vec![b' '; 1 << 20]),
        Answered::InPanic,
    ] {
        bench.endpoint.answer(failing);
        bench.clock.forward(5 * HOUR);
        assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    }
    let status = bench.keys.status();
    assert_eq!((status.fetches, status.keys), (5, 4));
    assert_eq!(status.failure, Some(KeysError::Panicked));

    bench.clock.forward(4 * HOUR - 1);
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    bench.clock.forward(1);
    assert_eq!(
        block_on(verifier.verify(&signed_by_old())),
        Err(Refused::NoKeys)
    );
    bench.endpoint.serve(&KEYS.published());
    bench.clock.forward(30);
    assert!(block_on(verifier.verify(&signed_by_old())).is_ok());
    assert_eq!(bench.keys.status().failure, None);
}

#[test]
fn an_issuer_that_is_away_at_first_is_asked_twice_a_minute() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    bench.endpoint.answer(Answered::WithNothing);
    for _ in 0..60 {
        assert_eq!(
            block_on(verifier.verify(&token().signed())),
            Err(Refused::NoKeys)
        );
        bench.clock.forward(1);
    }
    assert_eq!(bench.endpoint.fetches(), 2);
    bench.endpoint.serve(&KEYS.published());
    assert!(block_on(verifier.verify(&token().signed())).is_ok());
}

#[test]
fn one_waits_for_newer_keys_and_the_others_go_on_with_the_old() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let good = signed_by_old();
    assert!(block_on(verifier.verify(&good)).is_ok());
    bench.endpoint.answer(Answered::Never);
    bench.clock.forward(HOUR);
    let mut waiting = Box::pin(verifier.verify(&good));
    assert!(waiting.as_mut().now_or_never().is_none());
    for _ in 0..100 {
        assert!(verifier.verify(&good).now_or_never().unwrap().is_ok());
    }
    assert_eq!(bench.endpoint.fetches(), 2);
}

#[test]
fn a_fetch_that_all_have_left_is_taken_up_again() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let (answer, asked) = oneshot::channel::<()>();
    let document = KEYS.published().to_string().into_bytes();
    let published = asked.map(move |_| document).boxed().shared();
    bench.endpoint.answer(Answered::When(published));
    let good = token().signed();
    assert!(verifier.verify(&good).now_or_never().is_none());
    answer.send(()).unwrap();
    assert!(block_on(verifier.verify(&good)).is_ok());
    assert_eq!(bench.endpoint.fetches(), 1);
}

#[test]
fn a_fetch_that_hangs_is_given_up() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let good = token().signed();
    bench.endpoint.answer(Answered::Never);
    assert!(verifier.verify(&good).now_or_never().is_none());
    bench.endpoint.serve(&KEYS.published());
    bench.clock.forward(29);
    assert!(verifier.verify(&good).now_or_never().is_none());
    bench.clock.forward(1);
    assert!(block_on(verifier.verify(&good)).is_ok());
}

#[test]
fn what_a_given_up_fetch_brings_does_not_replace_what_is_newer() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let (answer, asked) = oneshot::channel::<()>();
    let document = KEYS.published().to_string().into_bytes();
    let published = asked.map(move |_| document).boxed().shared();
    bench.endpoint.answer(Answered::When(published));
    let old = signed_by_old();
    let mut first = Box::pin(verifier.verify(&old));
    assert!(first.as_mut().now_or_never().is_none());

    bench.endpoint.serve(&rotated());
    bench.clock.forward(30);
    assert!(block_on(verifier.verify(&signed_by_new())).is_ok());
    answer.send(()).unwrap();
    assert!(block_on(first).is_ok());
    assert!(block_on(verifier.verify(&signed_by_new())).is_ok());
    assert_eq!(bench.endpoint.fetches(), 2);
}

#[test]
fn a_service_keeps_them_fresh_so_that_nobody_waits() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    for _ in 0..180 {
        assert_eq!(block_on(bench.keys.keep_fresh()), Ok(()));
        assert!(verifier.verify(&token().signed()).now_or_never().is_some());
        bench.clock.forward(20);
    }
    assert_eq!(bench.endpoint.fetches(), 2);
    bench.endpoint.answer(Answered::With(b"[]".to_vec()));
    bench.clock.forward(HOUR);
    let failure = block_on(bench.keys.keep_fresh());
    assert_eq!(failure, Err(KeysError::Set(KeySetError::Form)));
}

#[test]
fn a_clock_that_is_put_right_does_not_stop_them() {
    let bench = Bench::new();
    let verifier = bench.verifier();
    bench.clock.forward(1000 * HOUR);
    let late = token()
        .claim("exp", json!(super::forge::NOW + 2000 * HOUR))
        .signed();
    assert!(block_on(verifier.verify(&late)).is_ok());
    bench.endpoint.serve(&rotated());
    bench.clock.back(1000 * HOUR);
    assert!(block_on(verifier.verify(&signed_by_new())).is_ok());
}
