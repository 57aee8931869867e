//! The Elastic Common Schema. What it has no field for stands below `turnpike`.

use serde::Serialize;

use super::Stream;
use super::native::{Native, Severity, Used, Who};

/// The version whose fields these are.
const VERSION: &str = "9.2.0";

#[derive(Serialize)]
struct Document<'r> {
    #[serde(rename = "@timestamp")]
    timestamp: Option<String>,
    ecs: Version,
    message: String,
    log: Log,
    event: Event<'r>,
    service: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Original>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gen_ai: Option<GenAi>,
    turnpike: Native,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Log {
    level: &'static str,
}

#[derive(Serialize)]
struct Event<'r> {
    kind: &'static str,
    category: [&'static str; 1],
    r#type: [&'static str; 1],
    action: String,
    outcome: &'static str,
    dataset: &'static str,
    module: &'static str,
    id: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Host {
    hostname: String,
}

#[derive(Serialize)]
struct User {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
}

#[derive(Serialize)]
struct Name {
    name: String,
}

#[derive(Serialize)]
struct Source {
    ip: String,
}

#[derive(Serialize)]
struct Original {
    original: String,
}

#[derive(Serialize)]
struct Id {
    id: String,
}

#[derive(Serialize)]
struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response>,
}

#[derive(Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
}

#[derive(Serialize)]
struct Response {
    status_code: u64,
}

/// As OpenTelemetry calls them.
#[derive(Serialize)]
struct GenAi {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Model {
    model: String,
}

#[derive(Serialize)]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
}

pub(super) fn write(
    mut native: Native,
    stream: Stream,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let uid = native.uid();
    let (message, level) = (native.message(), level(native.severity()));
    let outcome = match native.is_success() {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    let (category, kind) = category(&native);
    let dataset = match stream {
        Stream::Usage => "turnpike.usage",
        Stream::Audit => "turnpike.audit",
    };
    let mut who = native.who.take();
    let tenant = who.as_mut().and_then(|who| who.tenant.take());
    let request = Request {
        id: native.request.take(),
        method: native.method.take(),
    };
    let http = Http {
        request: Some(request).filter(|of| of.id.is_some() || of.method.is_some()),
        response: native
            .status
            .take()
            .map(|status_code| Response { status_code }),
    };
    let document = Document {
        timestamp: native.time.take(),
        ecs: Version { version: VERSION },
        message,
        log: Log { level },
        event: Event {
            kind: "event",
            category: [category],
            r#type: [kind],
            action: native.event.take().unwrap_or_default(),
            outcome,
            dataset,
            module: "turnpike",
            id: &uid,
            sequence: native.seq.take(),
            hash: native.hash.take(),
            reason: native.reason.take(),
            duration: native
                .took_ms
                .take()
                .map(|took| took.saturating_mul(1_000_000)),
        },
        service: Named {
            name: "turnpike",
            r#type: "turnpike",
        },
        host: native.replica.take().map(|hostname| Host { hostname }),
        user: who.as_mut().map(user).or_else(|| operator(&mut native)),
        organization: tenant
            .or_else(|| native.tenant.take())
            .map(|name| Name { name }),
        source: native.client.take().map(|ip| Source { ip }),
        user_agent: native
            .user_agent
            .take()
            .map(|original| Original { original }),
        http: Some(http).filter(|http| http.request.is_some() || http.response.is_some()),
        trace: native
            .trace
            .take()
            .filter(|id| !id.is_empty())
            .map(|id| Id { id }),
        gen_ai: gen_ai(&mut native),
        turnpike: Native {
            // The keys that somebody came with.
            who: who.filter(|who| who.token_id.is_some() || who.api_key.is_some()),
            ..native
        },
    };
    serde_json::to_writer(out, &document)
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "info",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Of the words that ECS allows.
fn category(native: &Native) -> (&'static str, &'static str) {
    match native.event() {
        "request.start" => ("api", "start"),
        "request.prompt" => ("api", "info"),
        "request.end" | "request.aborted" | "usage" => ("api", "end"),
        "authorization.denied" | "limit.hit" => ("api", "denied"),
        "authentication.refused" | "login" | "management.refused" => ("authentication", "start"),
        "logout" => ("authentication", "end"),
        "session" => ("session", "info"),
        "token" | "token.heard" => ("iam", "change"),
        "gateway.started" => ("process", "start"),
        "gateway.stopped" => ("process", "end"),
        "managed" => ("iam", "admin"),
        "management.request" => ("api", "access"),
        _ => ("configuration", "change"),
    }
}

fn user(who: &mut Who) -> User {
    User {
        id: who.subject.take(),
        name: who.name.take(),
        email: who.email.take(),
        domain: who.issuer.take(),
    }
}

/// Who manages.
fn operator(native: &mut Native) -> Option<User> {
    let name = native.actor.take()?;
    Some(User {
        id: None,
        name: Some(name),
        email: None,
        domain: None,
    })
}

fn gen_ai(native: &mut Native) -> Option<GenAi> {
    let is_call = native.operation.is_some() || native.model.is_some();
    if !is_call {
        return None;
    }
    Some(GenAi {
        operation: native.operation.take().map(|name| Name { name }),
        provider: native.provider.take().map(|name| Name { name }),
        request: native.model.take().map(|model| Model { model }),
        response: native.served.take().map(|model| Model { model }),
        usage: native.used.as_mut().map(usage),
    })
}

fn usage(used: &mut Used) -> Usage {
    Usage {
        input_tokens: used.input.take(),
        output_tokens: used.output.take(),
    }
}
