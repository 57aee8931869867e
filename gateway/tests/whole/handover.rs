//! A socket that outlives the process: one gateway takes another's place, and nobody is refused.

use std::net::TcpListener as StdListener;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use crate::binary::{Binary, Launch};
use crate::calls::{CHAT, Events, MESSAGES};
use crate::fleet::server::Server;
use crate::harness::{Client, Http, PATIENCE, chat, config, until, until_async};

/// What somebody else holds, as systemd would.
struct Sockets {
    proxy: StdListener,
    admin: StdListener,
}

impl Sockets {
    fn open() -> Self {
        let open = || StdListener::bind("127.0.0.1:0").unwrap();
        Self {
            proxy: open(),
            admin: open(),
        }
    }

    fn both(&self) -> [&StdListener; 2] {
        [&self.admin, &self.proxy]
    }

    /// A configuration that listens on them; the admin listener may be each process's own.
    fn yaml(&self, provider: &FakeProvider, more: &str) -> String {
        let port = |socket: &StdListener| socket.local_addr().unwrap().port();
        let server = format!(
            "server: {{port: {}, drain: {{lame_duck: 100ms, limit: 5m}}{more}}}",
            port(&self.proxy)
        );
        let admin = format!("admin: {{port: {}}}", port(&self.admin));
        config(&provider.base_url(), 1)
            .replace("server: {port: 0}", &server)
            .replace("admin: {port: 0}", &admin)
    }
}

/// Callers, each on a new connection for every call: what fails, fails the test.
pub(crate) struct Load {
    stops: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(socket: &StdListener) -> Self {
        let (stops, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let at = socket.local_addr().unwrap();
        let caller = |http| {
            let (stops, served) = (stops.clone(), served.clone());
            tokio::spawn(async move {
                while !stops.load(Relaxed) {
                    let tcp = TcpStream::connect(at).await.expect("nobody is refused");
                    let mut client = Client::on(tcp, http).await;
                    let answer = client.post(MESSAGES.path, chat("claude-sonnet-4-5")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, Relaxed);
                }
            })
        };
        let callers = [Http::One, Http::Two, Http::One, Http::Two]
            .map(caller)
            .into();
        Self {
            stops,
            served,
            callers,
        }
    }

    /// Waits for so many more calls.
    pub(crate) async fn goes_on(&self, calls: u64) {
        let enough = self.served.load(Relaxed) + calls;
        until(|| self.served.load(Relaxed) >= enough || self.has_failed()).await;
        assert!(!self.has_failed(), "a call failed");
    }

    fn has_failed(&self) -> bool {
        self.callers.iter().any(JoinHandle::is_finished)
    }

    pub(crate) async fn ends(self) {
        self.stops.store(true, Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
    }
}

async fn provider() -> FakeProvider {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let after_events = CHAT.openings + 1;
    provider.always(CHAT.key, Behaviour::GatedAfter { after_events });
    provider
}

/// Streams that have begun and wait for the gate.
async fn streams(binary: &Binary, count: usize) -> Vec<(Client, Events)> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut client = binary.client(Http::One).await;
        let request = client.request(CHAT.path, CHAT.body);
        let answer = client.send(request).await.unwrap();
        streams.push((client, Events::new(answer.into_body())));
    }
    streams
}

async fn are_whole(streams: Vec<(Client, Events)>) {
    for (_client, mut events) in streams {
        let mut last = String::new();
        while let Some(event) = events.next().await {
            last = event;
        }
        assert_eq!(last, "data: [DONE]\n\n");
    }
}

/// One store has one gateway: the next one begins where the other has ended, and who comes meanwhile
/// waits in the socket's queue.
#[tokio::test]
async fn one_after_the_other_refuses_nobody() {
    let (provider, sockets) = (provider().await, Sockets::open());
    let yaml = sockets.yaml(&provider, "");
    let both = sockets.both();
    let on = |files| Launch {
        flags: &["--log-level", "info"],
        sockets: &both,
        files,
        ..Launch::of(&yaml)
    };
    let mut before = Binary::launch(on(None)).await;
    let streams = streams(&before, 20).await;
    let load = Load::on(&sockets.proxy);
    load.goes_on(20).await;
    before.signal("-TERM").await;
    load.goes_on(1).await;
    provider.gate(CHAT.key).open();
    are_whole(streams).await;
    assert!(before.ended().await.success());

    let _after = Binary::launch(on(before.config.parent())).await;
    load.goes_on(20).await;
    load.ends().await;
}

/// More have connected than may, and the one before cuts what is under way: who has waited in the queue is
/// the next one's.
#[tokio::test]
async fn who_waits_for_a_place_is_served_by_the_next_one() {
    let (provider, sockets) = (provider().await, Sockets::open());
    let yaml = sockets.yaml(&provider, ", limits: {max_connections: 1}");
    let yaml = yaml.replace("limit: 5m", "limit: 200ms");
    let both = sockets.both();
    let on = |files| Launch {
        flags: &["--log-level", "info"],
        sockets: &both,
        files,
        ..Launch::of(&yaml)
    };
    let mut before = Binary::launch(on(None)).await;
    let _streams = streams(&before, 1).await;
    let mut waiting = before.client(Http::One).await;
    let waiting =
        tokio::spawn(async move { waiting.post(MESSAGES.path, chat("claude-sonnet-4-5")).await });
    before.signal("-TERM").await;
    assert_eq!(before.ended().await.code(), Some(1), "the stream is cut");

    let _after = Binary::launch(on(before.config.parent())).await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Of a fleet two may have the socket together.
#[tokio::test]
async fn one_beside_the_other_keeps_nobody_waiting() {
    let (provider, sockets, redis) = (provider().await, Sockets::open(), Server::running());
    let fleet = format!(
        "state: {{backend: redis, redis: {{url: \"{}\", deadline: 10s, connect_timeout: 20s}}}}\n",
        redis.url()
    );
    let yaml = fleet + &sockets.yaml(&provider, ", secret_key: secret-of-the-fleet-0123456789ab");
    let yaml = {
        let port = sockets.admin.local_addr().unwrap().port();
        yaml.replace(&format!("admin: {{port: {port}}}"), "admin: {port: 0}")
    };
    let launch = Launch {
        flags: &["--log-level", "info"],
        sockets: &[&sockets.proxy],
        ..Launch::of(&yaml)
    };
    let mut before = Binary::launch(launch).await;
    let streams = streams(&before, 50).await;
    let load = Load::on(&sockets.proxy);
    load.goes_on(20).await;

    let after = Binary::launch(launch).await;
    before.signal("-TERM").await;
    until_async(async || before.metrics().await.contains("\nturnpike_draining 1\n")).await;
    load.goes_on(50).await;
    provider.gate(CHAT.key).open();
    are_whole(streams).await;
    assert!(before.ended().await.success());
    load.goes_on(20).await;
    assert!(
        after.metrics().await.contains("operation=\"messages\""),
        "it has served"
    );
    load.ends().await;
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_told() {
    let (provider, sockets) = (provider().await, Sockets::open());
    let spare = StdListener::bind("127.0.0.1:0").unwrap();
    let yaml = sockets.yaml(&provider, "");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("turnpike.yaml");
    std::fs::write(&config, &yaml).unwrap();
    let launch = Launch {
        sockets: &[&sockets.proxy, &spare],
        ..Launch::of(&yaml)
    };
    drop(sockets.admin);
    let mut command = launch.command();
    let command = command.arg("--config").arg(&config).stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let address = spare.local_addr().unwrap().to_string();
    assert!(said.contains("a socket was handed over for"), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn systemd_is_told_how_it_stands() {
    let (provider, sockets) = (provider().await, Sockets::open());
    let yaml = sockets.yaml(&provider, "");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut binary = Binary::launch(Launch {
        sockets: &sockets.both(),
        supervisor: Some(&path),
        ..Launch::of(&yaml)
    })
    .await;
    let heard = move || {
        let mut message = [0; 64];
        let len = supervisor.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..len]).into_owned()
    };
    assert_eq!(heard(), "READY=1\n");
    binary.signal("-INT").await;
    assert!(binary.ended().await.success());
    assert_eq!(heard(), "STOPPING=1\n");
}
