//! The section `telemetry`.

use std::path::Path;

use turnpike_config::{Environment, Kinds, TelemetryPlan, load_str};

fn telemetry(section: &str) -> Option<TelemetryPlan> {
    let environment = Environment::from_pairs::<String, String>([]);
    let kinds = Kinds { providers: &[] };
    let yaml = format!("telemetry: {section}");
    let plan = load_str(&yaml, Path::new(""), &environment, &kinds);
    plan.unwrap_or_else(|problems| panic!("{section}: {problems}"))
        .telemetry
}

#[test]
fn there_are_no_traces_unless_it_is_said_where_they_go() {
    for section in ["{}", "{otlp_endpoint: null, sample_ratio: 1}"] {
        assert_eq!(telemetry(section), None);
    }
    let plan = telemetry("{otlp_endpoint: \"http://localhost:4318/\"}").unwrap();
    assert_eq!(plan.endpoint.as_str(), "http://localhost:4318/");
    assert_eq!(plan.ratio.billionths(), 10_000_000);
}

#[test]
fn a_ratio_is_exact() {
    for (written, billionths) in [
        ("0", 0),
        ("1", 1_000_000_000),
        ("0.000000001", 1),
        ("\"0.25\"", 250_000_000),
    ] {
        let plan = telemetry(&format!(
            "{{otlp_endpoint: \"http://a\", sample_ratio: {written}}}"
        ));
        assert_eq!(plan.unwrap().ratio.billionths(), billionths, "{written}");
    }
}
