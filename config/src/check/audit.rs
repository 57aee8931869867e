//! The section `audit`.

mod claimed;
mod receivers;

use std::path::{Path as FilePath, PathBuf};

use crate::document::{
    AuditFormat, AuditSink, AuditSinkKind, AuditStream, Document, Size, WhenSpoolFull,
};
use crate::locate::Path;
use crate::plan::{
    AuditFormatPlan, AuditPlan, AuditReceiverPlan, AuditSinkPlan, PromptsPlan, UsageStreamPlan,
};

use super::Context;

pub(super) use claimed::claimed_headers;

const LEAST: Size = Size(1 << 20);

/// How large a file gets, and how many there are, where nothing is said.
const FILE: u64 = 100 << 20;
const FILES: u32 = 10;

pub(super) fn audit(document: &Document, context: &mut Context<'_>) -> Option<AuditPlan> {
    let written = &document.audit;
    if !written.enabled {
        return None;
    }
    let section = Path::default().field("audit");
    let spool = section.field("spool");
    if written.spool.path.is_empty() {
        let message = "empty; write a path or leave the key out";
        context.report.at(&spool.field("path"), message);
    }
    if written.spool.max < LEAST {
        let message = format!("expected at least {LEAST}");
        context.report.at(&spool.field("max"), message);
    }
    if written.usage.max < LEAST {
        let message = format!("expected at least {LEAST}");
        context
            .report
            .at(&section.field("usage").field("max"), message);
    }
    let database = context.base_dir.join(&document.state.path);
    let beside = database.parent().unwrap_or(FilePath::new(""));
    let spool = beside.join(&written.spool.path);
    let (audit, usage) = sinks(&written.sinks, beside, &section.field("sinks"), context);
    Some(AuditPlan {
        usage: (!usage.is_empty()).then(|| UsageStreamPlan {
            spool: spool.join("usage"),
            max: written.usage.max.0,
            sinks: usage,
        }),
        spool,
        max: written.spool.max.0,
        refuse: matches!(written.spool.when_full, WhenSpoolFull::Refuse),
        sinks: audit,
    })
}

/// Whether what callers say to models is on record.
pub(super) fn prompts(document: &Document, context: &mut Context<'_>) -> PromptsPlan {
    let written = &document.audit.prompts;
    if !document.audit.enabled {
        let section = Path::default().field("audit").field("prompts");
        let mut tenants = document.tenants.iter();
        let tenant = tenants.find(|(_, tenant)| tenant.prompts.enabled == Some(true));
        let tenant = tenant.map(|(name, _)| {
            let tenants = Path::default().field("tenants");
            tenants.entry(name).field("prompts")
        });
        if let Some(key) = tenant.or(written.enabled.then_some(section)) {
            let message = "has no effect where `audit.enabled` is false: nothing is on record";
            context.report.at(&key.field("enabled"), message);
        }
    }
    PromptsPlan {
        enabled: written.enabled,
        max: written.max_bytes as usize,
    }
}

/// Those of the stream `audit`, and those of `usage`.
fn sinks(
    written: &[AuditSink],
    beside: &FilePath,
    section: &Path,
    context: &mut Context<'_>,
) -> (Vec<AuditSinkPlan>, Vec<AuditSinkPlan>) {
    if written.is_empty() {
        let message = "empty: records would go nowhere; write a sink, or `audit.enabled: false`";
        context.report.at(section, message);
    } else if written.iter().all(|sink| sink.stream == AuditStream::Usage) {
        let message = "none is of the stream `audit`; write one, or `audit.enabled: false`";
        context.report.at(section, message);
    }
    let (mut audit, mut usage) = (Vec::new(), Vec::new());
    for (index, sink) in written.iter().enumerate() {
        let key = section.item(index);
        let Some(plan) = self::sink(sink, beside, &key, context) else {
            continue;
        };
        let (same, other) = match sink.stream {
            AuditStream::Audit => (&mut audit, &usage),
            AuditStream::Usage => (&mut usage, &audit),
        };
        let is_there = same
            .iter()
            .any(|one: &AuditSinkPlan| one.to.is_where(&plan.to))
            || other.iter().any(|one| one.to.is_file_of(&plan.to));
        if is_there {
            context.report.at(&key, "is written twice");
        }
        same.push(plan);
    }
    (audit, usage)
}

fn sink(
    written: &AuditSink,
    beside: &FilePath,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditSinkPlan> {
    without_effect(written, key, context);
    let to = match written.kind {
        AuditSinkKind::File => AuditReceiverPlan::File {
            path: file(written, beside, key, context)?,
            max: written.max_size.map_or(FILE, |size| size.0),
            keep: written.keep.unwrap_or(FILES),
        },
        AuditSinkKind::Stdout => AuditReceiverPlan::Stdout,
        AuditSinkKind::Syslog => receivers::syslog(written, key, context)?,
        AuditSinkKind::Webhook => receivers::webhook(written, key, context)?,
        AuditSinkKind::SplunkHec => receivers::splunk_hec(written, key, context)?,
        AuditSinkKind::Otlp => receivers::otlp(written, key, context)?,
    };
    let format = match written.format {
        AuditFormat::Json => AuditFormatPlan::Json,
        AuditFormat::Ocsf => AuditFormatPlan::Ocsf,
        AuditFormat::Cef => AuditFormatPlan::Cef,
        AuditFormat::Ecs => AuditFormatPlan::Ecs,
    };
    Some(AuditSinkPlan { format, to })
}

/// Keys that are those of another kind.
fn without_effect(written: &AuditSink, key: &Path, context: &mut Context<'_>) {
    use AuditSinkKind::{File, Otlp, SplunkHec, Syslog, Webhook};
    let keys: [(&str, bool, &[AuditSinkKind], &str); 10] = [
        ("path", written.path.is_some(), &[File], "file"),
        ("max_size", written.max_size.is_some(), &[File], "file"),
        ("keep", written.keep.is_some(), &[File], "file"),
        ("address", written.address.is_some(), &[Syslog], "syslog"),
        ("tls", written.tls.is_some(), &[Syslog], "syslog"),
        (
            "url",
            written.url.is_some(),
            &[Webhook, SplunkHec, Otlp],
            "webhook, splunk_hec or otlp",
        ),
        ("secret", written.secret.is_some(), &[Webhook], "webhook"),
        (
            "token",
            written.token.is_some(),
            &[Webhook, SplunkHec, Otlp],
            "webhook, splunk_hec or otlp",
        ),
        ("index", written.index.is_some(), &[SplunkHec], "splunk_hec"),
        (
            "acknowledge",
            written.acknowledge.is_some(),
            &[SplunkHec],
            "splunk_hec",
        ),
    ];
    for (name, is_written, kinds, words) in keys {
        if is_written && !kinds.contains(&written.kind) {
            let message = format!("has no effect unless `kind` is {words}");
            context.report.at(&key.field(name), message);
        }
    }
}

fn file(
    written: &AuditSink,
    beside: &FilePath,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<PathBuf> {
    match written.path.as_deref() {
        Some("") | None => {
            let message = "needed where `kind` is file: write a path";
            context.report.at(&key.field("path"), message);
            None
        }
        Some(path) => Some(beside.join(path)),
    }
}
