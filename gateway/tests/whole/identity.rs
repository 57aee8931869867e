//! Who is calling: where credentials are found, which one counts, and what is said of wrong ones.

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::Full;
use serde_json::json;
use turnpike::boot::{BootError, Source, start};
use turnpike::clock::Time;
use turnpike::configuration;
use turnpike_api::Dialect;
use turnpike_config::Environment;
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use crate::harness::{Answer, Client, House, Http, KEY, chat, config};
use crate::refused::assert_refused;
use crate::wire::Wire;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

/// A path of each dialect, and a model that is served there.
const CALLS: &[(Dialect, &str, &str)] = &[
    (Dialect::OpenAi, CHAT, "gpt-4o"),
    (Dialect::Anthropic, MESSAGES, "claude-sonnet-4-5"),
    (Dialect::Gemini, GEMINI, "gemini-2.5-pro"),
];

/// Headers, and the query.
type Presented<'a> = (&'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn a_key_is_known_in_all_five_places() {
    let bench = Bench::new().await;
    let cases: &[Presented<'_>] = &[
        (&[("authorization", "Bearer KEY")], ""),
        (&[("Authorization", "bearer KEY")], ""),
        (&[("AUTHORIZATION", "BEARER KEY")], ""),
        (&[("authorization", "BeArEr \t KEY  ")], ""),
        (&[("authorization", "Bearer\tKEY")], ""),
        (&[("x-api-key", "KEY")], ""),
        (&[("X-Api-Key", "\t KEY ")], ""),
        (&[("x-goog-api-key", "KEY")], ""),
        (&[("X-GOOG-API-KEY", "KEY")], ""),
        (&[], "key=KEY"),
        (&[], "auth_token=KEY"),
        (&[], "alt=json&key=KEY"),
        (&[], "key=%20KEY%0A"),
        (&[], "k%65y=KEY"),
        (&[], "auth_token=%0d%0aKEY%0d%0a"),
    ];
    for http in [Http::One, Http::Two] {
        for presented in cases {
            for (_, path, model) in CALLS {
                let answer = bench.call(http, path, model, presented).await;
                assert_eq!(
                    answer.status,
                    200,
                    "{presented:?}, {path}: {}",
                    answer.text()
                );
            }
        }
    }
    bench.assert_clean();
}

#[tokio::test]
async fn the_first_known_credential_counts_whatever_stands_before_it() {
    let bench = Bench::new().await;
    let served: &[Presented<'_>] = &[
        (
            &[("authorization", "Bearer wrong"), ("x-api-key", "KEY")],
            "",
        ),
        (
            &[("authorization", "Bearer wrong"), ("x-goog-api-key", "KEY")],
            "",
        ),
        (
            &[("authorization", "Bearer wrong"), ("x-api-key", "wrong")],
            "key=KEY",
        ),
        (&[("x-goog-api-key", "wrong")], "key=wrong&auth_token=KEY"),
        (
            &[("authorization", "Bearer KEY"), ("x-api-key", "wrong")],
            "key=wrong",
        ),
        (
            &[
                ("authorization", "Basic d3Jvbmc6d3Jvbmc="),
                ("x-api-key", "KEY"),
            ],
            "",
        ),
        (
            &[("authorization", "Bearer two words"), ("x-api-key", "KEY")],
            "",
        ),
        (&[("authorization", "Bearer "), ("x-api-key", "KEY")], ""),
        (
            &[
                ("authorization", ""),
                ("x-api-key", ""),
                ("x-goog-api-key", "KEY"),
            ],
            "key=",
        ),
    ];
    for presented in served {
        for (_, path, model) in CALLS {
            let answer = bench.call(Http::One, path, model, presented).await;
            assert_eq!(answer.status, 200, "{presented:?}: {}", answer.text());
        }
    }
    bench.assert_clean();
}

#[tokio::test]
async fn the_order_tells_whose_call_it_is() {
    let bench = Bench::new().await;
    // `narrow` may use o3 only: who it is shows in what it may.
    let narrow: Presented<'_> = (
        &[("authorization", "Bearer NARROW"), ("x-api-key", "KEY")],
        "",
    );
    assert_eq!(
        bench.call(Http::One, CHAT, "gpt-4o", &narrow).await.status,
        403
    );
    let broad: Presented<'_> = (
        &[("authorization", "Bearer KEY"), ("x-api-key", "NARROW")],
        "",
    );
    assert_eq!(
        bench.call(Http::One, CHAT, "gpt-4o", &broad).await.status,
        200
    );
    let places = ["x-api-key", "x-goog-api-key"];
    let by_header: Presented<'_> = (&[(places[0], "NARROW"), (places[1], "KEY")], "");
    assert_eq!(
        bench
            .call(Http::One, CHAT, "gpt-4o", &by_header)
            .await
            .status,
        403
    );
    let by_query: Presented<'_> = (&[], "auth_token=KEY&key=NARROW");
    assert_eq!(
        bench
            .call(Http::One, CHAT, "gpt-4o", &by_query)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_wrong_credential_is_told_what_is_wrong_with_it() {
    let bench = Bench::new().await;
    let cases: &[(Presented<'_>, &str, &str)] = &[
        ((&[], ""), "credential_missing", "no credential"),
        (
            (&[("authorization", "")], ""),
            "credential_missing",
            "no credential",
        ),
        (
            (&[("authorization", "Bearer")], ""),
            "credential_missing",
            "no credential",
        ),
        (
            (&[("x-api-key", "  ")], "key="),
            "credential_missing",
            "no credential",
        ),
        (
            (&[("authorization", "Bearer canary-1")], ""),
            "credential_unknown",
            "not known here",
        ),
        (
            (&[("x-api-key", "canary-1")], ""),
            "credential_unknown",
            "not known here",
        ),
        (
            (&[], "key=canary-1"),
            "credential_unknown",
            "not known here",
        ),
        (
            (&[], "auth_token=canary-1"),
            "credential_unknown",
            "not known here",
        ),
        (
            (&[("authorization", "Bearer KEYcanary-1")], ""),
            "credential_unknown",
            "not known here",
        ),
        (
            (&[("authorization", "Bearer canary-1 canary-2")], ""),
            "credential_malformed",
            "blanks or commas inside",
        ),
        (
            (&[("authorization", "Bearer KEY, Bearer canary-2")], ""),
            "credential_malformed",
            "blanks or commas inside",
        ),
        (
            (&[("authorization", "Basic canary-1")], ""),
            "credential_malformed",
            "not of the form `Bearer <token>`",
        ),
        (
            (&[("authorization", "canary-1")], ""),
            "credential_malformed",
            "not of the form `Bearer <token>`",
        ),
        (
            (&[("authorization", "BearerKEY")], ""),
            "credential_malformed",
            "not of the form `Bearer <token>`",
        ),
        (
            (&[("x-api-key", "KEY,canary-1")], ""),
            "credential_malformed",
            "blanks or commas inside",
        ),
        (
            (&[("x-goog-api-key", "canary-1 canary-2")], ""),
            "credential_malformed",
            "blanks or commas inside",
        ),
        (
            (&[("x-api-key", "canary-ü")], ""),
            "credential_malformed",
            "characters that no credential has",
        ),
        (
            (&[], "key=canary-%ff"),
            "credential_malformed",
            "characters that no credential has",
        ),
        (
            (&[], "key=canary%2000"),
            "credential_malformed",
            "blanks or commas inside",
        ),
        (
            (
                &[
                    ("authorization", "Bearer KEY"),
                    ("authorization", "Bearer KEY"),
                ],
                "",
            ),
            "credential_malformed",
            "given twice",
        ),
        (
            (&[("x-api-key", "KEY"), ("x-api-key", "KEY")], ""),
            "credential_malformed",
            "given twice",
        ),
        (
            (
                &[("x-goog-api-key", "canary-1"), ("x-goog-api-key", "KEY")],
                "",
            ),
            "credential_malformed",
            "given twice",
        ),
    ];
    for http in [Http::One, Http::Two] {
        for (presented, reason, says) in cases {
            for (dialect, path, model) in CALLS {
                let case = format!("{presented:?}, {path}, {http:?}");
                let answer = bench.call(http, path, model, presented).await;
                assert_refused(&answer, *dialect, reason, says, &case);
                assert!(!answer.text().contains("canary"), "echoed: {case}");
                assert!(!answer.text().contains(KEY), "echoed: {case}");
                let malformed = answer.text().contains("Invalid token format");
                assert_eq!(malformed, *reason == "credential_malformed", "{case}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{case}");
            }
        }
    }
    assert_eq!(bench.provider.count(), 0);
}

#[tokio::test]
async fn a_query_parameter_given_twice_is_refused_like_a_header() {
    let bench = Bench::new().await;
    for query in [
        "key=KEY&key=KEY",
        "key=canary-1&key=KEY",
        "auth_token=KEY&auth_token=canary-1",
    ] {
        let answer = bench.call(Http::One, CHAT, "gpt-4o", &(&[], query)).await;
        assert_refused(
            &answer,
            Dialect::OpenAi,
            "credential_malformed",
            "given twice",
            query,
        );
    }
}

#[tokio::test]
async fn an_almost_right_key_and_an_unknown_one_are_told_the_same() {
    let bench = Bench::new().await;
    let almost = format!("Bearer {}x", &KEY[..KEY.len() - 1]);
    for (_, path, model) in CALLS {
        let told = async |token: &str| {
            let answer = bench
                .call(Http::One, path, model, &(&[("authorization", token)], ""))
                .await;
            let mut body = answer.json();
            if let Some(id) = body.get_mut("request_id") {
                *id = json!("id");
            }
            let mut headers = answer.headers;
            for own in ["x-request-id", "request-id", "x-turnpike-decision", "date"] {
                headers.remove(own);
            }
            (answer.status, headers, body)
        };
        let unknown = told("Bearer nobody").await;
        assert_eq!(told(&almost).await, unknown, "{path}");
        assert_eq!(told(&format!("Bearer {KEY}{KEY}")).await, unknown, "{path}");
        assert_eq!(
            told(&format!("Bearer {}", KEY.to_uppercase())).await,
            unknown,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_credential_in_the_query_is_not_passed_on() {
    let bench = Bench::new().await;
    for (query, rest) in [
        ("key=KEY", ""),
        ("auth_token=KEY", ""),
        ("beta=true&key=KEY&x=1", "?beta=true&x=1"),
        ("key=KEY&auth_token=KEY&beta=true", "?beta=true"),
        ("auth%5Ftoken=KEY&%6bey=wrong&x=a%26b", "?x=a%26b"),
    ] {
        for http in [Http::One, Http::Two] {
            for (_, path, model) in CALLS {
                assert_eq!(
                    bench.call(http, path, model, &(&[], query)).await.status,
                    200,
                    "{query}"
                );
                let call = bench.provider.take_calls().pop().unwrap();
                assert_eq!(
                    call.path_and_query,
                    format!("{path}{rest}"),
                    "{query}, {http:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_key_may_use_its_models_and_no_others() {
    let bench = Bench::new().await;
    for http in [Http::One, Http::Two] {
        for (dialect, path, model) in CALLS {
            let answer = bench
                .call(http, path, model, &(&[("x-api-key", "NARROW")], ""))
                .await;
            assert_refused(&answer, *dialect, "model_denied", model, path);
        }
        for (_, path, model) in CALLS {
            let answer = bench
                .call(http, path, model, &(&[("x-api-key", "BROAD")], ""))
                .await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
    let preview = bench
        .call(
            Http::One,
            CHAT,
            "gpt-4o-preview",
            &(&[("x-api-key", "BROAD")], ""),
        )
        .await;
    assert_refused(
        &preview,
        Dialect::OpenAi,
        "model_denied",
        "gpt-4o-preview",
        "an exception",
    );
    assert_eq!(
        bench
            .call(Http::One, CHAT, "o3", &(&[("x-api-key", "NARROW")], ""))
            .await
            .status,
        200
    );
    assert_eq!(bench.provider.calls_with("sk-claude-1").len(), 2);
}

/// A provider left to choose a model, or one that looks past the content type, is no way around.
#[tokio::test]
async fn a_call_whose_model_is_not_told_needs_a_key_for_every_model() {
    let bench = Bench::new().await;
    let narrow = "key-of-narrow-0123456789";
    for (path, kind, body) in [
        (
            "/v1/images/generations",
            "application/json",
            r#"{"prompt":"x"}"#,
        ),
        (
            "/v1/images/generations",
            "text/plain",
            r#"{"model":"gpt-4o"}"#,
        ),
        ("/v1/images/generations", "", r#"{"model":"gpt-4o"}"#),
        ("/v1/files", "multipart/form-data; boundary=b", "--b--"),
    ] {
        for (key, status) in [(narrow, 403), (KEY, 200)] {
            let mut client = Client::connect(&bench.house, Http::One).await;
            let mut request = client.request(path, body);
            let bearer = format!("Bearer {key}").parse().unwrap();
            request.headers_mut().insert("authorization", bearer);
            request
                .headers_mut()
                .insert("content-type", kind.parse().unwrap());
            let answer = Answer::read(client.send(request).await.unwrap()).await;
            assert_eq!(
                answer.status,
                status,
                "{key} {path} {kind:?}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn the_list_of_models_is_the_callers_own() {
    let bench = Bench::new().await;
    let all = bench.models(KEY).await;
    assert!(
        all.contains(&"o3".to_owned()) && all.contains(&"gpt-4o".to_owned()),
        "{all:?}"
    );
    assert_eq!(bench.models("key-of-narrow-0123456789").await, ["o3"]);
    let mut client = Client::connect(&bench.house, Http::One).await;
    for (id, status) in [("o3", 200), ("gpt-4o", 404)] {
        let answer = get(
            &mut client,
            &format!("/v1/models/{id}"),
            "key-of-narrow-0123456789",
        )
        .await;
        assert_eq!(answer.status, status, "{id}");
    }
    for path in [
        "/v1/models",
        "/v1beta/models",
        "/v1/models/o3",
        "/v1beta/models/gemini-2.5-pro",
    ] {
        assert_eq!(get(&mut client, path, "nobody").await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_gateway_without_keys_is_open_on_loopback_only() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let keyless = config(&provider.base_url(), 1)
        .replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]\n"), "");
    let house = House::serve(&keyless).await;
    for (host, header, status) in [
        ("localhost", "", 200),
        ("127.0.0.1:8080", "Authorization: Bearer whatever\r\n", 200),
        // A browser on this machine, led here by a page of somebody else's.
        ("evil.example", "", 401),
        ("localhost", "Origin: https://evil.example\r\n", 401),
    ] {
        let mut wire = Wire::connect(&house).await;
        let body = chat("gpt-4o");
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nHost: {host}\r\n{header}Content-Length: {}\r\n\r\n",
            body.len()
        );
        wire.send(head + &body).await.unwrap();
        assert_eq!(
            wire.answer().await.unwrap().status,
            status,
            "{host} {header}"
        );
    }
    assert!(
        provider
            .calls()
            .iter()
            .all(|call| call.key == "sk-openai-1")
    );

    // Reached from elsewhere it does not start.
    let everywhere = keyless.replace(
        "server: {port: 0}",
        "state: {path: another.db}\nserver: {host: 0.0.0.0, port: 0}",
    );
    let problems = started(&house, &everywhere).await.unwrap_err();
    assert!(
        problems.contains("api_keys") && problems.contains("server.host"),
        "{problems}"
    );
}

#[tokio::test]
async fn a_reload_does_not_open_a_gateway_that_was_closed() {
    let bench = Bench::new().await;
    let closed = std::fs::read_to_string(&bench.house.config).unwrap();
    let line = closed
        .lines()
        .find(|line| line.starts_with("api_keys"))
        .unwrap();
    std::fs::write(&bench.house.config, closed.replace(line, "")).unwrap();
    let _ = bench.house.gateway.reloader.reload();
    let answer = bench.call(Http::One, CHAT, "gpt-4o", &(&[], "")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(bench.provider.count(), 0);
}

/// A gateway with three keys: of all models, of `o3`, and of all but previews.
struct Bench {
    provider: FakeProvider,
    house: House,
}

impl Bench {
    async fn new() -> Self {
        let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
        let keys = format!(
            "api_keys: [{{key: {KEY}, name: tests}}, {{key: key-of-narrow-0123456789, name: narrow, models: [o3]}}, \
             {{key: key-of-broad-0123456789, name: broad, models: [\"gpt-*\", \"claude-*\", \"gemini-*\", \"!*-preview\"]}}]"
        );
        let yaml = config(&provider.base_url(), 1)
            .replace(&format!("api_keys: [{{key: {KEY}, name: tests}}]"), &keys)
            .replace(
                "/v1\", cred",
                "/v1\", models: [gpt-4o, gpt-4o-preview, o3], cred",
            );
        let house = House::serve(&yaml).await;
        Self { provider, house }
    }

    async fn call(&self, http: Http, path: &str, model: &str, presented: &Presented<'_>) -> Answer {
        let (headers, query) = presented;
        let mut client = Client::connect(&self.house, http).await;
        let query = filled(query);
        let path = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let mut request = client.request(&path, chat(model));
        request.headers_mut().remove("authorization");
        for (name, value) in *headers {
            let name = HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap();
            request.headers_mut().append(
                name,
                http::HeaderValue::from_bytes(filled(value).as_bytes()).unwrap(),
            );
        }
        Answer::read(client.send(request).await.unwrap()).await
    }

    /// The ids on OpenAI's list.
    async fn models(&self, key: &str) -> Vec<String> {
        let mut client = Client::connect(&self.house, Http::One).await;
        let list = get(&mut client, "/v1/models", key).await.json();
        let ids = list["data"].as_array().unwrap().iter();
        ids.map(|entry| entry["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts that no credential of a caller reached the provider, in any form.
    fn assert_clean(&self) {
        let calls = self.provider.calls();
        assert!(!calls.is_empty());
        for call in calls {
            let seen = format!("{} {:?} {:?}", call.path_and_query, call.headers, call.body);
            assert!(!seen.contains(KEY) && !seen.contains("wrong"), "{seen}");
        }
    }
}

/// What starting this configuration says.
async fn started(house: &House, yaml: &str) -> Result<(), String> {
    let path = house.dir.path().join("other.yaml");
    std::fs::write(&path, yaml).unwrap();
    let environment = Environment::from_pairs::<String, String>([]);
    let plan = configuration::load(&path, &environment).map_err(|problems| problems.to_string())?;
    let gateway = start(plan, Source { path, environment }, None, Time::system()).await;
    gateway
        .map(drop)
        .map_err(|error: BootError| error.to_string())
}

async fn get(client: &mut Client, path: &str, key: &str) -> Answer {
    let mut request: Request<Full<Bytes>> = client.request(path, Bytes::new());
    *request.method_mut() = http::Method::GET;
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {key}").parse().unwrap());
    Answer::read(client.send(request).await.unwrap()).await
}

fn filled(text: &str) -> String {
    text.replace("NARROW", "key-of-narrow-0123456789")
        .replace("BROAD", "key-of-broad-0123456789")
        .replace("KEY", KEY)
}
