//! Somebody unknown is told where to sign in, where a person sees it; and the model never does.

use std::time::Duration;

use serde_json::{Value, json};
use turnpike::clock::Time;
use turnpike_api::Clock;
use turnpike_identity::agent_tokens::{self, Binding, Costs, NewToken, Owner};
use turnpike_loadtest::{FakeProvider, Options};

use crate::audit::stopped;
use crate::calls::{CHAT, GEMINI, MESSAGES, RESPONSES, STREAMS, StreamCall, post_with};
use crate::harness::{Answer, Client, House, Http, KEY, raw, until};

/// As agents' calls look whose answer is not a stream.
const WHOLE: [(&str, &str); 4] = [
    (
        "/v1/chat/completions",
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#,
    ),
    ("/v1/responses", r#"{"model":"gpt-4o","input":"hello"}"#),
    (
        "/v1/messages",
        r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    (
        "/v1beta/models/gemini-2.5-pro:generateContent",
        r#"{"contents":[{"parts":[{"text":"hello"}]}]}"#,
    ),
];

/// A gateway with single sign-on, whose provider of logins is never called here.
struct Place {
    time: Time,
    provider: FakeProvider,
    house: House,
}

impl Place {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        let options = Options {
            keep_bodies: true,
            ..Options::default()
        };
        let provider = FakeProvider::start(options).await;
        let url = provider.base_url();
        let yaml = format!(
            "server: {{port: 0, public_url: \"https://llm.example.com\"}}\nadmin: {{port: 0}}\n\
             api_keys: [{{key: {KEY}, name: tests}}]\n\
             agent_tokens: {{argon2: {{memory_kib: 1024, iterations: 1}}}}\n\
             sso: {{enabled: true, providers: {{github: {{client_id: id, client_secret: secret-of-the-tests}}}}}}\n\
             {more}\n\
             providers:\n\
             \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-upstream}}]}}\n\
             \x20 claude: {{base_url: \"{url}\", credentials: [{{api_key: sk-upstream-2}}]}}\n\
             \x20 gemini: {{base_url: \"{url}\", credentials: [{{api_key: AIza-upstream}}]}}\n"
        );
        let time = Time::simulated(1_772_323_200_000);
        let house = House::serve_by(time.clone(), tempfile::tempdir().unwrap(), &yaml).await;
        Self {
            time,
            provider,
            house,
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut client = Client::connect(&self.house, Http::One).await;
        post_with(&mut client, path, headers, body.to_owned()).await
    }

    async fn stream(&self, call: &StreamCall, headers: &[(&str, &str)]) -> Answer {
        self.post(call.path, headers, call.body).await
    }

    /// An agent token of a person whose session lasts another hour.
    async fn token(&self) -> (String, String) {
        let new = NewToken {
            name: "laptop".to_owned(),
            owner: Some(Owner {
                issuer: "https://idp.example.com".to_owned(),
                subject: "ada".to_owned(),
                ..Owner::default()
            }),
            auth_expires_at: Some(self.time.now() + 3_600_000),
            binding: Binding::default(),
            tenant: None,
        };
        let costs = Costs {
            memory_kib: 1024,
            iterations: 1,
            parallelism: 1,
        };
        let runtime = &self.house.gateway.runtime;
        let issued = agent_tokens::issue(&*runtime.store, new, costs, self.time.now());
        let issued = issued.await.unwrap();
        until(|| runtime.agent_tokens.had_any()).await;
        (issued.record.id, issued.token.expose().to_owned())
    }

    /// The id of the agent token that the link in a text renews; the link is checked.
    fn renews(&self, text: &str) -> Option<String> {
        let link = text
            .split("https://llm.example.com/auth/login?token=")
            .nth(1);
        let link = link.unwrap_or_else(|| panic!("no link in {text}"));
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let end = link.find(|c| !is_part(c)).unwrap_or(link.len());
        let sso = self
            .house
            .gateway
            .runtime
            .snapshot()
            .tenants
            .house
            .sso
            .clone()
            .unwrap();
        let link = sso
            .links
            .read(link[..end].trim_end_matches('.'), self.time.now());
        link.expect("the link is good").renews
    }
}

/// The words of a whole answer, in any dialect.
fn words(answer: &Value) -> &str {
    [
        "/choices/0/message/content",
        "/output/0/content/0/text",
        "/content/0/text",
        "/candidates/0/content/parts/0/text",
    ]
    .iter()
    .find_map(|place| answer.pointer(place)?.as_str())
    .unwrap_or_else(|| panic!("no words in {answer}"))
}

fn check_said(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    assert_eq!(answer.header("x-auth-required"), Some("1"), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

#[tokio::test]
async fn whose_session_is_over_is_on_record() {
    let place = Place::new().await;
    let (id, token) = place.token().await;
    place.time.advance(Duration::from_secs(3601));
    let bearer = format!("Bearer {token}");
    let answer = place.stream(&CHAT, &[("authorization", &bearer)]).await;
    check_said(&answer, "a chat");
    place.house.settled().await;
    let mut all = stopped(&place.house).await;
    all.retain(|one| one["event"] == "authentication.refused");
    assert_eq!(all.len(), 1);
    let told = &all[0];
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!(200), &json!("session_expired"))
    );
    for (field, value) in [
        ("token_id", &*id),
        ("subject", "ada"),
        ("issuer", "https://idp.example.com"),
    ] {
        assert_eq!(told["who"][field], value, "{field}");
    }
}

#[tokio::test]
async fn whoever_is_unknown_is_told_in_every_dialect() {
    let place = Place::new().await;
    for headers in [&[][..], &[("x-api-key", "put-your-key-here")]] {
        for (path, body) in WHOLE {
            let answer = place.post(path, headers, body).await;
            check_said(&answer, path);
            let answer = answer.json();
            let words = words(&answer);
            assert!(words.starts_with("Authentication Required\n"), "{words}");
            assert_eq!(place.renews(words), None);
            let model = answer.get("model").or(answer.get("modelVersion"));
            let asked = serde_json::from_str::<Value>(body).unwrap()["model"].clone();
            if asked.is_string() {
                assert_eq!(*model.unwrap(), asked, "{path}");
            }
        }
        for call in &STREAMS {
            let answer = place.stream(call, headers).await;
            check_said(&answer, call.operation);
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("text/event-stream"), "{call:?}");
            let text = answer.text().replace("\\n", "\n");
            assert!(text.contains("Authentication Required"), "{text}");
            assert!(text.contains(call.terminal), "{text}");
            assert_eq!(place.renews(&text), None);
        }
    }
    assert_eq!(place.provider.count(), 0, "nobody was called");
    assert_eq!(place.house.gateway.runtime.store.latest().await, Ok(0));
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_by_a_link_of_its_own() {
    let place = Place::new().await;
    let (id, token) = place.token().await;
    let bearer = format!("Bearer sk-{token}");
    let headers = [("authorization", bearer.as_str())];
    let served = place.post(WHOLE[0].0, &headers, WHOLE[0].1).await;
    assert_eq!(served.header("x-auth-required"), None);
    assert_eq!(place.provider.count(), 1);

    place.time.advance(Duration::from_secs(3601));
    for (path, body) in WHOLE {
        let answer = place.post(path, &headers, body).await;
        check_said(&answer, path);
        let answer = answer.json();
        let words = words(&answer);
        assert!(words.starts_with("Re-Authentication Required\n"), "{words}");
        assert!(words.contains("Session expired"), "{words}");
        assert_eq!(place.renews(words).as_deref(), Some(&*id));
    }
    let store = &*place.house.gateway.runtime.store;
    agent_tokens::revoke(store, &id, place.time.now())
        .await
        .unwrap();
    loop {
        let answer = place.post(WHOLE[0].0, &headers, WHOLE[0].1).await;
        let answer = answer.json();
        if words(&answer).starts_with("Authentication Required\n") {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(place.provider.count(), 1);
}

#[tokio::test]
async fn what_no_person_reads_is_refused_with_the_link() {
    let place = Place::new().await;
    let signed = (
        "authorization",
        "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    );
    let large = format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(4 << 20)
    );
    let link = "Sign in at https://llm.example.com/auth/login?token=";
    for (path, headers, body, says) in [
        (
            "/v1/embeddings",
            &[][..],
            r#"{"model":"m","input":"x"}"#,
            link,
        ),
        ("/v1/messages/count_tokens", &[], WHOLE[2].1, link),
        ("/v1/chat/completions", &[], &large, link),
        (
            "/v1/chat/completions",
            &[signed],
            WHOLE[0].1,
            "the key is not known",
        ),
        (
            "/v1/chat/completions",
            &[("authorization", "Bearer a b")],
            WHOLE[0].1,
            "Invalid token format: there are blanks",
        ),
    ] {
        let answer = place.post(path, headers, body).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
        assert_eq!(answer.text().contains(link), says == link, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{path}");
        assert_eq!(answer.header("x-auth-required"), None, "{path}");
    }
    let mut client = Client::connect(&place.house, Http::One).await;
    let request = http::Request::get("/v1/models").header("host", "localhost");
    let request = request.body(http_body_util::Full::default()).unwrap();
    let listing = Answer::read(client.send(request).await.unwrap()).await;
    assert_eq!(listing.status, 401);
    assert!(listing.text().contains(link), "{}", listing.text());

    let place = Place::with("unauthenticated_response: unauthorized").await;
    for (path, body) in WHOLE {
        let answer = place.post(path, &[], body).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.text().contains(link), "{path}: {}", answer.text());
    }
}

/// A request whose body comes in chunks of this length.
fn in_chunks(path: &str, body: &str, chunk: usize) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut request = head.into_bytes();
    for chunk in body.as_bytes().chunks(chunk) {
        request.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[tokio::test]
async fn a_body_in_chunks_is_read_as_far_as_one_that_says_its_length() {
    let place = Place::new().await;
    for (path, body) in WHOLE {
        for chunk in [1, 17, 4096] {
            let told = raw(&place.house, &in_chunks(path, body, chunk)).await;
            assert!(told.starts_with("HTTP/1.1 200 "), "{path}: {told}");
            assert!(told.contains("Authentication Required"), "{path}: {told}");
        }
    }
    let link = "Sign in at https://llm.example.com/auth/login?token=";
    let (path, body) = WHOLE[0];
    let large = body.replace("hello", &"x".repeat(4 << 20));
    let told = raw(&place.house, &in_chunks(path, &large, 1 << 16)).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    assert!(told.contains(link), "{told}");
    // No body at all.
    let none = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let told = raw(&place.house, none.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    assert!(told.contains(link), "{told}");
    assert_eq!(place.provider.count(), 0);
}

#[tokio::test]
async fn a_stranger_without_a_model_to_speak_as_is_refused_with_the_link() {
    let place = Place::new().await;
    let link = "Sign in at https://llm.example.com/auth/login?token=";
    let image = r#"{"model":"gpt-image-1","prompt":"a cat"}"#;
    for path in ["/v1/images/generations", "/v1/audio/speech"] {
        let answer = place.post(path, &[], image).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(answer.text().contains(link), "{path}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // None is served yet: none is opened.
    for path in ["/v1/realtime?model=gpt-realtime", "/v1/responses"] {
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let told = raw(&place.house, upgrade.as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 4"), "{path}: {told}");
        assert!(!told.contains("101 Switching"), "{path}: {told}");
    }
    assert_eq!(place.provider.count(), 0);
}

/// What does not differ by who asks: the link, the decision's and the request's ids and the time.
fn without_ids(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let text = answer.text();
    let (before, link) = text.split_once("login?token=").unwrap_or((text, ""));
    let after = link.find(['"', ' ']).map_or("", |end| &link[end..]);
    let after = after.split("\"request_id\"").next().unwrap_or_default();
    let own = ["date", "x-request-id", "request-id", "x-turnpike-decision"];
    let headers = answer.headers.iter();
    let headers = headers.filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (
        answer.status,
        format!("{before}…{after}"),
        headers.collect(),
    )
}

#[tokio::test]
async fn tokens_that_nobody_has_are_refused_alike() {
    let place = Place::with("unauthenticated_response: unauthorized").await;
    let (id, token) = place.token().await;
    let (head, secret) = token.split_once('.').unwrap();
    let turned: String = secret.chars().rev().collect();
    let unknown_id: String = id.chars().rev().collect();
    let wrong = [
        // No such id, an id with another secret, two secrets that differ late and early.
        format!("tp-{unknown_id}.{secret}"),
        format!("{head}.{turned}"),
        format!("{head}.{}A", &secret[..secret.len() - 1]),
        format!("{head}.A{}", &secret[1..]),
    ];
    for (path, body) in WHOLE {
        let mut answers = Vec::new();
        for token in &wrong {
            let bearer = format!("Bearer {token}");
            let answer = place.post(path, &[("authorization", &bearer)], body).await;
            assert_eq!(answer.status, 401, "{path}");
            answers.push(without_ids(&answer));
        }
        for other in &answers[1..] {
            assert_eq!(*other, answers[0], "{path}");
        }
    }
    assert_eq!(place.provider.count(), 0);
}

/// How a turn's words are written.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Text,
    Blocks,
}

/// A conversation that goes on after the sign-in, as the dialect's agents send it.
fn gone_on(call: &StreamCall, shape: Shape, said: &str, more: &str) -> String {
    let (body, turns, person, model) = match call.operation {
        "chat" => (
            json!({"model": "gpt-4o"}),
            "messages",
            "content",
            "assistant",
        ),
        "responses" => (json!({"model": "gpt-4o"}), "input", "content", "assistant"),
        "messages" => (
            json!({"model": "claude-sonnet-4-5", "max_tokens": 9}),
            "messages",
            "content",
            "assistant",
        ),
        _ => (json!({}), "contents", "parts", "model"),
    };
    let turn = |role: &str, text: &str| match (person, shape) {
        ("parts", _) => json!({"role": role, "parts": [{"text": text}]}),
        (_, Shape::Text) => json!({"role": role, "content": text}),
        (_, Shape::Blocks) => {
            let kind = match (call.operation, role) {
                ("responses", "assistant") => "output_text",
                ("responses", _) => "input_text",
                _ => "text",
            };
            json!({"role": role, "content": [{"type": kind, "text": text}]})
        }
    };
    let mut body = body;
    body[turns] = json!([turn("user", "hello"), turn(model, said), turn("user", more)]);
    body.to_string()
}

#[tokio::test]
async fn the_model_never_reads_what_the_gateway_said() {
    let place = Place::new().await;
    let calls = [CHAT, RESPONSES, MESSAGES, GEMINI];
    let shaped = [Shape::Text, Shape::Blocks]
        .into_iter()
        .flat_map(|shape| calls.iter().zip(WHOLE).map(move |call| (shape, call)));
    for (shape, (call, (path, asked))) in shaped {
        let answer = place.post(path, &[], asked).await.json();
        let said = words(&answer).to_owned();
        let key = [("authorization", &*format!("Bearer {KEY}"))];
        // A person may quote it, and another gateway's mark is none.
        let quoting = gone_on(call, shape, &said, &format!("what does {said} mean?"));
        let forged = said.replace("turnpike_sandbox_", "turnpike_sandbox_A");
        for (body, goes) in [
            (gone_on(call, shape, &said, "go on"), true),
            (quoting, true),
            (gone_on(call, shape, &forged, "go on"), false),
        ] {
            place.provider.take_calls();
            let answer = place.post(path, &key, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let sent = place.provider.take_calls().remove(0).body;
            let sent = std::str::from_utf8(&sent).unwrap();
            let mut expected: Value = serde_json::from_str(&body).unwrap();
            if goes {
                let turns = ["messages", "input", "contents"]
                    .into_iter()
                    .find(|turns| expected[turns].is_array());
                expected[turns.unwrap()].as_array_mut().unwrap().remove(1);
            }
            assert_eq!(sent, expected.to_string(), "{path} {shape:?}");
        }
    }
}
