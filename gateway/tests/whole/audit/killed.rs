//! The process is killed at any moment, again and again: what went to a provider is on record.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{CHAT, assert_complete, provider, records};
use crate::harness::{Client, Http, PATIENCE, chat, config};

const ROUNDS: usize = 6;

/// Callers at once.
const CALLERS: usize = 8;

pub(super) struct Running {
    pub(super) child: Child,
    pub(super) proxy: std::net::SocketAddr,
}

impl Running {
    pub(super) async fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnpike"))
            .env_clear()
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut proxy = None;
        let started = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let at = line.split_once(" proxy=").map(|(_, rest)| rest);
                let at = at.and_then(|rest| rest.split(' ').next()?.parse().ok());
                proxy = proxy.or(at);
                if line.contains("configuration in force") {
                    return;
                }
            }
            panic!("it ended");
        };
        tokio::time::timeout(PATIENCE, started).await.unwrap();
        // What else it says is of no interest, and must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let proxy = proxy.unwrap();
        Self { child, proxy }
    }

    /// Ends it as a supervisor does, which lets it finish.
    pub(super) async fn end(mut self) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.unwrap().success());
        tokio::time::timeout(Duration::from_secs(20), self.child.wait())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Calls until it is killed; answers how many calls were answered.
async fn call_on(proxy: std::net::SocketAddr) -> usize {
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turnpike.yaml");
    std::fs::write(&path, config(&provider.base_url(), 1)).unwrap();
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut running = Running::start(&path).await;
        let calling = join_all((0..CALLERS).map(|_| tokio::spawn(call_on(running.proxy))));
        provider
            .wait_for_calls(provider.count() + 50 + 37 * round)
            .await;
        running.child.kill().await.unwrap();
        let calls = tokio::time::timeout(PATIENCE, calling).await.unwrap();
        answered += calls.into_iter().map(Result::unwrap).sum::<usize>();
    }
    Running::start(&path).await.end().await;

    let all = records(&dir.path().join("audit.jsonl"));
    let begun = assert_complete(&all);
    assert!(
        begun >= provider.count(),
        "{begun} of {} are on record",
        provider.count()
    );
    assert!(begun >= answered && answered > 0);
    let verified = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .args(["audit", "verify", "--config"])
        .arg(&path)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{said}");
}
