//! The section `telemetry`.

use crate::document::Document;
use crate::locate::Path;
use crate::plan::{SampleRatio, TelemetryPlan};

use super::Context;
use super::url;

pub(super) fn telemetry(document: &Document, context: &mut Context<'_>) -> Option<TelemetryPlan> {
    let written = &document.telemetry;
    let section = Path::default().field("telemetry");
    let units = written.sample_ratio.units(SampleRatio::PLACES).ok();
    let ratio = units.and_then(SampleRatio::of_billionths);
    if ratio.is_none() {
        let message = "expected a number from 0 to 1, with at most nine decimal places";
        context.report.at(&section.field("sample_ratio"), message);
    }
    let endpoint = match url::base(written.otlp_endpoint.as_deref()?) {
        Ok(endpoint) => endpoint,
        Err(message) => {
            context.report.at(&section.field("otlp_endpoint"), message);
            return None;
        }
    };
    if endpoint.path().ends_with("/v1/traces") {
        let message = "ends with `/v1/traces`, which is appended to it; leave that out";
        context.report.at(&section.field("otlp_endpoint"), message);
    }
    Some(TelemetryPlan {
        endpoint,
        ratio: ratio?,
    })
}
