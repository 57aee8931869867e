//! `turnpike credentials`, the real binary: beside a running gateway, and without one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::CHAT;
use crate::harness::{Client, House, Http, KEY, PATIENCE, chat, until};

/// Stands in every secret there is.
const CANARY: &str = "canary";

#[tokio::test]
async fn everything_is_listed_without_a_gateway_and_nothing_is_left_behind() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    let before = names(dir.path());
    let done = run(dir.path(), &["list"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    for (id, status, why) in [
        ("openai/main", "active", ""),
        ("openai/off", "disabled", "switched off"),
        ("openai/openai-new.json", "active", ""),
        (
            "openai/openai-old.json",
            "expired",
            "its token was good until 2020-01-01T00:00:00Z",
        ),
        (
            "openai/openai-spent.json",
            "exhausted",
            "its quota is spent until",
        ),
        ("openai/openai-bad.json", "error", "holds no credential"),
        ("nobody.json", "error", "no provider is called `nobody`"),
    ] {
        let row = done.row(id);
        assert_eq!(row.split_whitespace().nth(2), Some(status), "{row}");
        assert!(row.contains(why), "{row}");
    }
    assert!(
        done.row("openai/openai-spent.json").contains("100 of 100"),
        "{}",
        done.out
    );
    assert_eq!(names(dir.path()), before, "nothing is left behind");
    assert_eq!(provider.count(), 0, "looking costs nothing");
}

#[tokio::test]
async fn the_list_for_machines_is_the_management_apis() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    let done = run(dir.path(), &["list", "--json"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let list: Value = serde_json::from_str(&done.out).unwrap();
    let one = |id: &str| {
        let all = list["auths"].as_array().unwrap();
        let found = all.iter().find(|one| one["id"] == id);
        found.unwrap_or_else(|| panic!("no {id} in {list}")).clone()
    };
    let spent = one("openai/openai-spent.json");
    assert_eq!(spent["status"], "exhausted");
    assert_eq!(spent["type"], "api_key");
    assert_eq!(spent["label"], "ops@example.com");
    assert_eq!(spent["file"], "openai-spent.json");
    assert_eq!(spent["quota"]["limit"], 100);
    assert_eq!(spent["quota"]["used"], 100);
    assert_eq!(spent["quota"]["remaining"], 0);
    assert_eq!(spent["quota"]["reset_at"], spent["next_retry_after"]);
    let main = one("openai/main");
    assert_eq!(main["status"], "active");
    assert_eq!(main["quota"]["remaining"], Value::Null);
    assert_eq!(main["next_retry_after"], Value::Null);
    assert_eq!(
        one("openai/openai-old.json")["expires_at"],
        "2020-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn one_is_shown_with_its_models_and_an_unknown_one_is_an_error() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    let done = run(dir.path(), &["show", "openai/main"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.row("gpt-4o").ends_with("ready"), "{}", done.out);
    let done = run(dir.path(), &["show", "openai/openai-old.json", "--json"]).await;
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(shown["status"], "expired");
    assert_eq!(shown["models"][0]["state"], "its token is too old");
    for arguments in [["show", "openai/nobody"], ["test", "openai/nobody"]] {
        let done = run(dir.path(), &arguments).await;
        assert_eq!((done.code, &*done.out), (1, ""));
        assert!(
            done.err.contains("no credential is called `openai/nobody`"),
            "{}",
            done.err
        );
    }
    std::fs::write(dir.path().join("turnpike.yaml"), "server: {prot: 1}\n").unwrap();
    let done = run(dir.path(), &["list"]).await;
    assert_eq!((done.code, &*done.out), (1, ""));
    assert!(done.err.contains("server.prot"), "{}", done.err);
}

#[tokio::test]
async fn a_test_calls_the_provider_and_says_what_it_said() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    let before = names(dir.path());
    let done = run(dir.path(), &["test", "openai/main"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("good "), "{}", done.out);
    let calls = provider.take_calls();
    assert_eq!((calls.len(), &*calls[0].path_and_query), (1, "/v1/models"));

    provider.always("sk-canary-main", Behaviour::unauthorized());
    let done = run(dir.path(), &["test", "--json"]).await;
    assert_eq!(done.code, 1, "{}", done.out);
    let results: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |id: &str| results.iter().find(|one| one["id"] == id).unwrap();
    assert_eq!(of("openai/main")["result"], "failed");
    assert!(
        of("openai/main")["message"]
            .as_str()
            .unwrap()
            .ends_with("answered 401")
    );
    assert_eq!(of("openai/openai-new.json")["result"], "good");
    assert_eq!(of("openai/off")["result"], "untested");
    assert_eq!(of("openai/openai-bad.json")["result"], "untested");
    assert!(done.err.contains("did not pass"), "{}", done.err);
    assert_eq!(names(dir.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_gateway_its_state_is_seen_and_a_healed_credential_is_brought_back() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    for name in ["openai-new.json", "openai-spent.json"] {
        std::fs::remove_file(dir.path().join("auths").join(name)).unwrap();
    }
    let yaml = std::fs::read_to_string(dir.path().join("turnpike.yaml")).unwrap();
    let house = House::serve_in(dir, &yaml).await;
    let place = house.dir.path();
    let mut client = Client::connect(&house, Http::One).await;
    assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 200);
    house.settled().await;
    let used = provider.usage_of("sk-canary-main");
    let used = (used.input_tokens + used.output_tokens).to_string();
    let row = run(place, &["list"]).await.row("openai/main");
    assert!(row.contains(&format!(" {used} ")), "{used} is not in {row}");

    provider.always("sk-canary-main", Behaviour::unauthorized());
    assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 429);
    seen(place, "cooling").await;
    let row = run(place, &["list"]).await.row("openai/main");
    assert!(
        row.contains("refused by the provider (401), until"),
        "{row}"
    );
    let done = run(place, &["show", "openai/main"]).await;
    assert!(done.row("gpt-4o").contains("back in"), "{}", done.out);

    let done = run(place, &["test", "openai/main"]).await;
    assert_eq!(done.code, 1, "{}", done.out);
    assert!(done.out.starts_with("failed"), "{}", done.out);
    assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 429);

    provider.reset("sk-canary-main");
    let calls = provider.count();
    assert_eq!(run(place, &["test", "openai/main"]).await.code, 0);
    let back = "turnpike_credential_recoveries_total{by=\"operator\",provider=\"openai\"}";
    until(|| house.metric(back) == 1.0).await;
    assert_eq!(client.post(CHAT.path, chat("gpt-4o")).await.status, 200);
    assert_eq!(provider.count(), calls + 2, "the test and the call");
    seen(place, "active").await;
    house.settled().await;

    // What is known outlives the gateway.
    house.gateway.stop().await;
    let row = run(place, &["list"]).await.row("openai/main");
    assert!(row.contains("active"), "{row}");
}

/// Waits until the command sees the credential in this state.
async fn seen(place: &Path, status: &str) {
    let waiting = async {
        while !run(place, &["list"])
            .await
            .row("openai/main")
            .contains(status)
        {}
    };
    let seen = tokio::time::timeout(PATIENCE, waiting).await;
    seen.unwrap_or_else(|_| panic!("never seen as {status}"));
}

#[tokio::test]
async fn files_are_rewritten_as_the_configuration_says() {
    let provider = FakeProvider::start(Options::default()).await;
    let dir = installed(&provider);
    let auths = dir.path().join("auths");
    let files = || {
        let file =
            |name: &str| std::fs::read_to_string(auths.join(format!("{name}.json"))).unwrap();
        ["openai-new", "openai-spent"].map(file)
    };
    let (config, before) = (dir.path().join("turnpike.yaml"), files());
    std::os::unix::fs::symlink("elsewhere", auths.join("link.json")).unwrap();
    std::fs::write(auths.join("elsewhere"), "{\"token\": \"sk-canary-link\"}").unwrap();
    let plain = std::fs::read_to_string(&config).unwrap();
    let keys = ["11", "2b", "3c"]
        .map(|byte| format!("{byte}{}", "0123456789abcdef".repeat(4))[..64].to_owned());
    let encryption = |enabled: bool, keys: &[String]| {
        let (key, previous) = (&keys[0], keys[1..].join(", "));
        let section = format!(
            "auth: {{encryption: {{enabled: {enabled}, key: {key}, previous_keys: [{previous}]}}, "
        );
        std::fs::write(&config, plain.replace("auth: {", &section)).unwrap();
    };

    encryption(true, &keys[..1]);
    let done = run(dir.path(), &["rewrite"]).await;
    assert_eq!(done.code, 1, "the link was left");
    assert_eq!(done.row("openai-new.json:"), "openai-new.json: encrypted");
    assert!(done.row("link.json:").contains("a link to another file"));
    assert!(files().iter().all(|file| file.starts_with("tpe1.")));
    std::fs::remove_file(auths.join("link.json")).unwrap();
    let again = run(dir.path(), &["rewrite"]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.row("openai-new.json:").ends_with("as it should be"));

    // Another key; the one before is not needed afterwards.
    encryption(true, &[keys[1].clone(), keys[0].clone()]);
    assert_eq!(run(dir.path(), &["rewrite"]).await.code, 0);
    encryption(true, &keys[1..2]);
    let listed = run(dir.path(), &["list"]).await;
    assert!(listed.row("openai/openai-new.json").contains("active"));

    encryption(false, &keys[2..]);
    let locked = run(dir.path(), &["rewrite", "--json"]).await;
    assert_eq!(locked.code, 1);
    assert!(locked.out.contains("previous_keys"), "{}", locked.out);
    encryption(false, &keys[1..2]);
    let done = run(dir.path(), &["rewrite"]).await;
    assert_eq!(
        done.row("openai-spent.json:"),
        "openai-spent.json: decrypted"
    );
    assert_eq!(files(), before, "byte for byte");
}

/// A configuration and a directory with credentials in every state.
fn installed(provider: &FakeProvider) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let url = provider.base_url();
    let yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {KEY}}}]\n\
         auth: {{cooldown: {{probe_interval: 1h}}}}\nmax_retry_interval: 0\n\
         providers:\n\
         \x20 openai:\n\
         \x20   base_url: \"{url}/v1\"\n\
         \x20   headers: {{x-own: header-canary}}\n\
         \x20   credentials:\n\
         \x20     - {{api_key: sk-canary-main, label: main}}\n\
         \x20     - {{api_key: sk-canary-off, label: \"off\", disabled: true}}\n"
    );
    std::fs::write(dir.path().join("turnpike.yaml"), yaml).unwrap();
    std::fs::create_dir(dir.path().join("auths")).unwrap();
    for (name, file) in [
        (
            "openai-new",
            json!({"access_token": "at-canary-new", "refresh_token": "rt-canary"}),
        ),
        (
            "openai-old",
            json!({"access_token": "at-canary-old", "expired": "2020-01-01T00:00:00Z"}),
        ),
        (
            "openai-spent",
            json!({"token": "sk-canary-spent", "email": "ops@example.com", "quota": {"limit": 100, "used": 100}}),
        ),
        ("openai-bad", json!({"secret": "sk-canary-bad"})),
        ("nobody", json!({"token": "sk-canary-nobody"})),
    ] {
        let path = dir.path().join("auths").join(format!("{name}.json"));
        std::fs::write(path, file.to_string()).unwrap();
    }
    dir
}

/// What lies in a directory, and in those below it.
fn names(dir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            names.extend(
                self::names(&entry.path())
                    .iter()
                    .map(|below| format!("{name}/{below}")),
            );
        }
        names.insert(name);
    }
    names
}

/// A command that has ended.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Done {
    /// The line that begins with this word.
    fn row(&self, word: &str) -> String {
        let begins = |line: &&str| line.split_whitespace().next() == Some(word);
        let row = self.out.lines().find(begins);
        row.unwrap_or_else(|| panic!("no {word} in {}{}", self.out, self.err))
            .to_owned()
    }
}

/// Runs it; whatever it says, it says no secret.
async fn run(place: &Path, arguments: &[&str]) -> Done {
    let running = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .current_dir(place)
        .arg("credentials")
        .args(arguments)
        .arg("--config")
        .arg(place.join("turnpike.yaml"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, running).await;
    let output = output.expect("it ends").unwrap();
    let done = Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for told in [&done.out, &done.err] {
        assert!(!told.contains(CANARY), "{told}");
    }
    done
}
