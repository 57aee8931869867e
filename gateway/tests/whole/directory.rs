//! Credential files come, change and go while requests are served; none of them fails.

mod broken;
mod shapes;

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use turnpike::clock::Time;
use turnpike::upstream::roll::{Enrolled, Report, Status};
use turnpike_api::Clock;
use turnpike_loadtest::{FakeProvider, Options};

use crate::binary::replace;
use crate::calls::CHAT;
use crate::harness::{Answer, Client, House, Http, KEY, chat, until};

/// As many at once as a large installation mounts.
const MANY: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_change_and_go_under_load() {
    let place = Place::new().await;
    place.put("openai-keep", &key("sk-keep"));
    place.is_active("openai/openai-keep.json").await;
    let load = Load::start(&place.house).await;

    place.write("openai-a", &key("sk-added"));
    place.is_used("sk-added").await;
    // In place: the file is not whole for a moment.
    place.write("openai-a", &key("sk-written"));
    place.is_used("sk-written").await;
    place.put("openai-a", &key("sk-replaced"));
    place.is_used("sk-replaced").await;
    std::fs::remove_file(place.path("openai-a")).unwrap();
    until(|| place.report("openai/openai-a.json").is_none()).await;

    assert!(load.stop().await > 0);
    place.house.settled().await;
    place.provider.take_calls();
    for _ in 0..4 {
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
    assert_eq!(place.keys(), ["sk-keep"; 4], "what was removed is not used");
    // What the files hold is no configuration.
    assert_eq!(place.house.gateway.runtime.snapshot().generation, 1);
    assert_eq!(place.house.metric("turnpike_config_generation"), 1.0);
    let read = "turnpike_config_reloads_total{result=\"ok\"}";
    assert_eq!(place.house.metric(read), 1.0);
}

/// The kubelet writes a new version beside the old one, swaps `..data`, removes names that are
/// gone, then the old version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_secret_is_swapped_under_load() {
    let place = Place::new().await;
    let volume = place.dir();
    std::fs::create_dir_all(&volume).unwrap();
    publish(
        &volume,
        "1",
        &[("openai-a", "sk-a1"), ("openai-b", "sk-b1")],
    );
    place.is_active("openai/openai-b.json").await;
    let load = Load::start(&place.house).await;
    for version in 2..=5 {
        let (a, b) = (format!("sk-a{version}"), format!("sk-b{version}"));
        let files = [("openai-a", &*a), ("openai-b", &*b)];
        publish(&volume, &version.to_string(), &files);
        place.is_used(&a).await;
        place.is_used(&b).await;
    }
    publish(&volume, "6", &[("openai-a", "sk-a6")]);
    until(|| place.report("openai/openai-b.json").is_none()).await;
    place.is_used("sk-a6").await;
    assert!(load.stop().await > 0);
    place.house.settled().await;
    assert_eq!(place.house.gateway.runtime.snapshot().generation, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_files_come_and_go_at_once() {
    let place = Place::new().await;
    place.put("openai-keep", &key("sk-keep"));
    place.is_active("openai/openai-keep.json").await;
    let load = Load::start(&place.house).await;
    for n in 0..MANY {
        place.write(&format!("openai-{n}"), &key(&format!("sk-many-{n}")));
    }
    until(|| place.files() == (MANY + 1, 0)).await;
    let usable = place.house.gateway.runtime.snapshot().usable().count();
    assert_eq!(usable, MANY + 1);
    for n in 0..MANY {
        std::fs::remove_file(place.path(&format!("openai-{n}"))).unwrap();
    }
    until(|| place.files() == (1, 0)).await;
    assert!(load.stop().await > 0);
    place.house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_may_appear_later_vanish_and_come_back() {
    let place = Place::new().await;
    std::fs::remove_dir_all(place.dir()).unwrap();
    place.look();
    let answer = place.ask("gpt-4o").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("none are configured"),
        "{}",
        answer.text()
    );

    // By the watch alone, twice: the second directory is another one.
    for token in ["sk-first", "sk-second"] {
        std::fs::create_dir(place.dir()).unwrap();
        place.put("openai-a", &key(token));
        place.is_active("openai/openai-a.json").await;
        assert_eq!(place.ask("gpt-4o").await.status, 200);
        assert_eq!(place.keys(), [token]);
        std::fs::remove_dir_all(place.dir()).unwrap();
        until(|| place.report("openai/openai-a.json").is_none()).await;
        assert_eq!(place.ask("gpt-4o").await.status, 503);
    }
    // A file where a directory should be is told, and nothing is forgotten for it.
    std::fs::create_dir(place.dir()).unwrap();
    place.put("openai-a", &key("sk-third"));
    place.is_active("openai/openai-a.json").await;
    std::fs::rename(place.dir(), place.house.dir.path().join("aside")).unwrap();
    std::fs::write(place.dir(), "no directory").unwrap();
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
}

#[tokio::test]
async fn a_configuration_that_is_not_taken_over_keeps_no_file_from_being_used() {
    let place = Place::new().await;
    place.put("openai-a", &key("sk-a"));
    place.look();
    let good = std::fs::read_to_string(&place.house.config).unwrap();
    // Read together with a change of the directory.
    replace(&place.house.config, "server: {port: 0, nonsense: true}\n");
    place.put("openai-b", &key("sk-b"));
    assert!(place.house.gateway.reloader.reload().is_err());
    place.look();
    assert_eq!(place.status("openai/openai-b.json"), Some(Status::Active));
    // And while it stays broken.
    place.put("openai-a", &key("sk-a2"));
    place.look();
    place.provider.take_calls();
    for _ in 0..2 {
        assert_eq!(place.ask("gpt-4o").await.status, 200);
    }
    let mut keys = place.keys();
    keys.sort();
    assert_eq!(keys, ["sk-a2", "sk-b"]);
    assert_eq!(place.house.gateway.runtime.snapshot().generation, 1);
    replace(&place.house.config, &good);
    assert!(place.house.gateway.reloader.reload().is_ok());
    assert_eq!(place.ask("gpt-4o").await.status, 200);
}

/// A certificate that is missing for a moment must not make a change of the directory be lost.
#[tokio::test]
async fn files_that_could_not_be_taken_over_are_taken_over_later() {
    let place = Place::new().await;
    let ca = place.house.dir.path().join("ca.crt");
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, authority.cert.pem()).unwrap();
    let yaml = std::fs::read_to_string(&place.house.config).unwrap();
    replace(
        &place.house.config,
        &format!("{yaml}egress: {{ca_file: ca.crt}}\n"),
    );
    place.house.gateway.reloader.reload().unwrap();

    // A source of the configuration like any other: without it nothing can be assembled.
    let aside = ca.with_extension("aside");
    std::fs::rename(&ca, &aside).unwrap();
    place.put("openai-a", &key("sk-a"));
    place.look();
    assert_eq!(place.status("openai/openai-a.json"), None);
    std::fs::rename(&aside, &ca).unwrap();
    place.look();
    assert_eq!(place.status("openai/openai-a.json"), Some(Status::Active));
}

#[tokio::test]
async fn another_directory_is_in_force_only_with_its_configuration() {
    let place = Place::new().await;
    place.put("openai-a", &key("sk-a"));
    place.look();
    let other = place.house.dir.path().join("others");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("openai-b.json"), key("sk-b").to_string()).unwrap();
    std::fs::write(other.join("openai-bad.json"), "{").unwrap();
    let yaml = std::fs::read_to_string(&place.house.config).unwrap();
    let moved = yaml.replace("auth: {", "auth: {dir: others, ");
    let not_to_be_served = format!("{moved}egress: {{ca_file: absent.crt}}\n");
    replace(&place.house.config, &not_to_be_served);
    assert!(place.house.gateway.reloader.reload().is_err());
    place.put("openai-a", &key("sk-a2"));
    place.look();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    assert_eq!(place.keys(), ["sk-a2"]);

    replace(&place.house.config, &moved);
    place.house.gateway.reloader.reload().unwrap();
    assert_eq!(place.ask("gpt-4o").await.status, 200);
    assert_eq!(place.keys(), ["sk-b"]);
    assert_eq!(place.files(), (1, 1), "told of the new directory");
}

/// A key that its owner made.
pub(crate) fn key(token: &str) -> Value {
    json!({"type": "api_key", "token": token})
}

/// Puts a new version of a volume in force, as the kubelet does.
fn publish(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let directory = format!("..2026_{version}");
    std::fs::create_dir(volume.join(&directory)).unwrap();
    for (name, token) in files {
        let path = volume.join(&directory).join(format!("{name}.json"));
        std::fs::write(path, key(token).to_string()).unwrap();
    }
    let before = std::fs::read_link(volume.join("..data")).ok();
    symlink(&directory, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    for (name, _) in files {
        let name = format!("{name}.json");
        // Those of the version before are there already.
        let _ = symlink(Path::new("..data").join(&name), volume.join(&name));
    }
    for entry in std::fs::read_dir(volume).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".json");
        if !name.starts_with("..") && files.iter().all(|(kept, _)| *kept != stem) {
            std::fs::remove_file(volume.join(name)).unwrap();
        }
    }
    if let Some(before) = before {
        std::fs::remove_dir_all(volume.join(before)).unwrap();
    }
}

/// A gateway whose credentials are files, and the provider of all of them.
pub(crate) struct Place {
    pub(crate) provider: FakeProvider,
    pub(crate) house: House,
    pub(crate) time: Time,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with("", "").await
    }

    /// With more of `auth`, and more lines of configuration.
    pub(crate) async fn with(auth: &str, more: &str) -> Self {
        let now = Time::system().now();
        Self::by(Time::simulated(now), auth, more).await
    }

    async fn by(time: Time, auth: &str, more: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let url = provider.base_url();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("auths")).unwrap();
        let yaml = format!(
            "server: {{port: 0}}\n\
             admin: {{port: 0}}\n\
             api_keys: [{{key: {KEY}, name: tests}}]\n\
             auth: {{{auth}cooldown: {{auth: 30m, transient: 60s}}}}\n\
             max_retry_interval: 0\n\
             providers:\n\
             \x20 openai: {{base_url: \"{url}/v1\"}}\n\
             \x20 claude: {{base_url: \"{url}\"}}\n\
             \x20 gemini: {{base_url: \"{url}\"}}\n\
             \x20 vertex: {{base_url: \"{url}\"}}\n\
             \x20 codex: {{base_url: \"{url}/v1\"}}\n\
             {more}"
        );
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        Self {
            provider,
            house,
            time,
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.house.dir.path().join("auths")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.json"))
    }

    /// Puts a file there at once.
    pub(crate) fn put(&self, name: &str, content: &Value) {
        replace(&self.path(name), &content.to_string());
    }

    /// Writes a file where it is.
    pub(crate) fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.path(name), content.to_string()).unwrap();
    }

    /// Lets the gateway look at its files now.
    pub(crate) fn look(&self) {
        self.house.gateway.reloader.reload_if_changed();
    }

    pub(crate) fn report(&self, id: &str) -> Option<Report> {
        let snapshot = self.house.gateway.runtime.snapshot();
        let one = |one: &&Enrolled| *one.id == *id;
        let found = snapshot.roll.iter().find(one);
        found.map(|one| one.report(self.time.now()))
    }

    pub(crate) fn status(&self, id: &str) -> Option<Status> {
        self.report(id).map(|report| report.status)
    }

    pub(crate) async fn is_active(&self, id: &str) {
        until(|| self.status(id) == Some(Status::Active)).await;
    }

    /// Waits until the provider is called with the key.
    async fn is_used(&self, token: &str) {
        until(|| !self.provider.calls_with(token).is_empty()).await;
    }

    /// Good files and others, as the metrics tell.
    pub(crate) fn files(&self) -> (usize, usize) {
        let count = |state: &str| {
            let series = format!("turnpike_credential_files{{state=\"{state}\"}}");
            self.house.metric(&series) as usize
        };
        (count("good"), count("error"))
    }

    /// The keys of the calls since the last look at them.
    pub(crate) fn keys(&self) -> Vec<String> {
        let calls = self.provider.take_calls();
        calls.into_iter().map(|call| call.key).collect()
    }

    pub(crate) async fn ask(&self, model: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        client.post(CHAT.path, chat(model)).await
    }

    /// Sends a body to a path.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        client.post(path, body.to_owned()).await
    }
}

/// Callers that go on until they are stopped, and none of whose requests may fail.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts, and returns when each caller was served.
    async fn start(house: &House) -> Self {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let call = |http| {
            tokio::spawn(call(
                house.gateway.proxy,
                http,
                stop.clone(),
                served.clone(),
            ))
        };
        let callers = [Http::One, Http::Two, Http::One].map(call).into();
        let load = Self {
            stop,
            served,
            callers,
        };
        until(|| load.served.load(Ordering::Relaxed) >= 6).await;
        load
    }

    /// How many requests were served.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

async fn call(proxy: SocketAddr, http: Http, stop: Arc<AtomicBool>, served: Arc<AtomicU64>) {
    let tcp = TcpStream::connect(proxy).await.unwrap();
    let mut client = Client::on(tcp, http).await;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.post(CHAT.path, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stream = client.post(CHAT.path, CHAT.body).await;
        assert!(
            stream.text().ends_with("data: [DONE]\n\n"),
            "{}",
            stream.text()
        );
        served.fetch_add(2, Ordering::Relaxed);
    }
}
