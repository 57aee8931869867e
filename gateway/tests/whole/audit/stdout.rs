//! The sink `stdout`: what stands there is the record, and nothing beside it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use super::{CHAT, assert_complete, of, provider, records, said};
use crate::binary::{Binary, Launch, THIS};
use crate::canary;
use crate::harness::{Answer, Http, chat, config};

const SINKS: &str = "audit: {sinks: [{kind: stdout}, {kind: file, path: audit.jsonl}]}\n";

const CALLS: usize = 5;

fn verified(path: &Path) -> Output {
    let mut command = Command::new(THIS);
    command.env_clear().args(["audit", "verify"]);
    command.arg("--require-signature").arg(path);
    command.output().unwrap()
}

/// Calls that are served, and one with a key that nobody has.
async fn call(binary: &Binary) {
    let mut client = binary.client(Http::One).await;
    for _ in 0..CALLS {
        let body = chat("gpt-4o").replace("hello", "CANARY-of-the-output");
        assert_eq!(client.post(CHAT, body).await.status, 200);
    }
    let mut request = client.request(CHAT, chat("gpt-4o"));
    let wrong = "Bearer wrong-key-0123456789".parse().unwrap();
    request.headers_mut().insert("authorization", wrong);
    let refused = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn standard_output_is_the_record_and_nothing_else() {
    let provider = provider().await;
    // Nobody has to be told to send no more.
    let drain = "server: {port: 0, drain: {lame_duck: -1}}";
    let yaml = config(&provider.base_url(), 1).replace("server: {port: 0}", drain);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stdout");
    let out = File::create(&path).unwrap();
    let mut binary = Binary::launch(Launch {
        stdout: Some(&out),
        ..Launch::of(&format!("{SINKS}{yaml}"))
    })
    .await;
    call(&binary).await;
    binary.signal("-TERM").await;
    assert!(binary.ended().await.success());

    let written = fs::read(&path).unwrap();
    canary::left("standard output", &written);
    let text = String::from_utf8(written).unwrap();
    assert!(!text.contains("wrong-key-0123456789"), "{text}");
    let beside = fs::read_to_string(binary.config.with_file_name("audit.jsonl")).unwrap();
    assert!(
        text == beside,
        "standard output:\n{text}\nthe file:\n{beside}"
    );

    let all = records(&path);
    assert_eq!(assert_complete(&all), CALLS);
    assert_eq!(of(&all, "authentication.refused").len(), 1);
    let events: Vec<_> = all
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    assert!(events.contains(&"gateway.started"), "{events:?}");
    assert_eq!(
        events[events.len() - 2..],
        ["gateway.stopped", "checkpoint"]
    );
    let good = verified(&path);
    assert!(good.status.success(), "{}", said(&good));
    let told = format!("{} records, all as they were written", all.len());
    assert!(said(&good).contains(&told), "{}", said(&good));
    fs::write(&path, text.replacen("gpt-4o", "gpt-5o", 1)).unwrap();
    let changed = verified(&path);
    assert_eq!(changed.status.code(), Some(1), "{}", said(&changed));
}
