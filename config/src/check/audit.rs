//! The section `audit`.

use std::path::{Path as FilePath, PathBuf};

use crate::document::{AuditSink, AuditSinkKind, Document, Size, WhenSpoolFull};
use crate::locate::Path;
use crate::plan::{AuditPlan, AuditSinkPlan};

use super::Context;

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
    let sinks = section.field("sinks");
    if written.sinks.is_empty() {
        let message = "empty: records would go nowhere; write a sink, or `audit.enabled: false`";
        context.report.at(&sinks, message);
    }
    let database = context.base_dir.join(&document.state.path);
    let beside = database.parent().unwrap_or(FilePath::new(""));
    let mut plans = Vec::new();
    for (index, sink) in written.sinks.iter().enumerate() {
        let key = sinks.item(index);
        if let Some(plan) = self::sink(sink, beside, &key, context) {
            if plans.iter().any(|one: &AuditSinkPlan| one.is_where(&plan)) {
                context.report.at(&key, "is written twice");
            }
            plans.push(plan);
        }
    }
    Some(AuditPlan {
        spool: beside.join(&written.spool.path),
        max: written.spool.max.0,
        refuse: matches!(written.spool.when_full, WhenSpoolFull::Refuse),
        sinks: plans,
    })
}

fn sink(
    written: &AuditSink,
    beside: &FilePath,
    key: &Path,
    context: &mut Context<'_>,
) -> Option<AuditSinkPlan> {
    if written.kind == AuditSinkKind::File {
        return Some(AuditSinkPlan::File {
            path: file(written, beside, key, context)?,
            max: written.max_size.map_or(FILE, |size| size.0),
            keep: written.keep.unwrap_or(FILES),
        });
    }
    let of_files = [
        ("path", written.path.is_some()),
        ("max_size", written.max_size.is_some()),
        ("keep", written.keep.is_some()),
    ];
    for (name, is_written) in of_files {
        if is_written {
            let message = "has no effect unless `kind` is file";
            context.report.at(&key.field(name), message);
        }
    }
    Some(AuditSinkPlan::Stdout)
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
