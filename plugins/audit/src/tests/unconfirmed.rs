//! What a receiver has taken and may still lose: it comes again, and no place is saved behind it.

use super::receivers::{ACK, Log, Now, Receiver, drain, pass, sent, seqs, splunk, tell};
use super::*;
use crate::Format;
use crate::delivery::{Delivery, last_delivered};
use turnpike_api::Clock as _;

fn syslog(log: &Log, now: &Now, directory: &Path) -> Delivery {
    Delivery::open("syslog".into(), log.sink(now, Format::Json), directory)
}

fn acknowledging(receiver: &Receiver, now: &Now, directory: &Path) -> Delivery {
    *receiver.indexes.lock().unwrap() = Some(false);
    Delivery::open("splunk".into(), splunk(receiver, now, true), directory)
}

/// What syslog has read, each once, in their order.
fn read(log: &Log) -> Vec<u64> {
    let mut seqs = seqs(&log.read.lock().unwrap());
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

/// The number that is saved.
fn saved(directory: &Path, name: &str) -> u64 {
    last_delivered(directory, name).map_or(0, |(_, seq)| seq)
}

#[test]
fn a_receiver_that_closes_what_it_takes_is_away_and_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, log) = (large(directory.path()), Now::new(), Log::default());
    let mut delivery = syslog(&log, &now, directory.path());
    log.closes.store(true, Relaxed);
    tell(&spool, 3);
    drain(&mut delivery, &spool, &now);
    now.advance(1_000);
    drain(&mut delivery, &spool, &now);
    for second in 0..600 {
        assert!(delivery.is_away(), "after {second} s");
        assert_eq!((delivery.delivered(), delivery.reached()), (0, NOW));
        tell(&spool, 1);
        drain(&mut delivery, &spool, &now);
        now.advance(1_000);
    }
    assert_eq!(saved(directory.path(), "syslog"), 0);
    assert!(
        log.made.load(Relaxed) < 40,
        "it is left alone in between: {}",
        log.made.load(Relaxed)
    );

    // It has somebody behind it now.
    log.closes.store(false, Relaxed);
    now.advance(31_000);
    drain(&mut delivery, &spool, &now);
    assert!(read(&log).into_iter().eq(1..=603));
    assert!(delivery.is_away(), "nothing is confirmed");
    pass(40, &mut delivery, &spool, &now);
    assert_eq!((delivery.is_away(), delivery.delivered()), (false, 603));
    assert_eq!(saved(directory.path(), "syslog"), 603);
}

#[test]
fn what_was_sent_within_forty_seconds_of_a_break_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, log) = (large(directory.path()), Now::new(), Log::default());
    let mut delivery = syslog(&log, &now, directory.path());
    for _ in 0..90 {
        tell(&spool, 1);
        drain(&mut delivery, &spool, &now);
        now.advance(1_000);
    }
    drain(&mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 51, "the others are too young");
    // Its machine was gone for thirty of these seconds, and nobody has heard of it.
    log.read.lock().unwrap().clear();
    log.broken.store(1, Relaxed);
    now.advance(1_000);
    drain(&mut delivery, &spool, &now);
    assert!(delivery.is_away());
    now.advance(500);
    drain(&mut delivery, &spool, &now);
    assert!(read(&log).into_iter().eq(52..=90));
}

#[test]
fn a_killed_process_has_no_place_behind_what_may_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, log) = (large(directory.path()), Now::new(), Log::default());
    let mut delivery = syslog(&log, &now, directory.path());
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    pass(60, &mut delivery, &spool, &now);
    tell(&spool, 3);
    drain(&mut delivery, &spool, &now);
    // Also one that ends in good order: who knows whether all was read.
    now.advance(2_000);
    delivery.finish(now.now()).unwrap();
    drop(delivery);
    assert_eq!(saved(directory.path(), "syslog"), 2);
    let mut delivery = syslog(&log, &now, directory.path());
    drain(&mut delivery, &spool, &now);
    assert_eq!(seqs(&log.read.lock().unwrap()), [1, 2, 3, 4, 5, 3, 4, 5]);
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_wait_and_one_put_forward_confirms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, log) = (large(directory.path()), Now::new(), Log::default());
    let mut delivery = syslog(&log, &now, directory.path());
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    now.advance(0_u64.wrapping_sub(3_600_000));
    drain(&mut delivery, &spool, &now);
    pass(39, &mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 0);
    pass(1, &mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 2);
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    now.advance(3_600_000);
    drain(&mut delivery, &spool, &now);
    pass(34, &mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 2, "an hour was five seconds");
    pass(1, &mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 4);
}

#[test]
fn splunk_may_take_minutes_to_index() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let mut delivery = acknowledging(&receiver, &now, directory.path());
    for _ in 0..240 {
        tell(&spool, 1);
        drain(&mut delivery, &spool, &now);
        now.advance(1_000);
        assert!(!delivery.is_away(), "it is neither away");
        assert_eq!(delivery.delivered(), 0, "nor has it anything for certain");
        assert_eq!(saved(directory.path(), "splunk"), 0);
    }
    *receiver.indexes.lock().unwrap() = Some(true);
    drain(&mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 240);
    assert_eq!(saved(directory.path(), "splunk"), 240);
    let sent = sent(&receiver).concat();
    assert!(sent.into_iter().eq(1..=240), "each once");
    assert_eq!(delivery.failed(), 0);
}

#[test]
fn what_splunk_never_indexes_is_sent_again_after_five_minutes() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let mut delivery = acknowledging(&receiver, &now, directory.path());
    *receiver.indexes.lock().unwrap() = Some(true);
    tell(&spool, 1);
    drain(&mut delivery, &spool, &now);
    assert_eq!(delivery.delivered(), 1);
    // An indexer restarts, and what was only heard is lost.
    *receiver.indexes.lock().unwrap() = Some(false);
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    for _ in 0..299 {
        now.advance(1_000);
        drain(&mut delivery, &spool, &now);
    }
    assert_eq!(sent(&receiver), [vec![1], vec![2, 3]]);
    now.advance(1_000);
    drain(&mut delivery, &spool, &now);
    assert_eq!((delivery.is_away(), delivery.seq()), (true, 1));
    *receiver.indexes.lock().unwrap() = Some(true);
    now.advance(1_000);
    drain(&mut delivery, &spool, &now);
    assert_eq!(sent(&receiver), [vec![1], vec![2, 3], vec![2, 3]]);
    assert_eq!((delivery.is_away(), delivery.delivered()), (false, 3));
    let heard = receiver.heard.lock().unwrap();
    let mut channels = heard
        .iter()
        .map(|one| &one.headers()["x-splunk-request-channel"]);
    assert!(channels.all(|channel| channel == "channel-1"));
}

#[test]
fn one_that_cannot_be_asked_is_away_and_gets_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let mut delivery = acknowledging(&receiver, &now, directory.path());
    tell(&spool, 2);
    drain(&mut delivery, &spool, &now);
    receiver.is_away.store(true, Relaxed);
    for _ in 0..60 {
        now.advance(1_000);
        drain(&mut delivery, &spool, &now);
        assert!(delivery.is_away());
    }
    receiver.is_away.store(false, Relaxed);
    *receiver.indexes.lock().unwrap() = Some(true);
    now.advance(30_000);
    drain(&mut delivery, &spool, &now);
    assert_eq!((delivery.is_away(), delivery.delivered()), (false, 2));
    assert_eq!(sent(&receiver), [[1, 2]]);
}

#[test]
fn as_much_as_waits_for_splunk_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, now, receiver) = (large(directory.path()), Now::new(), Receiver::default());
    let mut delivery = acknowledging(&receiver, &now, directory.path());
    for _ in 0..1_100 {
        tell(&spool, 1);
        drain(&mut delivery, &spool, &now);
    }
    assert_eq!(sent(&receiver).len(), 1_000);
    assert!(!delivery.is_away());
    now.advance(1_000);
    *receiver.indexes.lock().unwrap() = Some(true);
    drain(&mut delivery, &spool, &now);
    drain(&mut delivery, &spool, &now);
    assert!(sent(&receiver).concat().into_iter().eq(1..=1_100));
    let heard = receiver.heard.lock().unwrap();
    let asked = heard.iter().filter(|one| one.uri().path() == ACK).count();
    assert!(asked <= 4, "it is asked once a second: {asked}");
}
