//! Limits of models count the model that serves, where more than one may.

use turnpike_loadtest::{Behaviour, FakeProvider};

use super::{Place, options};

/// Two models, each of a provider of its own; `big` and `small` are what is said of each.
async fn place(big: &str, small: &str, limits: &str) -> Place {
    let provider = FakeProvider::start(options()).await;
    let url = provider.base_url();
    let yaml = format!(
        "limits: [{limits}]\n\
         providers:\n\
         \x20 first: {{kind: openai-compatible, base_url: \"{url}/v1\", \
         models: [{{name: Big{big}}}], credentials: [{{api_key: sk-big}}]}}\n\
         \x20 second: {{kind: openai-compatible, base_url: \"{url}/v1\", \
         models: [{{name: Small{small}}}], credentials: [{{api_key: sk-small}}]}}\n"
    );
    Place::before(provider, &yaml).await
}

const ALIAS: &str = ", alias: best";
const REQUESTS: &str = "{name: each, scope: model, measure: requests, window: hour, limit: 2}";
const TOKENS: &str = "{name: tokens, scope: model, measure: tokens, window: hour, limit: 100000}";

fn calls(place: &Place) -> [usize; 2] {
    ["sk-big", "sk-small"].map(|key| place.provider.calls_with(key).len())
}

#[tokio::test]
async fn an_alias_over_two_models_has_what_both_have() {
    let place = place(ALIAS, ALIAS, &format!("{REQUESTS}, {TOKENS}")).await;
    for n in 0..4 {
        let answer = place.chat("ada", "best").await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("2"));
    }
    assert_eq!(calls(&place), [2, 2]);
    let refused = place.chat("ada", "best").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "insufficient_quota");
    assert_eq!(error["limit"]["name"], "each");
    place.house.settled().await;
    for (model, key) in [("big", "sk-big"), ("small", "sk-small")] {
        assert_eq!(place.used("each", model).await, 2, "{model}");
        let told = place.provider.usage_of(key);
        let tokens = told.input_tokens + told.output_tokens;
        assert_eq!(place.used("tokens", model).await, tokens, "{model}");
    }
}

#[tokio::test]
async fn a_limit_of_one_of_them_holds_for_that_one_alone() {
    let only =
        "{name: few, scope: model, only: [Small], measure: requests, window: hour, limit: 1}";
    let place = place(ALIAS, ALIAS, only).await;
    for _ in 0..6 {
        assert_eq!(place.chat("ada", "best").await.status, 200);
    }
    assert_eq!(calls(&place), [5, 1]);
}

/// What stands in is counted, by the name that callers have for it.
#[tokio::test]
async fn a_model_that_stands_in_keeps_its_own_limit() {
    let only = "{name: big, scope: model, only: [Big], measure: requests, window: hour, limit: 1}, \
                {name: small, scope: model, only: [Small], measure: requests, window: hour, limit: 2}";
    let place = place(", fallback: [Small]", "", only).await;
    // The second one finds no room at the asked model.
    for _ in 0..3 {
        let answer = place.chat("ada", "Big").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(calls(&place), [1, 2]);
    let refused = place.chat("ada", "Big").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(calls(&place), [1, 2]);
    assert_eq!(place.used("small", "small").await, 2);
}

#[tokio::test]
async fn a_call_counts_once_at_each_model_that_it_was_sent_to() {
    let place = place(", fallback: [Small]", "", &format!("{REQUESTS}, {TOKENS}")).await;
    place.provider.always("sk-big", Behaviour::status(500));
    assert_eq!(place.chat("ada", "Big").await.status, 200);
    assert_eq!(calls(&place), [1, 1]);
    place.house.settled().await;
    assert_eq!(place.used("each", "big").await, 1);
    assert_eq!(place.used("each", "small").await, 1);
    let told = place.provider.usage_of("sk-small");
    let tokens = told.input_tokens + told.output_tokens;
    assert_eq!(place.used("tokens", "small").await, tokens);
}

/// One model at two providers, one of which callers know by a name with a prefix.
async fn prefixed(limits: &str) -> Place {
    let provider = FakeProvider::start(options()).await;
    let url = provider.base_url();
    let yaml = format!(
        "force_model_prefix: true\n\
         limits: [{limits}]\n\
         providers:\n\
         \x20 first: {{kind: openai-compatible, base_url: \"{url}/v1\", \
         models: [{{name: Big, fallback: [acme/Big]}}], credentials: [{{api_key: sk-big}}]}}\n\
         \x20 acme: {{kind: openai-compatible, base_url: \"{url}/v1\", prefix: acme, \
         models: [Big], credentials: [{{api_key: sk-acme}}]}}\n"
    );
    Place::before(provider, &yaml).await
}

#[tokio::test]
async fn a_limit_of_one_name_holds_when_that_name_stands_in() {
    let acme =
        "{name: acme, scope: model, only: [\"acme/*\"], measure: requests, window: hour, limit: 1}";
    let place = prefixed(&format!("{REQUESTS}, {acme}")).await;
    place.provider.always("sk-big", Behaviour::status(500));
    assert_eq!(place.chat("ada", "Big").await.status, 200);
    let refused = place.chat("ada", "Big").await;
    assert_ne!(refused.status, 200, "{}", refused.text());
    assert_eq!(place.provider.calls_with("sk-acme").len(), 1);
    place.house.settled().await;
    assert_eq!(place.used("acme", "big").await, 1);
    // Once a call, though it was sent twice.
    assert_eq!(place.used("each", "big").await, 1);
}

#[tokio::test]
async fn a_limit_of_the_asked_name_keeps_no_other_name_from_standing_in() {
    let plain = "{name: plain, scope: model, only: [Big, \"!acme/*\"], measure: requests, window: hour, limit: 1}";
    let place = prefixed(plain).await;
    for _ in 0..3 {
        assert_eq!(place.chat("ada", "Big").await.status, 200);
    }
    let served = ["sk-big", "sk-acme"].map(|key| place.provider.calls_with(key).len());
    assert_eq!(served, [1, 2]);
}
