//! Records that were cut off at the beginning are told from those that are not there for a reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::{CHAT, command, of, provider, records, said, three_calls};
use crate::harness::{Client, House, Http, chat, config, until};

/// What the command found, and that it found something.
fn found(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    said(output)
}

/// What it says where it found nothing.
fn content(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn number(record: &Value) -> u64 {
    record["seq"].as_u64().unwrap()
}

fn first_of(path: &Path) -> u64 {
    number(&records(path)[0])
}

#[tokio::test]
async fn what_was_cut_off_is_found_unless_somebody_says_where_it_begins() {
    let (house, all) = three_calls().await;
    let chain = all[0]["chain"].as_str().unwrap();
    let path = house.dir.path().join("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let rest: String = text.split_inclusive('\n').skip(4).collect();
    fs::write(&path, &rest).unwrap();
    let copy = house.dir.path().join("copy");
    fs::write(&copy, &rest).unwrap();
    let copy = copy.to_str().unwrap();

    let fifth = format!("{chain}:5");
    // By the configuration, and by the name of a file.
    for named in [&[][..], &[copy]] {
        let verify =
            |options: &[&str]| command(&house, &[&["verify"][..], options, named].concat());
        let told = found(&verify(&[]));
        let missing =
            format!("chain {chain}: the chain begins with record 5: records 1 to 4 are missing");
        assert!(told.contains(&missing) && told.contains("--from"), "{told}");
        for from in ["5", "6", fifth.as_str()] {
            let told = content(&verify(&["--from", from]));
            assert!(told.contains("those before are elsewhere"), "{told}");
        }
        let told = found(&verify(&["--from", "4"]));
        assert!(told.contains("record 4 is missing"), "{told}");
        let another = found(&verify(&["--from", "5", "--from", "00c0ffee:3"]));
        let gone = "chain 00c0ffee: records from 3 on should be there, and none of the chain is";
        assert!(another.contains(gone), "{another}");
        let refused = verify(&["--from", "the beginning"]);
        assert_eq!(refused.status.code(), Some(2), "no number");
    }
    // All of the chain is cut off, and another one is put there.
    let other = text.replace(chain, "00c0ffee");
    fs::write(&path, other).unwrap();
    let told = found(&command(&house, &["verify"]));
    let gone =
        format!("chain {chain}: records from 1 on should be there, and none of the chain is");
    assert!(told.contains(&gone), "{told}");
}

/// The files of a sink that was renamed so many times at most, oldest first.
fn files(house: &House, keep: usize) -> Vec<PathBuf> {
    let dir = house.dir.path();
    let older = (1..=keep)
        .rev()
        .map(|nth| dir.join(format!("audit.jsonl.{nth}")));
    let all = older.chain([dir.join("audit.jsonl")]);
    all.filter(|path| path.exists()).collect()
}

/// A gateway each of whose files has one batch, after so many calls.
async fn rotating(keep: usize, calls: usize) -> House {
    let provider = provider().await;
    let sink = format!("{{kind: file, path: audit.jsonl, max_size: 1B, keep: {keep}}}");
    let yaml = config(&provider.base_url(), 1);
    let house = House::serve(&format!("audit: {{sinks: [{sink}]}}\n{yaml}")).await;
    let mut client = Client::connect(&house, Http::One).await;
    for _ in 0..calls {
        let answer = client.post(CHAT, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200);
        let decision = answer.header("x-turnpike-decision").unwrap().to_owned();
        // It has been written, and its file was renamed.
        until(|| {
            let all: Vec<Value> = files(&house, keep)
                .iter()
                .flat_map(|path| records(path))
                .collect();
            let ends = of(&all, "request.end");
            ends.iter().any(|end| end["decision"] == *decision)
        })
        .await;
    }
    house.settled().await;
    house.gateway.stop().await;
    house
}

#[tokio::test]
async fn what_rotation_removed_is_told_and_is_no_fault() {
    let house = rotating(2, 5).await;
    let there = files(&house, 2);
    assert_eq!(there.len(), 2, "{there:?}");
    let first = first_of(&there[0]);
    assert!(first > 1);
    let told = content(&command(&house, &["verify"]));
    let removed = format!("records {first} to ");
    assert!(told.contains(&removed), "{told}");
    assert!(
        told.contains("those before were removed by rotation"),
        "{told}"
    );
    // Who names the files says that these are all.
    let named: Vec<&str> = there.iter().map(|path| path.to_str().unwrap()).collect();
    let told = found(&command(&house, &[&["verify"][..], &named].concat()));
    assert!(
        told.contains(&format!("records 1 to {} are missing", first - 1)),
        "{told}"
    );
    let from = first.to_string();
    content(&command(
        &house,
        &[&["verify", "--from", from.as_str()][..], &named].concat(),
    ));
    // And one who says that there should be more is answered that there is not.
    let before = (first - 1).to_string();
    found(&command(&house, &["verify", "--from", &before]));

    // Somebody else removed one: there are fewer than rotation leaves.
    fs::remove_file(&there[0]).unwrap();
    let first = first_of(&there[1]);
    let told = found(&command(&house, &["verify"]));
    let missing = format!(
        "the chain begins with record {first}: records 1 to {} are missing",
        first - 1
    );
    assert!(told.contains(&missing), "{told}");
}

#[tokio::test]
async fn the_oldest_file_that_somebody_removed_is_missed() {
    let house = rotating(1000, 3).await;
    let there = files(&house, 1000);
    assert!(there.len() >= 3, "{there:?}");
    content(&command(&house, &["verify"]));
    fs::remove_file(&there[0]).unwrap();
    let first = first_of(&there[1]);
    let told = found(&command(&house, &["verify"]));
    assert!(
        told.contains(&format!("the chain begins with record {first}: ")),
        "{told}"
    );
}

#[tokio::test]
async fn a_sink_that_was_added_later_misses_nothing() {
    let provider = provider().await;
    let mut house = House::before(&provider).await;
    // With each start there is another segment of the spool, and the first is removed once all have it.
    for _ in 0..2 {
        let mut client = Client::connect(&house, Http::One).await;
        assert_eq!(client.post(CHAT, chat("gpt-4o")).await.status, 200);
        drop(client);
        house.settled().await;
        let (dir, yaml) = house.left().await;
        house = House::serve_in(dir, &yaml).await;
    }
    let oldest = house.dir.path().join("audit-spool/0000000001.seg");
    until(|| !oldest.exists()).await;
    let (dir, yaml) = house.left().await;
    let sinks = "audit: {sinks: [{kind: file, path: later.jsonl}]}\n";
    let house = House::serve_in(dir, &format!("{sinks}{yaml}")).await;
    let path = house.dir.path().join("later.jsonl");
    until(|| !records(&path).is_empty()).await;
    house.gateway.stop().await;

    let first = first_of(&path);
    assert!(first > 1, "it has what was kept: {first}");
    let told = content(&command(&house, &["verify"]));
    assert!(
        told.contains("those before are older than the sink"),
        "{told}"
    );
    let text = fs::read_to_string(&path).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    fs::write(&path, rest).unwrap();
    let told = found(&command(&house, &["verify"]));
    let missing = format!(
        "the chain begins with record {}: record {first} is missing",
        first + 1
    );
    assert!(told.contains(&missing), "{told}");
}
