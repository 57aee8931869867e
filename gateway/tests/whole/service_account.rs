//! Service accounts: tokens are asked for, kept, renewed, and never shown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use turnpike::upstream::roll::Status;
use turnpike_api::{Clock, Fault};
use turnpike_loadtest::{Behaviour, FakeProvider, Grant, Options, TokenEndpoint};

use crate::binary::{Binary, replace};
use crate::directory::Place;
use crate::harness::{Answer, Http, KEY, PATIENCE, until};

const GENERATE: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const BODY: &str = r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#;
const ROBOT: &str = "robot@p-1.iam.gserviceaccount.com";
const ID: &str = "vertex/vertex-robot.json";

const PEM: &str = include_str!("../../../plugins/credentials/tests/fixtures/test-only-rsa-key.pem");
const PUBLIC: &[u8] =
    include_bytes!("../../../plugins/credentials/tests/fixtures/test-only-rsa-key.pub.der");

#[tokio::test]
async fn both_shapes_of_its_file_call_for_its_project() {
    for (name, wrap, location) in [
        ("vertex-robot", false, "us-central1"),
        ("my-robot-0123abcd", false, "us-central1"),
        ("vertex-robot", true, "europe-west4"),
    ] {
        let (place, endpoint) = place().await;
        let account = account(&endpoint, ROBOT);
        let file = match wrap {
            true => {
                json!({"type": "vertex", "service_account": account, "project_id": "p-2", "location": location})
            }
            false => account,
        };
        place.put(name, &file);
        place.look();
        let id = format!("vertex/{name}.json");
        assert_eq!(
            place.status(&id),
            Some(Status::Active),
            "{:?}",
            place.report(&id)
        );
        assert_eq!(endpoint.asked(), 0, "nobody needs a token yet");
        for _ in 0..3 {
            let answer = place.post(GENERATE, BODY).await;
            assert_eq!(
                answer.status,
                200,
                "{}: {:?}",
                answer.text(),
                endpoint.complaints()
            );
        }
        let project = if wrap { "p-2" } else { "p-1" };
        let path = format!(
            "/v1/projects/{project}/locations/{location}/publishers/google/models/gemini-2.5-pro:generateContent"
        );
        let token = endpoint.issued().remove(0);
        for call in place.provider.take_calls() {
            assert_eq!(call.path_and_query, path);
            let bearer = format!("Bearer {token}");
            assert_eq!(call.header("authorization"), Some(&*bearer));
        }
        assert_eq!(endpoint.asked(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_requests_ask_for_one_token() {
    let (place, endpoint) = place().await;
    place.put("vertex-robot", &account(&endpoint, ROBOT));
    place.look();
    endpoint.hold();
    let place = Arc::new(place);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let place = place.clone();
            tokio::spawn(async move { place.post(GENERATE, BODY).await.status })
        })
        .collect();
    until(|| place.house.metric("turnpike_requests_in_flight") == 100.0).await;
    endpoint.wait_until_asked(1).await;
    endpoint.release();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(endpoint.asked(), 1);
    place.house.settled().await;
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let (place, endpoint) = place().await;
    place.put("vertex-robot", &account(&endpoint, ROBOT));
    place.look();
    served_with(&place, &endpoint, 0).await;
    advance(&place, &endpoint, 3_535);
    served_with(&place, &endpoint, 0).await;
    assert_eq!(endpoint.asked(), 1);
    advance(&place, &endpoint, 10);
    served_with(&place, &endpoint, 1).await;
    served_with(&place, &endpoint, 1).await;
    assert_eq!(endpoint.asked(), 2);

    // One that lives for seconds is kept for half of them.
    advance(&place, &endpoint, 3_600);
    endpoint.script([Grant::Token { expires_in: 20 }]);
    served_with(&place, &endpoint, 2).await;
    advance(&place, &endpoint, 9);
    served_with(&place, &endpoint, 2).await;
    advance(&place, &endpoint, 2);
    served_with(&place, &endpoint, 3).await;
    assert_eq!(endpoint.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_renewed_serves_to_its_end() {
    let (place, endpoint) = place().await;
    place.put("vertex-robot", &account(&endpoint, ROBOT));
    place.look();
    served_with(&place, &endpoint, 0).await;
    endpoint.always(Grant::Failed(503));
    advance(&place, &endpoint, 3_550);
    served_with(&place, &endpoint, 0).await;
    assert_eq!(endpoint.asked(), 2);
    assert_eq!(place.status(ID), Some(Status::Active));
    for result in ["ok", "failed"] {
        let series = format!(
            "turnpike_credential_refreshes_total{{provider=\"vertex\",result=\"{result}\"}}"
        );
        assert_eq!(place.house.metric(&series), 1.0, "{result}");
    }
    // Nobody waits for a renewal while the old one is good.
    advance(&place, &endpoint, 2);
    endpoint.hold();
    let place = Arc::new(place);
    let renewing = tokio::spawn({
        let place = place.clone();
        async move { place.post(GENERATE, BODY).await.status }
    });
    endpoint.wait_until_asked(3).await;
    served_with(&place, &endpoint, 0).await;
    endpoint.release();
    assert_eq!(renewing.await.unwrap(), 200);
    // Its end is the end.
    advance(&place, &endpoint, 50);
    assert_eq!(place.post(GENERATE, BODY).await.status, 502);
}

#[tokio::test]
async fn a_refused_account_cools_and_the_next_one_serves() {
    let (place, refusing) = place().await;
    let willing = TokenEndpoint::start("second@p-1.iam", PUBLIC).await;
    refusing.always(Grant::Refused);
    let mut first = account(&refusing, ROBOT);
    first["priority"] = json!(0);
    place.put("vertex-robot", &first);
    place.put("vertex-second", &account(&willing, "second@p-1.iam"));
    place.look();
    for _ in 0..3 {
        served_with(&place, &willing, 0).await;
    }
    assert_eq!(refusing.asked(), 1);
    let report = place.report(ID).unwrap();
    assert_eq!(report.status, Status::Cooling);
    assert_eq!(report.back, Some(place.time.now() + 30 * 60 * 1000));
    assert_eq!(fault(&place), Some(Fault::Unauthorized));
    // Another key of the account begins anew.
    refusing.always(Grant::Token { expires_in: 3600 });
    first["private_key_id"] = json!("another");
    place.put("vertex-robot", &first);
    place.look();
    served_with(&place, &refusing, 0).await;
}

/// What the others rely on: the endpoint looks at what it is told.
#[tokio::test]
async fn a_token_is_given_only_to_the_account_that_signed_for_itself() {
    for (known, key, complaint) in [
        (ROBOT, &PUBLIC[..100], "signed by somebody else"),
        ("another@p-1.iam", PUBLIC, "another issuer"),
    ] {
        let place = Place::new().await;
        let endpoint = TokenEndpoint::start(known, key).await;
        place.put("vertex-robot", &account(&endpoint, ROBOT));
        place.look();
        assert_eq!(place.post(GENERATE, BODY).await.status, 502);
        assert_eq!(endpoint.complaints(), [complaint]);
        assert_eq!(fault(&place), Some(Fault::Unauthorized));
        assert_eq!(place.provider.count(), 0);
    }
}

#[tokio::test]
async fn an_endpoint_in_trouble_cools_for_a_moment() {
    for trouble in [
        Grant::Failed(500),
        Grant::Failed(503),
        Grant::Failed(429),
        Grant::Garbage,
        Grant::Cut,
    ] {
        println!("{trouble:?}");
        let (place, endpoint) = place().await;
        place.put("vertex-robot", &account(&endpoint, ROBOT));
        place.look();
        endpoint.script([trouble]);
        let answer = place.post(GENERATE, BODY).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        clean(&endpoint, answer.text());
        assert_eq!(fault(&place), Some(Fault::Unreachable));
        let back = place.report(ID).unwrap().back.unwrap();
        let away = back - place.time.now();
        assert!(away <= 60_000, "{away} ms away");
        let answer = place.post(GENERATE, BODY).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(endpoint.asked(), 1, "it is left alone meanwhile");
        place.time.advance(Duration::from_millis(away));
        endpoint.set_now(0);
        served_with(&place, &endpoint, 0).await;
        assert_eq!(place.status(ID), Some(Status::Active));
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_in_trouble_too() {
    let (place, endpoint) = place().await;
    let file = account(&endpoint, ROBOT);
    drop(endpoint);
    place.put("vertex-robot", &file);
    place.look();
    // Its socket may take a moment to be closed.
    until_async(async || place.post(GENERATE, BODY).await.status == 502).await;
    assert_eq!(fault(&place), Some(Fault::Unreachable));
}

#[tokio::test]
async fn a_token_that_the_provider_quotes_is_blotted_out() {
    let (place, endpoint) = place().await;
    place.put("vertex-robot", &account(&endpoint, ROBOT));
    place.look();
    served_with(&place, &endpoint, 0).await;
    let token = endpoint.issued().remove(0);
    let body = json!({"error": {"code": 400, "message": format!("bad call with {token} in it")}});
    place.provider.script(
        &token,
        [Behaviour::Status {
            code: 400,
            body: Some(body.to_string().into()),
            headers: Vec::new(),
        }],
    );
    let answer = place.post(GENERATE, BODY).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("bad call with *** in it"),
        "{}",
        answer.text()
    );
}

/// A token outlives a configuration; what it is sent with is of the configuration in force.
#[tokio::test]
async fn another_configuration_sends_the_same_token_elsewhere() {
    let (place, endpoint) = place().await;
    place.put("vertex-robot", &account(&endpoint, ROBOT));
    place.look();
    served_with(&place, &endpoint, 0).await;
    let other = FakeProvider::start(Options::default()).await;
    let yaml = std::fs::read_to_string(&place.house.config).unwrap();
    let url = place.provider.base_url();
    let vertex = format!("vertex: {{base_url: \"{url}\"");
    assert!(yaml.contains(&vertex));
    let elsewhere = format!(
        "vertex: {{headers: {{x-team: blue}}, base_url: \"{}\"",
        other.base_url()
    );
    replace(&place.house.config, &yaml.replace(&vertex, &elsewhere));
    place.house.gateway.reloader.reload().unwrap();
    assert_eq!(place.post(GENERATE, BODY).await.status, 200);
    let call = other.take_calls().remove(0);
    assert_eq!(call.key, endpoint.issued()[0]);
    assert_eq!(call.header("host"), Some(&*other.addr().to_string()));
    assert_eq!(call.header("x-team"), Some("blue"));
    assert_eq!(endpoint.asked(), 1);
}

/// The real binary, with everything it writes: what goes wrong with a token is told without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_key_an_assertion_or_a_token_is_told() {
    let provider = FakeProvider::start(Options::default()).await;
    let endpoint = TokenEndpoint::start(ROBOT, PUBLIC).await;
    let url = provider.base_url();
    let yaml = format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {KEY}}}]\n\
         auth: {{cooldown: {{transient: -1, auth: -1}}}}\nmax_retry_interval: 0\n\
         providers: {{vertex: {{base_url: \"{url}\"}}}}\n"
    );
    let binary = Binary::start(&yaml, &["--log-level", "trace"]).await;
    let auths = binary.config.with_file_name("auths");
    std::fs::create_dir(&auths).unwrap();
    let file = account(&endpoint, ROBOT).to_string();
    replace(&auths.join("vertex-robot.json"), &file);
    until(|| binary.log().contains("credential files read")).await;
    let mut answers = String::new();
    let grants = [
        Grant::Refused,
        Grant::Failed(500),
        Grant::Failed(403),
        Grant::Garbage,
        Grant::Cut,
        Grant::Token { expires_in: 3600 },
    ];
    for (n, grant) in grants.into_iter().enumerate() {
        endpoint.always(grant);
        // A failure is remembered for a second.
        while endpoint.asked() <= n {
            let mut client = binary.client(Http::One).await;
            answers += client.post(GENERATE, BODY).await.text();
        }
    }
    replace(&auths.join("vertex-robot.json"), &file[..file.len() - 9]);
    until(|| binary.log().contains("stays in use")).await;
    let metrics = binary.metrics().await;
    let log = binary.stop().await;
    assert!(log.contains("invalid_grant"), "the reason is told: {log}");
    for told in [&answers, &metrics, &log] {
        clean(&endpoint, told);
    }
}

async fn place() -> (Place, TokenEndpoint) {
    let place = Place::new().await;
    let endpoint = TokenEndpoint::start(ROBOT, PUBLIC).await;
    endpoint.set_now(place.time.now() / 1000);
    (place, endpoint)
}

/// As Google writes it.
fn account(endpoint: &TokenEndpoint, email: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": "p-1",
        "private_key_id": "kid-canary-0123",
        "private_key": PEM,
        "client_email": email,
        "client_id": "1234",
        "token_uri": endpoint.uri(),
    })
}

fn advance(place: &Place, endpoint: &TokenEndpoint, seconds: u64) {
    place.time.advance(Duration::from_secs(seconds));
    endpoint.set_now(place.time.now() / 1000);
}

/// A call is served, with the token that was the `nth` to be given.
async fn served_with(place: &Place, endpoint: &TokenEndpoint, nth: usize) {
    place.provider.take_calls();
    let answer: Answer = place.post(GENERATE, BODY).await;
    assert_eq!(
        answer.status,
        200,
        "{}: {:?}",
        answer.text(),
        endpoint.complaints()
    );
    let calls = place.provider.take_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].key, endpoint.issued()[nth]);
}

/// Why all of the account is left alone.
fn fault(place: &Place) -> Option<Fault> {
    let board = &place.house.gateway.runtime.board;
    Some(board.find(ID)?.cooldowns().whole?.fault)
}

/// Nothing of what is secret stands in a text.
fn clean(endpoint: &TokenEndpoint, text: &str) {
    let signed = endpoint.assertions();
    let parts = signed.iter().flat_map(|assertion| assertion.split('.'));
    // A header is the same for everybody.
    let parts = parts.filter(|part| !part.starts_with("eyJhbGciOiJSUzI1NiI"));
    let lines = PEM.lines().filter(|line| !line.starts_with("-----"));
    let issued = endpoint.issued();
    let secrets = parts.chain(lines).chain(issued.iter().map(String::as_str));
    for secret in secrets.filter(|secret| secret.len() >= 16) {
        // The beginning and the end of it, too.
        for piece in [&secret[..16], &secret[secret.len() - 16..]] {
            assert!(!text.contains(piece), "{piece} is told in {text}");
        }
    }
}

/// Waits until a call has the answer that is expected.
async fn until_async(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the condition came about");
}
