//! Sinks that are reached over the network.

use ::url::Url;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use turnpike_api::Secret;

use crate::document::{AuditSink, AuditTls, SecretText};
use crate::locate::Path;
use crate::plan::{AuditReceiverPlan, CertificatePlan};

use super::super::{Context, keys, url};

/// Of the secret that batches are signed with, in bytes.
const LEAST: usize = 16;

pub(super) fn syslog(
    written: &AuditSink,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditReceiverPlan> {
    let address = needed(
        "address",
        "syslog",
        written.address.as_deref(),
        key,
        context,
    )?;
    let parsed = receiver(address);
    let parsed = parsed.map_err(|message| context.report.at(&key.field("address"), message));
    let tls = key.field("tls");
    if let (Ok(address), Some(_)) = (&parsed, &written.tls)
        && address.scheme() != "tls"
    {
        let message = "has no effect unless `address` begins with tls://";
        context.report.at(&tls, message);
    }
    let none = AuditTls::default();
    let written = written.tls.as_ref().unwrap_or(&none);
    let mut file = |key: &'static str, file: &String| context.readable(&tls.field(key), file);
    let ca_file = written.ca_file.as_ref().map(|path| file("ca_file", path));
    let client = match (&written.cert, &written.key) {
        (Some(cert), Some(key)) => Some(CertificatePlan {
            cert: file("cert", cert),
            key: file("key", key),
        }),
        (Some(_), None) => {
            context
                .report
                .at(&tls.field("cert"), "needs `key` beside it");
            None
        }
        (None, Some(_)) => {
            context
                .report
                .at(&tls.field("key"), "needs `cert` beside it");
            None
        }
        (None, None) => None,
    };
    Some(AuditReceiverPlan::Syslog {
        address: parsed.ok()?,
        ca_file,
        client,
    })
}

/// An address of a receiver that takes a stream.
fn receiver(written: &str) -> Result<Url, &'static str> {
    const EXPECTED: &str = "expected tls://host:port, or tcp://host:port in clear text";
    let url = Url::parse(written).map_err(|_| EXPECTED)?;
    let is_address = matches!(url.scheme(), "tls" | "tcp")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.port().is_some_and(|port| port > 0)
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    is_address.then_some(url).ok_or(EXPECTED)
}

pub(super) fn webhook(
    written: &AuditSink,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditReceiverPlan> {
    let url = needed("url", "webhook", written.url.as_deref(), key, context);
    let url = url.and_then(|url| web(url, key, context));
    let secret = needed("secret", "webhook", written.secret.as_ref(), key, context);
    if let Some(SecretText(secret)) = secret {
        if let Err(message) = keys::refuse_placeholder(secret) {
            context.report.at(&key.field("secret"), message);
        } else if let Err(message) = signs(secret) {
            context.report.at(&key.field("secret"), message);
        }
    }
    let token = written.token.as_ref();
    let token = token.map(|token| header(token, key, context));
    Some(AuditReceiverPlan::Webhook {
        url: url?,
        secret: secret?.0.clone(),
        token,
    })
}

/// That batches can be signed with it: what stands behind `whsec_` is Base64, anything else a text.
fn signs(secret: &Secret) -> Result<(), String> {
    let secret = secret.expose();
    let bytes = match secret.strip_prefix("whsec_") {
        // Its error would repeat some of it.
        Some(encoded) => BASE64.decode(encoded).map(|bytes| bytes.len()).map_err(|_| {
            "expected Base64 behind `whsec_`, with its padding; leave `whsec_` out to sign with a text"
        })?,
        None => secret.len(),
    };
    match bytes < LEAST {
        true => Err(format!("expected at least {LEAST} bytes")),
        false => Ok(()),
    }
}

pub(super) fn splunk_hec(
    written: &AuditSink,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditReceiverPlan> {
    let url = needed("url", "splunk_hec", written.url.as_deref(), key, context);
    let url = url.and_then(|url| web(url, key, context));
    if url
        .as_ref()
        .is_some_and(|url| url.path().contains("/services/collector"))
    {
        let message = "expected no more than where the collector is, such as https://splunk:8088";
        context.report.at(&key.field("url"), message);
    }
    let token = needed("token", "splunk_hec", written.token.as_ref(), key, context);
    let token = token.map(|token| header(token, key, context));
    if written.index.as_deref() == Some("") {
        let message = "empty; write an index or leave the key out";
        context.report.at(&key.field("index"), message);
    }
    Some(AuditReceiverPlan::SplunkHec {
        url: url?,
        token: token?,
        index: written.index.clone(),
        acknowledge: written.acknowledge.unwrap_or(false),
    })
}

pub(super) fn otlp(
    written: &AuditSink,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditReceiverPlan> {
    let url = needed("url", "otlp", written.url.as_deref(), key, context);
    let url = url.and_then(|url| web(url, key, context))?;
    if url.path().ends_with("/v1/logs") {
        let message = "ends with `/v1/logs`, which is appended to it; leave that out";
        context.report.at(&key.field("url"), message);
    }
    let token = written.token.as_ref();
    let token = token.map(|token| header(token, key, context));
    Some(AuditReceiverPlan::Otlp { url, token })
}

/// What there must be where `kind` is this.
fn needed<T>(
    name: &'static str,
    kind: &str,
    written: Option<T>,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<T> {
    if written.is_none() {
        let message = format!("needed where `kind` is {kind}");
        context.report.at(&key.field(name), message);
    }
    written
}

/// Records say who did what: they go out in clear text on this machine only, as the keys of issuers come.
fn web(written: &str, key: &Path, context: &mut Context<'_>) -> Option<Url> {
    let url = url::issuer(written);
    url.map_err(|message| context.report.at(&key.field("url"), message))
        .ok()
}

/// What stands in a header. It is never repeated.
fn header(SecretText(token): &SecretText, key: &Path, context: &mut Context<'_>) -> Secret {
    let is_visible = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if let Err(message) = keys::refuse_placeholder(token) {
        context.report.at(&key.field("token"), message);
    } else if !is_visible {
        let message = "cannot stand in a header: write letters, digits and signs, without blanks";
        context.report.at(&key.field("token"), message);
    }
    token.clone()
}
