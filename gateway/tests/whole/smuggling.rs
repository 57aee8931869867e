//! Requests that two parsers may frame differently: whatever the gateway makes of one, what it
//! takes for a request is answered, counted and forwarded as exactly that, and nothing else is.

use turnpike_loadtest::{FakeProvider, Options, Protocol, Recorded};

use crate::harness::{House, KEY, config, until};
use crate::wire::Wire;

/// What is sent (with `BODY`, `LEN`, `HEX` and `EVIL` filled in), and the answers' statuses. An
/// answer of 200 is a forwarded `BODY`, but where a case says `2xx-probe` in its name.
type Case = (&'static str, &'static str, &'static [u16]);

/// What the caller means to ask.
const BODY: &str = r#"{"model":"gpt-4o","messages":[]}"#;

/// What a smuggler hides.
const EVIL_BODY: &str = r#"{"model":"gpt-4o","user":"smuggled"}"#;

/// Framing and body behind a POST's head with a key.
const POSTS: &[Case] = &[
    // A plain one of each framing, for comparison.
    ("length", "Content-Length: LEN\r\n\r\nBODY", &[200]),
    (
        "chunks",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "two chunks",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nREST\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "the next request at once",
        "Content-Length: LEN\r\n\r\nBODYNEXT",
        &[200, 200],
    ),
    (
        "the next request behind chunks",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nNEXT",
        &[200, 200],
    ),
    // CL.TE: the length covers what the chunks leave over.
    (
        "CL.TE",
        "Content-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[200],
    ),
    (
        "CL.TE, no chunks",
        "Content-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "CL.TE, length of zero",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[200],
    ),
    (
        "CL.TE, the other way round",
        "Transfer-Encoding: chunked\r\nContent-Length: LEN\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[200],
    ),
    (
        "CL.TE, wrong length too",
        "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[200],
    ),
    // TE.CL: the chunks hold what the length leaves over.
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[200],
    ),
    (
        "TE.CL, a request inside a chunk",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nINNER",
        &[400],
    ),
    (
        "TE.CL, a request in an unended chunk",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}EVIL",
        &[400],
    ),
    // TE.TE: a coding that only one of the two takes for chunked.
    (
        "TE.TE, xchunked",
        "Transfer-Encoding: xchunked\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, identity",
        "Transfer-Encoding: identity\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, chunked then identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, identity then chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, chunked, chunked",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, gzip, chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, empty then chunked",
        "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    ("TE.TE, empty", "Transfer-Encoding: \r\n\r\nEVIL", &[400]),
    (
        "TE.TE, a comma only",
        "Transfer-Encoding: ,\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a comma before",
        "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a comma behind",
        "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a parameter",
        "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a vertical tab",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a no-break space",
        "Transfer-Encoding: \u{a0}chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a NUL",
        "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, capitals",
        "Transfer-Encoding: CHUNKED\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "TE.TE, blanks around",
        "Transfer-Encoding: \t chunked \t\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "TE.TE, a blank before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a tab before the colon",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, a blank before the name",
        " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, an underscore",
        "Transfer_Encoding: chunked\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "TE.TE, a folded line",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "TE.TE, behind a bare CR",
        "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    // Lengths.
    (
        "two lengths that differ",
        "Content-Length: LEN\r\nContent-Length: 0\r\n\r\nBODY",
        &[400],
    ),
    (
        "a list of lengths that differ",
        "Content-Length: LEN, 0\r\n\r\nBODY",
        &[400],
    ),
    (
        "two lengths alike",
        "Content-Length: LEN\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "a length with a sign",
        "Content-Length: +LEN\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length in hex",
        "Content-Length: 0x20\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length with a fraction",
        "Content-Length: 32.0\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length with a blank inside",
        "Content-Length: 3 2\r\n\r\nBODY",
        &[400],
    ),
    ("an empty length", "Content-Length:\r\n\r\nEVIL", &[400]),
    (
        "a length beyond 64 bits",
        "Content-Length: 18446744073709551648\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length in full-width digits",
        "Content-Length: ３２\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length with zeros before it",
        "Content-Length: 0000LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "a folded length",
        "Content-Length:\r\n LEN\r\n\r\nBODY",
        &[400],
    ),
    (
        "a length with an underscore in its name",
        "Content_Length: 0\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    // Chunks.
    (
        "a chunk extension",
        "Transfer-Encoding: chunked\r\n\r\nHEX;a=b\r\nBODY\r\n0;c\r\n\r\n",
        &[200],
    ),
    (
        "a chunk extension with quotes",
        "Transfer-Encoding: chunked\r\n\r\nHEX;a=\"b;c\"\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "a chunk extension of 64 kB",
        "Transfer-Encoding: chunked\r\n\r\nHEX;LONG\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size ended by a bare LF",
        "Transfer-Encoding: chunked\r\n\r\nHEX\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size ended by a bare CR",
        "Transfer-Encoding: chunked\r\n\r\nHEX\rBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk ended by a bare LF",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk with bytes too many",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODYxx\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size with a sign",
        "Transfer-Encoding: chunked\r\n\r\n+HEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a negative chunk size",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size with 0x",
        "Transfer-Encoding: chunked\r\n\r\n0xHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size beyond 64 bits",
        "Transfer-Encoding: chunked\r\n\r\n100000000000000HEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a blank before a chunk size",
        "Transfer-Encoding: chunked\r\n\r\n G\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a chunk size with zeros before it",
        "Transfer-Encoding: chunked\r\n\r\n000HEX\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "a trailer",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\nX-A: b\r\n\r\n",
        &[200],
    ),
    (
        "a trailer with a credential",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\nAuthorization: Bearer smuggled\r\n\r\n",
        &[200],
    ),
    (
        "a trailer with a length",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\nContent-Length: 99\r\n\r\nNEXT",
        &[200, 200],
    ),
    (
        "a trailer ended by a bare LF",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\nX: y\n\r\nEVIL",
        &[400],
    ),
    (
        "a trailer of 64 kB",
        "Transfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\nX: LONG\r\n\r\nEVIL",
        &[400],
    ),
    // Heads.
    (
        "a folded header",
        "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a folded header by a tab",
        "X-A: b\r\n\tc\r\nContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a NUL in a header",
        "X-A: b\0\r\nContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a bare CR as a line's end",
        "X-A: b\rContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a colon in a name",
        "X:A: b\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    // What the connection is told to keep to itself.
    (
        "Connection names Authorization",
        "Connection: keep-alive, Authorization\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "Connection names Content-Length",
        "Connection: Content-Length\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "Connection names Host",
        "Connection: Host\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    (
        "Connection names Transfer-Encoding",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\n",
        &[200],
    ),
    (
        "Connection names x-request-id",
        "Connection: x-request-id, traceparent\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    // Upgrades: what follows is no request until somebody agreed.
    (
        "an upgrade to WebSocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: LEN\r\n\r\nBODYNEXT",
        &[200, 200],
    ),
    (
        "an upgrade without a length",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nNEXT",
        &[400, 200],
    ),
    (
        "an upgrade to h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    // Expectations.
    (
        "an unknown expectation",
        "Expect: 200-smuggled\r\nContent-Length: LEN\r\n\r\nBODY",
        &[200],
    ),
    // Pingora closes after a 100: what is behind is dropped, not misread.
    (
        "an expectation that is met",
        "Expect: 100-continue\r\nContent-Length: LEN\r\n\r\nBODYNEXT",
        &[100, 200],
    ),
];

/// Whole requests, first line and all.
const WHOLE: &[Case] = &[
    (
        "HTTP/1.0 with chunks",
        "POST /v1/chat/completions HTTP/1.0\r\nHost: g\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\nHEX\r\nBODY\r\n0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "HTTP/1.0 with chunks and a length",
        "POST /v1/chat/completions HTTP/1.0\r\nHost: g\r\nAUTH\r\nContent-Length: LEN\r\nTransfer-Encoding: chunked\r\n\r\nBODYEVIL",
        &[400],
    ),
    (
        "HTTP/1.0 without a length",
        "POST /v1/chat/completions HTTP/1.0\r\nHost: g\r\nAUTH\r\n\r\nEVIL",
        &[400],
    ),
    (
        "HTTP/1.0 and a second request",
        "POST /v1/chat/completions HTTP/1.0\r\nHost: g\r\nAUTH\r\nContent-Length: LEN\r\n\r\nBODYEVIL",
        &[200],
    ),
    (
        "a GET with a body",
        "GET /v1/models HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: 999\r\n\r\nEVIL",
        &[201],
    ),
    (
        "a GET with chunks",
        "GET /v1/models HTTP/1.1\r\nHost: g\r\nAUTH\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nEVIL",
        &[201],
    ),
    (
        "a health check with a body",
        "GET /health HTTP/1.1\r\nHost: g\r\nContent-Length: 999\r\n\r\nEVIL",
        &[201],
    ),
    (
        "a refused one with a body",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 999\r\n\r\nEVIL",
        &[401],
    ),
    (
        "a refused one with chunks",
        "POST /nowhere HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEVIL",
        &[404],
    ),
    (
        "a bare LF in the first line",
        "POST /v1/chat/completions HTTP/1.1\nHost: g\nAUTH\nContent-Length: LEN\n\nBODY",
        &[200],
    ),
    (
        "a bare CR in the first line",
        "POST /v1/chat/completions HTTP/1.1\rHost: g\r\nAUTH\r\nContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "a request in the target",
        "GET /x%20HTTP/1.1%0d%0aHost:%20g%0d%0a%0d%0aEVIL HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
        &[404],
    ),
    (
        "a version of three digits",
        "POST /v1/chat/completions HTTP/1.10\r\nHost: g\r\nAUTH\r\nContent-Length: 0\r\n\r\nEVIL",
        &[400],
    ),
    (
        "two blanks in the first line",
        "POST  /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: LEN\r\n\r\nBODYNEXT",
        &[405],
    ),
    (
        "two hosts",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nHost: h\r\nAUTH\r\nContent-Length: LEN\r\n\r\nBODYEVIL",
        &[400],
    ),
    (
        "an HTTP/2 preface half-way",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: LEN\r\n\r\nBODYPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[200, 400],
    ),
];

#[tokio::test]
async fn no_framing_makes_two_requests_of_one() {
    let provider = FakeProvider::start(Options::new(Protocol::Http1)).await;
    let limits = "server: {port: 0, limits: {body_timeout: 1s, header_timeout: 1s}}";
    let house =
        House::serve(&config(&provider.base_url(), 1).replace("server: {port: 0}", limits)).await;
    let mut forwarded = 0;
    for (name, bytes, statuses) in POSTS
        .iter()
        .map(with_a_head)
        .chain(WHOLE.iter().map(as_it_is))
    {
        let mut wire = Wire::connect(&house).await;
        let _ = wire.send(fill(&bytes)).await;
        let answered = conversation(&mut wire, statuses, &name).await;
        assert_eq!(answered, statuses, "{name}");

        clean_request_works(&house, &name).await;
        house.settled().await;
        let calls = provider.take_calls();
        let expected = statuses.iter().filter(|status| **status == 200).count() + 1;
        assert_eq!(calls.len(), expected, "{name}: calls of the provider");
        calls.iter().for_each(|call| assert_meant(call, &name));
        forwarded += expected;
        until(|| attempts(&house) == forwarded as f64).await;
    }
    assert!(POSTS.len() + WHOLE.len() >= 100);
}

/// The statuses of the answers, read until the gateway closes. A connection that it keeps open
/// gets one more request, whose answer must be the next one: anything else would be a desync.
async fn conversation(wire: &mut Wire, statuses: &[u16], name: &str) -> Vec<u16> {
    let mut answered = Vec::new();
    let mut open = true;
    while open && answered.len() < statuses.len() {
        let Some(answer) = wire.answer().await else {
            break;
        };
        // A list of models and health are good answers that no provider gave.
        let ours = answer.status == 200
            && answer.text().contains("\"object\":\"list\"") | answer.text().contains("\"ok\"");
        answered.push(if ours { 201 } else { answer.status });
        open = answer.header("connection") != Some("close");
    }
    if open {
        let probe =
            "GET /health HTTP/1.1\r\nHost: g\r\nX-Request-Id: probe\r\nConnection: close\r\n\r\n";
        let _ = wire.send(probe).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("{name}: kept open, then closed"));
        assert_eq!(
            answer.header("x-request-id"),
            Some("probe"),
            "{name}: answered something else: {}",
            answer.text()
        );
    }
    assert!(
        wire.rest().await.is_empty(),
        "{name}: an answer to nothing that was asked"
    );
    answered
}

async fn clean_request_works(house: &House, name: &str) {
    let mut wire = Wire::connect(house).await;
    let bytes = format!(
        "{}Connection: close\r\nContent-Length: LEN\r\n\r\nBODY",
        head()
    );
    wire.send(fill(&bytes)).await.unwrap();
    assert_eq!(
        wire.answer().await.map(|answer| answer.status),
        Some(200),
        "after {name}"
    );
}

/// The provider got what a strict reader makes of it: our key, our path, the body whole, and
/// nothing of the smuggler's.
#[track_caller]
fn assert_meant(call: &Recorded, name: &str) {
    assert_eq!(call.path_and_query, "/v1/chat/completions", "{name}");
    assert_eq!(call.body, BODY, "{name}");
    assert_eq!(
        call.header("content-length"),
        Some(&*BODY.len().to_string()),
        "{name}"
    );
    assert_eq!(
        call.header("authorization"),
        Some("Bearer sk-openai-1"),
        "{name}"
    );
    assert!(call.header("x-request-id").is_some(), "{name}");
    assert!(
        call.header("host")
            .is_some_and(|host| host.starts_with("127.0.0.1:")),
        "{name}"
    );
    for hop in [
        "connection",
        "upgrade",
        "transfer-encoding",
        "http2-settings",
        "expect",
        "te",
        "trailer",
    ] {
        assert_eq!(call.header(hop), None, "{name}: {hop}");
    }
    assert!(
        !format!("{:?}", call.headers).contains("smuggled"),
        "{name}: {:?}",
        call.headers
    );
}

/// The calls that the gateway says it made.
fn attempts(house: &House) -> f64 {
    let text = house.metrics();
    let attempts = text
        .lines()
        .filter(|line| line.starts_with("turnpike_upstream_attempts_total{"));
    attempts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

fn with_a_head((name, rest, statuses): &Case) -> (String, String, &'static [u16]) {
    ((*name).to_owned(), format!("{}{rest}", head()), statuses)
}

fn as_it_is((name, bytes, statuses): &Case) -> (String, String, &'static [u16]) {
    ((*name).to_owned(), (*bytes).to_owned(), statuses)
}

fn head() -> &'static str {
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAUTH\r\n"
}

fn fill(bytes: &str) -> String {
    let evil = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: smuggled\r\nAUTH\r\nX-Smuggled: smuggled\r\nContent-Length: {}\r\n\r\n{EVIL_BODY}",
        EVIL_BODY.len()
    );
    let inner = format!(
        "{:x}\r\n{evil}\r\n0\r\n\r\n",
        evil.len() - "AUTH".len() + auth().len()
    );
    bytes
        .replace(
            "NEXT",
            &format!("{}Content-Length: LEN\r\n\r\nBODY", head()),
        )
        .replace("INNER", &inner)
        .replace("EVIL", &evil)
        .replace("AUTH", &auth())
        .replace("BODY", BODY)
        .replace("REST", &format!("{:x}\r\n{}", BODY.len() - 1, &BODY[1..]))
        .replace("LONG", &"x".repeat(64 << 10))
        .replace("HEX", &format!("{:x}", BODY.len()))
        .replace("LEN", &BODY.len().to_string())
}

fn auth() -> String {
    format!("Authorization: Bearer {KEY}")
}
