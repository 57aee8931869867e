use std::sync::Arc;
use std::time::Duration;

use turnpike_api::{Operation, Usage};

use super::*;
use crate::record::Ending;
use crate::refusal::Reason;

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render(Vec::new()).unwrap()).unwrap()
}

fn series(metrics: &Metrics) -> usize {
    let text = text(metrics);
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = text(metrics);
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    found.and_then(|value| value.trim().parse().ok())
}

fn ended(model: Option<&ModelMetrics>, status: u16) -> Request<'_> {
    Request {
        operation: Some(Operation::Messages),
        status,
        reason: "",
        error: (status >= 400).then_some(CallError::Client),
        took: Duration::from_millis(1500),
        first_chunk: None,
        usage: None,
        model,
    }
}

#[test]
fn operations_index_their_handles() {
    for (at, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!(operation as usize, at);
    }
}

#[test]
fn odd_statuses_do_not_grow_the_series() {
    let metrics = Metrics::new().unwrap();
    for status in 100..=999 {
        metrics.ended(&ended(None, status));
    }
    let text = text(&metrics);
    let series = text
        .lines()
        .filter(|line| line.starts_with("turnpike_requests_total{"))
        .count();
    assert!(series < 40, "{series} series");
}

/// All that a call of a model and a credential counts.
fn called(metrics: &Metrics, provider: &str, model: &str, credential: &str) {
    let model = metrics.model(provider, model);
    let usage = Usage {
        input: 10,
        output: 20,
        ..Usage::default()
    };
    model.used(&usage);
    model.cost(5);
    model.missing();
    model.first_chunk(Operation::Messages, Duration::from_millis(300));
    for status in [200, 400] {
        metrics.ended(&Request {
            first_chunk: Some(Duration::from_millis(300)),
            usage: Some(usage),
            ..ended(Some(&model), status)
        });
    }
    let credential = metrics.credential(&provider.into(), &credential.into());
    credential.good();
    credential.outcome("cut");
    credential.answered(Duration::from_millis(200));
}

#[test]
fn a_hundred_thousand_models_and_credentials_are_no_more_series_than_the_bounds() {
    let metrics = Metrics::new().unwrap();
    for nth in 0..10_000 {
        called(
            &metrics,
            "openai",
            &format!("model-{nth}"),
            &format!("openai/{nth}"),
        );
    }
    called(&metrics, "openai", "one-more", "openai/one-more");
    let full = series(&metrics);
    for nth in 10_000..100_000 {
        called(
            &metrics,
            "openai",
            &format!("model-{nth}"),
            &format!("openai/{nth}"),
        );
    }
    assert_eq!(series(&metrics), full);
    let other = r#"turnpike_tokens_total{kind="input",model="other",provider="openai"}"#;
    assert_eq!(value(&metrics, other), Some((100_001.0 - 256.0) * 10.0));
    let other =
        r#"turnpike_upstream_attempts_total{credential="other",outcome="ok",provider="openai"}"#;
    assert_eq!(value(&metrics, other), Some(90_001.0));
    let told = value(
        &metrics,
        r#"turnpike_metrics_overflows_total{label="model"}"#,
    );
    assert!(told > Some(0.0));
}

#[test]
fn however_many_tenants_there_are_series_are_bounded() {
    let metrics = Metrics::new().unwrap();
    let end = |name: Option<&str>| {
        let usage = Usage {
            input: 10,
            output: 20,
            ..Usage::default()
        };
        let ending = Ending::Incomplete {
            status: 200,
            reason: Reason::UpstreamIncomplete,
        };
        metrics
            .tenant(name)
            .ended(Some(&usage), Some(2_500_000), ending);
    };
    // Of none and of the others: neither takes a place.
    end(None);
    for nth in 0..1_001 {
        end(Some(&format!("tenant-{nth}")));
    }
    let full = series(&metrics);
    for nth in 1_001..3_000 {
        end(Some(&format!("tenant-{nth}")));
    }
    assert_eq!(series(&metrics), full);
    for (name, told) in [
        (
            r#"turnpike_tenant_tokens_total{kind="output",tenant=""}"#,
            20.0,
        ),
        (
            r#"turnpike_tenant_cost_usd_total{tenant="tenant-999"}"#,
            2.5,
        ),
        (
            r#"turnpike_tenant_refusals_total{reason="upstream_incomplete",tenant="other"}"#,
            2_000.0,
        ),
    ] {
        assert_eq!(value(&metrics, name), Some(told), "{name}");
    }
}

#[test]
fn what_is_counted_once_is_told_under_both_names() {
    let metrics = Metrics::new().unwrap();
    called(&metrics, "openai", "a", "openai/1");
    called(&metrics, "claude", "b", "claude/1");
    metrics.ended(&ended(None, 401));
    let ours = r#"turnpike_request_duration_seconds_count{operation="messages"}"#;
    assert_eq!(value(&metrics, ours), Some(5.0));
    let sum = r#"turnpike_request_duration_seconds_sum{operation="messages"}"#;
    assert_eq!(value(&metrics, sum), Some(7.5));
    for (error, count) in [("", 1.0), ("4xx", 1.0)] {
        let theirs = format!(
            "gen_ai_server_request_duration_seconds_count{{error_type=\"{error}\",gen_ai_operation_name=\"chat\",\
             gen_ai_provider_name=\"claude\",gen_ai_request_model=\"b\"}}"
        );
        assert_eq!(value(&metrics, &theirs), Some(count), "{theirs}");
    }
    let labels =
        r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="a""#;
    // 1.2 seconds for the 19 tokens after the first.
    let per_token = format!("gen_ai_server_time_per_output_token_seconds_sum{{{labels}}}");
    let seconds = value(&metrics, &per_token).unwrap();
    assert!((seconds - 1.2 / 19.0).abs() < 1e-9, "{seconds}");
    let used = format!("gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type=\"output\"}}");
    assert_eq!(value(&metrics, &used), Some(40.0));
    let within = format!(
        "gen_ai_server_request_duration_seconds_bucket{{error_type=\"\",{labels},le=\"1.28\"}}"
    );
    assert_eq!(value(&metrics, &within), Some(0.0));
    let within = within.replace("1.28", "2.56");
    assert_eq!(value(&metrics, &within), Some(1.0));
}

#[test]
fn an_answer_of_one_token_has_no_time_per_token() {
    let metrics = Metrics::new().unwrap();
    let model = metrics.model("openai", "a");
    for output in [0, 1] {
        metrics.ended(&Request {
            first_chunk: Some(Duration::ZERO),
            usage: Some(Usage {
                output,
                ..Usage::default()
            }),
            ..ended(Some(&model), 200)
        });
    }
    assert!(!text(&metrics).contains("time_per_output_token"));
}

#[test]
fn everything_exposed_is_a_row_of_the_catalogue() {
    let metrics = Metrics::new().unwrap();
    called(&metrics, "openai", "a", "openai/1");
    let text = text(&metrics);
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let row = all().find(|row| row.name == name);
        assert_eq!(row.map(|row| row.kind.as_str()), Some(kind), "{name}");
    }
}

#[test]
#[should_panic(expected = "the catalogue knows no")]
fn a_word_that_the_catalogue_does_not_have_is_found() {
    Metrics::new().unwrap().store_failed("the weather");
}

#[test]
fn handles_of_one_credential_are_one_series() {
    let metrics = Metrics::new().unwrap();
    let (provider, id): (Arc<str>, Arc<str>) = ("openai".into(), "openai/1".into());
    for _ in 0..2 {
        metrics.credential(&provider, &id).good();
    }
    let ok =
        r#"turnpike_upstream_attempts_total{credential="openai/1",outcome="ok",provider="openai"}"#;
    assert_eq!(value(&metrics, ok), Some(2.0));
}
