//! A collector that is slow, full, wrong or away: no call hears of it, and every span is counted.

use std::cell::Cell;
use std::time::Duration;

use turnpike::clock::Time;
use turnpike_loadtest::{FakeProvider, Options};

use super::{asked, told};
use crate::calls::{CHAT, client, post_with};
use crate::collector::{Collector, Said};
use crate::harness::{House, Http, chat, config, until};

/// Half past something.
const NOW: u64 = 1_780_000_000_000;

/// As many spans as are held.
const ROOM: usize = 2048;

fn count(house: &House, result: &str) -> usize {
    let series = format!("turnpike_trace_spans_total{{result=\"{result}\"}}");
    house.metric(&series) as usize
}

/// Calls that are refused: one span each.
async fn refusals(house: &House, calls: usize) {
    let mut client = client(house, Http::Two).await;
    for _ in 0..calls {
        let refused = post_with(&mut client, CHAT.path, &[], chat("gpt-4o")).await;
        assert_eq!(refused.status, 401);
    }
    house.settled().await;
}

/// By a clock that stands still, and with nobody to call.
async fn quiet(collector: &Collector) -> (Time, House) {
    let yaml = config("http://127.0.0.1:9", 1) + &collector.section("1");
    let time = Time::simulated(NOW);
    let house = House::serve_by(time.clone(), tempfile::tempdir().unwrap(), &yaml).await;
    (time, house)
}

#[tokio::test]
async fn spans_are_sent_while_calls_go_on() {
    let collector = Collector::start().await;
    let (time, house) = quiet(&collector).await;
    refusals(&house, 3).await;
    until(|| {
        time.advance(Duration::from_secs(1));
        collector.spans().len() == 3
    })
    .await;
    until(|| count(&house, "sent") == 3).await;
    // As soon as there are many, without waiting.
    refusals(&house, 600).await;
    until(|| count(&house, "sent") >= 512).await;
    until(|| {
        time.advance(Duration::from_secs(1));
        count(&house, "sent") == 603
    })
    .await;
    house.gateway.stop().await;
    assert_eq!((collector.spans().len(), count(&house, "lost")), (603, 0));
    assert!(collector.asked() <= 4, "many at once");
}

#[tokio::test]
async fn what_there_is_no_room_for_is_dropped_and_counted() {
    let collector = Collector::saying([Said::Status(503, None)]).await;
    let (_, house) = quiet(&collector).await;
    refusals(&house, ROOM + 100).await;
    assert_eq!(count(&house, "no_room"), 100);
    assert_eq!(collector.asked(), 1, "it is left alone");
    house.gateway.stop().await;
    assert_eq!((count(&house, "sent"), count(&house, "lost")), (ROOM, 0));
    assert_eq!(collector.spans().len(), ROOM + 512, "the first batch twice");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_call_anything() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let yaml = collector.section("1");
    let gone = format!("http://{}", collector.addr);
    // Nobody listens there.
    let yaml = config(&provider.base_url(), 1) + &yaml.replace(&gone, "http://127.0.0.1:9");
    let house = House::serve(&yaml).await;
    let mut client = client(&house, Http::One).await;
    for _ in 0..20 {
        assert_eq!(asked(&mut client, &[]).await.status, 200);
    }
    house.settled().await;
    house.gateway.stop().await;
    assert_eq!((count(&house, "lost"), count(&house, "sent")), (40, 0));
}

#[tokio::test]
async fn it_is_asked_again_when_it_says_so() {
    for (said, waits) in [
        (Said::Status(429, Some("7")), 7),
        (Said::Status(503, Some("3600")), 30),
        (Said::Status(502, None), 1),
        (Said::Status(504, Some("soon")), 1),
    ] {
        let collector = Collector::saying([said.clone()]).await;
        let (time, house) = quiet(&collector).await;
        refusals(&house, 512).await;
        until(|| collector.asked() == 1).await;
        let waited = Cell::new(0);
        // The answer may not have been heard yet when the clock is first moved.
        until(|| {
            if collector.asked() == 1 {
                time.advance(Duration::from_millis(100));
                waited.set(waited.get() + 100);
            }
            collector.asked() == 2
        })
        .await;
        let waited = waited.get();
        assert!(waited >= waits * 1_000, "{said:?}: {waited} ms");
        until(|| count(&house, "sent") == 512).await;
        assert_eq!(collector.requests()[0], collector.requests()[1]);
        house.gateway.stop().await;
    }
}

#[tokio::test]
async fn what_it_refuses_is_counted_and_not_sent_again() {
    let provider = FakeProvider::start(Options::default()).await;
    for (said, sent, refused) in [
        (Said::Partly(1), 1, 1),
        (Said::Partly(0), 2, 0),
        (Said::Partly(-5), 2, 0),
        (Said::Partly(99), 0, 2),
        (Said::Status(400, None), 0, 2),
        (Said::Status(404, None), 0, 2),
        (Said::Status(500, None), 0, 2),
    ] {
        let collector = Collector::saying([said.clone()]).await;
        let house = told(&provider, &collector, "1", 1).await;
        let mut client = client(&house, Http::One).await;
        assert_eq!(asked(&mut client, &[]).await.status, 200);
        house.settled().await;
        house.gateway.stop().await;
        let counts = (count(&house, "sent"), count(&house, "refused"));
        assert_eq!(counts, (sent, refused), "{said:?}");
        assert_eq!(
            (collector.asked(), count(&house, "lost")),
            (1, 0),
            "{said:?}"
        );
    }
}
