//! How a process ends that is told to: nobody is refused who could not know, nothing is cut that may
//! finish, and what is cut is told.

mod cut;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use turnpike_loadtest::{Behaviour, FakeProvider, Options, Protocol};

use crate::binary::Binary;
use crate::calls::{CHAT, Events, MESSAGES, StreamCall, bearer, get_with};
use crate::harness::{Answer, Client, Http, PATIENCE, chat, config, until, until_async};
use crate::pair::soon;

const BOTH: [Http; 2] = [Http::One, Http::Two];

/// Starts one that ends so, and the provider behind it.
async fn served(drain: &str) -> (FakeProvider, Binary) {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let binary = serving(&provider.base_url(), drain, "").await;
    (provider, binary)
}

/// One that ends so, with more of `server`.
async fn serving(base_url: &str, drain: &str, more: &str) -> Binary {
    let server = format!("server: {{port: 0, drain: {{{drain}}}{more}}}");
    let yaml = config(base_url, 1).replace("server: {port: 0}", &server);
    Binary::start(&yaml, &["--log-level", "info"]).await
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

/// More have connected than may, and a place becomes free while it ends.
#[tokio::test]
async fn who_waits_for_a_place_is_served() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    provider.always(CHAT.key, begun(&CHAT));
    let more = ", limits: {max_connections: 2}";
    let mut binary = serving(&provider.base_url(), "lame_duck: -1, limit: 5m", more).await;
    let mut streams = Vec::new();
    for http in BOTH {
        streams.push(open(&binary, &CHAT, http).await);
    }
    let waiting = waiting(&binary).await;
    terminate(&binary).await;
    refuses(&binary).await;
    provider.gate(CHAT.key).open();
    for (_client, events) in streams {
        assert!(rest(events).await.ends_with("data: [DONE]\n\n"));
    }
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert!(binary.ended().await.success());
}

/// Calls on connections of their own, for which there is no place yet.
async fn waiting(binary: &Binary) -> Vec<JoinHandle<Answer>> {
    let mut waiting = Vec::new();
    for http in BOTH {
        let mut client = binary.client(http).await;
        waiting.push(tokio::spawn(async move {
            client.post(MESSAGES.path, chat("claude-sonnet-4-5")).await
        }));
    }
    waiting
}

/// More answers than the kernel takes for a caller who reads none of them: their calls are over long
/// before their last bytes are out.
struct Unread {
    binary: Binary,
    _client: h2::client::SendRequest<Bytes>,
    connection: h2::client::Connection<TcpStream, Bytes>,
    answers: Vec<h2::client::ResponseFuture>,
    /// Of each.
    len: usize,
}

async fn unread(drain: &str) -> Unread {
    const CALLS: usize = 24;
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let answer = format!(r#"{{"choices":[],"padding":"{}"}}"#, "x".repeat(390_000));
    let len = answer.len();
    let answer = Behaviour::Body {
        content_type: "application/json".to_owned(),
        bytes: answer.into(),
        chunked: false,
    };
    provider.always(CHAT.key, Behaviour::held(answer));
    let binary = serving(&provider.base_url(), drain, "").await;

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let tcp = socket.connect(binary.proxy).await.unwrap();
    let mut http2 = h2::client::Builder::new();
    http2.initial_window_size(16 << 20);
    http2.initial_connection_window_size(16 << 20);
    let (mut client, mut connection) = http2.handshake::<_, Bytes>(tcp).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..CALLS {
        let request = Request::post(format!("http://localhost{}", CHAT.path))
            .header("authorization", bearer())
            .body(())
            .unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(chat("gpt-4o").into(), true).unwrap();
        answers.push(answer);
    }
    tokio::select! {
        _ = &mut connection => panic!("it ended"),
        () = provider.wait_for_calls(CALLS) => {}
    }
    // From here on nobody reads.
    provider.gate(CHAT.key).open();
    let are_over = async || {
        let metrics = binary.metrics().await;
        metrics.contains("\nturnpike_requests_in_flight 0\n")
    };
    until_async(are_over).await;
    Unread {
        binary,
        _client: client,
        connection,
        answers,
        len,
    }
}

#[tokio::test]
async fn what_an_http2_caller_has_not_read_at_the_limit_is_cut_and_said() {
    let mut unread = unread("lame_duck: -1, limit: 500ms").await;
    terminate(&unread.binary).await;
    let exit = unread.binary.ended().await;
    let log = unread.binary.log();
    assert_eq!(exit.code(), Some(1), "{log}");
    assert!(log.contains("cut=1"), "{log}");
}

/// It is there, and neither closes nor reads what it is told.
#[tokio::test]
async fn a_silent_http2_caller_keeps_the_process_for_no_minute() {
    let (_provider, mut binary) = served("lame_duck: -1, limit: 10s").await;
    let tcp = TcpStream::connect(binary.proxy).await.unwrap();
    let (_client, _connection) = h2::client::handshake(tcp).await.unwrap();
    // It is known by its first bytes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let since = Instant::now();
    terminate(&binary).await;
    assert!(binary.ended().await.success());
    let took = since.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn what_an_http2_caller_has_not_read_yet_is_not_lost() {
    let Unread {
        mut binary,
        _client: client,
        connection,
        answers,
        len,
    } = unread("lame_duck: -1, limit: 5m").await;
    terminate(&binary).await;
    refuses(&binary).await;

    tokio::spawn(connection);
    for answer in answers {
        let mut body = soon(answer).await.unwrap().into_body();
        let mut read = 0;
        while let Some(piece) = soon(body.data()).await {
            let piece = piece.expect("the answer is whole");
            read += piece.len();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        assert_eq!(read, len);
    }
    drop(client);
    assert!(binary.ended().await.success());
}

/// Waits until nobody listens any more.
async fn refuses(binary: &Binary) {
    let refused = async {
        loop {
            match TcpStream::connect(binary.proxy).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error.kind(),
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    let kind = refused.expect("nobody listens any more");
    assert_eq!(kind, ErrorKind::ConnectionRefused);
}

/// One that connected before the end and asks after it: the kernel had let it in.
#[tokio::test]
async fn who_has_connected_is_served_though_it_asks_late() {
    let (_provider, mut binary) = served("lame_duck: -1, limit: 5m").await;
    let late = TcpStream::connect(binary.proxy).await.unwrap();
    terminate(&binary).await;
    refuses(&binary).await;
    let answer = Client::on(late, Http::One)
        .await
        .post(MESSAGES.path, chat("claude-sonnet-4-5"))
        .await;
    assert_eq!(answer.status, 200);
    assert!(binary.ended().await.success());
}
