//! What callers are told of their limits.

use serde_json::json;

use super::Place;
use crate::calls::{GEMINI, MESSAGES};
use crate::harness::Answer;

const THREE_A_MINUTE: &str =
    "limits: [{name: pace, scope: token, measure: requests, window: minute, limit: 3}]\n";

#[tokio::test]
async fn too_fast_is_told_in_each_dialect_and_is_over_with_the_minute() {
    let place = Place::with(THREE_A_MINUTE).await;
    assert_eq!(place.admitted("ada", 5).await, 3);
    assert_eq!(place.admitted("bob", 1).await, 1, "each counts for itself");

    let refused = place.chat("ada", "gpt-4o").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("50"));
    assert_eq!(refused.header("retry-after-ms"), Some("50000"));
    assert_eq!(refused.header("x-should-retry"), None);
    // Where clients look for it, as on good answers.
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("3"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    assert_eq!(refused.header("x-ratelimit-reset-requests"), Some("50s"));
    let message = "the limit \"pace\" of 3 requests a minute is reached; try again in 50 s";
    let limit = json!({
        "name": "pace", "scope": "token", "measure": "requests", "window": "minute",
        "limit": 3, "remaining": 0, "reset_time": "2027-01-15T08:01:00Z",
    });
    assert_eq!(
        refused.json(),
        json!({"error": {
            "message": message, "type": "rate_limit_error", "code": "rate_limit_exceeded",
            "param": null, "limit": limit,
        }})
    );

    let refused = place.post("ada", MESSAGES.path, MESSAGES.body).await;
    let body = refused.json();
    assert_eq!(refused.status, 429);
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert_eq!(body["error"]["message"], message);
    assert_eq!(body["error"]["limit"], limit);
    assert_eq!(body["request_id"], refused.header("request-id").unwrap());
    let header = |what: &str| refused.header(&format!("anthropic-ratelimit-requests-{what}"));
    assert_eq!(header("limit"), Some("3"));
    assert_eq!(header("remaining"), Some("0"));
    assert_eq!(header("reset"), Some("2027-01-15T08:01:00Z"));
    assert_eq!(refused.header("x-ratelimit-limit-requests"), None);

    let refused = place.post("ada", GEMINI.path, GEMINI.body).await;
    let body = refused.json();
    assert_eq!(refused.status, 429);
    assert_eq!(body["error"]["code"], 429);
    assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED");
    assert_eq!(body["error"]["message"], message);
    assert_eq!(body["error"]["details"][1]["retryDelay"], "50s");

    place.advance(50);
    assert_eq!(place.admitted("ada", 5).await, 3);
}

#[tokio::test]
async fn answers_say_what_is_left() {
    let place = Place::with(
        "limits:\n\
         \x20 - {name: pace, scope: token, measure: requests, window: minute, limit: 30}\n\
         \x20 - {name: all, scope: tenant, measure: requests, window: day, limit: 1000}\n\
         \x20 - {name: tokens, scope: token, measure: tokens, window: hour, limit: 100000}\n",
    )
    .await;
    let number = |answer: &Answer, name: &str| -> u64 {
        let value = answer.header(name);
        value.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    };
    let mut before = u64::MAX;
    for left in [29, 28, 27] {
        let answer = place.chat("ada", "gpt-4o").await;
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 30);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        assert_eq!(answer.header("x-ratelimit-reset-requests"), Some("50s"));
        assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), 100_000);
        assert_eq!(answer.header("x-ratelimit-reset-tokens"), Some("59m50s"));
        let left = number(&answer, "x-ratelimit-remaining-tokens");
        assert!(left < before.min(100_000));
        before = left + 600;
    }
    let answer = place.post("ada", MESSAGES.path, MESSAGES.body).await;
    assert_eq!(number(&answer, "anthropic-ratelimit-requests-limit"), 30);
    assert_eq!(
        number(&answer, "anthropic-ratelimit-requests-remaining"),
        26
    );
    let reset = answer.header("anthropic-ratelimit-requests-reset");
    assert_eq!(reset, Some("2027-01-15T08:01:00Z"));
    assert!(
        answer
            .header("anthropic-ratelimit-tokens-remaining")
            .is_some()
    );
    // The provider's own are of the credential.
    assert!(answer.header("x-ratelimit-limit-requests").is_none());

    let without = Place::with("").await.chat("ada", "gpt-4o").await;
    assert!(without.header("x-ratelimit-limit-requests").is_none());
}

#[tokio::test]
async fn what_is_spent_is_told_with_when_it_begins_anew_and_not_to_be_tried_again() {
    let quota = "limits: [{name: week, scope: user, measure: requests, window: week, limit: 1}]\n";
    for (chosen, status) in [
        ("", 403),
        ("spent_status: 402\n", 402),
        ("spent_status: 429\n", 429),
    ] {
        let place = Place::with(&format!("{quota}{chosen}")).await;
        assert_eq!(place.chat("ada", "gpt-4o").await.status, 200);
        let refused = place.chat("ada", "gpt-4o").await;
        assert_eq!(refused.status, status);
        assert_eq!(refused.header("x-should-retry"), Some("false"));
        assert_eq!(refused.header("retry-after"), None);
        let error = &refused.json()["error"];
        assert_eq!(error["type"], "insufficient_quota");
        assert_eq!(error["code"], "insufficient_quota");
        assert_eq!(
            error["message"],
            "your quota \"week\" of 1 requests a week is spent; it begins anew at 2027-01-18T00:00:00Z"
        );
        assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
        let refused = place.post("ada", MESSAGES.path, MESSAGES.body).await;
        assert_eq!(refused.json()["error"]["type"], "permission_error");
        assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
        let refused = place.post("ada", GEMINI.path, GEMINI.body).await;
        assert_eq!(refused.json()["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(refused.json()["error"]["code"], status);
    }
}

#[tokio::test]
async fn a_refusal_is_found_again_by_what_its_answer_says() {
    let place = Place::with(THREE_A_MINUTE).await;
    place.admitted("ada", 3).await;
    let good = place.chat("bob", "gpt-4o").await;
    assert!(good.header("x-turnpike-decision").is_some());
    let refused = place.chat("ada", "gpt-4o").await;
    let id = refused.header("x-turnpike-decision").unwrap();
    let why = place.manage(&format!("/decisions/{id}")).await;
    assert_eq!(why.status, 200, "{}", why.text());
    let why = why.json();
    assert_eq!(why["id"], id);
    assert_eq!(why["request_id"], refused.header("x-request-id").unwrap());
    assert_eq!(why["status"], 429);
    assert_eq!(why["reason"], "rate_limited");
    assert_eq!(why["caller"], "ada");
    assert_eq!(why["model"], "gpt-4o");
    assert_eq!(why["limit"]["name"], "pace");
    assert_eq!(why["limit"]["scope"], "token");
    assert_eq!(why["message"], refused.json()["error"]["message"]);
    let latest = place.manage("/decisions").await.json();
    assert_eq!(latest["decisions"][0]["id"], id);
    let unknown = place.manage("/decisions/none").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "unknown_decision");
    // Other refusals are decisions, too.
    let unknown = place.post("nobody", "/v1/chat/completions", "{}").await;
    assert_eq!(unknown.status, 401);
    let id = unknown.header("x-turnpike-decision").unwrap();
    let why = place.manage(&format!("/decisions/{id}")).await.json();
    assert_eq!(why["reason"], "credential_unknown");
}
