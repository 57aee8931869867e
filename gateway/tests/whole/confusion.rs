//! Requests whose path, host or headers could be read in two ways: nobody unknown is served, and a
//! key for some models gets no others.

use std::net::SocketAddr;

use turnpike_loadtest::{FakeProvider, Options, Recorded};

use crate::harness::{House, raw, raw_from};

const NARROW: &str = "narrow-key-0123456789";

/// The one model that the narrow key may use.
const ALLOWED: &str = "gpt-4o-mini";

/// Targets that somewhere are taken for a call of a model, a page, or something of the operator's.
const TARGETS: &[&str] = &[
    "/v1/chat/completions",
    "//v1/chat/completions",
    "///v1///chat///completions",
    "/v1/chat/completions/",
    "/v1/chat/completions//",
    "/chat/completions",
    "/v1/v1/chat/completions",
    "/V1/chat/completions",
    "/v1/CHAT/completions",
    "/v1/./chat/completions",
    "/v1/../v1/chat/completions",
    "/../v1/chat/completions",
    "/v1/chat/../chat/completions",
    "/health/../v1/chat/completions",
    "/health/..;/v1/chat/completions",
    "/auth/login/../../v1/chat/completions",
    "/auth/../v1/chat/completions",
    "/auth/..%2fv1/chat/completions",
    "/auth/%2e%2e/v1/chat/completions",
    "/auth/%2e%2e%2fv1%2fchat%2fcompletions",
    "/auth/%252e%252e/v1/chat/completions",
    "/auth/..\\v1\\chat\\completions",
    "/auth/..%5cv1%5cchat%5ccompletions",
    "/auth/login;/../v1/chat/completions",
    "/auth/login?/../v1/chat/completions",
    "/auth/login%3f/../../v1/chat/completions",
    "/auth/login#/../../v1/chat/completions",
    "/auth/login%23/../../v1/chat/completions",
    "/auth/login/v1/chat/completions",
    "/auth//v1/chat/completions",
    "/auth/login%00/v1/chat/completions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/completions%0d%0aX-Api-Key:%20x",
    "/v1/chat/completions;jsessionid=1",
    "/v1/chat/completions.json",
    "/v1/chat/completions/.",
    "/v1/chat/completions/..",
    "/v1/chat/completions/../../auth/login",
    "/v1/chat/completions#/auth/login",
    "/v1/chat/completions?/auth/login",
    "/v1/chat/completions?path=/auth/login",
    "/v1/chat/completions?key=",
    "/v1/chat/completions?key=null&key=null",
    "/v1/chat/completions?auth_token=undefined",
    "/v1/chat/completions?%6bey=x",
    "/v1%2fchat%2fcompletions",
    "/v1%252fchat%252fcompletions",
    "/%76%31/chat/completions",
    "/%2576%2531/chat/completions",
    "/v1/chat%2fcompletions",
    "/v1/ch%61t/completions",
    "/v1\\chat\\completions",
    "/v1/chat/completions\\..\\..\\auth\\login",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages?beta=true",
    "/v1/embeddings",
    "/v1/files",
    "/v1/images/generations",
    "/v1/audio/../chat/completions",
    "/v1beta/models/gpt-4o:generateContent",
    "/v1beta/models/gpt-4o%3agenerateContent",
    "/v1beta/models/gpt-4o-mini%2f..%2fgpt-4o:generateContent",
    "/v1beta/models/..%2f..%2fv1%2fchat%2fcompletions:generateContent",
    "/v1beta/models/gpt-4o-mini:generateContent/../gpt-4o:generateContent",
    "/v1beta/models/gpt-4o:generateContent?model=gpt-4o-mini",
    "/v1/models/gpt-4o:generateContent",
    "/v1beta/models/gpt-4o:streamGenerateContent?alt=sse",
    "/v1/realtime",
    "/v0/management/auths",
    "/v0//management/auths",
    "/v0/./management/auths",
    "/v0/management/../../metrics",
    "/metrics",
    "//metrics",
    "/metrics/",
    "/%6detrics",
    "/health/../metrics",
    "/ready",
    "/admin",
    "/admin/sign-in",
    "/admin/../v1/chat/completions",
    "/admin/..%2fv0/management/auths",
    "/admin/credentials",
    "/.well-known/../v1/chat/completions",
    "/favicon.ico/../v1/chat/completions",
    "http://gateway/v1/chat/completions",
    "http://gateway:80/auth/../v1/chat/completions",
    "http://127.0.0.1/v1/chat/completions",
    "http://user:pass@gateway/v1/chat/completions",
    "https://api.openai.com/v1/chat/completions",
    "//api.openai.com/v1/chat/completions",
    "gateway:443",
    "*",
    "v1/chat/completions",
    "?/v1/chat/completions",
];

const HOSTS: &[&str] = &[
    "gateway/v1/chat/completions",
    "gateway/auth/login",
    "gateway?/auth/login",
    "gateway#/auth/login",
    "gateway@evil.example",
    "user:pass@gateway",
    "gateway/auth/login#@evil.example",
    "evil.example",
    "127.0.0.1",
    "127.0.0.1:8317",
    "localhost",
    "localhost:8317/v0/management",
    "[::1]",
    "[::1",
    "gateway:99999",
    "gateway:80:80",
    "gateway%2fauth",
    "gateway\\auth",
    "GATEWAY.",
    "gate way",
    "a,b",
    "",
];

/// What proxies and frameworks take for another path, another client or another person.
const HEADERS: &[&str] = &[
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-For: 127.0.0.1, ::1",
    "X_Forwarded_For: 127.0.0.1",
    "X-Forwarded-Host: localhost",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Prefix: /auth",
    "X-Forwarded-Path: /auth/login",
    "X-Forwarded-Uri: /auth/login",
    "X-Forwarded-Server: localhost",
    "X-Forwarded-User: admin",
    "X-Forwarded-Email: admin@example.com",
    "X-Forwarded-Groups: admins",
    "X-Forwarded-Access-Token: abc",
    "Forwarded: for=127.0.0.1;host=localhost;proto=https",
    "X-Real-IP: 127.0.0.1",
    "X_Real_IP: 127.0.0.1",
    "True-Client-IP: 127.0.0.1",
    "CF-Connecting-IP: 127.0.0.1",
    "X-Client-IP: 127.0.0.1",
    "X-Cluster-Client-IP: 127.0.0.1",
    "X-Remote-Addr: 127.0.0.1",
    "X-Original-URL: /auth/login",
    "X-Original-URL: /v1/models",
    "X-Original-URI: /health",
    "X-Rewrite-URL: /health",
    "X-Override-URL: /health",
    "X-HTTP-Method-Override: GET",
    "X-HTTP-Method: OPTIONS",
    "X-Method-Override: HEAD",
    "X-Original-Host: localhost",
    "X-Host: localhost",
    "X-User-ID: admin",
    "X-Department: platform",
    "X-Authenticated-User: admin",
    "X-Authenticated-Email: admin@example.com",
    "X-Remote-User: admin",
    "Remote-User: admin",
    "REMOTE_USER: admin",
    "X-Auth-Request-User: admin",
    "X-Goog-Authenticated-User-Email: accounts.google.com:admin@example.com",
    "X-Amzn-Oidc-Identity: admin",
    "X-Amzn-Oidc-Data: eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    "X-Ms-Client-Principal-Name: admin",
    "X-SSL-Client-Verify: SUCCESS",
    "X-SSL-Client-DN: CN=admin",
    "X-Client-Cert: abc",
    "X-Forwarded-Client-Cert: Hash=abc",
    "X-Management-Key: admin",
    "X-Turnpike-Tenant: acme",
    "X-Auth-Required: 0",
    "Authorization: Basic YWRtaW46YWRtaW4=",
    "Authorization: Bearer",
    "Authorization: Bearer null",
    "Authorization: Bearer undefined",
    "Authorization: Negotiate abc",
    "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    "Proxy-Authorization: Bearer x",
    "X-Api-Key: null",
    "X-Goog-Api-Key: undefined",
    "Api-Key: x",
    "Cookie: turnpike_session=x; __Host-turnpike_session=x",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Connection: Authorization, Host",
    "Via: 1.1 localhost",
    "Origin: http://localhost",
];

/// One request in each line of the tables, with `authorization` or without.
fn requests(authorization: &str) -> Vec<(String, String)> {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"contents":[]}"#;
    let request = |method: &str, target: &str, host: &str, header: &str| {
        let header = if header.is_empty() {
            String::new()
        } else {
            format!("{header}\r\n")
        };
        // It may name the connection itself.
        let close = match header.starts_with("Connection") || header.starts_with("Upgrade") {
            true => "",
            false => "Connection: close\r\n",
        };
        let what = format!("{method} {target} Host: {host} {header:?}");
        let bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{header}{authorization}{close}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        (what, bytes)
    };
    let mut requests = Vec::new();
    for target in TARGETS {
        requests.extend(["POST", "GET"].map(|method| request(method, target, "gateway", "")));
    }
    requests.push(request("CONNECT", "api.openai.com:443", "gateway", ""));
    for host in HOSTS {
        requests.push(request("POST", "/v1/chat/completions", host, ""));
    }
    for header in HEADERS {
        for target in ["/v1/chat/completions", "/v0/management/auths"] {
            requests.push(request("POST", target, "gateway", header));
        }
    }
    requests
}

fn status(answer: &str) -> Option<u16> {
    answer.split(' ').nth(1)?.parse().ok()
}

/// What is said to everybody: that the process lives, and the pages to log in by.
fn is_public(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let head = head.to_lowercase();
    let is_page = head.contains("content-security-policy:") && body.starts_with("<!doctype html>");
    let words = [
        "Turnpike\n",
        r#"{"status":"ok"}"#,
        r#"{"generation":1,"status":"ready"}"#,
    ];
    is_page || words.contains(&body)
}

/// The one credential that operators can list, by its label.
const LISTED: &str = "label-of-the-listed";

const MANAGER: &str = "key-of-the-manager-of-routes";

async fn place() -> (FakeProvider, House) {
    place_at("port: 0", "port: 0").await
}

/// With this in `server` and `admin`.
async fn place_at(server: &str, admin: &str) -> (FakeProvider, House) {
    let options = Options {
        keep_bodies: true,
        ..Options::default()
    };
    let provider = FakeProvider::start(options).await;
    let url = provider.base_url();
    let yaml = format!(
        "server: {{{server}}}\nadmin: {{{admin}, keys: [{{name: m, key: {MANAGER}}}]}}\n\
         api_keys: [{{key: {NARROW}, name: narrow, models: [{ALLOWED}]}}]\n\
         sso: {{enabled: true, providers: {{github: {{client_id: id, client_secret: secret-of-the-tests}}}}}}\n\
         providers:\n\
         \x20 openai: {{base_url: \"{url}/v1\", credentials: [{{api_key: sk-upstream, label: {LISTED}}}]}}\n\
         \x20 gemini: {{base_url: \"{url}\", models: [{{name: gpt-4o}}, {{name: gpt-4o-mini}}], credentials: [{{api_key: AIza-upstream}}]}}\n"
    );
    (provider, House::serve(&yaml).await)
}

/// Where metrics are served, they are for everybody who reaches the listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metrics {
    Elsewhere,
    Here,
}

/// Sends everything there is to this address, from that one.
async fn assert_closed(
    provider: &FakeProvider,
    (from, to): (&str, SocketAddr),
    more: &str,
    metrics: Metrics,
) {
    let requests = requests(more);
    assert!(requests.len() >= 300, "{}", requests.len());
    for (what, bytes) in requests {
        let answer = raw_from(from, to, bytes.as_bytes()).await;
        let status = status(&answer).unwrap_or_else(|| panic!("{what}: {answer:?}"));
        let is_metrics = answer.contains("# HELP");
        assert!(!is_metrics || metrics == Metrics::Here, "{what}: metrics");
        let is_told = answer.to_lowercase().contains("\r\nx-auth-required: 1\r\n");
        assert!(
            !(200..300).contains(&status) || is_told || is_metrics || is_public(&answer),
            "{what}: {answer}"
        );
        assert!(!answer.contains(LISTED) || is_metrics, "{what}: {answer}");
        assert_eq!(provider.count(), 0, "{what}: {answer}");
    }
}

/// That there is something to be found with the key.
async fn assert_listed(to: SocketAddr) {
    let request = format!(
        "GET /v0/management/auths HTTP/1.1\r\nHost: gateway\r\nX-Management-Key: {MANAGER}\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = raw_from("127.0.0.1", to, request.as_bytes()).await;
    assert!(answer.contains(LISTED), "{answer}");
}

const LOCAL: &str = "127.0.0.1";

#[tokio::test]
async fn nobody_unknown_is_served() {
    let (provider, house) = place().await;
    let to = house.gateway.proxy;
    assert_closed(&provider, (LOCAL, to), "", Metrics::Elsewhere).await;
}

#[tokio::test]
async fn nobody_without_a_key_manages_at_the_admin_listener() {
    let (provider, house) = place().await;
    let to = house.gateway.admin;
    assert_listed(to).await;
    assert_closed(&provider, (LOCAL, to), "", Metrics::Here).await;
}

#[tokio::test]
async fn nobody_without_a_key_manages_where_one_listener_serves_both() {
    // An address of this machine's own that no other test has.
    let at = format!("host: {}, port: 8317", loopback());
    let (provider, house) = place_at(&at, &at).await;
    let to = house.gateway.admin;
    assert_eq!(to, house.gateway.proxy);
    assert_listed(to).await;
    assert_closed(&provider, (LOCAL, to), "", Metrics::Here).await;
}

fn loopback() -> String {
    let [_, a, b, c] = fastrand::u32(1 << 16..1 << 24).to_be_bytes();
    format!("127.{a}.{b}.{c}")
}

#[tokio::test]
async fn what_proxies_say_opens_nothing_trusted_or_not() {
    let at = format!("host: {}, port: 8317", loopback());
    let trusting = format!("{at}, trusted_proxies: [127.0.0.9]");
    let (provider, house) = place_at(&trusting, &at).await;
    let to = house.gateway.proxy;
    for from in [LOCAL, "127.0.0.9"] {
        let forged = "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\n";
        assert_closed(&provider, (from, to), forged, Metrics::Here).await;
    }
}

/// The models that a call asks its provider for.
fn models(call: &Recorded) -> (bool, bool) {
    let path = call.path_and_query.as_str();
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let in_body = path.contains("/chat/") || path.contains("/responses");
    (
        in_body && body["model"] != ALLOWED,
        path.contains("gpt-4o:"),
    )
}

#[tokio::test]
async fn a_key_for_some_models_gets_no_others() {
    let (provider, house) = place().await;
    let authorization = format!("X-Goog-Api-Key: {NARROW}\r\n");
    for (what, bytes) in requests(&authorization) {
        let answer = raw(&house, bytes.as_bytes()).await;
        assert!(status(&answer).is_some(), "{what}: {answer:?}");
        assert!(!answer.contains("# HELP"), "{what}: metrics");
        for call in provider.take_calls() {
            assert_eq!(models(&call), (false, false), "{what}: {call:?}");
        }
    }
}
