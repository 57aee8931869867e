//! From the plan to a log with its sinks.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tokio::runtime::Handle;
use turnpike_audit::sinks::file::{FileSink, Options};
use turnpike_audit::sinks::otlp::{self, Otlp};
use turnpike_audit::sinks::outside::Renewable;
use turnpike_audit::sinks::splunk_hec::{self, Acknowledge, SplunkHec};
use turnpike_audit::sinks::stdout::Stdout;
use turnpike_audit::sinks::syslog::Syslog;
use turnpike_audit::sinks::webhook::{self, Webhook};
use turnpike_audit::spool::{Terms, boot_id};
use turnpike_audit::{Format, Log, OpenError, Settings, SigningKey, Sink, Stream, WhenFull};
use turnpike_config::plan::{
    AuditFormatPlan, AuditPlan, AuditReceiverPlan, AuditSinkPlan, SecretKey,
};
use url::Url;
use uuid::Uuid;

use super::Audit;
use super::outside::{Receiver, Ways};
use super::shown::{Secrets, Shown};
use crate::assemble::Ground;
use crate::clock::Time;

/// Why there is no record.
#[derive(Debug, Error)]
pub enum AuditError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the signing key cannot be made")]
    Key,
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Audit {
    /// Keeps record from now on. Its sinks make their calls on the runtime that this is called on.
    pub fn open(
        &self,
        plan: &AuditPlan,
        key: &SecretKey,
        ground: &Ground,
    ) -> Result<(), AuditError> {
        let when_full = match plan.refuse {
            true => WhenFull::Refuse,
            false => WhenFull::DropOldest,
        };
        let of_audit = terms(&plan.spool, plan.max, when_full);
        let mut shown = Vec::new();
        let sinks = (Stream::Audit, &*plan.sinks);
        let log = self.open_log(of_audit, sinks, key, ground, &mut shown)?;
        // Each is opened once.
        let _ = self.log.set(log);
        if let Some(usage) = &plan.usage {
            let of_usage = terms(&usage.spool, usage.max, WhenFull::DropOldest);
            let sinks = (Stream::Usage, &*usage.sinks);
            let log = self.open_log(of_usage, sinks, key, ground, &mut shown)?;
            let _ = self.usage.set(log);
        }
        let _ = self.shown.set(shown);
        Ok(())
    }

    fn open_log(
        &self,
        terms: Terms,
        (stream, sinks): (Stream, &[AuditSinkPlan]),
        key: &SecretKey,
        ground: &Ground,
        shown: &mut Vec<Shown>,
    ) -> Result<Log, AuditError> {
        let mut chain = [0; 8];
        getrandom::fill(&mut chain).map_err(AuditError::Random)?;
        let time = ground.board.time.clone();
        let ways = Ways {
            runtime: Handle::current(),
            connections: ground.connections.clone(),
            egress: self.egress.clone(),
        };
        let settings = Settings {
            terms,
            chain: format!("{:016x}", u64::from_le_bytes(chain)),
            replica: gethostname::gethostname().to_string_lossy().into_owned(),
            key: signing_key(key).ok_or(AuditError::Key)?,
            clock: Arc::new(time.clone()),
        };
        let sinks = sinks.iter().map(|plan| {
            let name = sink_name(&plan.to);
            let (sink, secrets) = build(plan, stream, &ways, &time);
            shown.extend(secrets.map(|secrets| Shown {
                stream,
                sink: name.clone(),
                secrets,
            }));
            (name, sink)
        });
        Ok(Log::open(settings, sinks.collect())?)
    }
}

fn terms(directory: &Path, max: u64, when_full: WhenFull) -> Terms {
    Terms {
        directory: directory.to_owned(),
        max,
        when_full,
        boot: boot_id(),
    }
}

/// What records are signed with: made of the key that links and cookies are sealed with.
pub fn signing_key(key: &SecretKey) -> Option<SigningKey> {
    SigningKey::of(&blake3::derive_key("turnpike audit 1", key.bytes()))
}

/// By what a sink is known, from start to start. It is a label of metrics: no URL stands there, whose path
/// may be a secret of the receiver's.
pub fn sink_name(to: &AuditReceiverPlan) -> String {
    match to {
        // All of it: two files of one name in two folders are two sinks.
        AuditReceiverPlan::File { path, .. } => format!("file {}", path.display()),
        AuditReceiverPlan::Stdout => "stdout".to_owned(),
        AuditReceiverPlan::Syslog { address, .. } => format!("syslog {address}"),
        AuditReceiverPlan::Webhook { url, .. } => named("webhook", url, ""),
        AuditReceiverPlan::SplunkHec { url, index, .. } => {
            named("splunk_hec", url, index.as_deref().unwrap_or_default())
        }
        AuditReceiverPlan::Otlp { url, .. } => named("otlp", url, ""),
    }
}

/// The host, and a digest of the rest.
fn named(kind: &str, url: &Url, more: &str) -> String {
    let host = url.host_str().unwrap_or_default();
    let digest = blake3::hash(format!("{url} {more}").as_bytes()).to_hex();
    format!("{kind} {host} {}", &digest[..8])
}

/// With its secrets, where its receiver knows it by some.
fn build(
    sink: &AuditSinkPlan,
    stream: Stream,
    ways: &Ways,
    time: &Time,
) -> (Box<dyn Sink>, Option<Secrets>) {
    let format = format(sink.format, stream);
    let (world, clock) = (Arc::new(ways.clone()), Arc::new(time.clone()));
    match &sink.to {
        AuditReceiverPlan::File { path, max, keep } => {
            let options = Options {
                path: path.clone(),
                format,
                max: *max,
                keep: *keep,
            };
            (Box::new(FileSink::new(options)), None)
        }
        AuditReceiverPlan::Stdout => (Box::new(Stdout(format)), None),
        AuditReceiverPlan::Syslog {
            address,
            ca_file,
            client,
        } => {
            let receiver = Receiver {
                address: address.clone(),
                ca_file: ca_file.clone(),
                client: client.clone(),
                ways: ways.clone(),
            };
            let sink = Syslog::new(Box::new(receiver), format, clock);
            (Box::new(sink), None)
        }
        AuditReceiverPlan::Webhook { url, secret, token } => {
            let keys = Renewable::new(webhook::Keys {
                secret: secret.clone(),
                token: token.clone(),
            });
            let options = webhook::Options {
                url: url.to_string(),
                keys: keys.clone(),
                format,
            };
            let sink = Webhook::new(options, world, clock);
            (Box::new(sink), Some(Secrets::Webhook(keys)))
        }
        AuditReceiverPlan::SplunkHec {
            url,
            token,
            index,
            acknowledge,
        } => {
            let at = |path| {
                format!(
                    "{}/services/collector/{path}",
                    url.as_str().trim_end_matches('/')
                )
            };
            let token = Renewable::new(token.clone());
            let options = splunk_hec::Options {
                url: at("event"),
                acknowledge: acknowledge.then(|| Acknowledge::new(at("ack"), channel())),
                token: token.clone(),
                index: index.clone(),
                format,
            };
            let sink = SplunkHec::new(options, world, clock);
            (Box::new(sink), Some(Secrets::SplunkHec(token)))
        }
        AuditReceiverPlan::Otlp { url, token } => {
            let token = Renewable::new(token.clone());
            let options = otlp::Options {
                url: format!("{}/v1/logs", url.as_str().trim_end_matches('/')),
                token: token.clone(),
                format,
            };
            let sink = Otlp::new(options, world, clock);
            (Box::new(sink), Some(Secrets::Otlp(token)))
        }
    }
}

/// Of a process: what another one waited for is not waited for any more.
fn channel() -> String {
    Uuid::now_v7().to_string()
}

fn format(plan: AuditFormatPlan, stream: Stream) -> Format {
    match plan {
        AuditFormatPlan::Json => Format::Json,
        AuditFormatPlan::Ocsf => Format::Ocsf(stream),
        AuditFormatPlan::Cef => Format::Cef,
        AuditFormatPlan::Ecs => Format::Ecs(stream),
    }
}
