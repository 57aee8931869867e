//! People log in at whatever replica they come to.

use std::net::SocketAddr;

use serde_json::json;
use turnpike_api::Clock;
use turnpike_identity::people;

use super::device::{Asked, BEGIN, GRANT, TOKEN, decide};
use super::*;
use crate::canary;
use crate::fleet::SEALED_WITH;
use crate::fleet::server::Server;
use crate::harness::PATIENCE;

/// Two gateways with one Redis.
struct Twins {
    time: Time,
    idp: Arc<Idp>,
    redis: Server,
    houses: [House; 2],
    _models: FakeProvider,
}

impl Twins {
    async fn new() -> Self {
        let time = Time::simulated(NOW);
        let idp = Idp::start(time.clone()).await;
        let models = FakeProvider::start(Options::default()).await;
        let redis = Server::running();
        let alone = configuration(&idp, &models, "authorization: {mode: enterprise}");
        let server = "server: {port: 0, ";
        assert!(alone.starts_with(server));
        let yaml = alone.replacen(
            server,
            &format!(
                "state: {{backend: redis, redis: {{url: \"{}\", deadline: 10s, connect_timeout: 20s}}}}\n\
                 {server}secret_key: {SEALED_WITH}, ",
                redis.url()
            ),
            1,
        );
        let house = || House::serve_by(time.clone(), tempfile::tempdir().unwrap(), &yaml);
        let houses = [house().await, house().await];
        Self {
            time,
            idp,
            redis,
            houses,
            _models: models,
        }
    }

    fn at(&self, replica: usize) -> SocketAddr {
        self.houses[replica].gateway.proxy
    }

    /// Waits until a replica answers so to a call with this token.
    async fn answered(&self, replica: usize, token: &str, status: u16) {
        let bearer = format!("Bearer {token}");
        let waiting = async {
            loop {
                let mut client = Client::connect(&self.houses[replica], Http::One).await;
                let headers = [("authorization", &*bearer)];
                let answer = post_with(&mut client, CHAT.path, &headers, CHAT.body).await;
                if answer.status == status {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, waiting).await;
        answered.unwrap_or_else(|_| panic!("replica {replica} never answers {status}"));
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::left("the Redis", &self.redis.written());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_on_at_another_replica() {
    let twins = Twins::new().await;
    // The provider grants what the session is renewed with: a secret that is kept.
    let renewal = json!({"access_token": "a", "token_type": "Bearer"});
    twins.idp.does(|wrong| wrong.renewal = Some((200, renewal)));
    let mut ada = Browser::of(twins.at(0));
    let back = ada.visit_provider("/auth/login/test").await;
    let done = ada.at(twins.at(1)).get(&back).await;
    assert_eq!(
        done.header("location"),
        Some("/auth/success"),
        "{}",
        done.text()
    );
    let written = twins.redis.written();
    assert!(
        memchr::memmem::find(&written, b"renewal").is_some(),
        "it is kept"
    );

    // The session is as good on the one as on the other, and so is a token.
    let (_, token) = make(ada.at(twins.at(0)), "laptop").await;
    for replica in [0, 1] {
        twins.answered(replica, &token, 200).await;
    }
    let account = ada.at(twins.at(1)).get("/auth/success").await;
    let csrf = field(&account, "csrf");
    let left = ada.post("/auth/logout", &[("csrf", &csrf)]).await;
    assert!(matches!(left.status, 200 | 303), "{}", left.text());
    for replica in [0, 1] {
        twins.answered(replica, &token, 401).await;
    }
    let page = ada.at(twins.at(0)).get("/auth/success").await;
    assert_eq!(page.status, 303, "nobody is signed in there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_asks_here_is_allowed_there_and_polls_anywhere() {
    let twins = Twins::new().await;
    let mut program = Browser::of(twins.at(0));
    program.accept = "application/json";
    program.address = Some("203.0.113.9");
    let fields = [("client_id", "turnpike-login"), ("agent", "build box")];
    let begun = program.post(BEGIN, &fields).await.json();
    let text = |name: &str| begun[name].as_str().unwrap().to_owned();
    let asked = Asked {
        device_code: text("device_code"),
        user_code: text("user_code"),
    };
    let fields = [
        ("grant_type", GRANT),
        ("device_code", &*asked.device_code),
        ("client_id", "turnpike-login"),
    ];
    let pending = program.at(twins.at(1)).post(TOKEN, &fields).await;
    assert_eq!(pending.json()["error"], "authorization_pending");

    let mut ada = Browser::of(twins.at(1));
    ada.log_in().await;
    let allowed = decide(&mut ada, &asked, "allow").await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    twins.time.advance(Duration::from_secs(5));
    let given = program.at(twins.at(0)).post(TOKEN, &fields).await;
    assert_eq!(given.status, 200, "{}", given.text());
    let token = given.json()["access_token"].as_str().unwrap().to_owned();
    let again = program.at(twins.at(1)).post(TOKEN, &fields).await;
    assert_eq!(again.json()["error"], "invalid_grant", "once");
    for replica in [0, 1] {
        twins.answered(replica, &token, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_at_one_replica_is_forgotten_at_all() {
    let twins = Twins::new().await;
    let mut ada = Browser::of(twins.at(0));
    ada.log_in().await;
    let (_, token) = make(&mut ada, "laptop").await;
    twins.answered(1, &token, 200).await;
    let store = &*twins.houses[1].gateway.runtime.store;
    let kept = people::find(store, "ada@example.com").await.unwrap();
    people::forget(store, &kept[0], twins.time.now())
        .await
        .unwrap();
    for replica in [0, 1] {
        twins.answered(replica, &token, 401).await;
    }
    assert_eq!(ada.get("/auth/success").await.status, 303);
    assert!(people::all(store).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_the_redis_is_away_is_told_so() {
    let mut twins = Twins::new().await;
    let mut ada = Browser::of(twins.at(0));
    ada.log_in().await;
    twins.redis.kill();
    for path in ["/auth/success", "/auth/login/test"] {
        let page = ada.get(path).await;
        assert_eq!(page.status, 503, "{path}: {}", page.text());
    }
    // What the cookie says counts again with what the Redis has kept.
    twins.redis.start();
    let back = async { while ada.get("/auth/success").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
}
