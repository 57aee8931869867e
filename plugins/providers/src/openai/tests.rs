use super::*;

fn judge(status: u16, body: &str) -> Judgement {
    OPENAI.judge(status, &HeaderMap::new(), body.as_bytes())
}

#[test]
fn a_body_may_know_better_than_its_status() {
    for (status, body, fault) in [
        (
            429,
            r#"{"error":{"code":"insufficient_quota","type":"x"}}"#,
            Fault::PaymentRequired,
        ),
        (
            429,
            r#"{"error":{"code":"rate_limit_exceeded"}}"#,
            Fault::RateLimited,
        ),
        (
            400,
            r#"{"error":{"code":"invalid_api_key"}}"#,
            Fault::Unauthorized,
        ),
        (
            404,
            r#"{"error":{"code":"model_not_found"}}"#,
            Fault::ModelNotFound,
        ),
        (
            403,
            r#"{"error":{"code":"model_not_found"}}"#,
            Fault::ModelNotFound,
        ),
        (
            403,
            r#"{"error":{"code":"unsupported_country_region_territory"}}"#,
            Fault::Forbidden,
        ),
        (
            400,
            r#"{"type":"invalid_model","code":"1500"}"#,
            Fault::ModelNotFound,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound"}}"#,
            Fault::ModelNotFound,
        ),
        (
            429,
            r#"{"error":{"type":"usage_limit_reached","plan_type":"plus","resets_at":1777936568}}"#,
            Fault::RateLimited,
        ),
        (
            429,
            r#"{"error":{"type":"usage_not_included"}}"#,
            Fault::PaymentRequired,
        ),
        (
            400,
            r#"{"detail":"The 'gpt-5.6-sol' model is not supported when using Codex with a ChatGPT account."}"#,
            Fault::ModelNotFound,
        ),
    ] {
        assert_eq!(
            judge(status, body),
            Judgement::Fault(fault),
            "{status} {body}"
        );
    }
}

#[test]
fn what_the_caller_did_is_the_callers() {
    for (status, body) in [
        (404, r#"{"error":{"message":"No file found with id 'x'"}}"#),
        (
            400,
            r#"{"error":{"message":"say: invalid_api_key","code":"bad"}}"#,
        ),
        (
            403,
            r#"{"error":{"code":403,"metadata":{"flagged_input":"…","reasons":[]}}}"#,
        ),
    ] {
        assert_eq!(judge(status, body), Judgement::Caller, "{status} {body}");
    }
}

#[test]
fn a_token_is_a_bearer_token_and_names_its_account() {
    let headers = |provider: &OpenAiLike, scheme, id: Option<&str>| {
        let account = Account {
            id: id.map(str::to_owned),
            project: Some("p".to_owned()),
            location: None,
        };
        let headers = provider.credential_headers(&Secret::new("s"), scheme, &account)?;
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        Some(headers.iter().map(text).collect::<Vec<_>>().join(", "))
    };
    for (provider, scheme, expected) in [
        (&OPENAI, Scheme::Key, "authorization: Bearer s"),
        (&OPENAI, Scheme::Bearer, "authorization: Bearer s"),
        (&AZURE, Scheme::Key, "api-key: s"),
        (&AZURE, Scheme::Bearer, "authorization: Bearer s"),
        (
            &CODEX,
            Scheme::Bearer,
            "authorization: Bearer s, chatgpt-account-id: acc-1",
        ),
    ] {
        let got = headers(provider, scheme, Some("acc-1"));
        assert_eq!(got.as_deref(), Some(expected));
    }
    assert_eq!(
        headers(&CODEX, Scheme::Bearer, None).as_deref(),
        Some("authorization: Bearer s")
    );
    assert_eq!(headers(&CODEX, Scheme::Bearer, Some("a\nb")), None);
}

#[test]
fn the_version_is_the_base_urls() {
    let target = |path, query| {
        let operation = Operation::PassThrough;
        let call = Call {
            operation,
            method: &http::Method::POST,
            path,
            query,
            model: "m",
        };
        OPENAI.target(&call).path_and_query
    };
    assert_eq!(target("/v1/audio/speech", ""), "/audio/speech");
    assert_eq!(target("/v1/files", "after=x"), "/files?after=x");
    assert_eq!(target("/v1beta/x", ""), "/v1beta/x");
}
