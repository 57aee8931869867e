//! A collector on loopback, which reads what it is sent by OTLP's own definitions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::canary;

/// How it answers once.
#[derive(Clone, Debug)]
pub enum Said {
    Taken,
    /// All but so many spans.
    Partly(i64),
    Status(u16, Option<&'static str>),
}

pub struct Collector {
    pub addr: SocketAddr,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    requests: Mutex<Vec<ExportTraceServiceRequest>>,
    logs: Mutex<Vec<LogRecord>>,
    /// How those came who brought logs.
    bearers: Mutex<Vec<String>>,
    /// What it says first; then it takes all.
    script: Mutex<VecDeque<Said>>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::saying([]).await
    }

    pub async fn saying(script: impl IntoIterator<Item = Said>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Heard {
            script: Mutex::new(script.into_iter().collect()),
            ..Heard::default()
        });
        tokio::spawn({
            let heard = heard.clone();
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let heard = heard.clone();
                    let service = service_fn(move |request| answer(heard.clone(), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http.serve_connection(TokioIo::new(tcp), service));
                }
            }
        });
        Self { addr, heard }
    }

    /// Of the configuration.
    pub fn section(&self, ratio: &str) -> String {
        let addr = self.addr;
        format!("telemetry: {{otlp_endpoint: \"http://{addr}/otlp\", sample_ratio: {ratio}}}\n")
    }

    /// Log records that it was sent.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.heard.logs.lock().unwrap().clone()
    }

    /// What those said of themselves who brought them.
    pub fn bearers(&self) -> Vec<String> {
        self.heard.bearers.lock().unwrap().clone()
    }

    /// How many times it was asked about spans.
    pub fn asked(&self) -> usize {
        self.heard.requests.lock().unwrap().len()
    }

    /// The requests it was sent, those that it refused too.
    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.heard.requests.lock().unwrap().clone()
    }

    /// All spans of them, in the order they came.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

async fn answer(
    heard: Arc<Heard>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let path = request.uri().path().to_owned();
    let bearer = request.headers().get("authorization").cloned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    canary::left("a span", &body);
    match &*path {
        "/otlp/v1/traces" => {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            heard.requests.lock().unwrap().push(request);
        }
        "/otlp/v1/logs" => {
            let request = ExportLogsServiceRequest::decode(body).unwrap();
            let resources = request.resource_logs.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_logs);
            let records = scopes.flat_map(|scope| scope.log_records);
            heard.logs.lock().unwrap().extend(records);
            let bearer = bearer.map(|bearer| bearer.to_str().unwrap().to_owned());
            heard.bearers.lock().unwrap().extend(bearer);
        }
        path => panic!("{path}"),
    }
    let said = heard.script.lock().unwrap().pop_front();
    let response = Response::builder().header("content-type", "application/x-protobuf");
    Ok(match said.unwrap_or(Said::Taken) {
        Said::Taken => response.body(Full::default()),
        Said::Partly(rejected_spans) => {
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: "too old".to_owned(),
            });
            let said = ExportTraceServiceResponse { partial_success };
            response.body(Full::new(said.encode_to_vec().into()))
        }
        Said::Status(status, retry_after) => {
            let response = response.status(status);
            match retry_after {
                Some(after) => response.header("retry-after", after),
                None => response,
            }
            .body(Full::default())
        }
    }
    .unwrap())
}

/// What a test reads of a span.
pub trait Told {
    fn text(&self, name: &str) -> Option<&str>;
    fn number(&self, name: &str) -> Option<i64>;
    fn is(&self, kind: SpanKind) -> bool;
    /// Whether it says that something failed.
    fn has_failed(&self) -> bool;
}

impl Told for Span {
    fn text(&self, name: &str) -> Option<&str> {
        match value(self, name)? {
            Value::StringValue(text) => Some(text),
            other => panic!("{name} is {other:?}"),
        }
    }

    fn number(&self, name: &str) -> Option<i64> {
        match value(self, name)? {
            Value::IntValue(number) => Some(*number),
            other => panic!("{name} is {other:?}"),
        }
    }

    fn is(&self, kind: SpanKind) -> bool {
        self.kind() == kind
    }

    fn has_failed(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.code == 2)
    }
}

fn value<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
    let mut of_that_name = span.attributes.iter().filter(|one| one.key == name);
    let found = of_that_name.next()?;
    assert!(of_that_name.next().is_none(), "{name} is there twice");
    found.value.as_ref()?.value.as_ref()
}
