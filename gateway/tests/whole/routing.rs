//! Who serves a model, under which name, and who may see it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use turnpike::clock::Time;
use turnpike_api::Dialect;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::{bearer, client, get, get_with, post_with};
use crate::harness::{Answer, Client, House, Http, KEY, chat, config};
use crate::refused::{assert_refused, until_counted};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_prefix_serves_a_model_under_both_names() {
    let town = Town::of(|url| {
        format!(
            "  openai: {{base_url: {url}/v1, prefix: work, credentials: [{{api_key: sk-1}}]}}\n"
        )
    })
    .await;
    for name in ["work/gpt-4o", "gpt-4o"] {
        assert_eq!(town.chat(name).await.status, 200);
        assert_eq!(
            town.asked(),
            [("sk-1".to_owned(), "gpt-4o".to_owned())],
            "{name}"
        );
    }
    assert_not_found(&town.chat("play/gpt-4o").await);
    assert_not_found(&town.chat("work/work/gpt-4o").await);
    let listed = town.listed().await;
    assert!(
        ["gpt-4o", "work/gpt-4o"]
            .iter()
            .all(|name| listed.contains(&name.to_string()))
    );
    town.house.settled().await;
}

#[tokio::test]
async fn a_prefix_may_stand_in_a_path() {
    let town = Town::of(|url| {
        format!("  gemini: {{base_url: {url}, prefix: work, credentials: [{{api_key: sk-1}}]}}\n")
    })
    .await;
    let mut client = client(&town.house, Http::One).await;
    for name in [
        "work/gemini-2.5-pro",
        "work%2Fgemini-2.5-pro",
        "gemini-2.5-pro",
    ] {
        let path = format!("/v1beta/models/{name}:generateContent");
        assert_eq!(client.post(&path, "{}").await.status, 200, "{name}");
        let call = town.provider.take_calls().pop().unwrap();
        assert_eq!(
            call.path_and_query,
            "/v1beta/models/gemini-2.5-pro:generateContent"
        );
    }
    town.house.settled().await;
}

#[tokio::test]
async fn a_forced_prefix_serves_a_model_under_that_name_only() {
    let town = Town::of(|url| {
        format!(
            "  openai:\n    base_url: {url}/v1\n    prefix: work\n    models: [gpt-4o, {{name: gpt-4.1, alias: best}}]\n    credentials: [{{api_key: sk-1}}]\n  claude: {{base_url: {url}, credentials: [{{api_key: sk-2}}]}}\nforce_model_prefix: true\n"
        )
    })
    .await;
    assert_eq!(town.chat("work/gpt-4o").await.status, 200);
    assert_eq!(town.chat("work/best").await.status, 200);
    assert_eq!(town.models_asked(), ["gpt-4o", "gpt-4.1"]);
    assert_not_found(&town.chat("gpt-4o").await);
    assert_not_found(&town.chat("best").await);
    assert_eq!(town.listed().await, ["work/best", "work/gpt-4o"]);
    town.house.settled().await;
}

#[tokio::test]
async fn an_alias_of_several_providers_is_a_pool_of_them() {
    let town = Town::of(|url| {
        format!(
            "  openai:\n    base_url: {url}/v1\n    models: [{{name: gpt-4o, alias: fast}}]\n    credentials: [{{api_key: sk-1}}]\n  local:\n    kind: openai-compatible\n    base_url: {url}/v1\n    models: [{{name: llama-3, alias: fast}}, qwen]\n    credentials: [{{api_key: sk-2}}]\n"
        )
    })
    .await;
    for _ in 0..6 {
        assert_eq!(town.chat("fast").await.status, 200);
    }
    let mut asked = town.asked();
    asked.sort();
    let (first, second) = (("sk-1", "gpt-4o"), ("sk-2", "llama-3"));
    let expected = [first, first, first, second, second, second];
    assert_eq!(
        asked,
        expected.map(|(key, model)| (key.to_owned(), model.to_owned()))
    );

    town.provider.always("sk-1", Behaviour::server_error(500));
    for _ in 0..2 {
        let answer = town.chat("fast").await;
        assert_eq!(
            (answer.status, &answer.json()["model"]),
            (200, &"llama-3".into())
        );
    }
    // What an alias stands for is not served under its own name.
    assert_not_found(&town.chat("gpt-4o").await);
    assert_eq!(town.chat("qwen").await.status, 200);
    assert_eq!(town.listed().await, ["fast", "qwen"]);
    town.house.settled().await;
}

#[tokio::test]
async fn excluded_models_are_neither_served_nor_listed() {
    let town = Town::of(|url| {
        format!(
            "  openai:\n    base_url: {url}/v1\n    prefix: work\n    models: [gpt-4o, gpt-4o-mini, gpt-5, o3, o3-pro, GPT-Loud, {{name: secret-1, alias: plain}}]\n    excluded_models: [GPT-4O, \"*-pro\", work/o3, \"gpt-l*\", \"secret-*\"]\n    credentials: [{{api_key: sk-1}}]\n"
        )
    })
    .await;
    for name in [
        "gpt-4o",
        "work/gpt-4o",
        "o3-pro",
        "work/o3-pro",
        "work/o3",
        "GPT-Loud",
        "plain",
    ] {
        assert_not_found(&town.chat(name).await);
    }
    for name in ["gpt-4o-mini", "work/gpt-4o-mini", "gpt-5", "o3"] {
        assert_eq!(town.chat(name).await.status, 200, "{name}");
    }
    assert_eq!(
        town.listed().await,
        [
            "gpt-4o-mini",
            "gpt-5",
            "o3",
            "work/gpt-4o-mini",
            "work/gpt-5"
        ]
    );
    town.house.settled().await;
}

#[tokio::test]
async fn excluded_models_of_a_providers_own_patterns_are_not_served() {
    let town = Town::of(|url| {
        format!("  openai: {{base_url: {url}/v1, excluded_models: [\"gpt-4*\"], credentials: [{{api_key: sk-1}}]}}\n")
    })
    .await;
    assert_not_found(&town.chat("gpt-4o").await);
    assert_not_found(&town.chat("gpt-4-anything").await);
    assert_eq!(town.chat("gpt-5").await.status, 200);
    assert!(
        town.listed()
            .await
            .iter()
            .all(|name| !name.starts_with("gpt-4"))
    );
    town.house.settled().await;
}

#[tokio::test]
async fn an_unknown_model_is_not_found_in_each_dialect() {
    let town = Town::of_all().await;
    let mut client = client(&town.house, Http::One).await;
    for path in [
        CHAT,
        "/v1/responses",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
    ] {
        let answer = client.post(path, chat("no-such-model")).await;
        assert_not_found(&answer);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert_eq!(answer.json()["error"]["param"], "model");
    }
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let answer = client.post(path, chat("no-such-model")).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["type"]), (404, &"error".into()));
        assert_eq!(told["error"]["type"], "not_found_error");
        assert_eq!(told["request_id"], answer.header("request-id").unwrap());
    }
    for action in [
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "embedContent",
    ] {
        let path = format!("/v1beta/models/no-such-model:{action}");
        let answer = client.post(&path, "{}").await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["status"], "NOT_FOUND");
        assert_eq!(answer.json()["error"]["code"], 404);
    }
    let lists = "GET /v1/models lists what is";
    assert!(town.chat("no-such-model").await.text().contains(lists));
    town.house.settled().await;
    assert_eq!(town.provider.count(), 0);
}

#[tokio::test]
async fn a_model_asked_for_in_another_dialect_is_told_its_own_path() {
    let town = Town::of_all().await;
    let mut client = client(&town.house, Http::Two).await;
    let gemini = "/v1beta/models/{model}:generateContent";
    for (path, model, right) in [
        (CHAT, "claude-sonnet-4-5", "/v1/messages"),
        (CHAT, "gemini-2.5-pro", gemini),
        ("/v1/messages", "gpt-4o", CHAT),
        ("/v1/messages", "gemini-2.5-pro", gemini),
        ("/v1beta/models/gpt-4o:generateContent", "gpt-4o", CHAT),
        (
            "/v1beta/models/claude-sonnet-4-5:generateContent",
            "claude-sonnet-4-5",
            "/v1/messages",
        ),
    ] {
        let answer = client.post(path, chat(model)).await;
        assert_eq!(answer.status, 400, "{path} {model}");
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            message.contains(&format!("is served on {right}, not on this path")),
            "{message}"
        );
    }
    town.house.settled().await;
    let told = town.house.metrics();
    assert!(told.contains(r#"reason="unsupported_path_for_model",status="400""#));
}

#[tokio::test]
async fn disabled_credentials_are_said_to_be_the_reason() {
    let town = Town::of(|url| {
        format!(
            "  openai: {{base_url: {url}/v1, credentials: [{{api_key: sk-1, disabled: true}}]}}\n  claude: {{base_url: {url}, credentials: [{{api_key: sk-2, disabled: true}}, {{api_key: sk-3, disabled: true}}]}}\n  gemini: {{base_url: {url}, credentials: [{{api_key: sk-4, disabled: true}}, {{api_key: sk-5}}]}}\n"
        )
    })
    .await;
    let openai = town.chat("gpt-4o").await;
    assert_eq!(openai.status, 503);
    assert_eq!(openai.json()["error"]["code"], "no_credential");
    let message = "No credentials for provider openai: the only one is disabled";
    assert_eq!(openai.json()["error"]["message"], message);
    let mut client = client(&town.house, Http::One).await;
    let claude = client.post("/v1/messages", chat("claude-sonnet-4-5")).await;
    assert_eq!(claude.status, 503);
    let message = "No credentials for provider claude: all 2 are disabled";
    assert_eq!(claude.json()["error"]["message"], message);
    for _ in 0..3 {
        let gemini = client
            .post("/v1beta/models/gemini-2.5-pro:generateContent", "{}")
            .await;
        assert_eq!(gemini.status, 200);
    }
    // What nobody would serve is not listed.
    assert_eq!(town.listed().await, [""; 0]);
    town.house.settled().await;
    assert!(town.provider.calls().iter().all(|call| call.key == "sk-5"));
}

#[tokio::test]
async fn a_model_that_cools_is_told_in_each_dialect_when_it_is_back() {
    for http in [Http::One, Http::Two] {
        for (said, shown) in [(3600, 60), (7, 7)] {
            cools_for(http, said, shown).await;
        }
    }
}

/// A path of each dialect, with the model and the key that are asked for there.
const CALLS: [(Dialect, &str, &str, &str, &str); 4] = [
    (Dialect::OpenAi, CHAT, "gpt-4o", "openai", "sk-openai-1"),
    (
        Dialect::OpenAi,
        "/v1/responses",
        "gpt-4o",
        "openai",
        "sk-openai-1",
    ),
    (
        Dialect::Anthropic,
        "/v1/messages",
        "claude-sonnet-4-5",
        "claude",
        "sk-claude-1",
    ),
    (
        Dialect::Gemini,
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "gemini-2.5-pro",
        "gemini",
        "AIza-gemini-1",
    ),
];

/// Every provider limits its only key for `said` seconds, once.
async fn cools_for(http: Http, said: u64, shown: u64) {
    let provider = FakeProvider::start(Options::default()).await;
    let time = Time::simulated(1_700_000_000_000);
    let dir = tempfile::tempdir().unwrap();
    let yaml = config(&provider.base_url(), 1);
    let house = House::serve_by(time.clone(), dir, &yaml).await;
    for key in ["sk-openai-1", "sk-claude-1", "AIza-gemini-1"] {
        let limited = Behaviour::rate_limited(Duration::from_secs(said));
        provider.script(key, [limited]);
    }
    let mut client = client(&house, http).await;
    // The first of a model's calls is refused by the provider, those after it by the gateway.
    for _ in 0..2 {
        for (dialect, path, model, name, _) in CALLS {
            let answer = client.post(path, chat(model)).await;
            let says = format!("No credentials for provider {name}: the only one is rate limited");
            let case = format!("{http:?} {path} {said} s");
            assert_refused(&answer, dialect, "model_cooldown", &says, &case);
            assert_eq!(
                (
                    answer.header("retry-after"),
                    answer.header("retry-after-ms")
                ),
                (Some(&*shown.to_string()), Some(&*format!("{shown}000")))
            );
            assert_comes_back(&answer, dialect, model, name, said);
        }
    }
    until_counted(&house, "model_cooldown", 8.0).await;
    assert_eq!(provider.count(), 3, "nobody is asked before the time");

    time.advance(Duration::from_secs(said));
    provider.take_calls();
    for (_, path, model, _, key) in CALLS {
        let answer = client.post(path, chat(model)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(provider.take_calls().pop().unwrap().key, key);
    }
    house.settled().await;
}

/// The truth about when, in the fields of which all dialects have the same.
fn assert_comes_back(answer: &Answer, dialect: Dialect, model: &str, name: &str, said: u64) {
    let body = answer.json();
    let error = &body["error"];
    let time = match said {
        3600 => "2023-11-14T23:13:20Z",
        _ => "2023-11-14T22:13:27Z",
    };
    let told = ["model", "provider", "reset_time"].map(|field| error[field].as_str().unwrap());
    assert_eq!(told, [model, name, time]);
    assert_eq!(error["reset_seconds"], said);
    assert!(error["message"].as_str().unwrap().contains(time), "{error}");
    // Gemini's `code` is the status.
    match dialect {
        Dialect::OpenAi | Dialect::Anthropic => assert_eq!(error["code"], "model_cooldown"),
        Dialect::Gemini => {
            assert_eq!(error["details"][0]["reason"], "model_cooldown");
            let delay = format!("{}s", said.min(60));
            assert_eq!(error["details"][1]["retryDelay"], delay);
        }
    }
}

#[tokio::test]
async fn a_listing_has_what_its_caller_can_use_in_its_dialect() {
    let town = Town::with(
        "api_keys: [{key: all-0123456789}, {key: some-0123456789, models: [\"gpt-*\", \"claude-*\", gemini-2.5-flash, \"!*-mini\"]}]\n",
        |url| {
            format!(
                "  openai: {{base_url: {url}/v1, models: [gpt-4o, gpt-4o-mini, o3], credentials: [{{api_key: sk-1}}]}}\n  claude: {{base_url: {url}, models: [{{name: claude-sonnet-4-5, alias: claude}}, claude-haiku-4-5], credentials: [{{api_key: sk-2}}]}}\n  gemini: {{base_url: {url}, models: [gemini-2.5-pro, gemini-2.5-flash], credentials: [{{api_key: sk-3}}]}}\n"
            )
        },
    )
    .await;
    let mut client = client(&town.house, Http::One).await;
    let all = Seen::of(&mut client, "all-0123456789").await;
    assert_eq!(all.openai, ["gpt-4o", "gpt-4o-mini", "o3"]);
    assert_eq!(all.anthropic, ["claude", "claude-haiku-4-5"]);
    assert_eq!(
        all.gemini,
        ["models/gemini-2.5-flash", "models/gemini-2.5-pro"]
    );
    let some = Seen::of(&mut client, "some-0123456789").await;
    assert_eq!(some.openai, ["gpt-4o"]);
    assert_eq!(some.anthropic, ["claude-haiku-4-5"]);
    assert_eq!(some.gemini, ["models/gemini-2.5-flash"]);
    let nobody = get_with(&mut client, "/v1/models", &[]).await;
    assert_eq!(nobody.status, 401);
    town.house.settled().await;
    assert_eq!(town.provider.count(), 0, "a listing asks nobody");
}

#[tokio::test]
async fn one_model_is_shown_in_each_dialect_to_those_who_can_use_it() {
    let town = Town::with(
        &format!("api_keys: [{{key: {KEY}, models: [\"*\", \"!o3\"]}}]\n"),
        |url| {
            format!(
                "  openai: {{base_url: {url}/v1, models: [gpt-4o, o3, {{name: x, alias: team/fast}}], credentials: [{{api_key: sk-1}}]}}\n  claude: {{base_url: {url}, credentials: [{{api_key: sk-2}}]}}\n  gemini: {{base_url: {url}, credentials: [{{api_key: sk-3}}]}}\n"
            )
        },
    )
    .await;
    let mut client = client(&town.house, Http::Two).await;
    for (path, id) in [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/v1/models/team/fast", "team/fast"),
        ("/v1/models/team%2Ffast", "team/fast"),
    ] {
        let answer = get(&mut client, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(
            (&answer.json()["id"], &answer.json()["object"]),
            (&id.into(), &"model".into())
        );
    }
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let claude = get_with(&mut client, "/v1/models/claude-sonnet-4-5", &headers)
        .await
        .json();
    assert_eq!(
        (&claude["type"], &claude["id"]),
        (&"model".into(), &"claude-sonnet-4-5".into())
    );
    assert!(claude["created_at"].is_string() && claude["display_name"].is_string());
    let path = "/v1beta/models/gemini-2.5-pro";
    let gemini = get_with(&mut client, path, &[("x-goog-api-key", KEY)])
        .await
        .json();
    assert_eq!(gemini["name"], "models/gemini-2.5-pro");
    assert!(gemini["supportedGenerationMethods"].is_array());

    for denied in ["o3", "no-such-model", "x"] {
        assert_not_found(&get(&mut client, &format!("/v1/models/{denied}")).await);
    }
    let other = get_with(&mut client, "/v1/models/gpt-4o", &headers).await;
    assert_eq!(
        (other.status, &other.json()["type"]),
        (404, &"error".into())
    );
    town.house.settled().await;
}

#[tokio::test]
async fn a_key_cannot_use_what_it_does_not_see() {
    let town = Town::with(
        &format!("api_keys: [{{key: {KEY}, models: [\"gpt-*\", \"!*-mini\"]}}]\n"),
        |url| format!("  openai: {{base_url: {url}/v1, credentials: [{{api_key: sk-1}}]}}\n"),
    )
    .await;
    assert_eq!(town.chat("gpt-4o").await.status, 200);
    for model in ["gpt-4o-mini", "GPT-4o-MINI", "o3", "no-such-model"] {
        let answer = town.chat(model).await;
        assert_eq!(answer.status, 403, "{model}");
        assert_eq!(answer.json()["error"]["code"], "permission_denied");
    }
    town.house.settled().await;
    assert_eq!(town.provider.count(), 1);
}

#[tokio::test]
async fn round_robin_is_fair() {
    let town = Town::of_three("").await;
    for _ in 0..30 {
        assert_eq!(town.chat("gpt-4o").await.status, 200);
    }
    let turns: Vec<String> = town.asked().into_iter().map(|(key, _)| key).collect();
    let mut each = BTreeMap::new();
    turns
        .iter()
        .for_each(|key| *each.entry(key.as_str()).or_insert(0) += 1);
    assert_eq!(
        each,
        BTreeMap::from([("sk-1", 10), ("sk-2", 10), ("sk-3", 10)])
    );
    assert!(
        turns
            .windows(3)
            .all(|three| three[0] != three[1] && three[0] != three[2])
    );
    town.house.settled().await;
}

#[tokio::test]
async fn priority_keeps_to_the_first_while_it_serves() {
    let town = Town::of_three("routing: {strategy: priority}\n").await;
    for _ in 0..5 {
        assert_eq!(town.chat("gpt-4o").await.status, 200);
    }
    assert!(town.asked().iter().all(|(key, _)| key == "sk-1"));
    town.provider.always("sk-1", Behaviour::server_error(500));
    assert_eq!(town.chat("gpt-4o").await.status, 200);
    assert_eq!(town.keys_asked(), ["sk-1", "sk-2"]);
    town.house.settled().await;
}

#[tokio::test]
async fn a_lower_tier_is_asked_when_the_higher_one_fails_under_any_strategy() {
    for strategy in ["round_robin", "round-robin", "priority"] {
        let town = Town::of(|url| {
            format!(
                "  openai: {{base_url: {url}/v1, credentials: [{{api_key: sk-2, priority: 2}}, {{api_key: sk-1, priority: 1}}, {{api_key: sk-3, priority: 3}}]}}\nauth: {{selection_strategy: {strategy}}}\n"
            )
        })
        .await;
        for _ in 0..4 {
            assert_eq!(town.chat("gpt-4o").await.status, 200);
        }
        assert_eq!(town.keys_asked(), ["sk-1"; 4], "{strategy}");
        town.provider.always("sk-1", Behaviour::overloaded());
        assert_eq!(town.chat("gpt-4o").await.status, 200);
        assert_eq!(town.keys_asked(), ["sk-1", "sk-2"], "{strategy}");
        town.house.settled().await;
    }
}

#[tokio::test]
async fn no_more_credentials_are_tried_than_may_be() {
    for most in [1, 2, 3] {
        let town = Town::of_three(&format!("max_retry_credentials: {most}\n")).await;
        for key in ["sk-1", "sk-2", "sk-3"] {
            town.provider.always(key, Behaviour::server_error(500));
        }
        assert_eq!(town.chat("gpt-4o").await.status, 500);
        let mut keys = town.keys_asked();
        assert_eq!(keys.len(), most);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), most, "no credential is tried twice");
        town.house.settled().await;
    }
}

#[tokio::test]
async fn images_and_speech_pass_through_to_the_provider_of_their_model() {
    let town = Town::of_all().await;
    let mut client = client(&town.house, Http::One).await;
    let image = client
        .post(
            "/v1/images/generations",
            r#"{"model":"dall-e-3","prompt":"a cat"}"#,
        )
        .await;
    assert!(image.json()["data"][0]["b64_json"].is_string());
    let speech = client
        .post(
            "/v1/audio/speech",
            r#"{"model":"tts-1","input":"hello","voice":"alloy"}"#,
        )
        .await;
    assert_eq!(
        (speech.status, speech.header("content-type")),
        (200, Some("audio/mpeg"))
    );
    assert!(
        std::str::from_utf8(&speech.body).is_err(),
        "audio is no text"
    );
    assert_eq!(
        (speech.body.len(), &speech.body[..4]),
        (4096, &[0xFF, 0xFB, 0x90, 0x64][..])
    );
    town.house.settled().await;
    let paths: Vec<String> = town
        .provider
        .calls()
        .into_iter()
        .map(|call| call.path_and_query)
        .collect();
    assert_eq!(paths, ["/v1/images/generations", "/v1/audio/speech"]);
}

#[tokio::test]
async fn a_form_goes_to_the_provider_of_its_model_field() {
    let town = Town::of(|url| {
        format!(
            "  one: {{kind: openai-compatible, base_url: {url}/v1, models: [whisper-one], credentials: [{{api_key: sk-1}}]}}\n  two: {{kind: openai-compatible, base_url: {url}/v1, models: [{{name: whisper-large, alias: whisper-two}}], credentials: [{{api_key: sk-2}}]}}\n"
        )
    })
    .await;
    let mut client = client(&town.house, Http::One).await;
    for (model, key) in [("whisper-one", "sk-1"), ("whisper-two", "sk-2")] {
        let answer = send_form(&mut client, "/v1/audio/transcriptions", Some(model)).await;
        assert_eq!(
            (answer.status, answer.json()["text"].is_string()),
            (200, true)
        );
        assert_eq!(town.keys_asked(), [key]);
    }
    assert_not_found(&send_form(&mut client, "/v1/audio/transcriptions", Some("nobody's")).await);
    // Two providers could be meant by a call that names no model.
    for (method, path) in [
        ("POST", "/v1/files"),
        ("GET", "/v1/files"),
        ("DELETE", "/v1/files/file-1"),
    ] {
        let answer = file_call(&mut client, method, path).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains("one provider alone"));
    }
    town.house.settled().await;
    assert_eq!(town.provider.count(), 0);
}

#[tokio::test]
async fn files_go_to_the_one_provider_there_is() {
    let town = Town::of_all().await;
    let mut client = client(&town.house, Http::One).await;
    for (method, path) in [
        ("POST", "/v1/files"),
        ("GET", "/v1/files?limit=2"),
        ("GET", "/v1/files/file-1"),
        ("GET", "/v1/files/file-1/content"),
        ("DELETE", "/v1/files/file-1"),
    ] {
        let answer = file_call(&mut client, method, path).await;
        assert_eq!(answer.status, 200, "{method} {path}: {:?}", answer.body);
        let call = town.provider.take_calls().pop().unwrap();
        assert_eq!(
            (call.key.as_str(), call.path_and_query.as_str()),
            ("sk-openai-1", path)
        );
        assert_eq!(call.method, method);
    }
    town.house.settled().await;
}

#[tokio::test]
async fn a_call_without_a_body_may_say_that_its_body_is_json() {
    let town = Town::of_all().await;
    let mut client = client(&town.house, Http::One).await;
    // OpenAI's own Python client says so in every request.
    let kind = ("content-type", "application/json");
    let headers = [("authorization", &*bearer()), kind];
    let answer = get_with(&mut client, "/v1/files", &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    town.house.settled().await;
}

/// A provider and a gateway before it.
struct Town {
    provider: FakeProvider,
    house: House,
}

impl Town {
    /// With the section `providers`, and what follows it, made for the provider's URL.
    async fn of(providers: impl Fn(&str) -> String) -> Self {
        Self::with(&format!("api_keys: [{{key: {KEY}}}]\n"), providers).await
    }

    async fn with(keys: &str, providers: impl Fn(&str) -> String) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let providers = providers(&provider.base_url());
        let ports = "server: {port: 0}\nadmin: {port: 0}\n";
        let house = House::serve(&format!("{ports}{keys}providers:\n{providers}")).await;
        Self { provider, house }
    }

    /// One provider of each dialect.
    async fn of_all() -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let house = House::before(&provider).await;
        Self { provider, house }
    }

    /// Three credentials of one provider.
    async fn of_three(rest: &str) -> Self {
        Self::of(|url| {
            format!(
                "  openai: {{base_url: {url}/v1, credentials: [{{api_key: sk-1}}, {{api_key: sk-2}}, {{api_key: sk-3}}]}}\n{rest}"
            )
        })
        .await
    }

    async fn chat(&self, model: &str) -> Answer {
        let headers = [("authorization", &*bearer())];
        let mut client = client(&self.house, Http::One).await;
        post_with(&mut client, CHAT, &headers, chat(model)).await
    }

    /// OpenAI's listing.
    async fn listed(&self) -> Vec<String> {
        let list = get(&mut client(&self.house, Http::One).await, "/v1/models")
            .await
            .json();
        assert_eq!(list["object"], "list");
        names(&list["data"], "id")
    }

    /// Key and model of each call since the last look.
    fn asked(&self) -> Vec<(String, String)> {
        let calls = self.provider.take_calls().into_iter();
        calls
            .map(|call| {
                (
                    call.key.clone(),
                    call.json()["model"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    }

    fn keys_asked(&self) -> Vec<String> {
        self.provider
            .take_calls()
            .into_iter()
            .map(|call| call.key)
            .collect()
    }

    fn models_asked(&self) -> Vec<String> {
        self.asked().into_iter().map(|(_, model)| model).collect()
    }
}

/// What a key sees in each dialect.
struct Seen {
    openai: Vec<String>,
    anthropic: Vec<String>,
    gemini: Vec<String>,
}

impl Seen {
    async fn of(client: &mut Client, key: &str) -> Self {
        let openai = get_with(
            client,
            "/v1/models",
            &[("authorization", &format!("Bearer {key}"))],
        )
        .await
        .json();
        let version = ("anthropic-version", "2023-06-01");
        let anthropic = get_with(client, "/v1/models", &[("x-api-key", key), version])
            .await
            .json();
        let gemini = get_with(client, &format!("/v1beta/models?key={key}"), &[])
            .await
            .json();
        assert_eq!(openai["object"], "list");
        let ids = names(&anthropic["data"], "id");
        assert_eq!(anthropic["has_more"], false);
        assert_eq!(anthropic["first_id"], json!(ids.first()));
        assert_eq!(anthropic["last_id"], json!(ids.last()));
        Self {
            openai: names(&openai["data"], "id"),
            anthropic: ids,
            gemini: names(&gemini["models"], "name"),
        }
    }
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|entry| entry[field].as_str().unwrap().to_owned())
        .collect()
}

fn assert_not_found(answer: &Answer) {
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "model_not_found");
}

async fn send_form(client: &mut Client, path: &str, model: Option<&str>) -> Answer {
    let model = model.map(|model| {
        format!("--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n")
    });
    let body = format!(
        "{}--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--X--\r\n",
        model.unwrap_or_default()
    );
    let kind = "multipart/form-data; boundary=X";
    let headers = [("authorization", &*bearer()), ("content-type", kind)];
    post_with(client, path, &headers, body).await
}

async fn file_call(client: &mut Client, method: &str, path: &str) -> Answer {
    if method == "POST" {
        return send_form(client, path, None).await;
    }
    let mut request = client.request(path, Bytes::new());
    *request.method_mut() = method.parse().unwrap();
    request.headers_mut().remove("content-type");
    Answer::read(client.send(request).await.unwrap()).await
}
