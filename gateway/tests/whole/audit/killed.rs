//! The process is killed at any moment, again and again: what went to a provider is on record.

use std::net::SocketAddr;
use std::path::Path;

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{CHAT, assert_complete, provider, records};
use crate::binary::{Binary, Launch, THIS};
use crate::harness::{Client, Http, PATIENCE, chat, config};

const ROUNDS: usize = 6;

/// Callers at once.
const CALLERS: usize = 8;

/// Starts one on the files of the one before.
pub(super) async fn started(yaml: &str, files: Option<&Path>) -> Binary {
    Binary::launch(Launch {
        flags: &["--log-level", "info"],
        files,
        ..Launch::of(yaml)
    })
    .await
}

/// Calls until it is killed; answers how many calls were answered.
async fn call_on(proxy: SocketAddr) -> usize {
    let mut answered = 0;
    let Ok(tcp) = TcpStream::connect(proxy).await else {
        return 0;
    };
    let mut client = Client::on(tcp, Http::One).await;
    loop {
        let request = client.request(CHAT, chat("gpt-4o"));
        match client.send(request).await {
            Ok(answer) if answer.status() == 200 => answered += 1,
            Ok(answer) => panic!("{}", answer.status()),
            Err(_) => return answered,
        }
    }
}

#[tokio::test]
async fn each_call_has_one_start_and_one_end_though_the_process_is_killed() {
    let provider = provider().await;
    let yaml = config(&provider.base_url(), 1);
    let mut binary = started(&yaml, None).await;
    let mut answered = 0;
    for round in 0..ROUNDS {
        let calling = join_all((0..CALLERS).map(|_| tokio::spawn(call_on(binary.proxy))));
        provider
            .wait_for_calls(provider.count() + 50 + 37 * round)
            .await;
        binary.kill().await;
        let calls = tokio::time::timeout(PATIENCE, calling).await.unwrap();
        answered += calls.into_iter().map(Result::unwrap).sum::<usize>();
        binary = started(&yaml, binary.config.parent()).await;
    }
    binary.stop_in_place().await;

    let all = records(&binary.config.with_file_name("audit.jsonl"));
    let begun = assert_complete(&all);
    assert!(
        begun >= provider.count(),
        "{begun} of {} are on record",
        provider.count()
    );
    assert!(begun >= answered && answered > 0);
    let verified = Command::new(THIS)
        .args(["audit", "verify", "--config"])
        .arg(&binary.config)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{said}");
}
