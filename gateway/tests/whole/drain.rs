//! How a process ends that is told to: nobody is refused who could not know, nothing is cut that may
//! finish, and what is cut is told.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use crate::audit::records;
use crate::binary::Binary;
use crate::calls::{CHAT, Events, MESSAGES, STREAMS, StreamCall, get_with};
use crate::harness::{Answer, Client, Http, PATIENCE, chat, config, until, until_async};

const BOTH: [Http; 2] = [Http::One, Http::Two];

/// Starts one that ends so, and the provider behind it.
async fn served(drain: &str) -> (FakeProvider, Binary) {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let server = format!("server: {{port: 0, drain: {{{drain}}}}}");
    let yaml = config(&provider.base_url(), 1).replace("server: {port: 0}", &server);
    let binary = Binary::start(&yaml, &["--log-level", "info"]).await;
    (provider, binary)
}

async fn terminate(binary: &Binary) {
    binary.signal("-TERM").await;
    until(|| binary.log().contains("stopping: requests under way")).await;
}

/// A stream that goes on when the key's gate is opened.
fn begun(call: &StreamCall) -> Behaviour {
    Behaviour::GatedAfter {
        after_events: call.openings + 1,
    }
}

/// A stream whose first content was seen.
async fn open(binary: &Binary, call: &StreamCall, http: Http) -> (Client, Events) {
    let mut client = binary.client(http).await;
    let request = client.request(call.path, call.body);
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut events = Events::new(answer.into_body());
    events.next().await.expect("an event");
    (client, events)
}

/// The rest of a stream.
async fn rest(mut events: Events) -> String {
    let mut text = String::new();
    while let Some(event) = events.next().await {
        text.push_str(&event);
    }
    text
}

async fn admin(binary: &Binary, path: &str) -> Answer {
    let tcp = TcpStream::connect(binary.admin).await.unwrap();
    get_with(&mut Client::on(tcp, Http::One).await, path, &[]).await
}

#[tokio::test]
async fn two_hundred_streams_go_on_and_nobody_is_refused_meanwhile() {
    const LAME_DUCK: Duration = Duration::from_millis(1500);
    let (provider, mut binary) = served("lame_duck: 1500ms, limit: 5m").await;
    provider.always(CHAT.key, begun(&CHAT));
    let mut streams = Vec::new();
    for nth in 0..200 {
        streams.push(open(&binary, &CHAT, BOTH[nth % 2]).await);
    }

    let asked = Instant::now();
    terminate(&binary).await;
    let ready = admin(&binary, "/ready").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &"draining".into())
    );
    assert_eq!(ready.json()["requests"], 200);
    assert!(binary.metrics().await.contains("\nturnpike_draining 1\n"));
    assert_eq!(admin(&binary, "/health").await.status, 200);

    let mut served = 0;
    for http in BOTH.into_iter().cycle() {
        let tcp = match TcpStream::connect(binary.proxy).await {
            Ok(tcp) => tcp,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                break;
            }
        };
        let mut client = Client::on(tcp, http).await;
        let answer = client.post(MESSAGES.path, chat("claude-sonnet-4-5")).await;
        assert_eq!(answer.status, 200, "{http:?}: {}", answer.text());
        if http == Http::One {
            assert_eq!(answer.header("connection"), Some("close"));
        }
        served += 1;
    }
    assert!(asked.elapsed() >= LAME_DUCK, "refused too soon");
    assert!(served > 0);
    // The admin listener still answers; a call is counted as over after its answer is out.
    let rest_is_over = async || {
        let metrics = binary.metrics().await;
        metrics.contains("\nturnpike_requests_in_flight 200\n")
    };
    until_async(rest_is_over).await;

    provider.gate(CHAT.key).open();
    for (_client, events) in streams {
        let text = rest(events).await;
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    assert!(binary.ended().await.success());
}

#[tokio::test]
async fn a_connection_that_is_kept_is_told_and_then_closed() {
    let (_provider, mut binary) = served("lame_duck: 5s, limit: 5m").await;
    let post = (MESSAGES.path, chat("claude-sonnet-4-5"));
    let mut kept = Vec::new();
    for http in [Http::One, Http::One, Http::Two] {
        let mut client = binary.client(http).await;
        let answer = client.post(post.0, post.1.clone()).await;
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("connection"), Some("close"));
        kept.push(client);
    }
    terminate(&binary).await;
    // Of two connections one asks again, and is told. The other one says nothing, and is closed.
    let [one, idle, two] = &mut kept[..] else {
        unreachable!();
    };
    let answer = one.post(post.0, post.1.clone()).await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    for closed in [idle, two, one] {
        let gone = async {
            let is_closed = |client: &Client| match client {
                Client::One(sender) => sender.is_closed(),
                Client::Two(sender) => sender.is_closed(),
            };
            until(|| is_closed(closed)).await;
        };
        gone.await;
    }
    assert!(binary.ended().await.success());
}

/// Of each dialect one stream that has begun, and a call without an answer.
#[tokio::test]
async fn what_is_cut_at_the_limit_is_told_so_and_on_record() {
    let (provider, mut binary) = served("lame_duck: -1, limit: 500ms").await;
    let mut streams = Vec::new();
    for call in &STREAMS {
        provider.always(call.key, begun(call));
        for http in BOTH {
            streams.push((call, open(&binary, call, http).await));
        }
    }
    provider.always(MESSAGES.key, Behaviour::Hang);
    let mut waiting = Vec::new();
    for http in BOTH {
        let mut client = binary.client(http).await;
        let request = client.request(MESSAGES.path, chat("claude-sonnet-4-5"));
        waiting.push(tokio::spawn(async move {
            Answer::read(client.send(request).await.unwrap()).await
        }));
    }
    let calls = streams.len() + waiting.len();
    provider.wait_for_calls(calls).await;

    terminate(&binary).await;
    for (call, (_client, events)) in streams {
        let text = rest(events).await;
        let last = crate::calls::events_of(&text).pop().unwrap().to_owned();
        assert!(last.contains("the gateway shut down"), "{call:?}: {text}");
        assert!(
            last.contains("error") && !text.contains(call.terminal),
            "{call:?}: {text}"
        );
    }
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
        assert!(answer.text().contains("shutting down"), "{}", answer.text());
    }
    let exit = binary.ended().await;
    assert_eq!(exit.code(), Some(1));
    let said = format!("stopped with {calls} requests under way, which were cut");
    assert!(binary.log().contains(&said), "{}", binary.log());

    let all = records(&binary.config.with_file_name("audit.jsonl"));
    let of =
        |event: &str| -> Vec<&Value> { all.iter().filter(|one| one["event"] == event).collect() };
    assert_eq!(of("request.start").len(), calls);
    let ends = of("request.end");
    assert_eq!(ends.len(), calls, "each once");
    assert!(
        ends.iter().all(|end| end["reason"] == "shutting_down"),
        "{ends:?}"
    );
    let (cut, refused) = ("incomplete", "refused");
    let count = |outcome| ends.iter().filter(|end| end["outcome"] == outcome).count();
    assert_eq!((count(cut), count(refused)), (calls - 2, 2));
    assert_eq!(of("gateway.stopped").len(), 1);
}

#[tokio::test]
async fn an_interrupt_waits_for_no_balancer() {
    let (_provider, mut binary) = served("lame_duck: 7d, limit: 5m").await;
    binary.signal("-INT").await;
    assert!(binary.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_the_lame_duck_too() {
    let (_provider, mut binary) = served("lame_duck: 7d, limit: 5m").await;
    terminate(&binary).await;
    assert_eq!(admin(&binary, "/ready").await.status, 503);
    binary.signal("-TERM").await;
    assert!(binary.ended().await.success(), "nothing was cut");
}

/// One that connected before the end and asks after it: the kernel had let it in.
#[tokio::test]
async fn who_has_connected_is_served_though_it_asks_late() {
    let (_provider, mut binary) = served("lame_duck: -1, limit: 5m").await;
    let late = TcpStream::connect(binary.proxy).await.unwrap();
    terminate(&binary).await;
    let refused = async {
        while TcpStream::connect(binary.proxy).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("nobody listens any more");
    let answer = Client::on(late, Http::One)
        .await
        .post(MESSAGES.path, chat("claude-sonnet-4-5"))
        .await;
    assert_eq!(answer.status, 200);
    assert!(binary.ended().await.success());
}
