//! Byte for byte: what the caller wrote reaches the provider, and what the provider wrote reaches
//! the caller.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use fastrand::Rng;
use futures::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::{
    CHAT, GEMINI, MESSAGES, RESPONSES, SIDES, STREAMS, Sides, bearer, client, served,
};
use crate::harness::{Answer, House, Http, KEY, config};

/// Bodies of each call.
const BODIES: usize = 104;

/// A body as it is sent, in pieces.
type Pieces = UnsyncBoxBody<Bytes, Infallible>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_bodies_go_and_come_back_as_they_are() {
    for (at, call) in CALLS.iter().enumerate() {
        let mut rng = Rng::with_seed(0x7075_726e ^ at as u64);
        for sides in SIDES {
            let (provider, house) = echoing(sides).await;
            for _ in 0..BODIES / SIDES.len() {
                let body = any_object(&mut rng, call.model);
                let pieces = cut_anywhere(&mut rng, &body);
                let answer = send(&house, sides.client, call.path, JSON, pieces).await;
                unchanged(&provider, &body, &answer, call.path);
            }
            house.settled().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_of_image_go_and_come_back_as_they_are() {
    for (sides, call) in SIDES.into_iter().cycle().zip(&CALLS) {
        let (provider, house) = echoing(sides).await;
        let body = with_image(call.model);
        let pieces = vec![body.clone()];
        let answer = send(&house, sides.client, call.path, JSON, pieces).await;
        unchanged(&provider, &body, &answer, call.path);
        house.settled().await;
    }
}

#[tokio::test]
async fn a_number_that_parsers_read_differently_reaches_no_provider() {
    let (provider, house) = echoing(SIDES[0]).await;
    for call in &CALLS {
        let model = call.model.unwrap_or("\"gemini-2.5-pro\"");
        let object = |number| Bytes::from(format!("{{\"model\":{model},\"n\":{number}}}"));
        // Out of a double's range it is infinity to one parser and an error to another.
        for number in ["1e400", "-1E999"] {
            let pieces = vec![object(number)];
            let answer = send(&house, Http::One, call.path, JSON, pieces).await;
            assert_eq!(answer.status, 400, "{}", call.path);
            assert_eq!(provider.count(), 0);
        }
        let rounded = object("1e-400");
        let pieces = vec![rounded.clone()];
        let answer = send(&house, Http::One, call.path, JSON, pieces).await;
        unchanged(&provider, &rounded, &answer, call.path);
    }
    house.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_go_and_come_back_as_they_are() {
    let mut rng = Rng::with_seed(0xf0f0);
    for sides in SIDES {
        let (provider, house) = echoing(sides).await;
        for n in 0..BODIES / SIDES.len() {
            let boundary = format!("{}--b{n}", "-".repeat(rng.usize(0..20)));
            let body = form(&mut rng, &boundary, "whisper-1");
            let kind = format!("multipart/form-data; boundary={boundary}");
            let pieces = cut_anywhere(&mut rng, &body);
            let path = "/v1/audio/transcriptions";
            let answer = send(&house, sides.client, path, &kind, pieces).await;
            let announced = provider.calls()[0]
                .header("content-type")
                .map(str::to_owned);
            unchanged(&provider, &body, &answer, path);
            assert_eq!(announced, Some(kind));
        }
        house.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_as_they_are_with_a_length_or_without() {
    let mut rng = Rng::with_seed(0xa11);
    for sides in SIDES {
        let (provider, house) = served(Options::new(sides.provider), 1).await;
        for call in &CALLS {
            for chunked in [false, true] {
                for bytes in [
                    any_object(&mut rng, None),
                    noise(&mut rng, 5000),
                    Bytes::new(),
                ] {
                    let content_type = "application/json".to_owned();
                    let behaviour = Behaviour::Body {
                        content_type,
                        bytes: bytes.clone(),
                        chunked,
                    };
                    provider.script(call.key, [behaviour]);
                    let body = any_object(&mut rng, call.model);
                    let answer = send(&house, sides.client, call.path, JSON, vec![body]).await;
                    assert_eq!(
                        (answer.status, &answer.body),
                        (200, &bytes),
                        "{}",
                        call.path
                    );
                }
            }
        }
        house.settled().await;
    }
}

#[tokio::test]
async fn streams_cut_inside_characters_come_as_they_are() {
    let mut rng = Rng::with_seed(0x5eed);
    for call in &STREAMS {
        for http in [Http::One, Http::Two] {
            for _ in 0..13 {
                let whole = event_stream(&mut rng, call.terminal);
                let pieces = cut_anywhere(&mut rng, &whole);
                let upstream = cutting_provider(pieces).await;
                let house = House::serve(&config(&format!("http://{upstream}"), 1)).await;
                let answer = client(&house, http).await.post(call.path, call.body).await;
                assert_eq!((answer.status, &answer.body), (200, &whole), "{call:?}");
                house.settled().await;
            }
        }
    }
}

#[tokio::test]
async fn an_alias_changes_the_models_value_and_no_other_byte() {
    let mut rng = Rng::with_seed(0xa11a5);
    let spellings = [
        r#""fast""#,
        r#""f\u0061st""#,
        r#""\u0066\u0061\u0073\u0074""#,
    ];
    for sides in SIDES {
        let provider = FakeProvider::start(Options::new(sides.provider)).await;
        let house = House::serve(&aliased(&crate::calls::upstream(&provider))).await;
        let calls = CALLS.iter().filter(|call| call.model.is_some());
        for (call, spelling) in calls.flat_map(|call| spellings.map(|spelling| (call, spelling))) {
            let sent = any_object(&mut rng, Some(spelling));
            let value = format!(r#""upstream/näme \"{}\"""#, &call.key[3..]);
            let expected = replaced_once(&sent, spelling.as_bytes(), value.as_bytes());
            let answer = send(&house, sides.client, call.path, JSON, vec![sent]).await;
            assert_eq!(answer.status, 200);
            received(&provider, &expected, call.path);
        }
        house.settled().await;
    }
}

#[tokio::test]
async fn an_alias_in_a_form_changes_its_value_and_no_other_byte() {
    let mut rng = Rng::with_seed(0xf0a11a5);
    let provider = FakeProvider::start(Options::default()).await;
    let house = House::serve(&aliased(&provider.base_url())).await;
    for _ in 0..20 {
        let sent = form(&mut rng, "XX", "fast");
        let value = br#"upstream/n\xc3\xa4me "openai-1""#;
        let value = String::from_utf8_lossy(value).replace(r"\xc3\xa4", "ä");
        let expected = replaced_once(
            &sent,
            b"\r\n\r\nfast\r\n",
            format!("\r\n\r\n{value}\r\n").as_bytes(),
        );
        let kind = "multipart/form-data; boundary=XX";
        send(
            &house,
            Http::One,
            "/v1/audio/transcriptions",
            kind,
            vec![sent],
        )
        .await;
        received(&provider, &expected, "a form");
    }
    house.settled().await;
}

#[tokio::test]
async fn an_alias_in_a_path_leaves_the_body_and_the_query_alone() {
    let mut rng = Rng::with_seed(0x9a7);
    let provider = FakeProvider::start(Options::default()).await;
    let house = House::serve(&aliased(&provider.base_url())).await;
    let body = any_object(&mut rng, None);
    let path = "/v1beta/models/quick:generateContent?alt=json&x=%20+";
    let answer = send(&house, Http::One, path, JSON, vec![body.clone()]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        provider.calls()[0].path_and_query,
        "/v1beta/models/gemini-2.5-pro:generateContent?alt=json&x=%20+"
    );
    received(&provider, &body, path);
    house.settled().await;
}

/// A call with a JSON body.
struct JsonCall {
    path: &'static str,
    /// As it stands in the body; `None` where the path names it.
    model: Option<&'static str>,
    key: &'static str,
}

const GPT: Option<&str> = Some(r#""gpt-4o""#);
const CLAUDE: Option<&str> = Some(r#""claude-sonnet-4-5""#);

const CALLS: [JsonCall; 8] = [
    JsonCall {
        path: CHAT.path,
        model: GPT,
        key: CHAT.key,
    },
    JsonCall {
        path: RESPONSES.path,
        model: GPT,
        key: RESPONSES.key,
    },
    JsonCall {
        path: "/v1/completions",
        model: GPT,
        key: CHAT.key,
    },
    JsonCall {
        path: "/v1/embeddings",
        model: GPT,
        key: CHAT.key,
    },
    JsonCall {
        path: "/v1/images/generations",
        model: GPT,
        key: CHAT.key,
    },
    JsonCall {
        path: MESSAGES.path,
        model: CLAUDE,
        key: MESSAGES.key,
    },
    JsonCall {
        path: "/v1/messages/count_tokens",
        model: CLAUDE,
        key: MESSAGES.key,
    },
    JsonCall {
        path: "/v1beta/models/gemini-2.5-pro:generateContent",
        model: None,
        key: GEMINI.key,
    },
];

const JSON: &str = "application/json";

/// A provider that answers with what it is sent.
async fn echoing(sides: Sides) -> (FakeProvider, House) {
    let (provider, house) = served(Options::new(sides.provider), 1).await;
    for call in &CALLS {
        provider.always(call.key, Behaviour::Echo);
    }
    (provider, house)
}

/// Each provider calls the client's `fast` by a name of its own that JSON has to escape.
fn aliased(base_url: &str) -> String {
    let provider = |name: &str, path: &str, key: &str| {
        let model = &key[3..];
        format!(
            "\x20 {name}:\n\
             \x20   base_url: \"{base_url}{path}\"\n\
             \x20   models: [{{name: 'upstream/näme \"{model}\"', alias: fast}}]\n\
             \x20   credentials: [{{api_key: {key}}}]\n"
        )
    };
    format!(
        "server: {{port: 0}}\nadmin: {{port: 0}}\napi_keys: [{{key: {KEY}}}]\nproviders:\n{}{}\
         \x20 gemini:\n\
         \x20   base_url: \"{base_url}\"\n\
         \x20   models: [{{name: gemini-2.5-pro, alias: quick}}]\n\
         \x20   credentials: [{{api_key: {}}}]\n",
        provider("openai", "/v1", CHAT.key),
        provider("claude", "", MESSAGES.key),
        GEMINI.key,
    )
}

fn unchanged(provider: &FakeProvider, sent: &Bytes, answer: &Answer, path: &str) {
    let shown = || String::from_utf8_lossy(&sent[..sent.len().min(400)]).into_owned();
    assert_eq!(
        answer.status,
        200,
        "{path}: {:?} to {}",
        answer.body,
        shown()
    );
    received(provider, sent, path);
    assert!(
        answer.body == *sent,
        "{path}: the answer is another for {}",
        shown()
    );
}

/// The provider's last call had exactly this body.
fn received(provider: &FakeProvider, expected: &[u8], path: &str) {
    let call = provider.take_calls().pop().unwrap();
    assert_eq!(call.body_len, expected.len(), "{path}");
    let hash = blake3::hash(expected).to_hex().to_string();
    assert_eq!(
        call.body_blake3,
        hash,
        "{path}: {:?}",
        String::from_utf8_lossy(&call.body)
    );
}

/// Sends a body in these pieces: chunks in HTTP/1, DATA frames in HTTP/2.
async fn send(house: &House, http: Http, path: &str, kind: &str, pieces: Vec<Bytes>) -> Answer {
    let tcp = TcpStream::connect(house.gateway.proxy).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let io = TokioIo::new(tcp);
    let target = match http {
        Http::One => path.to_owned(),
        Http::Two => format!("http://gateway{path}"),
    };
    let request = Request::post(target)
        .header("host", "gateway")
        .header("authorization", bearer())
        .header("content-type", kind)
        .body(in_pieces(pieces))
        .unwrap();
    let response = match http {
        Http::One => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Pieces>(io)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        }
        Http::Two => {
            let executor = TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        }
    };
    Answer::read(response.unwrap()).await
}

fn in_pieces(pieces: Vec<Bytes>) -> Pieces {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

/// A provider whose every answer is this event stream, a chunk for each piece.
async fn cutting_provider(pieces: Vec<Bytes>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let pieces = pieces.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let pieces = pieces.clone();
                async move {
                    request.into_body().collect().await?;
                    let response = Response::builder().header("content-type", "text/event-stream");
                    Ok::<_, hyper::Error>(response.body(in_pieces(pieces)).unwrap())
                }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), answer);
            tokio::spawn(serving);
        }
    });
    address
}

/// Pieces of 1 to 9 bytes of a small body, larger ones of a large one: most characters of more
/// than one byte are cut somewhere.
fn cut_anywhere(rng: &mut Rng, body: &Bytes) -> Vec<Bytes> {
    let longest = (body.len() / 60).max(9);
    let mut rest = body.clone();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        pieces.push(rest.split_to(rng.usize(1..=longest).min(rest.len())));
    }
    pieces
}

fn noise(rng: &mut Rng, len: usize) -> Bytes {
    (0..len).map(|_| rng.u8(..)).collect()
}

fn with_image(model: Option<&str>) -> Bytes {
    let model = model
        .map(|model| format!("\"model\":{model},"))
        .unwrap_or_default();
    let image = "iVBORw0KGgo/+8==".repeat(10 * 65536);
    format!("{{\"messages\":[{{\"image\":\"data:image/png;base64,{image}\"}}],{model}\"last\":1}}")
        .into()
}

/// A form with the model somewhere among fields and a file that has anything in it.
fn form(rng: &mut Rng, boundary: &str, model: &str) -> Bytes {
    let size = rng.usize(0..3000);
    let mut parts = vec![
        [
            b"content-disposition: form-data; name=\"model\"\r\n\r\n",
            model.as_bytes(),
        ]
        .concat(),
        "Content-Disposition: form-data; name=\"prompt\"\r\n\r\nmodel 🚇\r\n--not-it".into(),
        [
            b"Content-Disposition: form-data; name=\"file\"; filename=\"m\xc3\xb6del.wav\"\r\n\
              Content-Type: audio/wav\r\n\r\n"
                .as_slice(),
            &noise(rng, size),
        ]
        .concat(),
    ];
    rng.shuffle(&mut parts);
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(&part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body.into()
}

fn event_stream(rng: &mut Rng, terminal: &str) -> Bytes {
    let mut text = String::new();
    for _ in 0..rng.usize(1..20) {
        let end = rng.choice(["\n\n", "\r\n\r\n"]).unwrap();
        text.push_str(&format!(
            "data: {}{end}",
            any_value(rng, 2).replace(['\n', '\r'], " ")
        ));
    }
    let last = match terminal {
        "finishReason" => {
            r#"{"candidates":[{"content":{"parts":[{"text":"🚇"}]},"finishReason":"STOP"}]}"#
                .to_owned()
        }
        "[DONE]" => terminal.to_owned(),
        kind => format!(r#"{{"type":"{kind}","text":"𝔘"}}"#),
    };
    text.push_str(&format!("data: {last}\n\n"));
    text.into()
}

fn replaced_once(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(body, from).unwrap();
    [&body[..at], to, &body[at + from.len()..]].concat()
}

/// An object of anything that JSON allows, the model somewhere in it.
fn any_object(rng: &mut Rng, model: Option<&str>) -> Bytes {
    let mut members: Vec<String> = (0..rng.usize(0..12)).map(|_| any_member(rng, 4)).collect();
    // A key given twice, which is the provider's to judge.
    if let Some(member) = members.first().cloned() {
        members.push(member);
    }
    if let Some(model) = model {
        let member = format!("\"model\"{}:{}{model}", blank(rng), blank(rng));
        members.insert(rng.usize(0..=members.len()), member);
    }
    let (before, after) = (blank(rng), blank(rng));
    format!("{before}{{{}}}{after}", joined(rng, &members)).into()
}

fn any_member(rng: &mut Rng, depth: usize) -> String {
    const KEYS: [&str; 9] = [
        "x-unknown",
        "messages",
        "",
        "modèl",
        "models",
        "ключ",
        "\\u0000",
        "🗝️",
        "model\\u0020",
    ];
    let key = rng.choice(KEYS).unwrap();
    format!(
        "\"{key}\"{}:{}{}",
        blank(rng),
        blank(rng),
        any_value(rng, depth)
    )
}

fn any_value(rng: &mut Rng, depth: usize) -> String {
    const SCALARS: [&str; 16] = [
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "1E+2",
        "1.7976931348623157e308",
        "5e-324",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "\"\"",
        "\"\\ud83d\\ude87 \\/ \\b\\f\\n\\r\\t \\\\ \\\"\"",
        "\"🚇𝔘\u{10ffff}é\u{2028}\"",
        "\"model\"",
        "\"\\\"model\\\":\\\"gpt\\\"\"",
        "\"data: [DONE]\"",
    ];
    match rng.usize(0..if depth == 0 { 4 } else { 7 }) {
        0..4 => rng.choice(SCALARS).unwrap().to_owned(),
        4 => {
            let items: Vec<String> = (0..rng.usize(0..5))
                .map(|_| any_value(rng, depth - 1))
                .collect();
            format!("[{}]", joined(rng, &items))
        }
        5 => {
            let members: Vec<String> = (0..rng.usize(0..5))
                .map(|_| any_member(rng, depth - 1))
                .collect();
            format!("{{{}}}", joined(rng, &members))
        }
        _ => format!("\"{}\"", "𝔘🚇ab".repeat(rng.usize(0..200))),
    }
}

fn joined(rng: &mut Rng, parts: &[String]) -> String {
    let mut text = blank(rng);
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&blank(rng));
        text.push_str(part);
        text.push_str(&blank(rng));
    }
    text
}

/// Any of the four blanks, or none.
fn blank(rng: &mut Rng) -> String {
    (0..rng.usize(0..3))
        .map(|_| *rng.choice(&[' ', '\t', '\n', '\r']).unwrap())
        .collect()
}
