//! The record, and traces, at one collector: they belong together there.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
use serde_json::Value;
use turnpike_loadtest::{FakeProvider, Options};

use crate::calls::{CHAT, bearer, post_with};
use crate::collector::Collector;
use crate::harness::{Client, House, Http, chat, config, until};

#[tokio::test]
async fn a_collector_has_the_record_of_a_call_and_its_trace() {
    let provider = FakeProvider::start(Options::default()).await;
    let collector = Collector::start().await;
    let (traces, addr) = (collector.section("1"), collector.addr);
    let sink =
        format!("{{kind: otlp, url: \"http://{addr}/otlp\", token: collector-token-0123456789}}");
    let yaml = config(&provider.base_url(), 1);
    let sinks = format!("audit: {{sinks: [{{kind: file, path: audit.jsonl}}, {sink}]}}");
    let house = House::serve(&format!("{yaml}{traces}{sinks}\n")).await;
    let mut client = Client::connect(&house, Http::One).await;
    let headers = [("authorization", &*bearer())];
    let answer = post_with(&mut client, CHAT.path, &headers, chat("gpt-4o")).await;
    assert_eq!(answer.status, 200);
    house.settled().await;
    until(|| {
        collector
            .logs()
            .iter()
            .any(|one| one.event_name == "request.end")
    })
    .await;
    house.gateway.stop().await;

    let logs = collector.logs();
    let trace = &collector.spans()[0].trace_id;
    let of_the_call: Vec<_> = logs.iter().filter(|one| &one.trace_id == trace).collect();
    let events = of_the_call.iter().map(|one| &*one.event_name);
    assert!(events.eq(["request.start", "request.end"]));
    for record in of_the_call {
        let Some(Told::StringValue(body)) = &record.body.as_ref().unwrap().value else {
            panic!("{record:?}");
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let decision = answer.header("x-turnpike-decision").unwrap();
        assert_eq!(body["decision"], decision);
    }
    let bearers = collector.bearers();
    assert!(!bearers.is_empty());
    assert!(
        bearers
            .iter()
            .all(|one| one == "Bearer collector-token-0123456789")
    );
    // All that the file has, in the same order.
    let written = super::records(&super::file(&house));
    let events = written.iter().map(|one| one["event"].as_str().unwrap());
    assert!(logs.iter().map(|one| &*one.event_name).eq(events));
}
