//! ArcSight's Common Event Format: a line of names and values. What it has no name for is called
//! `turnpikeSomething`.

use std::net::IpAddr;

use serde_json::Value;

use super::native::{Native, Severity};

pub(super) fn write(mut native: Native, out: &mut Vec<u8>) {
    let (message, outcome) = (native.message(), outcome(&native));
    let uid = native.uid();
    header(&mut native, &message, out);
    let mut fields = Fields {
        out,
        is_first: true,
    };
    fields.put("externalId", &uid);
    if let Some(time) = native.milliseconds() {
        fields.put("rt", &time.to_string());
        native.time = None;
    }
    fields.text("dvchost", native.replica.take());
    fields.text("act", native.action.take().or_else(|| native.change.take()));
    fields.put("outcome", outcome);
    fields.text("reason", native.reason.take());
    if let Some(who) = &mut native.who {
        fields.text("suser", who.name.take());
        fields.text("suid", who.subject.take());
        fields.custom("cs1", "tenant", who.tenant.take());
    }
    fields.text("suser", native.actor.take());
    match native.client.as_deref().map(str::parse) {
        Some(Ok(IpAddr::V4(_))) => fields.text("src", native.client.take()),
        Some(Ok(IpAddr::V6(_))) => {
            fields.custom("c6a2", "Source IPv6 Address", native.client.take())
        }
        Some(Err(_)) | None => {}
    }
    fields.text("requestMethod", native.method.take());
    fields.text("request", native.route.take());
    fields.text("requestClientApplication", native.user_agent.take());
    fields.custom("cs2", "model", native.model.take());
    fields.custom("cs3", "served model", native.served.take());
    fields.custom("cs4", "provider", native.provider.take());
    fields.custom("cs5", "credential", native.credential.take());
    fields.custom("cs6", "decision", native.decision.take());
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    fields.custom("cn1", "status", number(native.status.take()));
    if let Some(used) = &mut native.used {
        fields.custom("cn2", "input tokens", number(used.input.take()));
        fields.custom("cn3", "output tokens", number(used.output.take()));
    }
    if let Ok(left) = serde_json::to_value(&native) {
        fields.left("turnpike", &left);
    }
}

/// The name of a record that was written so, unlike that of all others.
pub(super) fn uid(line: &[u8]) -> Option<String> {
    let rest = extension(str::from_utf8(line).ok()?)?;
    let rest = rest.strip_prefix("externalId=")?;
    rest.split(' ').next().map(str::to_owned)
}

/// What stands behind the header: behind its seventh bar. One that is escaped is a text's, and may be
/// anybody's.
fn extension(line: &str) -> Option<&str> {
    let (mut bars, mut is_escaped) = (0, false);
    for (at, byte) in line.bytes().enumerate() {
        if byte == b'|' && !is_escaped {
            bars += 1;
        }
        if bars == 7 {
            return line.get(at + 1..);
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    None
}

fn header(native: &mut Native, message: &str, out: &mut Vec<u8>) {
    let severity = match native.severity() {
        Severity::Informational => "1",
        Severity::Notice => "3",
        Severity::Warning => "6",
        Severity::Error => "9",
    };
    let event = native.event.take().unwrap_or_default();
    out.extend_from_slice(b"CEF:0|Turnpike|Turnpike|");
    for part in [env!("CARGO_PKG_VERSION"), &event, message, severity] {
        escaped(part, '|', out);
        out.push(b'|');
    }
}

fn outcome(native: &Native) -> &'static str {
    match native.is_success() {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    }
}

struct Fields<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
        escaped(value, '=', self.out);
    }

    fn text(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    /// One whose meaning stands beside it.
    fn custom(&mut self, name: &str, meaning: &str, value: Option<String>) {
        if let Some(value) = value {
            self.put(name, &value);
            self.put(&format!("{name}Label"), meaning);
        }
    }

    /// What has no name of its own, by where it stands.
    fn left(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.left(&format!("{path}{}", camel(name)), value);
                }
            }
            Value::String(text) => self.put(path, text),
            other => self.put(path, &other.to_string()),
        }
    }
}

/// `took_ms` as `TookMs`, a header `x-user-id` as `XUserId`.
fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter_map(|word| {
        let (first, rest) = word.split_at_checked(1)?;
        Some(first.to_ascii_uppercase() + rest)
    });
    words.collect()
}

/// A text within a line: what ends a value is behind a backslash, and no character moves a line.
fn escaped(text: &str, end: char, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '\\' => out.extend_from_slice(br"\\"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            c if c == end => out.extend_from_slice(&[b'\\', c as u8]),
            c if c.is_control() => {
                out.extend_from_slice(format!(r"\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
}
