//! What is admitted and what is counted, to the last unit.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use turnpike_loadtest::{Behaviour, FakeProvider};

use super::{ANSWERED, Place, configuration, options};
use crate::binary::Binary;
use crate::calls::{CHAT, GEMINI, MESSAGES, RESPONSES, client, post_with};
use crate::harness::{Http, chat};

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_exactly_what_there_is() {
    const WORKERS: usize = 32;
    let place = Place::with(
        "limits:\n\
         \x20 - {name: all, scope: tenant, measure: requests, window: day, limit: 700}\n\
         \x20 - {name: each, scope: token, measure: requests, window: hour, limit: 400}\n",
    )
    .await;
    let admitted = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let worker = async |n: usize| {
        let who = ["ada", "bob"][n % 2];
        let mut client = client(&place.house, Http::One).await;
        let bearer = format!("Bearer key-of-{who}-0000000");
        for _ in 0..30 {
            let headers = [("authorization", &*bearer)];
            let body = chat("gpt-4o");
            let answer = post_with(&mut client, CHAT.path, &headers, body).await;
            if answer.status == 200 {
                admitted[n % 2].fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    join_all((0..WORKERS).map(worker)).await;
    let [ada, bob] = admitted.map(AtomicUsize::into_inner);
    assert_eq!(ada + bob, 700);
    assert!(ada <= 400 && bob <= 400, "{ada} {bob}");
    assert_eq!(place.provider.usage_total().calls, 700);
    place.house.settled().await;
    assert_eq!(place.used("all", "").await, 700);
    assert_eq!(place.used("each", "key ada").await, ada);
}

#[tokio::test]
async fn tokens_are_counted_as_the_provider_told() {
    let place = Place::with(
        "limits:\n\
         \x20 - {name: tokens, scope: token, measure: tokens, window: month, limit: 1000000}\n\
         \x20 - {name: input, scope: user, measure: input_tokens, window: day, limit: 1000000}\n\
         \x20 - {name: output, scope: tenant, measure: output_tokens, window: total, limit: 1000000}\n",
    )
    .await;
    for call in [&CHAT, &RESPONSES, &MESSAGES, &GEMINI] {
        for _ in 0..5 {
            assert_eq!(place.post("ada", call.path, call.body).await.status, 200);
        }
    }
    // A stream that nobody asked for its usage.
    let silent = CHAT
        .body
        .replace(r#","stream_options":{"include_usage":true}"#, "");
    assert_eq!(place.post("ada", CHAT.path, &silent).await.status, 200);
    assert_eq!(place.admitted("ada", 9).await, 9);
    place.house.settled().await;
    let told = place.provider.usage_total();
    assert_eq!(
        place.used("tokens", "key ada").await,
        told.input_tokens + told.output_tokens
    );
    assert_eq!(place.used("input", "key ada").await, told.input_tokens);
    assert_eq!(place.used("output", "").await, told.output_tokens);
}

#[tokio::test]
async fn money_is_counted_by_the_price_table() {
    let dir = tempfile::tempdir().unwrap();
    let prices = dir.path().join("prices.yaml");
    std::fs::write(
        &prices,
        "version: 1\nprices:\n  - {model: \"gpt-4o\", input: 2.5, output: 10}\n",
    )
    .unwrap();
    let cost = (turnpike_loadtest::input_tokens(chat("gpt-4o").len()) * 2_500_000
        + ANSWERED * 10_000_000)
        .div_ceil(1_000_000);
    // Room for ten, and for what is expected of the eleventh to fit no more.
    let budget = (cost * 10) as f64 / 1e6;
    let place = Place::with(&format!(
        "prices: {{file: \"{}\"}}\n\
         limits: [{{name: money, scope: user, measure: usd, window: month, limit: {budget}}}]\n",
        prices.display()
    ))
    .await;
    let mut admitted = 0;
    let refused = loop {
        let answer = place.chat("ada", "gpt-4o").await;
        match answer.status {
            200 => admitted += 1,
            _ => break answer,
        }
    };
    assert!((1..=10).contains(&admitted), "{admitted}");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["error"]["limit"]["limit"], budget);
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("your budget \\\"money\\\" of $"),
        "{message}"
    );
    place.house.settled().await;
    let used = place.used("money", "key ada").await.as_f64().unwrap();
    assert_eq!((used * 1e6).round() as u64, cost * admitted);
}

#[tokio::test]
async fn a_model_without_a_price_costs_nothing_or_is_refused() {
    let limits = "limits: [{name: money, scope: user, measure: usd, window: month, limit: 1}]\n";
    let prices = "prices: {file: PRICES, unknown_model: count}\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prices.yaml");
    std::fs::write(
        &file,
        "version: 1\nprices:\n  - {model: other, input: 1, output: 1}\n",
    )
    .unwrap();
    let prices = prices.replace("PRICES", &format!("\"{}\"", file.display()));
    let place = Place::with(&format!("{limits}{prices}")).await;
    assert_eq!(place.admitted("ada", 3).await, 3);
    place.house.settled().await;
    assert_eq!(place.used("money", "key ada").await, 0.0);
    place.reload(&format!("{limits}{}", prices.replace("count", "refuse")));
    let refused = place.chat("ada", "gpt-4o").await;
    assert_eq!(refused.status, 403);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("has no price"), "{message}");
}

/// A budget in money admits nothing whose cost nobody could say: no model that stands in, and no call
/// whose answer does not say what it used.
#[tokio::test]
async fn what_cannot_be_counted_is_refused_where_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prices.yaml");
    let table = "version: 1\nprices:\n  - {model: gpt-4o, input: 1, output: 1}\n";
    std::fs::write(&file, table).unwrap();
    let image = r#"{"model":"gpt-4o","prompt":"a cat"}"#;
    for (unknown, status, images, stood_in) in [("count", 200, 200, 1), ("refuse", 500, 403, 0)] {
        let provider = FakeProvider::start(options()).await;
        let url = provider.base_url();
        let limits = format!(
            "limits: [{{name: money, scope: user, measure: usd, window: month, limit: 1}}]\n\
             prices: {{file: \"{}\", unknown_model: {unknown}}}\n\
             providers:\n\
             \x20 first: {{kind: openai-compatible, base_url: \"{url}/v1\", \
             models: [{{name: gpt-4o, fallback: [free-1]}}], credentials: [{{api_key: sk-one}}]}}\n\
             \x20 second: {{kind: openai-compatible, base_url: \"{url}/v1\", \
             models: [\"free-*\"], credentials: [{{api_key: sk-two}}]}}\n",
            file.display()
        );
        let place = Place::before(provider, &limits).await;
        let image = place.post("ada", "/v1/images/generations", image).await;
        assert_eq!(image.status, images, "{}", image.text());
        if images == 403 {
            assert_eq!(image.json()["error"]["code"], "permission_denied");
            assert!(
                image.text().contains("cannot be counted"),
                "{}",
                image.text()
            );
        }
        place.provider.always("sk-one", Behaviour::status(500));
        let answer = place.chat("ada", "gpt-4o").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(place.provider.calls_with("sk-two").len(), stood_in);
    }
}

#[tokio::test]
async fn so_many_run_at_a_time() {
    let place =
        Place::with("limits: [{name: two, scope: token, measure: concurrency, limit: 2}]\n").await;
    place.provider.always("sk-openai-1", Behaviour::Gated);
    let gate = place.provider.gate("sk-openai-1");
    let running = async {
        let calls = (0..2).map(|_| place.post("ada", CHAT.path, CHAT.body));
        join_all(calls).await
    };
    let refused = async {
        place.provider.wait_for_calls(2).await;
        let refused = place.chat("ada", "gpt-4o").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("1"));
        let error = &refused.json()["error"];
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert_eq!(
            error["message"],
            "the limit \"two\" of 2 calls at a time is reached; try again in 1 s"
        );
        assert_eq!(place.used("two", "key ada").await, 2);
        gate.open();
    };
    let (answers, ()) = futures::join!(running, refused);
    assert!(answers.iter().all(|answer| answer.status == 200));
    place.house.settled().await;
    assert_eq!(place.used("two", "key ada").await, 0);
    assert_eq!(place.chat("ada", "gpt-4o").await.status, 200);
}

#[tokio::test]
async fn a_call_that_reaches_no_provider_counts_for_nothing() {
    let provider = FakeProvider::start(options()).await;
    let place = Place::before(
        provider,
        "limits: [{name: few, scope: token, measure: requests, window: day, limit: 2}]\n",
    )
    .await;
    // Nobody serves it; and it is not well formed.
    for _ in 0..5 {
        assert_eq!(place.chat("ada", "nobody-s-model").await.status, 404);
        let wrong = place.post("ada", CHAT.path, "{}").await;
        assert_eq!(wrong.status, 400);
    }
    assert_eq!(place.admitted("ada", 5).await, 2);
}

#[tokio::test]
async fn what_was_used_outlives_the_process_and_a_reload() {
    let limit = |most: u64| {
        format!(
            "limits: [{{name: few, scope: token, measure: requests, window: total, limit: {most}}}]\n"
        )
    };
    let place = Place::with(&limit(10)).await;
    assert_eq!(place.admitted("ada", 4).await, 4);
    let place = place.restarted().await;
    assert_eq!(place.admitted("ada", 3).await, 3);
    place.reload(&limit(8));
    assert_eq!(place.admitted("ada", 3).await, 1);
    let place = place.restarted().await;
    assert_eq!(place.admitted("ada", 2).await, 0);
    place.reload(&limit(20));
    // Who was refused just now is refused without a look for a moment.
    place.advance(1);
    assert_eq!(place.admitted("ada", 20).await, 12);
}

#[tokio::test]
async fn models_and_roles_have_limits_of_their_own() {
    let place = Place::with(
        "api_keys:\n\
         \x20 - {key: key-of-ada-0000000, name: ada, roles: [dev, lead], limits: {requests_per_day: 6}}\n\
         \x20 - {key: key-of-bob-0000000, name: bob, roles: [dev]}\n\
         roles:\n\
         \x20 dev: {models: [\"*\"], limits: {requests_per_minute: 2}}\n\
         \x20 lead: {models: [\"gpt-*\"], limits: {requests_per_minute: 4}}\n\
         limits: [{name: opus, scope: model, only: [\"claude-*\"], measure: requests, window: minute, limit: 1}]\n",
    )
    .await;
    // The more generous of two roles; of the one alone that grants the model.
    assert_eq!(place.admitted("ada", 6).await, 4);
    assert_eq!(place.admitted("bob", 6).await, 2);
    let refused = place.chat("bob", "gpt-4o").await;
    let name = refused.json()["error"]["limit"]["name"].clone();
    assert_eq!(name, "role:dev:requests_per_minute");
    let messages = async |who| place.post(who, MESSAGES.path, MESSAGES.body).await;
    assert_eq!(
        messages("ada").await.status,
        200,
        "by dev, which counts apart"
    );
    let refused = messages("ada").await.json();
    assert_eq!(refused["error"]["limit"]["name"], "opus");
    place.advance(60);
    // One of the key's six is left.
    assert_eq!(place.admitted("ada", 6).await, 1);
    let refused = place.chat("ada", "gpt-4o").await.json();
    assert_eq!(
        refused["error"]["limit"]["name"],
        "key:ada:requests_per_day"
    );
}

#[tokio::test]
async fn a_call_takes_of_all_its_limits_or_of_none() {
    let place = Place::with(
        "limits:\n\
         \x20 - {name: wide, scope: tenant, measure: requests, window: day, limit: 5}\n\
         \x20 - {name: narrow, scope: token, measure: requests, window: day, limit: 1}\n",
    )
    .await;
    assert_eq!(place.admitted("ada", 9).await, 1);
    assert_eq!(place.admitted("bob", 9).await, 1);
    place.house.settled().await;
    assert_eq!(place.used("wide", "").await, 2);
}

/// What a killed process had drawn counts as used: no call more is admitted than there may be, and
/// about a second's worth is lost at most.
#[tokio::test]
async fn a_process_that_is_killed_gives_nobody_more() {
    const MOST: usize = 120;
    let provider = FakeProvider::start(options()).await;
    let limits = format!(
        "limits: [{{name: few, scope: token, measure: requests, window: total, limit: {MOST}}}]\n"
    );
    let yaml = configuration(&provider, &limits);
    let mut binary = Binary::start(&yaml, &[]).await;
    let mut admitted = 0;
    for _ in 0..6 {
        let mut client = binary.client(Http::One).await;
        let headers = [("authorization", "Bearer key-of-ada-0000000")];
        for _ in 0..20 {
            let answer = post_with(&mut client, CHAT.path, &headers, chat("gpt-4o")).await;
            admitted += usize::from(answer.status == 200);
        }
        binary.signal("-KILL").await;
        binary = Binary::start_after(&yaml, binary.config.parent().unwrap()).await;
    }
    let mut client = binary.client(Http::One).await;
    let headers = [("authorization", "Bearer key-of-ada-0000000")];
    loop {
        let answer = post_with(&mut client, CHAT.path, &headers, chat("gpt-4o")).await;
        if answer.status != 200 {
            break;
        }
        admitted += 1;
    }
    assert!(admitted <= MOST, "{admitted}");
    assert!(admitted >= MOST / 3, "{admitted}");
    assert_eq!(provider.usage_total().calls, admitted as u64);
}

#[tokio::test]
async fn a_model_has_one_limit_whatever_it_is_called() {
    let provider = FakeProvider::start(options()).await;
    let url = provider.base_url();
    let limits = format!(
        "limits: [{{name: each, scope: model, measure: requests, window: hour, limit: 2}}]\n\
         providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-openai-1}}]}}\n\
         \x20 pool:\n\
         \x20   kind: openai-compatible\n\
         \x20   base_url: \"{url}/v1\"\n\
         \x20   prefix: work\n\
         \x20   models: [{{name: Big, alias: best}}, Big]\n\
         \x20   credentials: [{{api_key: sk-one}}]\n"
    );
    let place = Place::before(provider, &limits).await;
    let mut answers = Vec::new();
    for model in ["best", "Big", "work/best", "work/Big"] {
        answers.push(place.chat("ada", model).await.status);
    }
    assert_eq!(answers, [200, 200, 403, 403]);
    // Names that a pattern serves, and no list shows.
    let mut answers = Vec::new();
    for n in 0..4 {
        answers.push(place.chat("ada", &format!("gpt-made-up-{n}")).await.status);
    }
    assert_eq!(answers, [200, 200, 403, 403]);
    assert_eq!(place.used("each", "big").await, 2);
    assert_eq!(place.used("each", "other").await, 2);
}
