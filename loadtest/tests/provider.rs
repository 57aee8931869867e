//! Records, keys, protocols, and seeing the caller go.

mod caller;

use std::time::{Duration, Instant};

use caller::{ASK, ASK_STREAM, CHAT, Caller, soon, text};
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Outcome, Protocol, input_tokens};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn a_caller_that_goes_in_a_silence_is_seen_at_once() {
    for version in VERSIONS {
        for behaviour in [Behaviour::Gated, Behaviour::Hang] {
            let provider = FakeProvider::start(Protocol::H2c).await;
            provider.always("k", behaviour.clone());
            provider.gate("k").release(1);
            let mut caller = Caller::clear(&provider, version).await;
            if behaviour == Behaviour::Gated {
                let mut body = caller
                    .post(CHAT, "k", ASK_STREAM)
                    .await
                    .unwrap()
                    .into_body();
                soon(body.frame()).await.unwrap().unwrap();
                let left = Instant::now();
                caller.leave();
                seen_within(&provider, left).await;
                drop(body);
            } else {
                let waiting = caller.post(CHAT, "k", ASK);
                tokio::select! {
                    _ = waiting => panic!("a hanging call was answered"),
                    () = provider.wait_for_calls(1) => {}
                }
                let left = Instant::now();
                caller.leave();
                seen_within(&provider, left).await;
            }
        }
    }
}

#[tokio::test]
async fn a_reset_stream_is_a_caller_that_left_and_its_connection_lives_on() {
    let provider = FakeProvider::start(Protocol::H2c).await;
    provider.script("k", [Behaviour::Gated]);
    let mut caller = Caller::clear(&provider, Version::HTTP_2).await;
    let response = caller.post(CHAT, "k", ASK_STREAM).await.unwrap();
    let left = Instant::now();
    drop(response);
    seen_within(&provider, left).await;
    assert!(
        caller
            .text(CHAT, "k", ASK)
            .await
            .contains("chat.completion")
    );
    assert_eq!(provider.calls()[1].connection_id, 1);
}

async fn seen_within(provider: &FakeProvider, left: Instant) {
    let seen = soon(provider.closed_by_peer(1)).await;
    assert!(seen.duration_since(left) < Duration::from_millis(250));
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_recorded_as_far_as_it_came() {
    use tokio::io::AsyncWriteExt;
    let provider = FakeProvider::start(Protocol::Http1).await;
    let mut socket = tokio::net::TcpStream::connect(provider.addr())
        .await
        .unwrap();
    let half = "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    socket.write_all(half.as_bytes()).await.unwrap();
    drop(socket);
    soon(provider.wait_for_calls(1)).await;
    assert_eq!(provider.calls()[0].body, "half");
    soon(provider.closed_by_peer(1)).await;
}

#[tokio::test]
async fn a_record_has_the_call_as_it_came() {
    let provider = FakeProvider::start(Protocol::H2c).await;
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let mut caller = Caller::clear(&provider, version).await;
        caller.text("/v1/messages?beta=true", "secret", ASK).await;
        caller.text(CHAT, "secret", ASK).await;
        let calls = provider.take_calls();
        assert_eq!(calls.len(), 2);
        let call = &calls[0];
        assert_eq!(
            (call.id, call.connection_id),
            (n as u64 * 2 + 1, n as u64 + 1)
        );
        assert_eq!(call.connection_id, calls[1].connection_id);
        assert_eq!(call.path_and_query, "/v1/messages?beta=true");
        assert_eq!((call.key.as_str(), call.version), ("secret", version));
        assert_eq!(call.header("authorization"), Some("Bearer secret"));
        assert_eq!(
            call.body_blake3,
            blake3::hash(ASK.as_bytes()).to_hex().as_str()
        );
        assert_eq!(
            (call.body_len, call.json()["model"].as_str()),
            (ASK.len(), Some("gpt-fake"))
        );
        assert_eq!(provider.outcome(call.id).await, Outcome::Delivered);
        assert_eq!(provider.count(), 0);
    }
    assert_eq!(
        provider.usage_total().input_tokens,
        4 * input_tokens(ASK.len())
    );
}

#[tokio::test]
async fn long_bodies_are_kept_only_when_asked() {
    for keep_bodies in [false, true] {
        let provider = FakeProvider::start(Options {
            keep_bodies,
            ..Options::default()
        })
        .await;
        let mut caller = Caller::clear(&provider, Version::HTTP_11).await;
        let long = format!("{{\"pad\":\"{}\"}}", "x".repeat(100_000));
        text(caller.post(CHAT, "k", long.clone()).await.unwrap()).await;
        let call = provider.calls().remove(0);
        assert_eq!(
            (call.body_len, call.body.len()),
            (long.len(), if keep_bodies { long.len() } else { 0 })
        );
        assert_eq!(
            call.body_blake3,
            blake3::hash(long.as_bytes()).to_hex().as_str()
        );
    }
}

#[tokio::test]
async fn only_known_keys_are_let_in() {
    let keys = Some(vec!["good".to_owned()]);
    let provider = FakeProvider::start(Options {
        keys,
        ..Options::default()
    })
    .await;
    let mut caller = Caller::clear(&provider, Version::HTTP_11).await;
    let refused = caller.post(CHAT, "bad", ASK).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(text(refused).await.contains("invalid_api_key"));
    assert!(
        caller
            .text(CHAT, "good", ASK)
            .await
            .contains("chat.completion")
    );
}

#[tokio::test]
async fn a_head_is_answered_without_a_key_and_without_using_up_the_script() {
    let keys = Some(vec!["good".to_owned()]);
    let provider = FakeProvider::start(Options {
        keys,
        ..Options::default()
    })
    .await;
    provider.script("", [Behaviour::Hang]);
    let mut caller = Caller::clear(&provider, Version::HTTP_11).await;
    let head = Request::head("/")
        .header("host", "x")
        .body(Full::default())
        .unwrap();
    assert_eq!(soon(caller.send(head)).await.unwrap().status(), 200);
    assert_eq!(soon(provider.outcome(1)).await, Outcome::Delivered);
}

#[tokio::test]
async fn tls_offers_what_its_protocol_says() {
    for (protocol, version) in [
        (Protocol::Tls, Version::HTTP_2),
        (Protocol::TlsH1, Version::HTTP_11),
        (Protocol::TlsH2, Version::HTTP_2),
    ] {
        let provider = FakeProvider::start(protocol).await;
        let alpn = if version == Version::HTTP_2 {
            "h2"
        } else {
            "http/1.1"
        };
        let mut caller = Caller::tls(&provider, version, &[alpn]).await;
        assert!(
            caller
                .text(CHAT, "k", ASK)
                .await
                .contains("chat.completion")
        );
        assert_eq!(provider.calls()[0].version, version);
        assert!(provider.base_url().starts_with("https://localhost:"));
    }
}

#[tokio::test]
async fn a_stopped_provider_refuses_connections() {
    let provider = FakeProvider::start(Protocol::Http1).await;
    let addr = provider.addr();
    let mut caller = Caller::clear(&provider, Version::HTTP_11).await;
    caller.text(CHAT, "k", ASK).await;
    provider.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    assert!(soon(caller.post(CHAT, "k", ASK)).await.is_err());
}

#[tokio::test]
async fn a_provider_that_hangs_up_takes_new_connections() {
    for version in VERSIONS {
        let provider = FakeProvider::start(Protocol::H2c).await;
        let mut idle = Caller::clear(&provider, version).await;
        idle.text(CHAT, "k", ASK).await;
        provider.hang_up();
        soon(idle.closed()).await;
        let mut fresh = Caller::clear(&provider, version).await;
        fresh.text(CHAT, "k", ASK).await;
        assert_eq!(provider.calls()[1].connection_id, 2);
    }
}

#[tokio::test]
async fn without_records_usage_is_still_counted() {
    let provider = FakeProvider::start(Options {
        record: false,
        ..Options::default()
    })
    .await;
    let mut caller = Caller::clear(&provider, Version::HTTP_11).await;
    caller.text(CHAT, "k", ASK_STREAM).await;
    assert_eq!((provider.count(), provider.usage_total().calls), (0, 1));
}

#[tokio::test]
async fn the_most_calls_at_a_time_are_counted() {
    let provider = FakeProvider::start(Protocol::H2c).await;
    provider.always("k", Behaviour::Gated);
    let mut caller = Caller::clear(&provider, Version::HTTP_2).await;
    let left = caller.post(CHAT, "k", ASK_STREAM).await.unwrap();
    drop(left);
    soon(provider.closed_by_peer(1)).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(caller.post(CHAT, "k", ASK_STREAM).await.unwrap());
    }
    provider.gate("k").open();
    for answer in running {
        text(answer).await;
    }
    caller.text(CHAT, "k", ASK).await;
    assert_eq!((provider.arrived(), provider.most_at_a_time()), (5, 3));
}
