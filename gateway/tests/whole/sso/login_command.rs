//! `turnpike login`: a terminal gets its token through a browser, keeps it, and sets an agent up.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use turnpike::cli::{self, Cli};
use turnpike::clock::Time;
use turnpike::command::login::{self, LoginError, Screen};
use turnpike_config::Environment;
use turnpike_loadtest::{FakeProvider, Options};

use super::browser::{Browser, field};
use super::provider::Idp;
use super::{NOW, Place, configuration};
use crate::binary::Binary;
use crate::harness::{Answer, House, until};

/// A port that nobody has: the gateway has to say its own address.
async fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

impl Place {
    /// At an address that it knows; `server` is the rest of that section.
    async fn addressed(scheme: &str, server: &str, dir: TempDir) -> (Self, String) {
        let time = Time::simulated(NOW);
        let idp = Idp::start(time.clone()).await;
        let models = FakeProvider::start(Options::default()).await;
        let url = format!("{scheme}://127.0.0.1:{}", port().await);
        let own = format!(
            "server: {{port: {}{server}",
            url.rsplit(':').next().unwrap()
        );
        let yaml = configuration(&idp, &models, "authorization: {mode: enterprise}")
            .replace("server: {port: 0", &own);
        let house = House::serve_by(time.clone(), dir, &yaml).await;
        let place = Self {
            time,
            idp,
            house,
            _models: models,
        };
        (place, url)
    }
}

/// The command in this process, with what it has said so far.
struct Terminal {
    flags: cli::Login,
    home: TempDir,
    said: RefCell<Vec<String>>,
    hinted: RefCell<Vec<String>>,
}

impl Terminal {
    fn new(arguments: &[&str]) -> Self {
        let all = ["turnpike", "login"].iter().chain(arguments);
        let Some(cli::Command::Login(flags)) = Cli::parse_from(all).command else {
            panic!("it is a login");
        };
        Self {
            flags,
            home: tempfile::tempdir().unwrap(),
            said: RefCell::default(),
            hinted: RefCell::default(),
        }
    }

    fn environment(&self) -> Environment {
        Environment::from_pairs([("HOME", self.home.path().to_str().unwrap())])
    }

    async fn run(&self, time: &Time) -> Result<(), LoginError> {
        let screen = Screen {
            say: &|text| self.said.borrow_mut().push(text.to_owned()),
            hint: &|text| self.hinted.borrow_mut().push(text.to_owned()),
            progress: None,
        };
        login::run(&self.flags, &self.environment(), time, &screen).await
    }

    /// Runs it up to its end; meanwhile, `answer` does what people do, given the code.
    async fn meanwhile(
        &self,
        place: &Place,
        answer: impl AsyncFnOnce(&str),
    ) -> Result<(), LoginError> {
        let people = async {
            until(|| !self.hinted.borrow().is_empty()).await;
            answer(&self.code()).await;
            loop {
                place.time.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = self.run(&place.time) => done,
            () = people => unreachable!("it goes on for ever"),
        }
    }

    fn code(&self) -> String {
        let said = self.said.borrow().join("\n");
        let line = said
            .lines()
            .find(|line| line.len() == 13 && line.starts_with("    "));
        line.unwrap_or_else(|| panic!("{said}")).trim().to_owned()
    }

    async fn failed(&self, time: &Time) -> String {
        let error = anyhow::Error::from(self.run(time).await.unwrap_err());
        format!("{error:#}")
    }
}

async fn decide(browser: &mut Browser, code: &str, decision: &str) -> Answer {
    let shown = browser.get(&format!("/auth/device?user_code={code}")).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let (csrf, name) = (field(&shown, "csrf"), "laptop");
    let fields = [
        ("csrf", &*csrf),
        ("user_code", code),
        ("name", name),
        ("decision", decision),
    ];
    browser.post("/auth/device", &fields).await
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_logged_in_and_its_agent_set_up() {
    let idp = Idp::start(Time::system()).await;
    let models = FakeProvider::start(Options::default()).await;
    let own = format!("server: {{port: {}", port().await);
    let yaml = configuration(&idp, &models, "").replace("server: {port: 0", &own);
    let gateway = Binary::start(&yaml, &["--log-level", "trace"]).await;
    let url = format!("http://{}", gateway.proxy);
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join(".claude/settings.json");
    std::fs::create_dir(home.path().join(".claude")).unwrap();
    std::fs::write(&settings, "{\n  // mine\n  \"model\": \"opus\"\n}\n").unwrap();

    let mut program = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .args(["login", &url, "--agent", "claude-code", "--write", "--json"])
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let asked = lines.next_line().await.unwrap().unwrap();
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let code = asked["user_code"].as_str().unwrap();

    // In another browser, with the code of the gateway's log.
    let mut browser = Browser::of(gateway.proxy);
    let login = format!("/auth/login/test?for=device&user_code={code}");
    let back = browser.visit_provider(&login).await;
    browser.get(&back).await;
    until(|| gateway.log().contains("Confirmation Code: ")).await;
    let log = gateway.log();
    let confirmation = &log.split("Confirmation Code: ").nth(1).unwrap()[..6];
    let csrf = field(&browser.get("/auth/confirm").await, "csrf");
    let fields = [("csrf", &*csrf), ("code", confirmation)];
    let done = browser.post("/auth/confirm", &fields).await;
    let page = format!("/auth/device?user_code={code}");
    assert_eq!(done.header("location"), Some(&*page));
    assert_eq!(decide(&mut browser, code, "allow").await.status, 200);

    let told = lines.next_line().await.unwrap().unwrap();
    let done = program.wait_with_output().await.unwrap();
    let hints = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{hints}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["person"], "ada@example.com");
    assert_eq!(told["written"][0], settings.to_str().unwrap());

    let kept = home.path().join(".config/turnpike/credentials.json");
    assert_eq!(mode(&kept), 0o600);
    assert_eq!(mode(kept.parent().unwrap()), 0o700);
    let text = std::fs::read_to_string(&kept).unwrap();
    let tokens: Value = serde_json::from_str(&text).unwrap();
    let token = tokens[&url]["claude-code"]["token"].as_str().unwrap();
    let text = std::fs::read_to_string(&settings).unwrap();
    assert!(text.contains("// mine\n  \"model\": \"opus\""), "{text}");
    assert!(text.contains(&url) && text.contains(token), "{text}");
    assert_eq!(mode(&settings), 0o600);

    let mut caller = Browser::of(gateway.proxy);
    caller.bearer = Some(token.to_owned());
    let models = caller.get("/v1/models").await;
    assert_eq!(models.status, 200, "{}", models.text());
    let secret = token.split_once('.').unwrap().1;
    for seen in [&gateway.log(), &hints, &told.to_string(), &gateway.kept()] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_done_by_hand_is_printed() {
    let (place, url) = Place::addressed("http", "", tempfile::tempdir().unwrap()).await;
    let mut ada = place.signed_in().await;
    for agent in ["cursor", "codex", "env"] {
        let terminal = Terminal::new(&[&url, "--agent", agent]);
        let allowed = async |code: &str| {
            assert_eq!(decide(&mut ada, code, "allow").await.status, 200);
        };
        terminal.meanwhile(&place, allowed).await.unwrap();
        let said = terminal.said.borrow().join("\n");
        let kept = terminal
            .home
            .path()
            .join(".config/turnpike/credentials.json");
        let kept: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
        let token = kept[&url][agent]["token"].as_str().unwrap();
        assert!(said.contains("Logged in as ada@example.com"), "{said}");
        assert!(
            said.contains(token) && said.contains(&format!("{url}/v1")),
            "{said}"
        );
        assert_eq!(place.status(token).await, 200);
        let left = std::fs::read_dir(terminal.home.path()).unwrap();
        assert_eq!(left.count(), 1, "no file of an agent is touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_and_silence_end_it_and_nothing_is_written() {
    let (place, url) = Place::addressed("http", "", tempfile::tempdir().unwrap()).await;
    let mut ada = place.signed_in().await;
    let terminal = Terminal::new(&[&url, "--agent", "claude-code", "--write"]);
    let refused = async |code: &str| {
        assert_eq!(decide(&mut ada, code, "deny").await.status, 200);
    };
    let done = terminal.meanwhile(&place, refused).await;
    assert!(matches!(done, Err(LoginError::Denied)), "{done:?}");
    let done = terminal.meanwhile(&place, async |_: &str| {}).await;
    assert!(matches!(done, Err(LoginError::Expired)), "{done:?}");
    assert_eq!(std::fs::read_dir(terminal.home.path()).unwrap().count(), 0);
    assert_eq!(place.house.gateway.runtime.agent_tokens.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_before_anybody_is_asked() {
    let (place, url) = Place::addressed("http", "", tempfile::tempdir().unwrap()).await;
    let models = FakeProvider::start(Options::default()).await;
    let other = House::before(&models).await;
    let localhost = url.replace("127.0.0.1", "localhost");
    let nobody = format!("http://127.0.0.1:{}", port().await);
    for (typed, said) in [
        (other.url(""), "offers no device login"),
        (nobody, "cannot reach"),
        (localhost, "run `turnpike login http://127.0.0.1:"),
        ("llm.example.com".into(), "is not a gateway's address"),
        (format!("{url}/?x=1"), "is not a gateway's address"),
        (format!("{url}/v1"), "is not a gateway's address"),
        (
            url.replace("//", "//me:secret@"),
            "is not a gateway's address",
        ),
        ("ftp://127.0.0.1".into(), "is not a gateway's address"),
        ("http://llm.example.com".into(), "--allow-http"),
    ] {
        let terminal = Terminal::new(&[&typed]);
        let error = terminal.failed(&place.time).await;
        assert!(error.contains(said), "{typed}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(terminal.said.borrow().is_empty());
    }

    let terminal = Terminal::new(&[&url, "--agent", "claude-code", "--write"]);
    let settings = terminal.home.path().join(".claude/settings.json");
    std::fs::create_dir(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, "{\"env\": ").unwrap();
    let error = terminal.failed(&place.time).await;
    assert!(error.contains("settings.json stays as it is"), "{error}");
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), "{\"env\": ");

    let terminal = Terminal::new(&[&url]);
    let kept = terminal.home.path().join(".config/turnpike");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("credentials.json"), "mine").unwrap();
    let error = terminal.failed(&place.time).await;
    assert!(error.contains("move it away"), "{error}");
    assert!(terminal.said.borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_certificate_of_a_private_ca_is_trusted_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = own.self_signed(&key).unwrap();
    let (cert, pem) = (dir.path().join("a.crt"), certificate.pem());
    std::fs::write(&cert, &pem).unwrap();
    std::fs::write(dir.path().join("a.key"), key.serialize_pem()).unwrap();
    let server = ", tls: {cert: a.crt, key: a.key}";
    let (place, url) = Place::addressed("https", server, dir).await;

    let error = Terminal::new(&[&url]).failed(&place.time).await;
    assert!(error.contains("--ca-file"), "{error}");
    let cert = cert.to_str().unwrap();
    let terminal = Terminal::new(&[&url, "--ca-file", cert]);
    let done = terminal.meanwhile(&place, async |_: &str| {}).await;
    assert!(matches!(done, Err(LoginError::Expired)), "{done:?}");
    let missing = Terminal::new(&[&url, "--ca-file", "/nonexistent.pem"]);
    let error = missing.failed(&place.time).await;
    assert!(error.contains("/nonexistent.pem"), "{error}");
}
