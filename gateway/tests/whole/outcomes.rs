//! What a caller is told when nobody can serve: status, words, and when to try again.

use serde_json::{Value, json};
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::binary::replace;
use crate::harness::Answer;
use crate::pools::{CLAUDE, OPENAI, Pools, SPEECHES, Speech, seconds, server};

/// What all answers say of a pool that is back at a known time.
struct Back {
    /// The truth, in seconds from the clock's beginning.
    seconds: u64,
    time: &'static str,
    why: &'static str,
}

fn check_back(speech: &Speech, answer: &Answer, back: &Back) {
    let what = format!("{}: {}", speech.provider, answer.text());
    assert_eq!(answer.status, 429, "{what}");
    let retry_after = back.seconds.min(60);
    assert_eq!(
        answer.header("retry-after"),
        Some(&*retry_after.to_string()),
        "{what}"
    );
    let millis = (retry_after * 1000).to_string();
    assert_eq!(answer.header("retry-after-ms"), Some(&*millis), "{what}");
    let error = &answer.json()["error"];
    let message = format!(
        "No credentials for provider {}: {}; try again in {} s, at {}",
        speech.provider, back.why, back.seconds, back.time
    );
    assert_eq!(error["message"], message, "{what}");
    assert_eq!(error["model"], speech.model, "{what}");
    assert_eq!(error["provider"], speech.provider, "{what}");
    assert_eq!(error["reset_time"], back.time, "{what}");
    assert_eq!(error["reset_seconds"], back.seconds, "{what}");
    check_words(speech, answer, "model_cooldown");
    if speech.provider == "gemini" {
        let delay = &error["details"][1]["retryDelay"];
        assert_eq!(*delay, format!("{retry_after}s"), "{what}");
    }
}

/// The dialect's own words for a reason.
fn check_words(speech: &Speech, answer: &Answer, reason: &str) {
    let (openai, anthropic, gemini) = match reason {
        "model_cooldown" => ("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
        "no_credential" => ("server_error", "api_error", "UNAVAILABLE"),
        "model_not_found" => ("invalid_request_error", "not_found_error", "NOT_FOUND"),
        other => panic!("{other}"),
    };
    let body = answer.json();
    let error = &body["error"];
    match speech.provider {
        "openai" => {
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!(openai), &json!(reason))
            );
        }
        "claude" => {
            assert_eq!(
                (&body["type"], &error["type"]),
                (&json!("error"), &json!(anthropic))
            );
            assert!(body["request_id"].is_string());
        }
        _ => {
            let status = json!(answer.status);
            assert_eq!(
                (&error["status"], &error["code"]),
                (&json!(gemini), &status)
            );
        }
    }
}

/// A refusal that names no time.
fn check_gone(speech: &Speech, answer: &Answer, why: &str) {
    let what = format!("{}: {}", speech.provider, answer.text());
    assert_eq!(answer.status, 503, "{what}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{what}");
    let error = &answer.json()["error"];
    let message = format!("No credentials for provider {}: {why}", speech.provider);
    assert_eq!(error["message"], message, "{what}");
    assert_eq!(error["reset_seconds"], Value::Null, "{what}");
    check_words(speech, answer, "no_credential");
}

#[tokio::test]
async fn all_are_cooling_for_each_kind_of_fault() {
    let pools = Pools::of(2, "").await;
    let no_model = |speech: &Speech| match speech.provider {
        "claude" => r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
        "gemini" => {
            r#"{"error":{"code":404,"status":"NOT_FOUND","message":"models/x is not found for API version v1beta"}}"#
        }
        _ => r#"{"error":{"message":"x","type":"invalid_request_error","code":"model_not_found"}}"#,
    };
    let gone = |seconds, time, why| Back { seconds, time, why };
    for speech in SPEECHES {
        let table = [
            (
                Behaviour::rate_limited(seconds(7)),
                gone(7, "2026-03-01T00:00:07Z", "all 2 are rate limited"),
            ),
            (
                Behaviour::unauthorized(),
                gone(
                    1800,
                    "2026-03-01T00:30:00Z",
                    "all 2 are refused by the provider (401)",
                ),
            ),
            (
                Behaviour::payment_required(),
                gone(
                    1800,
                    "2026-03-01T00:30:00Z",
                    "all 2 are out of credit at the provider (402)",
                ),
            ),
            (
                Behaviour::forbidden(),
                gone(
                    1800,
                    "2026-03-01T00:30:00Z",
                    "all 2 are forbidden by the provider (403)",
                ),
            ),
            (
                Behaviour::refusing(404, no_model(speech)),
                gone(
                    43_200,
                    "2026-03-01T12:00:00Z",
                    "all 2 are without this model (404)",
                ),
            ),
            (
                Behaviour::overloaded(),
                gone(60, "2026-03-01T00:01:00Z", "all 2 are overloaded"),
            ),
            (
                Behaviour::server_error(504),
                gone(
                    60,
                    "2026-03-01T00:01:00Z",
                    "all 2 are not answering in time",
                ),
            ),
            (
                Behaviour::server_error(500),
                gone(
                    60,
                    "2026-03-01T00:01:00Z",
                    "all 2 are failing at the provider (5xx)",
                ),
            ),
        ];
        for (behaviour, back) in table {
            pools.always(speech, &[1, 2], &behaviour);
            // The one that found out may be told what the provider says of the call.
            let first = pools.ask(speech).await;
            assert!(!matches!(first.status, 401..=403), "{behaviour:?}");
            pools.provider.take_calls();
            check_back(speech, &pools.ask(speech).await, &back);
            check_back(speech, &pools.stream(speech).await, &back);
            assert_eq!(pools.provider.count(), 0);
            [1, 2].iter().for_each(|n| pools.reset(&speech.key(*n)));
        }
    }
}

#[tokio::test]
async fn a_credentials_own_refusal_is_not_the_callers() {
    let pools = Pools::of(2, "").await;
    for speech in SPEECHES {
        for behaviour in [
            Behaviour::unauthorized(),
            Behaviour::forbidden(),
            Behaviour::payment_required(),
        ] {
            pools.always(speech, &[1, 2], &behaviour);
            let answer = pools.ask(speech).await;
            assert_eq!(answer.status, 429, "{behaviour:?}: {}", answer.text());
            check_words(speech, &answer, "model_cooldown");
            // Nothing of the provider's words, nor of the key.
            assert!(!answer.text().contains("invalid"), "{}", answer.text());
            assert!(!answer.text().contains("sk-"), "{}", answer.text());
            [1, 2].iter().for_each(|n| pools.reset(&speech.key(*n)));
        }
    }
}

/// The gateway of one provider a dialect, with these credentials each. `%` stands for a number.
async fn with_credentials(rest: &str, credentials: &str) -> Pools {
    let provider = FakeProvider::start(Options::default()).await;
    let url = provider.base_url();
    let mut yaml = server(rest);
    yaml.push_str("providers:\n");
    for speech in SPEECHES {
        let version = if speech.provider == "openai" {
            "/v1"
        } else {
            ""
        };
        let credentials = credentials.replace("KEY", speech.prefix);
        yaml.push_str(&format!(
            "  {}: {{base_url: \"{url}{version}\", credentials: [{credentials}]}}\n",
            speech.provider
        ));
    }
    Pools::before(provider, &yaml).await
}

#[tokio::test]
async fn all_are_exhausted() {
    let limits = "{api_key: KEY-1, quota: {limit: 5}}, {api_key: KEY-2, quota: {limit: 5}}";
    let pools = with_credentials("", limits).await;
    for speech in SPEECHES {
        let (seconds, time) = match speech.provider {
            // By the day.
            "gemini" => (86_400, "2026-03-02T00:00:00Z"),
            _ => (31 * 86_400, "2026-04-01T00:00:00Z"),
        };
        for _ in 0..2 {
            assert_eq!(pools.ask(speech).await.status, 200);
        }
        pools.house.settled().await;
        pools.provider.take_calls();
        let why = "all 2 are exhausted (quota spent)";
        let back = Back { seconds, time, why };
        check_back(speech, &pools.ask(speech).await, &back);
        check_back(speech, &pools.stream(speech).await, &back);
        assert_eq!(pools.provider.count(), 0);
    }
}

#[tokio::test]
async fn a_quota_that_never_begins_anew_names_no_time() {
    let never = "auth: {quota: {reset_schedule: {openai: never, claude: never, gemini: never}}}";
    let pools = with_credentials(never, "{api_key: KEY-1, quota: {limit: 5}}").await;
    for speech in SPEECHES {
        assert_eq!(pools.ask(speech).await.status, 200);
        pools.house.settled().await;
        let why = "the only one is exhausted (quota spent)";
        check_gone(speech, &pools.ask(speech).await, why);
    }
}

#[tokio::test]
async fn all_are_disabled() {
    let disabled = "{api_key: KEY-1, disabled: true}, {api_key: KEY-2, disabled: true}";
    let pools = with_credentials("", disabled).await;
    for speech in SPEECHES {
        check_gone(speech, &pools.ask(speech).await, "all 2 are disabled");
    }
    let pools = with_credentials("", "{api_key: KEY-1, disabled: true}").await;
    check_gone(
        &CLAUDE,
        &pools.ask(&CLAUDE).await,
        "the only one is disabled",
    );
}

#[tokio::test]
async fn none_are_configured() {
    let pools = with_credentials("", "").await;
    for speech in SPEECHES {
        check_gone(speech, &pools.ask(speech).await, "none are configured");
    }
}

/// Why a file makes no credential is told in `directory/broken.rs`.
#[tokio::test]
async fn all_are_in_error_or_expired() {
    let pools = with_credentials("", "").await;
    let files = pools.house.dir.path().join("auths");
    std::fs::create_dir(&files).unwrap();
    let expired = json!({"access_token": "at-old", "expired": "2020-01-01T00:00:00Z"});
    for (content, why) in [
        (json!({}), "all 2 are in error (file not readable)"),
        (expired, "all 2 are expired (access token too old)"),
    ] {
        for speech in SPEECHES {
            for n in ["a", "b"] {
                let file = files.join(format!("{}-{n}.json", speech.provider));
                let mut content = content.clone();
                // Two of the same token would be one.
                if let Some(token) = content.get_mut("access_token") {
                    *token = json!(format!("at-{}-{n}", speech.provider));
                }
                replace(&file, &content.to_string());
            }
        }
        pools.house.gateway.reloader.reload_if_changed();
        for speech in SPEECHES {
            check_gone(speech, &pools.ask(speech).await, why);
            check_gone(speech, &pools.stream(speech).await, why);
        }
    }
    assert_eq!(pools.provider.count(), 0, "nobody was called");
}

#[tokio::test]
async fn several_classes_are_counted() {
    let credentials = "{api_key: KEY-1}, {api_key: KEY-2}, {api_key: KEY-3}, \
        {api_key: KEY-4, quota: {limit: 5}}, {api_key: KEY-5, disabled: true}";
    let pools = with_credentials("auth: {selection_strategy: priority}", credentials).await;
    for speech in SPEECHES {
        let limited = Behaviour::rate_limited(seconds(90));
        pools.always(speech, &[1, 2], &limited);
        pools.always(speech, &[3], &Behaviour::unauthorized());
        assert_eq!(pools.ask(speech).await.status, 200);
        pools.house.settled().await;
        let back = Back {
            seconds: 90,
            time: "2026-03-01T00:01:30Z",
            why: "2 are rate limited, 1 is refused by the provider (401), \
                  1 is exhausted (quota spent), 1 is disabled",
        };
        check_back(speech, &pools.ask(speech).await, &back);
    }
}

#[tokio::test]
async fn an_unknown_model_is_told_apart_from_one_that_nobody_can_serve() {
    let pools = Pools::of(1, "").await;
    let ask = |speech: &Speech| {
        (
            speech.path.replace(speech.model, "no-such-model"),
            speech.body.replace(speech.model, "no-such-model"),
        )
    };
    for speech in SPEECHES {
        let (path, body) = ask(speech);
        let answer = pools.post(&path, body).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), None);
        check_words(speech, &answer, "model_not_found");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains("no-such-model"), "{message}");
    }
    assert_eq!(pools.provider.count(), 0);
    // Its dialect says whose parameter it is.
    let (path, body) = ask(&OPENAI);
    assert_eq!(
        pools.post(&path, body).await.json()["error"]["param"],
        "model"
    );
}
