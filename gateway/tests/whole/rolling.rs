//! Replicas behind HAProxy are replaced one after the other: no call fails, though HAProxy tries nothing
//! twice. `scripts/fleet-rolling` does the same at a steady pace.

use std::net::TcpListener as StdListener;
use std::path::Path;
use std::process::Stdio;

use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::binary::{Binary, Launch};
use crate::fleet::server::Server;
use crate::handover::Load;
use crate::harness::{config, until_async};

const REPLICAS: usize = 3;

/// The checks are so frequent, and the lame duck lasts so long, that a slow machine does not matter.
const HAPROXY: &str = "
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout check 10s
  retries 0
frontend clients
  bind fd@3
  default_backend gateways
backend gateways
  balance roundrobin
  option httpchk GET /ready
";

/// A port that stays a replica's while it is replaced: whoever asks for any does not get one that is
/// bound, and a replica may listen beside who does not.
fn reserved() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn balancer(dir: &Path, clients: &StdListener, ports: &[(u16, u16)]) -> Child {
    let servers = ports.iter().zip(1..).map(|((proxy, admin), nth)| {
        format!("  server r{nth} 127.0.0.1:{proxy} check port {admin} inter 100ms fall 1 rise 1\n")
    });
    let file = dir.join("haproxy.conf");
    let text: String = [HAPROXY.trim_start().to_owned()]
        .into_iter()
        .chain(servers)
        .collect();
    std::fs::write(&file, text).unwrap();
    let launch = Launch {
        release: Path::new("/usr/sbin/haproxy"),
        sockets: &[clients],
        ..Launch::of("")
    };
    let mut command: Command = launch.command();
    command
        .args(["-db", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("HAProxy is missing: run scripts/prepare build")
}

/// How many calls a replica has answered.
async fn answered(replica: &Binary) -> u64 {
    let metrics = replica.metrics().await;
    let of_calls = metrics.lines().filter(|line| {
        line.starts_with("turnpike_requests_total{") && line.contains("operation=\"messages\"")
    });
    let counts = of_calls.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    counts.sum()
}

/// Waits until a replica has a part of the load again.
async fn is_called(replica: &Binary) {
    until_async(async || answered(replica).await >= 5).await;
}

#[tokio::test]
async fn each_replica_is_replaced_and_no_call_fails() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let redis = Server::running();
    let state = format!(
        "state: {{backend: redis, redis: {{url: \"{}\", deadline: 10s, connect_timeout: 20s}}}}\n",
        redis.url()
    );
    let reserved: Vec<_> = (0..REPLICAS).map(|_| (reserved(), reserved())).collect();
    let ports = reserved.iter().map(|(proxy, admin)| (proxy.1, admin.1));
    let ports: Vec<(u16, u16)> = ports.collect();
    let yaml = |(proxy, admin): (u16, u16)| {
        let server = format!(
            "server: {{port: {proxy}, secret_key: secret-of-the-fleet-0123456789ab, drain: {{lame_duck: 3s, limit: 5m}}}}"
        );
        let rest = config(&provider.base_url(), 1)
            .replace("server: {port: 0}", &server)
            .replace("admin: {port: 0}", &format!("admin: {{port: {admin}}}"));
        state.clone() + &rest
    };
    let mut replicas = Vec::new();
    for ports in &ports {
        replicas.push(Binary::start(&yaml(*ports), &["--log-level", "info"]).await);
    }
    let clients = StdListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let _balancer = balancer(dir.path(), &clients, &ports);
    let load = Load::on(&clients);
    for replica in &replicas {
        is_called(replica).await;
    }
    for (at, ports) in ports.iter().enumerate() {
        replicas[at].signal("-TERM").await;
        assert!(replicas[at].ended().await.success(), "nothing was cut");
        let launch_yaml = yaml(*ports);
        let next = Binary::launch(Launch {
            flags: &["--log-level", "info"],
            files: replicas[at].config.parent(),
            ..Launch::of(&launch_yaml)
        });
        replicas[at] = next.await;
        is_called(&replicas[at]).await;
        load.goes_on(20).await;
    }
    load.ends().await;
}
