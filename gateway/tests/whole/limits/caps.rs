//! Caps of upstream credentials: what may be asked of each, whoever asks.

use futures::future::join_all;
use turnpike_loadtest::{Behaviour, FakeProvider};

use super::{Place, options};
use crate::calls::CHAT;
use crate::harness::Answer;

/// Two credentials of one provider.
async fn place(caps: &str, limits: &str) -> Place {
    let provider = FakeProvider::start(options()).await;
    let url = provider.base_url();
    let yaml = format!(
        "{limits}providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-openai-1}}]}}\n\
         \x20 pool: {{kind: openai-compatible, base_url: \"{url}/v1\", models: [pooled], credentials: [\
         {{api_key: sk-one, caps: {{{caps}}}}}, {{api_key: sk-two, caps: {{{caps}}}}}]}}\n"
    );
    Place::before(provider, &yaml).await
}

async fn ask(place: &Place) -> Answer {
    place.chat("ada", "pooled").await
}

fn calls(place: &Place) -> [usize; 2] {
    ["sk-one", "sk-two"].map(|key| place.provider.calls_with(key).len())
}

#[tokio::test]
async fn a_credential_is_asked_no_more_often_than_it_may_be() {
    let place = place("requests_per_minute: 3", "").await;
    let mut refused = None;
    for n in 0..8 {
        let answer = ask(&place).await;
        assert_eq!(answer.status == 200, n < 6, "{n}: {}", answer.text());
        refused = Some(answer);
    }
    assert_eq!(calls(&place), [3, 3]);
    let refused = refused.unwrap();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("50"));
    // A credential's caps are not the caller's limits.
    assert_eq!(refused.header("x-ratelimit-limit-requests"), None);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "model_cooldown");
    assert_eq!(error["reset_seconds"], 50);
    assert_eq!(
        error["message"],
        "No credentials for provider pool: those that are ready are at their caps (cap:requests_per_minute); try again in 50 s"
    );
    place.advance(50);
    assert_eq!(ask(&place).await.status, 200);
}

#[tokio::test]
async fn nor_for_more_at_a_time_than_it_may() {
    let place = place("concurrency: 1", "").await;
    for key in ["sk-one", "sk-two"] {
        place.provider.always(key, Behaviour::Gated);
    }
    let body = CHAT.body.replace("gpt-4o", "pooled");
    let running = join_all((0..2).map(|_| place.post("ada", CHAT.path, &body)));
    let beside = async {
        place.provider.wait_for_calls(2).await;
        assert_eq!(calls(&place), [1, 1]);
        assert_eq!(ask(&place).await.status, 429);
        for key in ["sk-one", "sk-two"] {
            place.provider.gate(key).open();
        }
    };
    let (answers, ()) = futures::join!(running, beside);
    assert!(answers.iter().all(|answer| answer.status == 200));
    place.house.settled().await;
    assert_eq!(ask(&place).await.status, 200);
}

#[tokio::test]
async fn nor_for_more_tokens() {
    const CAP: u64 = 2000;
    let place = place(&format!("tokens_per_minute: {CAP}"), "").await;
    let mut good = 0;
    while ask(&place).await.status == 200 {
        good += 1;
        assert!(good < 1000);
    }
    let told = place.provider.usage_total();
    let used = told.input_tokens + told.output_tokens;
    // Until what the next call is expected to use does not fit into either.
    assert!(used <= 2 * CAP, "{used} in {good}");
    assert!(used >= 2 * (CAP - 600), "{used} in {good}");
}

#[tokio::test]
async fn a_limit_may_be_for_all_credentials_or_for_some() {
    let place = place(
        "",
        "limits: [{name: each, scope: credential, measure: requests, window: hour, limit: 2}]\n",
    )
    .await;
    let answers = join_all((0..6).map(|_| ask(&place))).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 4);
    assert_eq!(calls(&place), [2, 2]);
    // Another provider's counts for itself.
    assert_eq!(place.admitted("ada", 3).await, 2);
}

#[tokio::test]
async fn a_call_that_fails_gives_its_place_back() {
    let place = place("concurrency: 1", "").await;
    for key in ["sk-one", "sk-two"] {
        place.provider.script(key, [Behaviour::status(500)]);
    }
    assert_eq!(ask(&place).await.status, 500);
    assert_eq!(calls(&place), [1, 1]);
    place.house.settled().await;
    // Until the cooldown is over.
    place.advance(60);
    for _ in 0..3 {
        assert_eq!(ask(&place).await.status, 200);
    }
}
