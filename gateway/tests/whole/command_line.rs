//! The program as an operator runs it: flags, environment, what it says, how it ends.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use crate::harness::{Answer, Client, Http, KEY, PATIENCE, chat, config};

const CHAT: &str = "/v1/chat/completions";

/// Three mistakes: an unknown key, a wrong type and a value out of bounds.
const BAD: &str = "server:\n  prot: 0\n  limits: {header_timeout: 7}\nadmin: {port: 0}\n\
                   providers:\n  openai: {credentials: [{api_key: sk-openai-1}]}\nmax_retry_credentials: -1\n";

#[tokio::test]
async fn a_good_configuration_is_valid() {
    let place = Place::new(&good("http://127.0.0.1:9"));
    for arguments in [&["--validate-only"][..], &["serve", "--validate-only"]] {
        let done = place.run(arguments).await;
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(done.out.contains("turnpike.yaml is valid"), "{}", done.out);
    }
}

#[tokio::test]
async fn validation_prints_what_is_to_be_registered_with_identity_providers() {
    for public in ["https://llm.example.com", "https://llm.example.com/"] {
        let sso = "sso: {enabled: true, providers: {github: {client_id: id, client_secret: secret-of-the-tests}}}\n";
        let yaml = good("http://127.0.0.1:9").replace(
            "server: {port: 0}",
            &format!("{sso}server: {{port: 0, public_url: \"{public}\"}}"),
        );
        let done = Place::new(&yaml).run(&["--validate-only"]).await;
        assert_eq!(done.code, 0, "{}", done.err);
        let mut words = done.out.split_whitespace();
        assert!(
            words.any(|word| word == "https://llm.example.com/auth/callback"),
            "{}",
            done.out
        );
    }
    let done = Place::new(&good("http://127.0.0.1:9"))
        .run(&["--validate-only"])
        .await;
    assert!(!done.out.contains("/auth/callback"), "{}", done.out);
}

#[tokio::test]
async fn a_bad_configuration_is_told_whole_and_nothing_listens() {
    let place = Place::new(BAD);
    // Would it listen, it would say so, and it would not end.
    let done = place.run(&["--validate-only"]).await;
    assert_eq!(done.code, 1);
    for (line, key) in [
        (2, "server.prot"),
        (3, "server.limits.header_timeout"),
        (7, "max_retry_credentials"),
    ] {
        let place = format!("turnpike.yaml:{line}: {key}");
        assert!(
            done.err.contains(&place),
            "{place} is missing in {}",
            done.err
        );
    }
    assert!(done.err.contains("`port`"), "the nearest key: {}", done.err);
    assert!(!done.err.contains("turnpike serves"));
    assert_eq!(place.run(&[]).await.code, 1, "it does not start either");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_found_by_validation() {
    let yaml = good("http://127.0.0.1:9").replace(
        "server: {port: 0}",
        "server: {port: 0, tls: {cert: a.crt, key: a.key}}",
    );
    let place = Place::new(&yaml);
    std::fs::write(place.dir.path().join("a.crt"), "not PEM").unwrap();
    std::fs::write(place.dir.path().join("a.key"), "not PEM").unwrap();
    let done = place.run(&["--validate-only"]).await;
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("a.crt holds no PEM certificate"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn the_version_is_told() {
    let done = Place::new("").run_bare(&["--version"]).await;
    assert_eq!(
        (done.code, &*done.out),
        (0, &*format!("turnpike {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[tokio::test]
async fn a_missing_file_is_told_with_its_name() {
    let done = Place::new("").run_bare(&["--config", "absent.yaml"]).await;
    assert_eq!(done.code, 1);
    assert!(done.err.contains("absent.yaml"), "{}", done.err);
    assert!(
        done.err
            .contains("cannot read the configuration file: no such file"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn an_unknown_flag_is_refused() {
    let done = Place::new("").run_bare(&["--prot", "1"]).await;
    assert_eq!(done.code, 2);
    assert!(done.err.contains("--prot"), "{}", done.err);
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_key_that_changes_it() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().port();
    for (section, keys) in [
        ("server", "`server.host` and `server.port`"),
        ("admin", "`admin.host` and `admin.port`"),
    ] {
        let yaml = good("http://127.0.0.1:9").replace(
            &format!("{section}: {{port: 0}}"),
            &format!("{section}: {{port: {taken}}}"),
        );
        let done = Place::new(&yaml).run(&[]).await;
        assert_eq!(done.code, 1, "{}", done.err);
        assert!(
            done.err
                .contains(&format!("cannot listen on 127.0.0.1:{taken}")),
            "{}",
            done.err
        );
        assert!(done.err.contains(keys), "{}", done.err);
    }
}

#[tokio::test]
async fn placeholders_are_refused_at_start() {
    for placeholder in ["your-api-key-1", "sk-your-api-key-here", "changeme"] {
        let place = Place::new(&good("http://127.0.0.1:9").replace(KEY, placeholder));
        for arguments in [&["--validate-only"][..], &[]] {
            let done = place.run(arguments).await;
            assert_eq!(done.code, 1);
            assert!(
                done.err
                    .contains("turnpike.yaml:3: api_keys[0].key: a placeholder"),
                "{}",
                done.err
            );
            assert!(!done.err.contains(placeholder), "{}", done.err);
        }
    }
}

#[tokio::test]
async fn the_start_is_told_in_the_log() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let place = Place::new(&good(&provider.base_url()));
    let running = place.start(&[], &[]).await;
    let database = place.dir.path().join("turnpike.db");
    assert!(database.is_file(), "the store lies beside the file");
    for (name, value) in [
        ("authentication", "client keys: 1"),
        ("providers", "openai (1)"),
        ("proxy", "127.0.0.1:"),
        ("admin", "127.0.0.1:"),
        ("store", database.to_str().unwrap()),
    ] {
        let said = field(&running.said, name).unwrap_or_default();
        assert!(said.contains(value), "{name}: {said:?} in {}", running.said);
    }
    assert!(!running.said.contains(KEY) && !running.said.contains("sk-openai-1"));
}

#[tokio::test]
async fn an_open_gateway_says_so_loudly() {
    let keyless =
        good("http://127.0.0.1:9").replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]"), "");
    let place = Place::new(&keyless);
    let running = place.start(&[], &[]).await;
    assert!(
        running.said.contains("WARN") && running.said.contains("open mode: no client keys"),
        "{}",
        running.said
    );
    assert!(
        field(&running.said, "authentication")
            .unwrap()
            .contains("open: anyone")
    );
}

#[tokio::test]
async fn the_file_is_named_by_either_flag_or_by_the_environment() {
    let place = Place::new(&good("http://127.0.0.1:9"));
    let path = place.config.to_str().unwrap().to_owned();
    for (arguments, variables) in [
        (vec!["--config", &*path], vec![]),
        (vec!["--sso-config", &*path], vec![]),
        (vec!["serve", "--sso-config", &*path], vec![]),
        (vec![], vec![("TURNPIKE_CONFIG", &*path)]),
        // The flag wins.
        (
            vec!["--config", &*path],
            vec![("TURNPIKE_CONFIG", "absent.yaml")],
        ),
    ] {
        let mut running = place.start_bare(&arguments, &variables).await;
        assert_ne!(running.proxy.port(), 0, "{arguments:?}");
        // The next one wants its store.
        running.child.kill().await.unwrap();
    }
    // Without either it is `turnpike.yaml` here.
    place.start_bare(&[], &[]).await;
}

#[tokio::test]
async fn the_environment_overrides_the_file() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    // Taken in the file: it could not start were the variable not to count.
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = format!("server: {{port: {}}}", holder.local_addr().unwrap().port());
    let place = Place::new(&good(&provider.base_url()).replace("server: {port: 0}", &taken));
    let variables = [
        ("TURNPIKE_SERVER__PORT", "0"),
        ("TURNPIKE_SERVER__LIMITS__MAX_BODY", "1KiB"),
        ("CLI_PROXY_API_KEY", "key-of-the-environment"),
    ];
    let running = place.start(&[], &variables).await;
    assert_eq!(running.post(KEY, chat("gpt-4o")).await.status, 200);
    assert_eq!(
        running
            .post("key-of-the-environment", chat("gpt-4o"))
            .await
            .status,
        200
    );
    assert_eq!(
        running.post("another-key", chat("gpt-4o")).await.status,
        401
    );
    assert_eq!(running.post(KEY, " ".repeat(1025)).await.status, 413);

    let done = place
        .run_with(&["--validate-only"], &[("TURNPIKE_SERVER__PROT", "1")])
        .await;
    assert_eq!(done.code, 1);
    assert!(done.err.contains("TURNPIKE_SERVER__PROT"), "{}", done.err);
}

#[tokio::test]
async fn the_log_goes_to_the_file_at_the_level_asked_for() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let place = Place::new(&good(&provider.base_url()));
    let file = place.dir.path().join("turnpike.log");
    let arguments = ["--log-file", file.to_str().unwrap(), "--log-level", "debug"];
    let mut child = place.command(&arguments, &[]).spawn().unwrap();
    let log = || std::fs::read_to_string(&file).unwrap_or_default();
    crate::harness::until(|| log().contains("configuration in force")).await;
    let proxy: SocketAddr = field(&log(), "proxy").unwrap().parse().unwrap();
    let answer = post(proxy, KEY, chat("gpt-4o")).await;
    assert_eq!(answer.status, 200);
    let secret = post_to(
        proxy,
        &format!("{CHAT}?key=canary-in-query"),
        None,
        chat("gpt-4o"),
    )
    .await;
    assert_eq!(secret.status, 401);
    // A request that went well is a line of the level `debug`.
    crate::harness::until(|| log().contains("status=401") && log().contains("status=200")).await;
    for hidden in ["canary-in-query", KEY, "sk-openai-1", "hello"] {
        assert!(!log().contains(hidden), "{hidden} is in the log");
    }
    child.kill().await.unwrap();

    let unwritable = place.run(&["--log-file", "absent/turnpike.log"]).await;
    assert_eq!(unwritable.code, 1);
    assert!(
        unwritable
            .err
            .contains("cannot open the log file absent/turnpike.log"),
        "{}",
        unwritable.err
    );
}

#[tokio::test]
async fn a_log_level_leaves_lesser_lines_out() {
    let place = Place::new(&good("http://127.0.0.1:9"));
    let port = free_port().await;
    let variables = [("TURNPIKE_SERVER__PORT", &*port.to_string())];
    let mut child = place
        .command(&["--log-level", "error"], &variables)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut served = None;
    while served.is_none() {
        served = TcpStream::connect(("127.0.0.1", port)).await.ok();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    terminate(&child).await;
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(child.stderr.as_mut().unwrap(), &mut said)
        .await
        .unwrap();
    assert_eq!(said, "");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_committed_schema_is_the_programs() {
    let done = Place::new("").run_bare(&["config", "schema"]).await;
    assert_eq!(done.code, 0);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/schema.json");
    let committed: serde_json::Value =
        serde_json::from_slice(&std::fs::read(committed).unwrap()).unwrap();
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert!(
        told == committed,
        "config/schema.json is stale: renew it with `make reference`"
    );
}

#[tokio::test]
async fn the_configuration_is_printed_without_its_secrets() {
    let place = Place::new(&good("http://127.0.0.1:9").replace("sk-openai-1", "\"${UPSTREAM}\""));
    let variables = [
        ("UPSTREAM", "sk-from-the-environment"),
        ("TURNPIKE_SERVER__THREADS", "3"),
    ];
    for flags in [&["config", "print"][..], &["config", "print", "--redact"]] {
        let path = place.config.to_str().unwrap();
        let done = place
            .run_bare_with(&[flags, &["--config", path]].concat(), &variables)
            .await;
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(
            done.out.contains("threads: 3") && done.out.contains("openai"),
            "{}",
            done.out
        );
        for secret in [KEY, "sk-from-the-environment"] {
            assert!(!done.out.contains(secret), "{}", done.out);
        }
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    provider.script("sk-openai-1", [Behaviour::Gated]);
    let place = Place::new(&good(&provider.base_url()));
    let mut running = place.start(&[], &[]).await;
    let streamed = chat("gpt-4o").replace("\"messages\"", "\"stream\":true,\"messages\"");
    let proxy = running.proxy;
    let mut idle = Client::on(TcpStream::connect(proxy).await.unwrap(), Http::One).await;
    assert_eq!(idle.post("/nowhere", "").await.status, 404);
    let stream = tokio::spawn(async move { post(proxy, KEY, streamed).await });
    provider.wait_for_calls(1).await;
    provider.gate("sk-openai-1").release(2);

    terminate(&running.child).await;
    running
        .says("stopping: requests under way are finished")
        .await;
    refuses(proxy).await;
    assert!(
        running.child.try_wait().unwrap().is_none(),
        "it waits for the stream"
    );
    provider.gate("sk-openai-1").open();
    let answer = stream.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
    let status = timeout(PATIENCE, running.child.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    let place = Place::new(&good("http://127.0.0.1:9"));
    let mut running = place.start(&[], &[]).await;
    for http in [Http::One, Http::Two] {
        // Connections without a request hold nothing up.
        let tcp = TcpStream::connect(running.proxy).await.unwrap();
        std::mem::forget(Client::on(tcp, http).await);
    }
    terminate(&running.child).await;
    let status = timeout(PATIENCE, running.child.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_with_requests_under_way() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    provider.script("sk-openai-1", [Behaviour::Hang]);
    let place = Place::new(&good(&provider.base_url()));
    let mut running = place.start(&[], &[]).await;
    let proxy = running.proxy;
    let held = tokio::spawn(async move {
        let mut client = Client::on(TcpStream::connect(proxy).await.unwrap(), Http::One).await;
        client.post(CHAT, chat("gpt-4o")).await
    });
    provider.wait_for_calls(1).await;
    terminate(&running.child).await;
    running
        .says("stopping: requests under way are finished")
        .await;
    terminate(&running.child).await;
    let told = held.await.unwrap();
    assert_eq!(told.status, 503);
    assert!(told.text().contains("draining"), "{}", told.text());
    let status = timeout(PATIENCE, running.child.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(status.code(), Some(1), "not all is well");
}

/// One key, one provider, any ports.
fn good(provider: &str) -> String {
    let all = config(provider, 1);
    let lines = all
        .lines()
        .filter(|line| !line.contains("claude:") && !line.contains("gemini:"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A directory with a configuration, where the program is run.
struct Place {
    dir: TempDir,
    config: PathBuf,
}

/// A program that has ended.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("turnpike.yaml");
        std::fs::write(&config, yaml).unwrap();
        Self { dir, config }
    }

    /// With `--config`.
    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let (subcommand, flags) = match arguments.split_first() {
            Some((&"serve", flags)) => (Some("serve"), flags),
            _ => (None, arguments),
        };
        let mut command = self.bare(&[], variables);
        command
            .args(subcommand)
            .arg("--config")
            .arg(&self.config)
            .args(flags);
        command
    }

    fn bare(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
        command
            .env_clear()
            .current_dir(self.dir.path())
            .args(arguments)
            .env("TURNPIKE_SERVER__DRAIN__LAME_DUCK", "-1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        done(self.command(arguments, variables)).await
    }

    async fn run_bare(&self, arguments: &[&str]) -> Done {
        self.run_bare_with(arguments, &[]).await
    }

    async fn run_bare_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        done(self.bare(arguments, variables)).await
    }

    async fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        Running::of(self.command(arguments, variables)).await
    }

    async fn start_bare(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        Running::of(self.bare(arguments, variables)).await
    }
}

async fn done(mut command: Command) -> Done {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let output = timeout(PATIENCE, output)
        .await
        .expect("the program ends")
        .unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A program that serves.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// What it has said until it served.
    said: String,
    proxy: SocketAddr,
}

impl Running {
    async fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let proxy = ([127, 0, 0, 1], 0).into();
        let mut running = Self {
            child,
            log,
            said: String::new(),
            proxy,
        };
        running.said = running.says("configuration in force").await;
        running.proxy = field(&running.said, "proxy").unwrap().parse().unwrap();
        running
    }

    /// Reads what it says, up to the line with `text`.
    async fn says(&mut self, text: &str) -> String {
        let mut said = String::new();
        loop {
            let line = timeout(PATIENCE, self.log.next_line())
                .await
                .expect("it says something");
            let line = line
                .unwrap()
                .unwrap_or_else(|| panic!("it ended without {text:?}: {said}"));
            said.push_str(&line);
            said.push('\n');
            if line.contains(text) {
                return said;
            }
        }
    }

    async fn post(&self, key: &str, body: String) -> Answer {
        post(self.proxy, key, body).await
    }
}

/// The value of a field of a log line in text.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.split_once(&format!(" {name}="))?.1;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split_whitespace().next(),
    }
}

async fn post(to: SocketAddr, key: &str, body: String) -> Answer {
    post_to(to, CHAT, Some(key), body).await
}

async fn post_to(to: SocketAddr, path: &str, key: Option<&str>, body: String) -> Answer {
    let mut client = Client::on(TcpStream::connect(to).await.unwrap(), Http::One).await;
    let mut request = client.request(path, body);
    request.headers_mut().remove("authorization");
    if let Some(key) = key {
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    Answer::read(client.send(request).await.unwrap()).await
}

/// Waits until the port takes no connection any more.
async fn refuses(address: SocketAddr) {
    let closing = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => return error.kind(),
            }
        }
    };
    let closed = timeout(PATIENCE, closing).await;
    let kind = closed.expect("the port is closed");
    assert_eq!(kind, ErrorKind::ConnectionRefused);
}

async fn terminate(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .unwrap()
            .success()
    );
}

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
