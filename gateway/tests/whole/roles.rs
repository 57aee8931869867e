//! What callers may do: roles, who has them, and what of models they see.

use serde_json::{Value, json};
use turnpike_identity::agent_tokens::{self, Costs, NewToken, Owner};
use turnpike_loadtest::{Behaviour, FakeProvider, Options};

use crate::calls::{CHAT, GEMINI, MESSAGES, RESPONSES, StreamCall, client, get_with, post_with};
use crate::harness::{Answer, Client, House, Http, NO_COOLDOWN, chat, raw};
use crate::jwt::{Issuer, Key};

/// A key of the management API.
const MANAGER: &str = "key-of-the-manager";

/// A gateway with one provider of each dialect, `other` beside them, which serves gpt-4o too.
struct Place {
    provider: FakeProvider,
    house: House,
}

impl Place {
    async fn with(access: &str) -> Self {
        let provider = FakeProvider::start(Options::default()).await;
        let yaml = configuration(&provider.base_url(), access);
        let house = House::serve(&yaml).await;
        Self { provider, house }
    }

    /// Takes over other roles.
    fn reload(&self, access: &str) {
        let yaml = configuration(&self.provider.base_url(), access);
        std::fs::write(&self.house.config, yaml).unwrap();
        self.house.gateway.reloader.reload().unwrap();
    }

    async fn post(&self, key: &str, path: &str, body: &str) -> Answer {
        let mut client = client(&self.house, Http::One).await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", &*bearer)];
        post_with(&mut client, path, &headers, body.to_owned()).await
    }

    async fn call(&self, key: &str, call: &StreamCall) -> Answer {
        self.post(key, call.path, call.body).await
    }

    async fn chat(&self, key: &str, model: &str) -> Answer {
        self.post(key, CHAT.path, &chat(model)).await
    }

    /// The status, and the credential that served.
    async fn served_by(&self, key: &str, model: &str) -> (u16, String) {
        self.provider.take_calls();
        let status = self.chat(key, model).await.status;
        let call = self.provider.take_calls().pop();
        (status, call.map(|call| call.key).unwrap_or_default())
    }

    async fn get(&self, key: &str, path: &str, more: &[(&str, &str)]) -> Answer {
        let mut client = client(&self.house, Http::One).await;
        let bearer = format!("Bearer {key}");
        let headers = [&[("authorization", &*bearer)], more].concat();
        get_with(&mut client, path, &headers).await
    }

    /// What the management API says of a token's holder.
    async fn in_effect(&self, token: &str) -> Value {
        let admin = self.house.gateway.admin;
        let stream = tokio::net::TcpStream::connect(admin).await.unwrap();
        let mut client = Client::on(stream, Http::One).await;
        let path = format!("/v0/management/tokens/{token}/roles");
        let headers = [("x-management-key", MANAGER)];
        let answer = get_with(&mut client, &path, &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The names that the lists of the three dialects show.
    async fn listed(&self, key: &str) -> [Vec<String>; 3] {
        let openai = self.get(key, "/v1/models", &[]).await.json();
        let version = [("anthropic-version", "2023-06-01")];
        let anthropic = self.get(key, "/v1/models", &version).await.json();
        let gemini = self.get(key, "/v1beta/models", &[]).await.json();
        let names = |list: &Value, of: &str, name: &str| -> Vec<String> {
            let entries = list[of].as_array().unwrap_or_else(|| panic!("{list}"));
            let names = entries.iter().map(|entry| entry[name].as_str().unwrap());
            names.map(|name| name.replace("models/", "")).collect()
        };
        [
            names(&openai, "data", "id"),
            names(&anthropic, "data", "id"),
            names(&gemini, "models", "name"),
        ]
    }
}

fn configuration(url: &str, access: &str) -> String {
    format!(
        "server: {{port: 0}}\nadmin: {{port: 0, keys: [{{key: {MANAGER}}}]}}\n{NO_COOLDOWN}{access}\n\
         providers:\n\
         \x20 openai:\n\
         \x20   base_url: \"{url}/v1\"\n\
         \x20   prefix: work\n\
         \x20   models: [gpt-4o, {{name: gpt-4o-mini, alias: fast, fallback: [gpt-5]}}, gpt-5, {{name: gpt-5-preview, preview_of: gpt-5}}]\n\
         \x20   credentials: [{{api_key: sk-openai-1}}]\n\
         \x20 other:\n\
         \x20   kind: openai-compatible\n\
         \x20   base_url: \"{url}/v1\"\n\
         \x20   models: [gpt-4o, {{name: llama-3, alias: fast}}]\n\
         \x20   credentials: [{{api_key: sk-other-1}}]\n\
         \x20 claude: {{base_url: \"{url}\", models: [claude-sonnet-4-5, claude-haiku-4-5], credentials: [{{api_key: sk-claude-1}}]}}\n\
         \x20 gemini: {{base_url: \"{url}\", models: [gemini-2.5-pro, gemini-2.5-flash], credentials: [{{api_key: AIza-gemini-1}}]}}\n"
    )
}

fn assert_denied(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert!(answer.text().contains(reason), "{}", answer.text());
}

#[tokio::test]
async fn a_role_grants_models_and_kinds_of_call_and_denials_win() {
    let place = Place::with(
        "api_keys:\n\
         - {key: key-of-dev, name: dev, roles: [developer]}\n\
         - {key: key-of-both, name: both, roles: [developer, no-minis]}\n\
         - {key: key-of-reader, name: reader, roles: [reader]}\n\
         - {key: key-of-nobody, name: nobody}\n\
         - {key: key-of-few, name: few, roles: [all], models: [\"gpt-*\", \"!gpt-4o-mini\"]}\n\
         - {key: key-of-operator, name: operator, roles: [operator]}\n\
         roles:\n\
         \x20 developer: {models: [\"GPT-*\", \"claude-*\", \"fast\", \"work/*\", \"!*-preview\"], providers: [\"*\"], permissions: [\"llm:read\", \"llm:write\"]}\n\
         \x20 no-minis: {models: [\"!gpt-4o-mini\", \"!claude-haiku*\"]}\n\
         \x20 reader: {models: [\"*\"], permissions: [\"llm:read\"]}\n\
         \x20 all: {models: [\"*\"]}\n\
         \x20 operator: {permissions: [\"admin:*\"]}\n",
    )
    .await;
    let status = async |key: &str, model: &str| place.chat(key, model).await.status;
    for (key, model, expected) in [
        ("key-of-dev", "gpt-4o", 200),
        ("key-of-dev", "work/gpt-4o", 200),
        ("key-of-dev", "gpt-5-preview", 403),
        ("key-of-dev", "work/gpt-5-preview", 403),
        ("key-of-both", "gpt-4o", 200),
        ("key-of-reader", "gpt-4o", 403),
        ("key-of-nobody", "gpt-4o", 403),
        ("key-of-operator", "gpt-4o", 403),
        ("key-of-few", "gpt-4o", 200),
        ("key-of-few", "claude-haiku-4-5", 403),
    ] {
        assert_eq!(status(key, model).await, expected, "{key} {model}");
    }
    // What an alias stands for is denied with it: what is left of it serves.
    for key in ["key-of-both", "key-of-few"] {
        let denied = place.served_by(key, "work/fast").await;
        assert_eq!(denied, (403, String::new()), "{key}");
    }
    for _ in 0..4 {
        let served = place.served_by("key-of-both", "fast").await;
        assert_eq!(served, (200, "sk-other-1".into()));
    }
    // Counting is reading.
    let count = "/v1/messages/count_tokens";
    let body = r#"{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"x"}]}"#;
    for (key, expected) in [
        ("key-of-reader", 200),
        ("key-of-dev", 200),
        ("key-of-both", 403),
        ("key-of-operator", 403),
    ] {
        assert_eq!(place.post(key, count, body).await.status, expected, "{key}");
    }
    // A call that names no model needs every model.
    for (key, expected) in [
        ("key-of-dev", 403),
        ("key-of-reader", 403),
        ("key-of-few", 403),
    ] {
        let answer = place.get(key, "/v1/files", &[]).await;
        assert_eq!(answer.status, expected, "{key}");
    }
    place.house.settled().await;
}

#[tokio::test]
async fn a_denial_is_in_the_callers_dialect() {
    let place = Place::with(
        "api_keys: [{key: key-of-dev, roles: [dev]}, {key: key-of-reader, roles: [reader]}]\n\
         roles: {dev: {models: [nothing]}, reader: {models: [\"*\"], permissions: [\"llm:read\"]}}",
    )
    .await;
    for (key, reason) in [
        ("key-of-dev", "may not use the model"),
        ("key-of-reader", "llm:write"),
    ] {
        for call in [CHAT, RESPONSES] {
            let answer = place.call(key, &call).await;
            assert_denied(&answer, reason);
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "permission_error");
            assert_eq!(error["code"], "permission_denied");
        }
        let answer = place.call(key, &MESSAGES).await;
        assert_denied(&answer, reason);
        assert_eq!(answer.json()["error"]["type"], "permission_error");
        let answer = place.call(key, &GEMINI).await;
        assert_denied(&answer, reason);
        assert_eq!(answer.json()["error"]["status"], "PERMISSION_DENIED");
    }
    assert_eq!(place.provider.count(), 0);
    place.house.settled().await;
    for reason in ["model_denied", "permission_denied"] {
        let series = format!(
            "turnpike_requests_total{{operation=\"chat\",reason=\"{reason}\",status=\"403\"}}"
        );
        assert_eq!(place.house.metric(&series), 1.0, "{reason}");
    }
}

#[tokio::test]
async fn lists_show_what_a_caller_may_use() {
    let place = Place::with(
        "api_keys:\n\
         - {key: key-of-all, roles: [all]}\n\
         - {key: key-of-some, roles: [some]}\n\
         - {key: key-of-other, roles: [other]}\n\
         - {key: key-of-writer, roles: [writer]}\n\
         roles:\n\
         \x20 all: {models: [\"*\"]}\n\
         \x20 some: {models: [\"*\", \"!gpt-4o*\", \"!*-haiku-*\", \"!gemini-2.5-pro\", \"!llama-3\"]}\n\
         \x20 other: {models: [\"*\"], providers: [other]}\n\
         \x20 writer: {models: [\"*\"], permissions: [\"llm:write\"]}\n",
    )
    .await;
    let all = place.listed("key-of-all").await;
    let openai = [
        "fast",
        "gpt-4o",
        "gpt-5",
        "gpt-5-preview",
        "work/fast",
        "work/gpt-4o",
        "work/gpt-5",
        "work/gpt-5-preview",
    ];
    assert_eq!(all[0], openai);
    assert_eq!(all[1], ["claude-haiku-4-5", "claude-sonnet-4-5"]);
    assert_eq!(all[2], ["gemini-2.5-flash", "gemini-2.5-pro"]);
    // gpt-4o is gone under its prefix, too, and `fast` with what it stands for.
    let some = place.listed("key-of-some").await;
    assert_eq!(
        some[0],
        ["gpt-5", "gpt-5-preview", "work/gpt-5", "work/gpt-5-preview"]
    );
    assert_eq!(some[1], ["claude-sonnet-4-5"]);
    assert_eq!(some[2], ["gemini-2.5-flash"]);
    let of = |path: &'static str| place.get("key-of-some", path, &[]);
    assert_eq!(of("/v1/models/gpt-5").await.status, 200);
    for hidden in [
        "/v1/models/gpt-4o",
        "/v1/models/fast",
        "/v1beta/models/gemini-2.5-pro",
    ] {
        assert_eq!(of(hidden).await.status, 404, "{hidden}");
    }
    // What nobody serves whom the caller may be served by is none of theirs.
    let other = place.listed("key-of-other").await;
    assert_eq!(
        other,
        [vec!["fast".to_owned(), "gpt-4o".into()], vec![], vec![]]
    );
    for path in ["/v1/models", "/v1beta/models", "/v1/models/gpt-4o"] {
        let answer = place.get("key-of-writer", path, &[]).await;
        assert_denied(&answer, "llm:read");
    }
    assert_eq!(place.chat("key-of-writer", "gpt-4o").await.status, 200);
}

#[tokio::test]
async fn a_caller_is_served_only_by_providers_that_a_role_names() {
    let place = Place::with(
        "api_keys:\n\
         - {key: key-of-other, roles: [other]}\n\
         - {key: key-of-not, roles: [not-other]}\n\
         - {key: key-of-two, roles: [gpt-by-openai, fast-by-other]}\n\
         - {key: key-of-none, roles: [none]}\n\
         roles:\n\
         \x20 other: {models: [\"*\"], providers: [OTHER]}\n\
         \x20 not-other: {models: [\"*\"], providers: [\"*\", \"!other\"]}\n\
         \x20 gpt-by-openai: {models: [gpt-4o], providers: [openai]}\n\
         \x20 fast-by-other: {models: [fast], providers: [\"oth*\"]}\n\
         \x20 none: {models: [\"*\"], providers: [claude]}\n",
    )
    .await;
    for _ in 0..4 {
        for (key, model, credential) in [
            ("key-of-other", "gpt-4o", "sk-other-1"),
            ("key-of-other", "fast", "sk-other-1"),
            ("key-of-not", "gpt-4o", "sk-openai-1"),
            ("key-of-not", "work/fast", "sk-openai-1"),
            ("key-of-two", "gpt-4o", "sk-openai-1"),
            ("key-of-two", "fast", "sk-other-1"),
        ] {
            let served = place.served_by(key, model).await;
            assert_eq!(served, (200, credential.to_owned()), "{key} {model}");
        }
    }
    for (key, model) in [
        ("key-of-other", "gpt-5"),
        ("key-of-two", "gpt-5"),
        ("key-of-none", "gpt-4o"),
    ] {
        assert_denied(&place.chat(key, model).await, "may not use the model");
    }
    place.house.settled().await;
}

#[tokio::test]
async fn no_fallback_and_no_twin_gets_around_a_denial() {
    let place = Place::with(
        "api_keys: [{key: key-of-all, roles: [all]}, {key: key-of-some, roles: [some]}]\n\
         roles:\n\
         \x20 all: {models: [\"*\"], providers: [openai]}\n\
         \x20 some: {models: [\"*\", \"!gpt-5*\"], providers: [openai]}\n",
    )
    .await;
    place
        .provider
        .always("sk-openai-1", Behaviour::server_error(500));
    for (key, models) in [
        ("key-of-all", vec!["gpt-4o-mini", "gpt-5"]),
        ("key-of-some", vec!["gpt-4o-mini"]),
    ] {
        place.provider.take_calls();
        place.chat(key, "fast").await;
        let asked = place.provider.take_calls().into_iter();
        let asked = asked.map(|call| call.json()["model"].as_str().unwrap().to_owned());
        let asked: Vec<String> = asked.collect();
        assert_eq!(asked, models, "{key}");
    }
}

#[tokio::test]
async fn a_role_may_be_good_from_some_networks_only() {
    let access = |networks: &str| {
        format!(
            "roles:\n\
             \x20 near: {{models: [\"gpt-*\"], cidrs: [{networks}]}}\n\
             \x20 anywhere: {{models: [\"gpt-*\"]}}\n\
             api_keys:\n\
             - {{key: key-of-near-00001, name: near, roles: [near]}}\n\
             - {{key: key-of-anywhere-01, name: anywhere, roles: [anywhere]}}\n\
             - {{key: key-of-both-000001, name: both, roles: [anywhere, near]}}\n"
        )
    };
    let place = Place::with(&access("10.0.0.0/8, 2001:db8::1")).await;
    for key in ["key-of-near-00001", "key-of-both-000001"] {
        let answer = place.chat(key, "gpt-4o").await;
        assert_eq!(answer.status, 401, "{key}");
        let text = answer.text();
        assert!(text.contains("is bound to other networks"), "{text}");
        assert_eq!(place.get(key, "/v1/models", &[]).await.status, 401, "{key}");
    }
    assert_eq!(place.chat("key-of-anywhere-01", "gpt-4o").await.status, 200);
    assert_eq!(place.provider.take_calls().len(), 1);

    place.reload(&access("10.0.0.0/8, 127.0.0.0/8"));
    for key in ["key-of-near-00001", "key-of-both-000001"] {
        assert_eq!(place.chat(key, "gpt-4o").await.status, 200, "{key}");
    }
}

/// What a proxy of ours appended counts, whatever the caller wrote before it: bytes that are no text do not
/// make the caller look like the proxy.
#[tokio::test]
async fn who_writes_rubbish_before_what_a_proxy_says_is_where_they_are() {
    let access = "roles:\n\
                  \x20 office: {models: [\"gpt-*\"], cidrs: [10.0.0.0/8]}\n\
                  \x20 machine: {models: [\"gpt-*\"], cidrs: [127.0.0.0/8]}\n\
                  api_keys:\n\
                  - {key: key-of-office-0001, name: office, roles: [office]}\n\
                  - {key: key-of-machine-001, name: machine, roles: [machine]}\n";
    let provider = FakeProvider::start(Options::default()).await;
    let yaml = configuration(&provider.base_url(), access);
    let trusting = yaml.replacen("port: 0", "port: 0, trusted_proxies: [127.0.0.1]", 1);
    let house = House::serve(&trusting).await;
    let cases: [(&[u8], &str, &str); 6] = [
        (b"10.0.0.1", "200", "401"),
        (b"6.6.6.6", "401", "401"),
        (b"\xe9, 10.0.0.1", "200", "401"),
        (b"\xe9, 6.6.6.6", "401", "401"),
        (b"10.0.0.1, \xff, 6.6.6.6", "401", "401"),
        // The proxy says no address: it is as near as can be known.
        (b"10.0.0.1, \xe9", "401", "200"),
    ];
    for (forwarded, office, machine) in cases {
        for (key, expected) in [
            ("key-of-office-0001", office),
            ("key-of-machine-001", machine),
        ] {
            let head = format!(
                "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nX-Forwarded-For: "
            );
            let bytes = [head.as_bytes(), forwarded, b"\r\n\r\n"].concat();
            let answer = raw(&house, &bytes).await;
            let status = answer.split(' ').nth(1);
            let shown = forwarded.escape_ascii();
            assert_eq!(status, Some(expected), "{key} {shown}: {answer}");
        }
    }
}

/// A gateway that takes the tokens of an issuer, with these roles.
async fn trusting(issuer: &Issuer, bindings: &str) -> Place {
    Place::with(&format!(
        "jwt: {{issuers: [{{issuer: \"{}\", audience: [turnpike]}}]}}\n\
         roles: {{gpt: {{models: [\"gpt-*\"]}}, claude: {{models: [\"claude-*\"]}}, gemini: {{models: [\"gemini-*\"]}}}}\n\
         role_bindings:\n{bindings}",
        issuer.url
    ))
    .await
}

#[tokio::test]
async fn signed_tokens_have_the_roles_of_their_groups_scopes_and_claims() {
    let key = Key::new("one");
    let issuer = Issuer::publishing(&key).await;
    let place = trusting(
        &issuer,
        &format!(
            "- {{role: gpt, groups: [eng, ops]}}\n\
             - {{role: gpt, scopes: [chat], claims: {{dept.name: lab, on_call: \"true\"}}}}\n\
             - {{role: claude, email_domains: [Example.com], issuers: [\"{}\"]}}\n\
             - {{role: claude, users: [u-7, bob@other.test]}}\n\
             - {{role: gemini, everyone: true}}\n\
             - {{role: claude, groups: [eng], issuers: [\"https://another.example\"]}}\n",
            issuer.url
        ),
    )
    .await;
    let with = |changes: Value| {
        let mut claims = issuer.claims();
        claims["email"] = Value::Null;
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        key.sign(&claims)
    };
    let unverified = json!({"email": "ada@example.com", "email_verified": false});
    for (claims, gpt, claude) in [
        (json!({}), 403, 403),
        (json!({"groups": ["sales", "ops"]}), 200, 403),
        (json!({"groups": "eng"}), 200, 403),
        (json!({"groups": ["Eng"]}), 403, 403),
        (json!({"scope": "chat"}), 403, 403),
        (
            json!({"scope": "x chat", "dept": {"name": ["lab"]}, "on_call": true}),
            200,
            403,
        ),
        (
            json!({"scope": "x chat", "dept": {"name": "lab"}, "on_call": false}),
            403,
            403,
        ),
        (json!({"dept": {"name": "lab"}, "on_call": true}), 403, 403),
        (json!({"email": "ada@example.com"}), 403, 200),
        (unverified, 403, 403),
        (json!({"email": "ada@example.com@evil.test"}), 403, 403),
        (json!({"email": "ada@evil.test@example.com"}), 403, 403),
        (json!({"email": "ada@sub.example.com"}), 403, 403),
        (json!({"email": "Bob@Other.test"}), 403, 200),
        (
            json!({"email": "bob@other.test", "email_verified": false}),
            403,
            403,
        ),
        (json!({"sub": "bob@other.test"}), 403, 403),
        (json!({"sub": "u-7"}), 403, 200),
        (json!({"sub": "u-7", "groups": ["eng"]}), 200, 200),
        (json!({"roles": ["gpt", "claude"]}), 403, 403),
    ] {
        let token = with(claims.clone());
        for (call, expected) in [(&CHAT, gpt), (&MESSAGES, claude), (&GEMINI, 200)] {
            let answer = place.call(&token, call).await;
            assert_eq!(answer.status, expected, "{claims} {}", call.path);
        }
    }
    // What clients say of themselves is nothing.
    let token = with(json!({}));
    let mut client = client(&place.house, Http::One).await;
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", &*bearer),
        ("x-forwarded-groups", "eng"),
        ("x-groups", "eng"),
        ("x-user-id", "u-7"),
        ("x-forwarded-email", "bob@other.test"),
    ];
    let answer = post_with(&mut client, CHAT.path, &headers, CHAT.body).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_reload_takes_effect_on_the_next_request() {
    let access = |role: &str, models: &str| {
        format!(
            "api_keys: [{{key: key-of-ci, name: ci}}]\n\
             roles: {{gpt: {{models: [\"{models}\"]}}, none: {{models: [none]}}}}\n\
             role_bindings: [{{role: {role}, api_keys: [ci]}}]\n"
        )
    };
    let place = Place::with(&access("gpt", "gpt-*")).await;
    let token = make(&place, "worker", None).await;
    for _ in 0..2 {
        assert_eq!(place.chat("key-of-ci", "gpt-4o").await.status, 200);
        assert_eq!(place.chat(&token.1, "gpt-4o").await.status, 403);
        place.reload(&access("none", "gpt-*"));
        assert_eq!(place.chat("key-of-ci", "gpt-4o").await.status, 403);
        place.reload(&access("gpt", "claude-*"));
        assert_eq!(place.chat("key-of-ci", "gpt-4o").await.status, 403);
        let bound = access("gpt", "gpt-*").replace("api_keys: [ci]}", "tokens: [worker]}");
        place.reload(&bound);
        assert_eq!(place.chat("key-of-ci", "gpt-4o").await.status, 403);
        assert_eq!(place.chat(&token.1, "gpt-4o").await.status, 200);
        place.reload(&access("gpt", "gpt-*"));
    }
    // Without roles everything is allowed again, as it is written.
    place.reload("api_keys: [{key: key-of-ci, name: ci}]");
    assert_eq!(place.chat(&token.1, "gpt-4o").await.status, 200);
}

/// An agent token: its id, and itself.
async fn make(place: &Place, name: &str, owner: Option<Owner>) -> (String, String) {
    let new = NewToken {
        name: name.into(),
        owner,
        ..NewToken::default()
    };
    let costs = Costs {
        memory_kib: 1024,
        iterations: 1,
        parallelism: 1,
    };
    let runtime = &place.house.gateway.runtime;
    let issued = agent_tokens::issue(&*runtime.store, new, costs, 0)
        .await
        .unwrap();
    let read = runtime
        .agent_tokens
        .read_one(&issued.record.id, &*runtime.store);
    read.await.unwrap();
    (issued.record.id, issued.token.expose().to_owned())
}

#[tokio::test]
async fn tokens_have_roles_by_id_and_by_a_name_that_an_operator_gave() {
    let place = Place::with("api_keys: [{key: key-of-tests}]").await;
    let (_, build) = make(&place, "build", None).await;
    let (id, other) = make(&place, "other", None).await;
    let ada = Owner {
        issuer: "https://idp.example.com".into(),
        subject: "ada".into(),
        email: Some("ada@example.com".into()),
        ..Owner::default()
    };
    // She calls her tokens as she likes: as another one, and as another one's id.
    let (_, adas) = make(&place, "build", Some(ada.clone())).await;
    let (_, adas_other) = make(&place, &id, Some(ada)).await;
    place.reload(&format!(
        "roles: {{gpt: {{models: [\"gpt-*\"]}}, claude: {{models: [\"claude-*\"]}}}}\n\
         role_bindings: [{{role: gpt, tokens: [build]}}, {{role: claude, tokens: [{id}]}}]\n"
    ));
    for (token, gpt, claude) in [
        (&build, 200, 403),
        (&other, 403, 200),
        (&adas, 403, 403),
        (&adas_other, 403, 403),
    ] {
        assert_eq!(place.call(token, &CHAT).await.status, gpt);
        assert_eq!(place.call(token, &MESSAGES).await.status, claude);
    }
    let shown = place.in_effect(&id).await;
    let models = ["claude-haiku-4-5", "claude-sonnet-4-5"];
    let expected =
        json!({"roles": ["claude"], "permissions": ["llm:read", "llm:write"], "models": models});
    assert_eq!(shown, expected);
    place.reload("api_keys: [{key: key-of-tests}]");
    let shown = place.in_effect(&id).await;
    assert_eq!(
        (&shown["roles"], shown["models"].as_array().unwrap().len()),
        (&Value::Null, 12)
    );
}
