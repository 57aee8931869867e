//! The Open Cybersecurity Schema Framework 1.8.0. What it has no attribute for stands below `unmapped`.
//!
//! | class | |
//! |---|---|
//! | API Activity 6003, profile `ai_operation` | calls of models, and limits that fell |
//! | API Activity 6003 | what operators look at, and what of theirs is not done |
//! | Authentication 3002 | logins and logouts, and who was not let in |
//! | Authorize Session 3003 | somebody who is known may not do what they asked |
//! | Entity Management 3004 | agent tokens, upstream credentials, what operators change |
//! | Account Change 3001 | login rate limits that operators clear |
//! | User Access Management 3005 | sessions that operators end |
//! | Application Lifecycle 6002 | start, stop, configurations, the record itself |

mod attributes;

use self::attributes::{
    Actor, AiModel, Api, ApiRequest, ApiResponse, Code, Endpoint, Entity, Event, HttpRequest,
    MessageContext, Metadata, Name, Product, Reporter, Resource, Trace, User,
};
use super::Stream;
use super::native::{Native, Severity};
use crate::action::{self, Action};

/// What an event is, in the schema's terms.
struct Kind {
    class: Class,
    activity: (u32, &'static str),
}

/// By their numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    AccountChange = 3001,
    Authentication = 3002,
    AuthorizeSession = 3003,
    EntityManagement = 3004,
    UserAccess = 3005,
    ApplicationLifecycle = 6002,
    ApiActivity = 6003,
}

const OTHER: u32 = 99;

pub(super) fn write(
    mut native: Native,
    stream: Stream,
    out: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let kind = kind(&native);
    let mut event = begin(&kind, stream, &mut native);
    match kind.class {
        Class::ApiActivity if is_managing(&native) => asked(&mut event, &mut native),
        Class::ApiActivity => call(&mut event, &mut native),
        Class::Authentication => authentication(&mut event, &mut native),
        Class::AuthorizeSession => authorization(&mut event, &mut native),
        Class::EntityManagement => management(&mut event, &mut native),
        Class::AccountChange | Class::UserAccess => account(&mut event, &mut native, kind.class),
        Class::ApplicationLifecycle => event.app = Some(product()),
    }
    event.unmapped = native;
    serde_json::to_writer(out, &event)
}

fn kind(native: &Native) -> Kind {
    use Class::{
        ApiActivity, ApplicationLifecycle, Authentication, AuthorizeSession, EntityManagement,
    };
    let change = native.change.as_deref().unwrap_or_default();
    let (class, activity) = match native.event() {
        "request.start" => (ApiActivity, (OTHER, "Call Start")),
        "request.prompt" => (ApiActivity, (OTHER, "Call Prompt")),
        "request.end" => (ApiActivity, (OTHER, "Call End")),
        "request.aborted" => (ApiActivity, (OTHER, "Call Aborted")),
        "usage" => (ApiActivity, (OTHER, "Call Usage")),
        "limit.hit" => (ApiActivity, (OTHER, "Limit Hit")),
        "login" | "authentication.refused" | "management.refused" => (Authentication, (1, "Logon")),
        "logout" => (Authentication, (2, "Logoff")),
        "session" if native.outcome.as_deref() == Some("ended") => (Authentication, (2, "Logoff")),
        "session" => (Authentication, (OTHER, "Session Renewal")),
        "authorization.denied" => (AuthorizeSession, (1, "Assign Privileges")),
        "credential.cooled" | "credential.spent" => (EntityManagement, (12, "Suspend")),
        "credential.recovered" => (EntityManagement, (13, "Resume")),
        "token" | "credential.changed" => match change {
            "issued" | "added" => (EntityManagement, (1, "Create")),
            "revoked" | "removed" => (EntityManagement, (4, "Delete")),
            _ => (EntityManagement, (3, "Update")),
        },
        "token.heard" | "credential.refreshed" => (EntityManagement, (3, "Update")),
        "management.request" => (ApiActivity, asking(native.method.as_deref())),
        "managed" => managed(native.action.as_deref().unwrap_or_default()),
        "gateway.started" => (ApplicationLifecycle, (3, "Start")),
        "gateway.stopped" => (ApplicationLifecycle, (4, "Stop")),
        "configuration" => (ApplicationLifecycle, (8, "Update")),
        _ => (ApplicationLifecycle, (OTHER, "Record Keeping")),
    };
    Kind { class, activity }
}

/// What an operator did.
fn managed(words: &str) -> (Class, (u32, &'static str)) {
    match Action::of(words).map(Action::kind) {
        Some(action::Kind::LoggedOn) => (Class::Authentication, (1, "Logon")),
        Some(action::Kind::LoggedOff) => (Class::Authentication, (2, "Logoff")),
        Some(action::Kind::Made) => (Class::EntityManagement, (1, "Create")),
        Some(action::Kind::Changed) => (Class::EntityManagement, (3, "Update")),
        Some(action::Kind::Removed) => (Class::EntityManagement, (4, "Delete")),
        Some(action::Kind::Unlocked) => (Class::AccountChange, (12, "Unlock")),
        Some(action::Kind::SessionEnded) => (Class::UserAccess, (2, "Revoke Privileges")),
        // What another version called it, that had it in its spool.
        None => (Class::EntityManagement, (OTHER, "Other")),
    }
}

/// What an operator asked for.
fn asking(method: Option<&str>) -> (u32, &'static str) {
    match method.unwrap_or_default() {
        "GET" | "HEAD" => (2, "Read"),
        "POST" => (1, "Create"),
        "PUT" | "PATCH" => (3, "Update"),
        "DELETE" => (4, "Delete"),
        _ => (OTHER, "Other"),
    }
}

/// Whether it is of an operator, and not of a caller.
fn is_managing(native: &Native) -> bool {
    native.actor.is_some()
}

fn log_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Audit => "audit",
        Stream::Usage => "usage",
    }
}

/// What every event has.
fn begin(kind: &Kind, stream: Stream, native: &mut Native) -> Event {
    let (activity_id, activity_name) = kind.activity;
    let class_uid = kind.class as u32;
    let (status_id, status) = match native.is_success() {
        None => (0, "Unknown"),
        Some(true) => (1, "Success"),
        Some(false) => (2, "Failure"),
    };
    let (severity_id, severity) = match native.severity() {
        Severity::Informational | Severity::Notice => (1, "Informational"),
        Severity::Warning => (2, "Low"),
        Severity::Error => (4, "High"),
    };
    let is_call = kind.class == Class::ApiActivity && !is_managing(native);
    let profiles: &[_] = if is_call {
        &["ai_operation", "trace"]
    } else {
        &[]
    };
    let (tenant, log_name) = (native.tenant.take(), log_name(stream));
    let of_who = native.who.as_ref().and_then(|who| who.tenant.clone());
    Event {
        activity_id,
        activity_name,
        category_uid: class_uid / 1000,
        class_uid,
        class_name: class_name(kind.class),
        type_uid: class_uid * 100 + activity_id,
        severity_id,
        severity,
        status_id,
        status,
        status_detail: native.reason.take(),
        time: native.milliseconds().unwrap_or_default(),
        duration: native.took_ms.take(),
        message: native.message(),
        metadata: Metadata {
            version: "1.8.0",
            product: product(),
            profiles,
            uid: native.uid(),
            sequence: native.seq.take(),
            original_time: native.time.take(),
            event_code: native.event.take(),
            correlation_uid: native.decision.take(),
            tenant_uid: tenant.or(of_who),
            log_name,
            log_version: native.v.take().map(|version| version.to_string()),
            reporter: native.replica.take().map(|hostname| Reporter {
                name: "Turnpike",
                hostname,
            }),
        },
        ..Event::default()
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::AccountChange => "Account Change",
        Class::Authentication => "Authentication",
        Class::AuthorizeSession => "Authorize Session",
        Class::EntityManagement => "Entity Management",
        Class::UserAccess => "User Access Management",
        Class::ApplicationLifecycle => "Application Lifecycle",
        Class::ApiActivity => "API Activity",
    }
}

fn call(event: &mut Event, native: &mut Native) {
    let (provider, code) = (native.provider.take(), native.status.take());
    let request = native.request.take().map(|uid| ApiRequest { uid });
    let context_uid = event.metadata.correlation_uid.clone();
    let service = Name {
        name: provider.clone().unwrap_or_else(|| "turnpike".to_owned()),
    };
    event.status_code = code.map(|code| code.to_string());
    event.actor = Some(Actor { user: who(native) });
    event.src_endpoint = Some(endpoint(native));
    event.http_request = http_request(native);
    event.http_response = code.map(|code| Code { code });
    event.api = Some(Api {
        operation: native.operation.take().unwrap_or_else(unknown),
        request,
        response: code.map(|code| ApiResponse {
            code,
            error: event.status_detail.clone(),
        }),
        service: provider.clone().map(|name| Name { name }),
    });
    let name = native.served.take().or_else(|| native.model.take());
    event.ai_model = name.map(|name| AiModel {
        name,
        ai_provider: provider.unwrap_or_else(unknown),
    });
    event.message_context = native.used.as_mut().map(|used| {
        let (prompt_tokens, completion_tokens) = (used.input.take(), used.output.take());
        MessageContext {
            uid: context_uid.unwrap_or_else(unknown),
            service,
            ai_role_id: 2,
            ai_role: "Assistant",
            total_tokens: prompt_tokens.zip(completion_tokens).map(|(a, b)| a + b),
            prompt_tokens,
            completion_tokens,
        }
    });
    let credential = native.credential.take();
    event.resources = credential.map(|uid| {
        [Resource {
            uid,
            r#type: "upstream credential",
        }]
    });
    let trace = native.trace.take().filter(|uid| !uid.is_empty());
    event.trace = trace.map(|uid| Trace { uid });
}

/// What an operator asked the management API for.
fn asked(event: &mut Event, native: &mut Native) {
    let code = native.status.take();
    let asked = [native.method.take(), native.route.take()];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    event.status_code = code.map(|code| code.to_string());
    event.actor = native.actor.take().map(|name| Actor {
        user: User::named(name),
    });
    event.src_endpoint = Some(endpoint(native));
    event.http_response = code.map(|code| Code { code });
    event.api = Some(Api {
        operation: asked.join(" "),
        request: None,
        response: code.map(|code| ApiResponse {
            code,
            error: event.status_detail.clone(),
        }),
        service: Some(Name {
            name: "turnpike".to_owned(),
        }),
    });
}

fn authentication(event: &mut Event, native: &mut Native) {
    event.status_code = native.status.take().map(|code| code.to_string());
    event.user = Some(match native.actor.take() {
        Some(name) => User::named(name),
        None => who(native),
    });
    event.src_endpoint = Some(endpoint(native));
    event.http_request = http_request(native);
    event.service = Some(Name {
        name: native
            .provider
            .take()
            .unwrap_or_else(|| "turnpike".to_owned()),
    });
    event.is_remote = Some(true);
}

fn authorization(event: &mut Event, native: &mut Native) {
    let code = native.status.take();
    event.status_code = code.map(|code| code.to_string());
    event.http_response = code.map(|code| Code { code });
    event.http_request = http_request(native);
    event.user = Some(who(native));
    event.src_endpoint = Some(endpoint(native));
    let asked = [native.operation.take(), native.model.take()];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    event.privileges = Some([asked.join(" ")]);
}

fn management(event: &mut Event, native: &mut Native) {
    let (uid, kind) = match (native.credential.take(), native.token_id.take()) {
        (Some(credential), _) => (credential, "upstream credential"),
        (None, Some(token)) => (token, "agent token"),
        (None, None) => (native.subject.take().unwrap_or_else(unknown), "setting"),
    };
    event.entity = Some(Entity { uid, r#type: kind });
    event.actor = match native.actor.take() {
        Some(name) => Some(Actor {
            user: User::named(name),
        }),
        None if native.who.is_some() => Some(Actor { user: who(native) }),
        None => None,
    };
    event.src_endpoint = native.client.is_some().then(|| endpoint(native));
    event.status_detail = event.status_detail.take().or_else(|| native.fault.take());
}

fn account(event: &mut Event, native: &mut Native, class: Class) {
    let subject = native.subject.take().unwrap_or_else(unknown);
    event.actor = native.actor.take().map(|name| Actor {
        user: User::named(name),
    });
    if class == Class::UserAccess {
        event.privileges = Some(["session".to_owned()]);
    }
    event.user = Some(User {
        uid: Some(subject),
        ..User::default()
    });
}

/// The one whom the record names. Of most attributes the schema wants one that somebody can be told by.
fn who(native: &mut Native) -> User {
    let Some(who) = native.who.take() else {
        return User::named(unknown());
    };
    let is_key = who.api_key.is_some();
    let name = who.name.or_else(|| who.email.clone());
    User {
        name: name.or_else(|| who.subject.is_none().then(unknown)),
        uid: who.subject,
        email_addr: who.email,
        domain: who.issuer,
        org: who.tenant.map(|name| Name { name }),
        credential_uid: who.token_id.or(who.api_key),
        type_id: Some(if is_key { 4 } else { 1 }),
    }
}

fn endpoint(native: &mut Native) -> Endpoint {
    let ip = native.client.take();
    Endpoint {
        name: ip.is_none().then_some("unknown"),
        ip,
    }
}

fn http_request(native: &mut Native) -> Option<HttpRequest> {
    let user_agent = native.user_agent.take();
    user_agent.map(|user_agent| HttpRequest { user_agent })
}

fn product() -> Product {
    Product {
        name: "Turnpike",
        vendor_name: "Turnpike",
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}
