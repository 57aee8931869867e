//! What callers say of themselves is on record as that, and nowhere else.

use http::header::HeaderValue;
use serde_json::{Value, json};
use turnpike_loadtest::{FakeProvider, Options, Protocol};

use super::{CHAT, of, stopped};
use crate::harness::{Answer, Client, House, Http, chat, config};

/// Calls with these headers, one call each, and answers with the records of their starts.
async fn starts(house: &House, http: Http, calls: &[&[(&str, &[u8])]]) -> Vec<Value> {
    let mut client = Client::connect(house, http).await;
    for headers in calls {
        let mut request = client.request(CHAT, chat("gpt-4o"));
        for (name, value) in *headers {
            let name: http::HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(name, value);
        }
        let answer = Answer::read(client.send(request).await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    house.settled().await;
    let all = stopped(house).await;
    of(&all, "request.start").into_iter().cloned().collect()
}

#[tokio::test]
async fn claims_are_on_record_and_no_provider_hears_them() {
    for http in [Http::One, Http::Two] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let provider = FakeProvider::start(Options::new(protocol)).await;
            let url = provider.base_url();
            let url = match protocol {
                Protocol::H2c => url.replacen("http://", "h2c://", 1),
                _ => url,
            };
            let names = "audit: {claimed_headers: [X-User-ID, X-Team]}\n";
            let house = House::serve(&format!("{names}{}", config(&url, 1))).await;
            let calls: [&[(&str, &[u8])]; 3] = [
                &[],
                &[("x-user-id", b"ada"), ("x-team", b"a \"b\" | c=d, {}")],
                &[
                    ("x-department", b"platform"),
                    ("x-user-id", b"first"),
                    ("x-user-id", b"second"),
                ],
            ];
            let starts = starts(&house, http, &calls).await;
            let claimed: Vec<&Value> = starts.iter().map(|start| &start["claimed"]).collect();
            assert_eq!(
                claimed,
                [
                    &Value::Null,
                    &json!({"x-user-id": "ada", "x-team": "a \"b\" | c=d, {}"}),
                    &json!({"x-user-id": "first"}),
                ]
            );
            for start in &starts {
                assert_eq!(
                    start["who"], starts[0]["who"],
                    "claims make nobody somebody else"
                );
            }
            for call in provider.calls() {
                for name in ["x-user-id", "x-team", "x-department"] {
                    assert!(!call.headers.contains_key(name), "{name} went out");
                }
            }
        }
    }
}

#[tokio::test]
async fn claims_are_bounded_and_begin_no_line() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let house = House::before(&provider).await;
    let long = ["a".as_bytes(), "ä".repeat(4000).as_bytes()].concat();
    let odd = b"tab\there \xff\xfe\x85 {\"seq\":1}";
    let calls: [&[(&str, &[u8])]; 2] = [&[("X-User-ID", &long)], &[("X-Department", odd)]];
    let starts = starts(&house, Http::One, &calls).await;
    let cut = format!("a{}", "ä".repeat(127));
    assert_eq!(starts[0]["claimed"], json!({"x-user-id": cut}));
    let told = "tab\there \u{fffd}\u{fffd}\u{fffd} {\"seq\":1}";
    assert_eq!(starts[1]["claimed"], json!({"x-department": told}));
    let verified = super::command(&house, &["verify"]);
    assert!(verified.status.success(), "{}", super::said(&verified));
}

#[tokio::test]
async fn another_configuration_names_others() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let yaml = config(&provider.base_url(), 1);
    let house = House::serve(&yaml).await;
    let names = "audit: {claimed_headers: [x-team]}\n";
    std::fs::write(&house.config, format!("{names}{yaml}")).unwrap();
    house.gateway.reloader.reload().unwrap();
    let calls: [&[(&str, &[u8])]; 1] = [&[("x-team", b"blue"), ("x-user-id", b"ada")]];
    let starts = starts(&house, Http::One, &calls).await;
    assert_eq!(starts[0]["claimed"], json!({"x-team": "blue"}));
    let sent = provider.calls().remove(0).headers;
    assert!(!sent.contains_key("x-team") && !sent.contains_key("x-user-id"));
}
