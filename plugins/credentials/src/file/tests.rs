//! What other tools write, what they write wrong, and that errors repeat nothing of it.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const PEM: &str = include_str!("../../tests/fixtures/test-only-rsa-key.pem");

/// 2026-01-02 03:04:05 UTC.
const THEN: u64 = 1_767_323_045_000;

fn of(stem: &str, value: &Value) -> CredentialFile {
    match parse(stem, value.to_string().as_bytes()) {
        Ok(file) => file,
        Err(error) => panic!("{value}: {error}"),
    }
}

fn refused(value: &Value) -> String {
    match parse("openai", value.to_string().as_bytes()) {
        Ok(_) => panic!("accepted: {value}"),
        Err(error) => error.to_string(),
    }
}

fn key(file: &CredentialFile) -> &str {
    match &file.material {
        Material::Key(secret) => secret.expose(),
        _ => panic!("not a key"),
    }
}

fn token(file: &CredentialFile) -> (&str, Option<&str>, Option<u64>) {
    match &file.material {
        Material::Token {
            access,
            refresh,
            expires_at,
        } => (
            access.expose(),
            refresh.as_ref().map(Secret::expose),
            *expires_at,
        ),
        _ => panic!("not a token"),
    }
}

fn candidates(file: &CredentialFile) -> Vec<&str> {
    file.provider_candidates().collect()
}

#[test]
fn an_api_key() {
    let file = of(
        "openai",
        &json!({
            "type": "api_key",
            "token": "sk-9f3a",
            "priority": 3,
            "quota": {"limit": 1000, "used": 250, "remaining": 750},
        }),
    );
    assert_eq!(key(&file), "sk-9f3a");
    assert_eq!(candidates(&file), ["openai"]);
    assert_eq!((file.priority, file.weight, file.disabled), (3, 1, false));
    let quota = FileQuota {
        limit: Some(1000),
        used: 250,
    };
    assert_eq!(file.quota, Some(quota));
}

#[test]
fn an_oauth_token() {
    let file = of(
        "anything",
        &json!({
            "type": "claude",
            "access_token": "at-1",
            "refresh_token": "rt-1",
            "token_type": "Bearer",
            "expired": "2026-01-02T03:04:05Z",
            "email": "alice@example.com",
            "last_refresh": 5,
            "attributes": {"priority": "10", "websockets": "true", "description": "Alice's"},
        }),
    );
    assert_eq!(token(&file), ("at-1", Some("rt-1"), Some(THEN)));
    assert_eq!(candidates(&file), ["claude"]);
    assert_eq!(file.label.as_deref(), Some("alice@example.com"));
    assert_eq!(file.note.as_deref(), Some("Alice's"));
    assert_eq!((file.priority, file.websockets), (-9, true));
}

#[test]
fn everything_at_the_top() {
    let file = of(
        "x",
        &json!({
            "provider": "gemini", "type": "api_key", "token": "k1",
            "disabled": "true", "weight": "3", "prefix": "work", "priority": "2",
            "proxy_url": "socks5://user:password@proxy:1080", "note": "first\nsecond",
            "headers": {"X-Team": "red"}, "websockets": true,
            "excluded_models": ["gemini-*-preview"],
            "model_aliases": [{"name": "gemini-2.5-pro", "alias": "pro"}],
            "project_id": "my-project", "account_id": "acc-1", "location": "us-central1",
            "label": "main", "email": "alice@example.com",
            "attributes": {"priority": "10", "websockets": "false"},
        }),
    );
    assert_eq!(candidates(&file), ["gemini"]);
    assert_eq!((file.disabled, file.weight, file.priority), (true, 3, 2));
    assert!(file.websockets);
    assert_eq!(file.prefix.as_deref(), Some("work"));
    let proxy = file.proxy_url.as_ref().map(Secret::expose);
    assert_eq!(proxy, Some("socks5://user:password@proxy:1080"));
    assert_eq!(file.headers, [("x-team".to_owned(), "red".to_owned())]);
    assert_eq!(file.excluded_models, ["gemini-*-preview"]);
    let alias = ModelAlias {
        name: "gemini-2.5-pro".into(),
        alias: "pro".into(),
    };
    assert_eq!(file.model_aliases, [alias]);
    assert_eq!(file.project_id.as_deref(), Some("my-project"));
    assert_eq!(file.account_id.as_deref(), Some("acc-1"));
    assert_eq!(file.location.as_deref(), Some("us-central1"));
    assert_eq!(file.label.as_deref(), Some("main"));
}

#[test]
fn what_other_tools_leave_empty_is_absent() {
    let file = of(
        "openai",
        &json!({
            "access_token": "at", "refresh_token": "", "expired": "", "email": null, "prefix": "",
            "proxy_url": "", "priority": "", "disabled": "", "attributes": null, "quota": null,
            "headers": null, "excluded_models": null, "model_aliases": [], "project_id": "",
        }),
    );
    assert_eq!(token(&file), ("at", None, None));
    assert_eq!((file.priority, file.disabled), (1, false));
    assert!(file.prefix.is_none() && file.proxy_url.is_none() && file.project_id.is_none());
    assert!(file.quota.is_none() && file.label.is_none());
}

#[test]
fn keys_may_have_hyphens_and_a_mark_may_stand_in_front() {
    let file = parse(
        "x",
        "\u{feff}{\"api-key\": \"k\", \"project-id\": \"p\"}".as_bytes(),
    );
    let file = file.ok().unwrap();
    assert_eq!(key(&file), "k");
    assert_eq!(file.project_id.as_deref(), Some("p"));
}

#[test]
fn tokens_may_stand_in_an_object() {
    let file = of(
        "codex",
        &json!({"OPENAI_API_KEY": null, "tokens": {
            "id_token": "it", "access_token": "at", "refresh_token": "rt", "account_id": "acc",
        }}),
    );
    assert_eq!(token(&file), ("at", Some("rt"), None));
    assert_eq!(file.account_id.as_deref(), Some("acc"));
    let counts = json!({"tokens": {"used": 5}, "token": "k"});
    assert_eq!(key(&of("x", &counts)), "k");
    let inner = json!({"type": "gemini", "token": {"access_token": "at", "expiry": 1_767_323_045}});
    assert_eq!(token(&of("x", &inner)), ("at", None, Some(THEN)));
    let outer = json!({"token": {"access_token": "at"}, "expiry": 1_767_323_045});
    assert_eq!(token(&of("x", &outer)), ("at", None, Some(THEN)));
}

#[test]
fn what_kind_of_secret_it_is() {
    let kind = |value: Value| match of("x", &value).material {
        Material::Key(_) => "key",
        Material::Token { .. } => "token",
        Material::ServiceAccount(_) => "account",
    };
    assert_eq!(kind(json!({"token": "k"})), "key");
    assert_eq!(kind(json!({"type": "openai", "api_key": "k"})), "key");
    assert_eq!(
        kind(json!({"type": "API-Key", "token": "k", "access_token": "a"})),
        "key"
    );
    assert_eq!(kind(json!({"type": "oauth", "token": "k"})), "token");
    assert_eq!(
        kind(json!({"type": "openai", "access_token": "k"})),
        "token"
    );
    assert_eq!(kind(json!({"api_key": "k", "access_token": ""})), "key");
}

#[test]
fn a_service_account_wrapped_or_raw() {
    let raw = json!({
        "type": "service_account", "project_id": "inner", "private_key": PEM,
        "client_email": "robot@inner.iam.gserviceaccount.com", "private_key_id": "abc",
        "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
    });
    let file = of("my-robot", &raw);
    let Material::ServiceAccount(account) = &file.material else {
        panic!("not a service account");
    };
    assert_eq!(
        account.client_email(),
        "robot@inner.iam.gserviceaccount.com"
    );
    assert_eq!(
        file.label.as_deref(),
        Some("robot@inner.iam.gserviceaccount.com")
    );
    assert_eq!(file.project_id.as_deref(), Some("inner"));
    assert_eq!(candidates(&file), ["my-robot", "my", "vertex"]);

    let wrapped = json!({
        "type": "vertex", "service_account": raw, "project_id": "outer", "location": "global",
    });
    let file = of("x", &wrapped);
    assert_eq!(candidates(&file), ["vertex"]);
    assert_eq!(file.project_id.as_deref(), Some("outer"));
    assert_eq!(file.location.as_deref(), Some("global"));
}

#[test]
fn a_bad_service_account_says_what_is_wrong() {
    let with = |key: &str, value: Value| {
        let mut account = json!({"client_email": "a@b", "private_key": PEM});
        account[key] = value;
        refused(&json!({"type": "vertex", "service_account": account}))
    };
    let cut: String = PEM.chars().take(900).collect();
    for pem in [
        "CANARY",
        cut.as_str(),
        "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n",
    ] {
        let expected = "`service_account.private_key`: not an RSA private key in PEM of at least \
                        2048 bits";
        assert_eq!(with("private_key", json!(pem)), expected);
    }
    assert!(with("private_key", Value::Null).contains("missing in the service account"));
    assert!(with("client_email", Value::Null).contains("`service_account.client_email`"));
    let plain = with("token_uri", json!("http://oauth2.example.com/token"));
    assert!(plain.contains("expected an https URL"), "{plain}");
}

#[test]
fn the_file_name_tells_the_provider_when_nothing_else_does() {
    for kind in ["api_key", "API_KEY", "oauth", "token"] {
        let file = json!({"type": kind, "token": "k", "access_token": "k"});
        let file = of("claude-alice@example.com", &file);
        assert_eq!(
            candidates(&file),
            ["claude-alice@example.com", "claude"],
            "{kind}"
        );
    }
    let file = of(
        "claude-alice",
        &json!({"token": "k", "provider": "open-ai"}),
    );
    assert_eq!(candidates(&file), ["open-ai"]);
    assert_eq!(candidates(&of("-odd", &json!({"token": "k"}))), ["-odd"]);
}

#[test]
fn priorities_of_both_kinds_rank_in_one_order() {
    let priority = |mut value: Value| {
        value["token"] = json!("k");
        of("x", &value).priority
    };
    let attribute = |p: &str| priority(json!({"attributes": {"priority": p}}));
    assert!(attribute("10") < attribute("5"));
    assert!(attribute("-1") > attribute("0"));
    assert_eq!(attribute("0"), priority(json!({})));
    assert_eq!(attribute("0"), 1);
    assert_eq!(attribute(&i64::MIN.to_string()), i64::MAX);
    assert_eq!(priority(json!({"priority": 0})), 0);
    assert_eq!(
        priority(json!({"priority": 7, "attributes": {"priority": "9"}})),
        7
    );
}

#[test]
fn a_quota_is_used_or_remaining() {
    let quota = |quota: Value| {
        of("x", &json!({"token": "k", "quota": quota}))
            .quota
            .unwrap()
    };
    assert_eq!(quota(json!({"limit": 100, "remaining": 30})).used, 70);
    assert_eq!(quota(json!({"limit": 100, "remaining": 300})).used, 0);
    assert_eq!(
        quota(json!({"limit": "100", "used": "5", "remaining": 1})).used,
        5
    );
    assert_eq!(
        quota(json!({"limit": null, "remaining": null})),
        FileQuota::default()
    );
}

#[test]
fn aliases_may_be_an_object() {
    let file = of(
        "x",
        &json!({"token": "k", "model_aliases": {"fast": "gpt-4o-mini"}}),
    );
    let alias = ModelAlias {
        name: "gpt-4o-mini".into(),
        alias: "fast".into(),
    };
    assert_eq!(file.model_aliases, [alias]);
}

#[test]
fn broken_json_is_told_with_its_place() {
    for (bytes, expected) in [
        (&b""[..], "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[1]", "expected a JSON object, `{…}`"),
        (b"\"CANARY\"", "expected a JSON object, `{…}`"),
        (
            b"{\n\"a\": 1\n\"b\": 2}",
            "not valid JSON: expected `,` or `}` at line 3 column 1",
        ),
        (
            b"{\"a\": tru}",
            "not valid JSON: expected ident at line 1 column 10",
        ),
        (
            b"{\"a\":\n\"CANAR",
            "not valid JSON: EOF while parsing a string at line 2 column 6",
        ),
        (
            b"{\n\"a\": \"\xff\"}",
            "the file is not text in UTF-8 (line 2)",
        ),
    ] {
        let error = parse("x", bytes).err().unwrap().to_string();
        assert_eq!(error, expected);
    }
    let deep = "[".repeat(200_000);
    assert!(parse("x", deep.as_bytes()).is_err());
}

#[test]
fn secrets_that_cannot_be_sent_and_placeholders_are_refused() {
    for bad in [
        "",
        " ",
        "two words",
        "line\nbreak",
        "sk-1\n",
        "schlüssel",
        "\u{0}",
        "your-api-key",
        "YOUR_TOKEN_HERE",
        "sk-your-api-key",
        "${OPENAI_API_KEY}",
        "<your token>",
        "ChangeMe",
    ] {
        for key in ["token", "api_key", "access_token"] {
            let error = refused(&json!({key: bad}));
            assert!(
                error.starts_with(&format!("`{key}`: ")),
                "{key} {bad:?}: {error}"
            );
        }
        if !bad.is_empty() {
            let error = refused(&json!({"access_token": "good", "refresh_token": bad}));
            assert!(error.starts_with("`refresh_token`: "), "{bad:?}: {error}");
        }
        let error = refused(&json!({"tokens": {"access_token": bad}}));
        assert!(
            error.starts_with("`tokens.access_token`: "),
            "{bad:?}: {error}"
        );
    }
    assert!(refused(&json!({"type": "openai"})).starts_with("holds no credential"));
    assert!(refused(&json!({"type": "api_key", "access_token": "a"})).starts_with("holds no"));
    assert!(of("x", &json!({"token": "sk-yours-9f3a"})).label.is_none());
}

#[test]
fn values_out_of_their_bounds_name_their_key() {
    for (key, value) in [
        ("weight", json!(0)),
        ("weight", json!(1_001)),
        ("weight", json!(1.5)),
        ("priority", json!("high")),
        ("priority", json!(9.5)),
        ("disabled", json!(1)),
        ("disabled", json!("yes")),
        ("prefix", json!("team/a")),
        ("prefix", json!("p".repeat(101))),
        ("provider", json!("open ai")),
        ("type", json!(["openai"])),
        ("label", json!("a\nb")),
        ("email", json!("e".repeat(201))),
        ("location", json!("evil.example.com/#")),
        ("location", json!("us_central1")),
        ("project_id", json!("a/../b")),
        ("project_id", json!("one,two")),
        ("account_id", json!("a\r\nX-Evil: 1")),
        ("proxy_url", json!("http://a b")),
        ("proxy_url", json!(3128)),
        ("headers", json!(["x"])),
        ("quota", json!(1000)),
        ("quota.limit", json!({"limit": -1})),
        ("quota.used", json!({"used": "many"})),
        ("note", json!("n".repeat(2001))),
        ("attributes", json!("high")),
        ("attributes.priority", json!({"priority": {}})),
        ("attributes.websockets", json!({"websockets": "maybe"})),
        ("excluded_models", json!("gpt-4o")),
        ("excluded_models[1]", json!(["a", 5])),
        ("excluded_models[0]", json!([" "])),
        ("excluded_models", json!(vec!["m"; 1001])),
        ("model_aliases", json!("a=b")),
        ("model_aliases[0]", json!(["a"])),
        ("model_aliases[0]", json!([{"name": "a"}])),
        (
            "model_aliases[1]",
            json!([{"name": "a", "alias": "x"}, {"name": "b", "alias": "x"}]),
        ),
        ("model_aliases", json!({"x": 1})),
        ("service_account", json!("CANARY")),
    ] {
        let top = key.split(['.', '[']).next().unwrap();
        let error = refused(&json!({"token": "k", top: value}));
        assert!(error.starts_with(&format!("`{key}`: ")), "{key}: {error}");
    }
}

#[test]
fn headers_that_the_gateway_owns_are_refused() {
    for name in [
        "Connection",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "Host",
        "api-key",
        "Authorization",
        "proxy-authenticate",
        "proxy-authorization",
        "x-api-key",
        "x-goog-api-key",
        "a b",
        "",
        "x\r\ny",
    ] {
        let error = refused(&json!({"token": "k", "headers": {name: "v"}}));
        assert!(error.starts_with("`headers`: "), "{name}: {error}");
    }
    for value in [json!("a\r\nb"), json!(5), json!("v".repeat(8193))] {
        let error = refused(&json!({"token": "k", "headers": {"X-Team": value}}));
        assert!(error.starts_with("`headers.X-Team`: "), "{error}");
    }
    let twice = refused(&json!({"token": "k", "headers": {"X-Team": "a", "x-team": "b"}}));
    assert!(twice.contains("written twice"), "{twice}");
}

const KNOWN: &[&str] = &[
    "type",
    "provider",
    "token",
    "api_key",
    "key",
    "access_token",
    "refresh_token",
    "token_type",
    "tokens",
    "expiry",
    "expired",
    "expires_at",
    "expiry_date",
    "email",
    "label",
    "attributes",
    "priority",
    "weight",
    "disabled",
    "prefix",
    "proxy_url",
    "note",
    "headers",
    "websockets",
    "excluded_models",
    "model_aliases",
    "project_id",
    "account_id",
    "location",
    "quota",
    "limit",
    "used",
    "remaining",
    "service_account",
    "client_email",
    "private_key",
    "private_key_id",
    "token_uri",
    "name",
    "alias",
    "description",
    "unknown",
];

fn wrong_values() -> Vec<Value> {
    let mut values = vec![
        json!("CANARY"),
        json!("CANARY with blanks"),
        json!("CANARY\u{0}"),
    ];
    values.push(json!(format!(
        "https://CANARY:CANARY@CANARY/{}",
        "CANARY".repeat(5000)
    )));
    values.extend([json!(-5), json!(1.5), json!(true), json!([]), json!({})]);
    values.extend([
        json!(["CANARY", 5]),
        json!([["CANARY"]]),
        json!({"x y": "CANARY"}),
    ]);
    let of_known = |value: &Value| {
        let fields = KNOWN.iter().map(|key| ((*key).to_owned(), value.clone()));
        Value::Object(fields.collect())
    };
    let nested: Vec<Value> = values.iter().map(of_known).collect();
    values.extend(nested.iter().map(|object| json!([object])));
    values.extend(nested);
    values
}

#[test]
fn no_error_repeats_anything_of_the_file() {
    let bases = [
        json!({"type": "api_key", "token": "CANARY"}),
        json!({"type": "claude", "access_token": "CANARY", "refresh_token": "CANARY"}),
        json!({"tokens": {"access_token": "CANARY"}}),
        json!({"type": "vertex", "service_account": {"client_email": "CANARY", "private_key": PEM}}),
        json!({"type": "service_account", "client_email": "CANARY", "private_key": PEM}),
    ];
    let mut errors = 0;
    for base in &bases {
        for key in KNOWN {
            for value in wrong_values() {
                let mut file = base.clone();
                file[*key] = value;
                errors += check_silent(file.to_string().as_bytes());
            }
        }
    }
    assert!(errors > 1000, "{errors} errors");
}

#[test]
fn no_error_repeats_anything_of_a_torn_file() {
    let text = json!({"type": "claude", "access_token": "CANARY", "n": 15, "list": ["CANARY"]});
    let text = format!("{text:#}");
    for at in 0..text.len() {
        assert_eq!(check_silent(&text.as_bytes()[..at]), 1);
        for odd in [
            &b"\""[..],
            b"}",
            b"\\",
            b"\xff",
            b"CANARY",
            b"-",
            b"9e999",
            b"\x00",
        ] {
            let torn = [&text.as_bytes()[..at], odd, &text.as_bytes()[at..]].concat();
            check_silent(&torn);
        }
    }
}

/// 1 when the bytes are refused.
fn check_silent(bytes: &[u8]) -> usize {
    match parse("stem", bytes) {
        Ok(_) => 0,
        Err(error) => {
            let said = format!("{error} {error:?}");
            assert!(!said.contains("CANARY"), "{said}");
            1
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9TZ:. +-]{0,30}".prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        Just(Value::from(PEM)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object_of(inner),
        ]
    })
}

fn object_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = prop::sample::select(KNOWN).prop_map(str::to_owned);
    prop::collection::btree_map(key, values, 0..8)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _ = parse("stem", &bytes);
    }

    #[test]
    fn any_object_of_known_keys_is_read_without_panic(
        stem in any::<String>(),
        value in object_of(any_value()),
    ) {
        if let Ok(file) = parse(&stem, value.to_string().as_bytes()) {
            prop_assert!(file.provider_candidates().count() > 0);
            prop_assert!(file.weight > 0);
        }
    }
}
