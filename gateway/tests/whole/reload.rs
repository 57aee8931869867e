//! A changed configuration is taken over without harm, or not at all.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use turnpike::assemble::credential_directory;
use turnpike::configuration;
use turnpike::reload::Reloader;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::binary::{Binary, replace};
use crate::calls::{CHAT, Caller, Events, client, get_with, post_with, served, upstream};
use crate::harness::{Client, House, Http, KEY, PATIENCE, chat, config, until};

const SWAPS: u64 = 500;

/// Every so manyth configuration is not valid.
const INVALID: u64 = 10;

const BROKEN: &str = "server: {port: 0, nonsense: true}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_request_and_leave_nothing_behind() {
    let (provider, house) = served(Options::default(), 1).await;
    let swapped = Swapped::of(&house, &provider);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = [Http::One, Http::Two, Http::One]
        .map(|http| tokio::spawn(served_until(house.gateway.proxy, http, stop.clone())))
        .into();
    let before = house.gateway.runtime.snapshot().generation;
    let mut snapshots = Vec::new();
    for n in 1..=SWAPS {
        let in_force = house.gateway.runtime.snapshot();
        let result = swapped.clone().swap(n).await;
        let now = house.gateway.runtime.snapshot();
        if n % INVALID == 0 {
            assert!(result.unwrap_err().contains("nonsense"));
            assert!(
                Arc::ptr_eq(&in_force, &now),
                "an invalid file changed something"
            );
        } else {
            assert_eq!(result, Ok(in_force.generation + 1));
            assert_eq!(now.generation, in_force.generation + 1);
        }
        snapshots.push(Arc::downgrade(&in_force));
    }
    stop.store(true, Ordering::Relaxed);
    let mut requests = 0;
    for task in load {
        requests += task.await.unwrap();
    }
    println!("{requests} requests during {SWAPS} swaps");
    assert!(requests > 0);
    house.settled().await;
    let bad = SWAPS / INVALID;
    let now = house.gateway.runtime.snapshot();
    assert_eq!(now.generation, before + SWAPS - bad);
    drop(now);
    // The last one read was invalid, so the last one taken over is both in the list and in force.
    until(|| {
        snapshots
            .iter()
            .filter(|snapshot| Weak::strong_count(snapshot) > 0)
            .count()
            <= 1
    })
    .await;
    assert_eq!(reloads(&house, "failed"), bad as f64);
    // The first was counted at start.
    assert_eq!(reloads(&house, "ok"), (SWAPS - bad + 1) as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_on_a_plateau_over_swaps() {
    const GROWTH: u64 = 20 << 20;
    let provider = FakeProvider::start(Options::default()).await;
    let binary = Binary::start(&config(&provider.base_url(), 20), &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(served_until(binary.proxy, Http::One, stop.clone()));
    swap_by_signal(&binary, SWAPS / 2).await;
    let half = binary.memory();
    swap_by_signal(&binary, SWAPS / 2).await;
    let whole = binary.memory();
    stop.store(true, Ordering::Relaxed);
    println!(
        "{} requests; {half} bytes, then {whole}",
        load.await.unwrap()
    );
    assert!(
        whole < half + GROWTH,
        "{half} bytes after half of the swaps, {whole} after all"
    );
    binary.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_over_however_it_was_written() {
    let (provider, house) = served(Options::default(), 1).await;
    let yaml = |key: &str| config(&upstream(&provider), 1).replace(KEY, key);
    let path = house.config.clone();

    taken_over(&house, || replace(&path, &yaml("replaced-0123456789"))).await;
    assert_eq!(asked_with(&house, "replaced-0123456789").await, 200);
    assert_eq!(asked_with(&house, KEY).await, 401);

    // Written in place a file is not whole for a moment, which may be read too.
    std::fs::write(&path, yaml("in-place-0123456789")).unwrap();
    comes_to_be_known(&house, "in-place-0123456789").await;

    let failed = reloads(&house, "failed");
    std::fs::remove_file(&path).unwrap();
    until(|| reloads(&house, "failed") > failed).await;
    assert_eq!(house.metric("turnpike_config_last_reload_successful"), 0.0);
    assert_eq!(
        asked_with(&house, "in-place-0123456789").await,
        200,
        "it stays in force"
    );
    taken_over(&house, || {
        std::fs::write(&path, yaml("again-0123456789")).unwrap()
    })
    .await;
    assert_eq!(asked_with(&house, "again-0123456789").await, 200);
    assert_eq!(house.metric("turnpike_config_last_reload_successful"), 1.0);
    let generation = house.gateway.runtime.snapshot().generation;
    assert_eq!(
        house.metric("turnpike_config_generation"),
        generation as f64
    );
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_file_changes_nothing_and_is_reported() {
    let (_provider, house) = served(Options::default(), 1).await;
    let generation = house.gateway.runtime.snapshot().generation;
    replace(&house.config, BROKEN);
    until(|| reloads(&house, "failed") > 0.0).await;
    assert_eq!(house.gateway.runtime.snapshot().generation, generation);
    assert_eq!(house.metric("turnpike_config_last_reload_successful"), 0.0);
    assert_eq!(
        house.metric("turnpike_config_generation"),
        generation as f64
    );
    assert_eq!(asked_with(&house, KEY).await, 200);
    house.settled().await;
}

#[tokio::test]
async fn an_empty_file_is_taken_for_one_that_is_being_written() {
    let (_provider, house) = served(Options::default(), 1).await;
    let problem = reload(&house, " \n").unwrap_err();
    assert!(problem.ends_with("turnpike.yaml is empty"), "{problem}");
    assert_eq!(asked_with(&house, KEY).await, 200);
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_waits_for_a_secret_is_taken_over_when_the_secret_comes() {
    let (provider, house) = served(Options::default(), 1).await;
    let yaml = config(&upstream(&provider), 1).replace("sk-openai-1", "\"file:later\"");
    replace(&house.config, &yaml);
    until(|| reloads(&house, "failed") > 0.0).await;
    let secret = house.dir.path().join("later");
    taken_over(&house, || replace(&secret, "sk-later")).await;
    assert_eq!(asked_with(&house, KEY).await, 200);
    assert_eq!(provider.take_calls()[0].key, "sk-later");
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_and_a_secret_are_taken_over_when_kubernetes_swaps_them() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = |key: &str| {
        let yaml = config(&provider.base_url(), 1).replace("sk-openai-1", "\"file:provider-key\"");
        yaml.replace(KEY, key)
    };
    let dir = tempfile::tempdir().unwrap();
    publish(dir.path(), "..1", &yaml(KEY), "sk-first");
    for name in ["turnpike.yaml", "provider-key"] {
        symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
    }
    let house = House::serve_in(dir, &yaml(KEY)).await;
    assert_eq!(asked_with(&house, KEY).await, 200);
    assert_eq!(provider.take_calls()[0].key, "sk-first");

    // The secret alone.
    taken_over(&house, || {
        publish(house.dir.path(), "..2", &yaml(KEY), "sk-second")
    })
    .await;
    assert_eq!(asked_with(&house, KEY).await, 200);
    assert_eq!(provider.take_calls()[0].key, "sk-second");

    // Both, twice: the watch outlives what it watched.
    for (version, key, secret) in [
        ("..3", "third-0123456789", "sk-third"),
        ("..4", "fourth-0123456789", "sk-fourth"),
    ] {
        taken_over(&house, || {
            publish(house.dir.path(), version, &yaml(key), secret)
        })
        .await;
        assert_eq!(asked_with(&house, key).await, 200);
        assert_eq!(provider.take_calls()[0].key, secret);
    }
    assert_eq!(asked_with(&house, KEY).await, 401);
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_began_before_a_swap_ends_as_it_began() {
    let (provider, house) = served(Options::default(), 1).await;
    provider.script(CHAT.key, [Behaviour::Gated]);
    provider.gate(CHAT.key).release(1 + CHAT.openings);
    let mut caller = Caller::connect(&house, Http::One).await;
    let request = caller.request(&CHAT);
    let mut events = Events::new(caller.send(request).await.into_body());
    events.next().await.unwrap();

    let others = FakeProvider::start(Options::default()).await;
    let yaml = config(&others.base_url(), 1).replace("sk-openai-1", "sk-new");
    reload(&house, &yaml.replace(KEY, "new-key-0123456789")).unwrap();
    assert_eq!(asked_with(&house, KEY).await, 401);
    assert_eq!(asked_with(&house, "new-key-0123456789").await, 200);
    assert_eq!(others.take_calls()[0].key, "sk-new");

    provider.gate(CHAT.key).open();
    let mut last = String::new();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert!(last.contains(CHAT.terminal));
    house.settled().await;
}

#[tokio::test]
async fn a_removed_key_is_refused_and_removing_all_of_them_does_not_open_the_gateway() {
    let (provider, house) = served(Options::default(), 1).await;
    let yaml = config(&provider.base_url(), 1);
    reload(&house, &yaml.replace(KEY, "other-key-0123456789")).unwrap();
    assert_eq!(asked_with(&house, KEY).await, 401);
    assert_eq!(asked_with(&house, "other-key-0123456789").await, 200);

    let none: String = yaml
        .lines()
        .filter(|line| !line.contains("api_keys"))
        .map(|line| format!("{line}\n"))
        .collect();
    reload(&house, &none).unwrap();
    let mut first = client(&house, Http::One).await;
    let answer = post_with(&mut first, CHAT.path, &[], chat("gpt-4o")).await;
    assert_eq!(answer.status, 401, "without a key: {}", answer.text());
    let mut second = client(&house, Http::One).await;
    assert_eq!(get_with(&mut second, "/v1/models", &[]).await.status, 401);
    assert_eq!(asked_with(&house, "other-key-0123456789").await, 401);

    reload(&house, &yaml).unwrap();
    assert_eq!(asked_with(&house, KEY).await, 200);
    house.settled().await;
}

#[tokio::test]
async fn a_gateway_that_started_open_closes_when_it_gets_a_key_and_stays_closed() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = config(&provider.base_url(), 1);
    let none = yaml.replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]\n"), "");
    let house = House::serve(&none).await;
    assert_eq!(asked_with(&house, "anything").await, 200);
    reload(&house, &yaml).unwrap();
    assert_eq!(asked_with(&house, "anything").await, 401);
    reload(&house, &none).unwrap();
    assert_eq!(asked_with(&house, "anything").await, 401);
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_signal_makes_the_process_read_its_configuration() {
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = config(&provider.base_url(), 1);
    let binary = Binary::start(&yaml, &[]).await;
    // Nothing has changed: a signal is obeyed all the same.
    binary.signal("-HUP").await;
    until(|| binary.log().contains("generation=2")).await;
    replace(&binary.config, BROKEN);
    binary.signal("-HUP").await;
    until(|| binary.log().contains("configuration not taken over")).await;
    assert!(binary.log().contains("nonsense"), "{}", binary.log());
    let mut client = binary.client(Http::One).await;
    assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 200);
    replace(&binary.config, &yaml);
    binary.signal("-HUP").await;
    until(|| binary.log().contains("generation=3")).await;
    assert!(binary.stop().await.contains("stopped"));
}

/// Whatever moment of a reload a change falls into, the next look at the files finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_during_a_reload_is_not_missed() {
    let (provider, house) = served(Options::default(), 1).await;
    let swapped = Swapped::of(&house, &provider);
    let write = |url: &str| {
        let server = format!("server: {{port: 0, public_url: \"http://{url}\"}}");
        let yaml = config(&swapped.base_url, 1).replace("server: {port: 0}", &server);
        replace(&swapped.reloader.path, &yaml);
    };
    for n in 0..200 {
        write(&format!("first-{n}.example"));
        std::thread::scope(|scope| {
            scope.spawn(|| swapped.reloader.reload().unwrap());
            // Sooner or later within the reload, as the machine has it.
            (0..n).for_each(|_| std::thread::yield_now());
            write(&format!("then-{n}.example"));
        });
        swapped.reloader.reload_if_changed();
        let in_force = house.gateway.runtime.snapshot();
        assert_eq!(
            in_force.tenants.site.public_url,
            format!("http://then-{n}.example")
        );
    }
}

/// A reloader of a file that nobody watches, so that only the test decides when it is read.
struct Swapped {
    reloader: Reloader,
    base_url: String,
    _dir: tempfile::TempDir,
}

impl Swapped {
    fn of(house: &House, provider: &FakeProvider) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turnpike.yaml");
        let base_url = upstream(provider);
        std::fs::write(&path, config(&base_url, 1)).unwrap();
        let own = &house.gateway.reloader;
        let plan = configuration::load(&path, &own.environment).unwrap_or_else(|p| panic!("{p}"));
        let directory = credential_directory(&plan);
        let reloader = Reloader::new(
            path,
            own.environment.clone(),
            own.ground.clone(),
            own.runtime.clone(),
            None,
            plan,
            directory,
        );
        Arc::new(Self {
            reloader,
            base_url,
            _dir: dir,
        })
    }

    /// Reads the `n`th configuration.
    async fn swap(self: Arc<Self>, n: u64) -> Result<u64, String> {
        let yaml = match n % INVALID {
            0 => BROKEN.to_owned(),
            _ => config(&self.base_url, 1 + (n % 3) as usize),
        };
        replace(&self.reloader.path, &yaml);
        tokio::task::spawn_blocking(move || self.reloader.reload())
            .await
            .unwrap()
    }
}

/// Calls and streams one after the other, none of which may fail; how many there were.
async fn served_until(proxy: std::net::SocketAddr, http: Http, stop: Arc<AtomicBool>) -> u64 {
    let tcp = tokio::net::TcpStream::connect(proxy).await.unwrap();
    let mut client = Client::on(tcp, http).await;
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.post(CHAT.path, chat("gpt-4o")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let stream = client.post(CHAT.path, CHAT.body).await;
        assert!(
            stream.text().ends_with("data: [DONE]\n\n"),
            "{}",
            stream.text()
        );
        requests += 2;
    }
    requests
}

async fn swap_by_signal(binary: &Binary, swaps: u64) {
    for _ in 0..swaps {
        let before = generation(binary).await;
        binary.signal("-HUP").await;
        while generation(binary).await == before {
            tokio::task::yield_now().await;
        }
    }
}

async fn generation(binary: &Binary) -> String {
    let metrics = binary.metrics().await;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("turnpike_config_generation "));
    line.unwrap().to_owned()
}

/// Writes the files of a Kubernetes volume under a new version, and makes it the one in force.
fn publish(volume: &Path, version: &str, yaml: &str, key: &str) {
    let files = volume.join(version);
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("turnpike.yaml"), yaml).unwrap();
    std::fs::write(files.join("provider-key"), key).unwrap();
    symlink(version, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    // The kubelet removes the old one after.
    for old in 1..9 {
        if version != format!("..{old}") {
            let _ = std::fs::remove_dir_all(volume.join(format!("..{old}")));
        }
    }
}

/// Changes something and waits until it is in force.
async fn taken_over(house: &House, change: impl FnOnce()) {
    let before = house.gateway.runtime.snapshot().generation;
    change();
    until(|| house.gateway.runtime.snapshot().generation > before).await;
}

/// Waits until the key is one of those in force.
async fn comes_to_be_known(house: &House, key: &str) {
    let waiting = async {
        while asked_with(house, key).await != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the key is known");
}

/// Reads this configuration now.
fn reload(house: &House, yaml: &str) -> Result<u64, String> {
    replace(&house.config, yaml);
    house.gateway.reloader.reload()
}

async fn asked_with(house: &House, key: &str) -> u16 {
    let mut client = client(house, Http::One).await;
    let headers = [("x-api-key", key)];
    post_with(&mut client, CHAT.path, &headers, chat("gpt-4o"))
        .await
        .status
}

fn reloads(house: &House, result: &str) -> f64 {
    house.metric(&format!(
        "turnpike_config_reloads_total{{result=\"{result}\"}}"
    ))
}
