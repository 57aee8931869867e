//! OpenTelemetry's protocol, as logs over HTTP: a log record for each record, in whose body it stands.

use std::sync::Arc;

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use turnpike_api::{Clock, Secret};

use super::outside::{Renewable, World, authorization, taken};
use super::{Batch, Sink, SinkError};
use crate::Format;
use crate::formats::{Native, Severity};

/// Where it is, and how it knows us.
pub struct Options {
    /// With the path of the endpoint for logs.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Renewable<Option<Secret>>,
    pub format: Format,
}

/// The collector.
pub struct Otlp {
    options: Options,
    world: World,
    clock: Arc<dyn Clock>,
    /// Records that it said it will never take.
    rejected: u64,
}

impl Otlp {
    pub fn new(options: Options, world: World, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            world,
            clock,
            rejected: 0,
        }
    }

    fn request(&self, batch: &Batch) -> Result<Request<Vec<u8>>, http::Error> {
        let observed = nanoseconds(self.clock.now().cast_signed());
        let body = logs(batch, self.options.format, observed).encode_to_vec();
        let mut request =
            Request::post(&self.options.url).header(CONTENT_TYPE, "application/x-protobuf");
        if let Some(token) = &*self.options.token.get() {
            request = request.header(AUTHORIZATION, authorization("Bearer", token)?);
        }
        request.body(body)
    }
}

impl Sink for Otlp {
    fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let request = self.request(batch);
        // What cannot stand in a header is not repeated.
        let request = request.map_err(|_| SinkError::new("the request cannot be made"))?;
        let answer = self.world.call(request)?;
        taken(&answer, self.clock.now())?;
        // What cannot be read says nothing of records that were rejected.
        let said = ExportLogsServiceResponse::decode(answer.body().as_slice());
        let said = said.unwrap_or_default().partial_success.unwrap_or_default();
        let rejected = u64::try_from(said.rejected_log_records).unwrap_or(0);
        if rejected > 0 {
            // By the specification it is not to get them again; the others of the batch it has.
            self.rejected += rejected;
            let (batch, why) = (batch.id(), said.error_message);
            tracing::error!(batch, rejected, why, "a collector rejects audit records");
        }
        Ok(())
    }

    fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// The batch, as a collector takes it. All of it is one chain's, and so one replica's.
fn logs(batch: &Batch, format: Format, observed: u64) -> ExportLogsServiceRequest {
    let mut replica = None;
    let records = batch.records().map(|(record, _)| {
        let native: Native = serde_json::from_slice(record).unwrap_or_default();
        replica = replica.take().or_else(|| native.replica.clone());
        log_record(record, &native, format, observed)
    });
    let log_records = records.collect();
    let name = "turnpike".to_owned();
    let mut attributes = vec![text("service.name", name.clone())];
    attributes.extend(replica.map(|replica| text("host.name", replica)));
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "turnpike.audit".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn log_record(record: &[u8], native: &Native, format: Format, observed: u64) -> LogRecord {
    let mut body = Vec::with_capacity(record.len());
    format.write(record, &mut body);
    let body = String::from_utf8_lossy(&body).into_owned();
    let (number, words) = severity(native.severity());
    let trace = native.trace.as_deref().and_then(trace_id);
    let chain = native.chain.clone().unwrap_or_default();
    LogRecord {
        time_unix_nano: native.milliseconds().map_or(observed, nanoseconds),
        observed_time_unix_nano: observed,
        severity_number: number.into(),
        severity_text: words.to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(body)),
        }),
        attributes: vec![
            text("log.record.uid", native.uid()),
            text("turnpike.audit.chain", chain),
            KeyValue {
                key: "turnpike.audit.seq".to_owned(),
                value: Some(AnyValue {
                    value: Some(Value::IntValue(native.seq.unwrap_or(0).cast_signed())),
                }),
                ..KeyValue::default()
            },
        ],
        trace_id: trace.unwrap_or_default(),
        event_name: native.event().to_owned(),
        ..LogRecord::default()
    }
}

fn severity(of: Severity) -> (SeverityNumber, &'static str) {
    match of {
        Severity::Informational => (SeverityNumber::Info, "INFO"),
        Severity::Notice => (SeverityNumber::Info2, "NOTICE"),
        Severity::Warning => (SeverityNumber::Warn, "WARN"),
        Severity::Error => (SeverityNumber::Error, "ERROR"),
    }
}

/// Of 32 hexadecimal digits.
fn trace_id(digits: &str) -> Option<Vec<u8>> {
    let id = u128::from_str_radix(digits, 16).ok()?;
    (digits.len() == 32).then(|| id.to_be_bytes().to_vec())
}

fn nanoseconds(milliseconds: i64) -> u64 {
    u64::try_from(milliseconds)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
}

fn text(name: &str, value: String) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    }
}
