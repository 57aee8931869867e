//! Web pages of other origins: those that are named may call models, and nothing else.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::CHAT;
use crate::harness::{Answer, Client, House, Http, KEY, config};

const PAGE: &str = "https://chat.example.com";

async fn serve(provider: &FakeProvider, origins: &str) -> House {
    let cors = format!("server: {{port: 0, cors: {{allowed_origins: [{origins}]}}}}");
    let yaml = config(&provider.base_url(), 1).replace("server: {port: 0}", &cors);
    House::serve(&yaml).await
}

async fn send(house: &House, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let body = match method {
        Method::POST => Bytes::from(CHAT.body),
        _ => Bytes::new(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = Client::connect(house, Http::One).await;
    let request = request.body(Full::new(body)).unwrap();
    Answer::read(client.send(request).await.unwrap()).await
}

async fn preflight(house: &House, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,x-stainless-os",
        ),
    ];
    send(house, Method::OPTIONS, path, &headers).await
}

/// What a browser reads of it.
fn allows(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_page_that_is_named_calls_models_and_reads_what_becomes_of_it() {
    let provider = FakeProvider::start(Options::default()).await;
    let house = serve(&provider, PAGE).await;
    let asked = preflight(&house, CHAT.path, PAGE).await;
    assert_eq!(asked.status, 204, "{}", asked.text());
    assert_eq!(allows(&asked), Some(PAGE));
    assert_eq!(asked.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(
        asked.header("access-control-allow-headers"),
        Some("authorization,content-type,x-stainless-os")
    );
    assert_eq!(asked.header("access-control-allow-credentials"), None);
    assert_eq!(provider.count(), 0, "a question costs nothing");

    let bearer = format!("Bearer {KEY}");
    let known = [("origin", PAGE), ("authorization", &*bearer)];
    let chat = send(&house, Method::POST, CHAT.path, &known).await;
    assert_eq!((chat.status, allows(&chat)), (200, Some(PAGE)));
    let models = send(&house, Method::GET, "/v1/models", &known).await;
    assert_eq!((models.status, allows(&models)), (200, Some(PAGE)));
    assert_eq!(models.header("vary"), Some("origin"));
    // Why it is refused is to be read, too; and the question is no credential.
    let refused = send(&house, Method::POST, CHAT.path, &known[..1]).await;
    assert_eq!((refused.status, allows(&refused)), (401, Some(PAGE)));
    provider.always(
        CHAT.key,
        Behaviour::Status {
            code: 500,
            body: None,
            headers: vec![],
        },
    );
    let failed = send(&house, Method::POST, CHAT.path, &known).await;
    assert!(failed.status >= 500 && allows(&failed) == Some(PAGE));
    house.settled().await;
}

#[tokio::test]
async fn no_other_page_is_told_anything_nor_any_elsewhere() {
    let provider = FakeProvider::start(Options::default()).await;
    let open = [("access-control-allow-origin".to_owned(), "*".to_owned())];
    provider.always(
        CHAT.key,
        Behaviour::Status {
            code: 200,
            body: Some("{}".into()),
            headers: open.into(),
        },
    );
    let bearer = format!("Bearer {KEY}");
    for origins in ["", PAGE] {
        let house = serve(&provider, origins).await;
        let strangers = [
            "https://evil.example",
            "https://chat.example.com.evil.example",
            "https://chat.example.com:8443",
            "http://chat.example.com",
            "null",
            "",
        ];
        for origin in strangers {
            assert_eq!(
                preflight(&house, CHAT.path, origin).await.status,
                405,
                "{origin}"
            );
            let headers = [("origin", origin), ("authorization", &*bearer)];
            let chat = send(&house, Method::POST, CHAT.path, &headers).await;
            assert_eq!((chat.status, allows(&chat)), (200, None), "{origin}");
        }
        for path in [
            "/auth/login",
            "/auth/tokens",
            "/oauth/token",
            "/v0/management/tokens",
            "/health",
            "/nothing",
        ] {
            let asked = preflight(&house, path, PAGE).await;
            assert!(asked.status >= 400, "{path}");
            assert_eq!(asked.header("access-control-allow-methods"), None, "{path}");
        }
        house.settled().await;
    }
}
