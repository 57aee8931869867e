use super::*;

fn target(provider: &Google, path: &str, model: &str) -> String {
    let (operation, method) = (Operation::GenerateContent, &http::Method::POST);
    provider
        .target(&Call {
            operation,
            method,
            path,
            query: "",
            model,
        })
        .path_and_query
}

#[test]
fn the_model_is_replaced_and_the_rest_kept() {
    for (path, model, expected) in [
        (
            "/v1beta/models/alias:generateContent",
            "g",
            "/v1beta/models/g:generateContent",
        ),
        (
            "/v1/models/alias:countTokens",
            "g-2.5",
            "/v1/models/g-2.5:countTokens",
        ),
        (
            "/v1beta/models/a:embedContent",
            "models/g",
            "/v1beta/models/g:embedContent",
        ),
        (
            "/v1beta/models/a:x",
            "tunedModels/my-1",
            "/v1beta/tunedModels/my-1:x",
        ),
        ("/v1beta/models/a:x", "a/b", "/v1beta/models/a/b:x"),
        ("/v1beta/models/a:x", "g:y", "/v1beta/models/g%3Ay:x"),
        (
            "/v1beta/models/a:x",
            "../secret",
            "/v1beta/models/_/secret:x",
        ),
        (
            "/v1beta/models/a:x",
            "a/./..//b",
            "/v1beta/models/a/_/_/_/b:x",
        ),
        (
            "/v1beta/models/a:x",
            "tunedModels/../models/b",
            "/v1beta/tunedModels/_/models/b:x",
        ),
        (
            "/v1beta/models/a:x",
            "ä?#%2e",
            "/v1beta/models/%C3%A4%3F%23%252e:x",
        ),
    ] {
        assert_eq!(target(&GEMINI, path, model), expected);
    }
}

#[test]
fn vertex_has_its_own_place() {
    let path = "/v1beta/models/alias:streamGenerateContent";
    assert_eq!(
        target(&VERTEX, path, "gemini-2.5-pro"),
        "/v1/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
    );
}

#[test]
fn a_project_has_a_place_of_its_own() {
    let of = |project: &str, location: Option<&str>, base_url: Option<&str>| {
        let account = Account {
            project: Some(project.to_owned()),
            location: location.map(str::to_owned),
            id: None,
        };
        VERTEX.of_project(&account, base_url)
    };
    for (location, base_url, expected) in [
        (
            None,
            None,
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p-1/locations/us-central1",
        ),
        (
            Some("europe-west4"),
            None,
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4",
        ),
        (
            Some("global"),
            None,
            "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global",
        ),
        (
            Some("global"),
            Some("http://127.0.0.1:9/x/"),
            "http://127.0.0.1:9/x/v1/projects/p-1/locations/global",
        ),
    ] {
        let (provider, url) = of("p-1", location, base_url).expect("a project's place");
        assert_eq!(url, expected);
        let call = Call {
            operation: Operation::GenerateContent,
            method: &http::Method::POST,
            path: "/v1beta/models/alias:generateContent",
            query: "",
            model: "gemini-2.5-pro",
        };
        assert_eq!(
            provider.target(&call).path_and_query,
            "/publishers/google/models/gemini-2.5-pro:generateContent",
        );
    }
    assert!(of("example.com:p", None, None).is_some());
    for (project, location) in [
        ("", None),
        ("..", None),
        ("a/../b", None),
        ("a?b", None),
        ("a%2fb", None),
        ("p", Some("")),
        ("p", Some("evil.example/")),
        ("p", Some("evil.example#")),
        ("p", Some("a.b")),
        ("p", Some("-")),
    ] {
        assert!(
            of(project, location, None).is_none(),
            "{project} {location:?}"
        );
    }
    assert!(VERTEX.of_project(&Account::default(), None).is_none());
    let account = Account {
        project: Some("p".to_owned()),
        ..Account::default()
    };
    assert!(GEMINI.of_project(&account, None).is_none());
}

#[test]
fn an_access_token_says_whose_quota_it_spends() {
    let headers = |provider: &Google, scheme, project: Option<&str>| {
        let account = Account {
            project: project.map(str::to_owned),
            ..Account::default()
        };
        let headers = provider.credential_headers(&Secret::new("s"), scheme, &account)?;
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        Some(headers.iter().map(text).collect::<Vec<_>>())
    };
    let bearer = "authorization: Bearer s".to_owned();
    for (provider, scheme, expected) in [
        (&GEMINI, Scheme::Key, vec!["x-goog-api-key: s".to_owned()]),
        (
            &GEMINI,
            Scheme::Bearer,
            vec![bearer.clone(), "x-goog-user-project: p-1".to_owned()],
        ),
        (&VERTEX, Scheme::Key, vec!["x-goog-api-key: s".to_owned()]),
        (&VERTEX, Scheme::Bearer, vec![bearer.clone()]),
    ] {
        assert_eq!(headers(provider, scheme, Some("p-1")), Some(expected));
    }
    assert_eq!(headers(&GEMINI, Scheme::Bearer, None), Some(vec![bearer]));
    assert_eq!(headers(&GEMINI, Scheme::Bearer, Some("p\r\nx: y")), None);
}

#[test]
fn judges_by_the_body_too() {
    let judge = |status, body: &str| GEMINI.judge(status, &HeaderMap::new(), body.as_bytes());
    let invalid = r#"{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
    assert_eq!(judge(400, invalid), Judgement::Fault(Fault::Unauthorized));
    assert_eq!(
        judge(400, &format!("[{invalid}]")),
        Judgement::Fault(Fault::Unauthorized)
    );
    let free = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":
        "Gemini API free tier is not available in your country. Please enable billing."}}"#;
    assert_eq!(judge(400, free), Judgement::Fault(Fault::PaymentRequired));
    let billing = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"This API …",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"BILLING_DISABLED"}]}}"#;
    assert_eq!(
        judge(403, billing),
        Judgement::Fault(Fault::PaymentRequired)
    );
    let model = r#"{"error":{"code":404,"status":"NOT_FOUND",
        "message":"models/x is not found for API version v1beta"}}"#;
    assert_eq!(judge(404, model), Judgement::Fault(Fault::ModelNotFound));
    let file = r#"{"error":{"code":403,"status":"PERMISSION_DENIED",
        "message":"You do not have permission to access the File x or it may not exist."}}"#;
    assert_eq!(judge(403, file), Judgement::Caller);
}
