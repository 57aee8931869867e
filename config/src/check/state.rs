//! The section `state`.

use std::path::PathBuf;
use std::time::Duration;

use ::url::Url;

use crate::document::{Backend, Document, Redis, RedisMode, RedisTls, Retention, Span};
use crate::locate::Path;
use crate::plan::{CertificatePlan, RedisPlan, RedisServersPlan, RetentionPlan, StatePlan};

use super::Context;

/// Longer, and a page that somebody waits for hangs.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_CONNECT: Duration = Duration::from_secs(60);

pub(super) fn state(document: &Document, context: &mut Context<'_>) -> Option<StatePlan> {
    let written = &document.state;
    let section = Path::default().field("state");
    if written.path.is_empty() {
        let message = "empty; write a path or leave the key out";
        context.report.at(&section.field("path"), message);
    }
    // Other processes' changes are heard of twice a second.
    if written.max_stale.0 < Duration::from_secs(2) {
        let message = "expected at least 2s";
        context.report.at(&section.field("max_stale"), message);
    }
    let redis = match written.backend {
        Backend::Embedded => None,
        Backend::Redis => {
            if document.server.secret_key.is_none() {
                let message = "`redis` needs `server.secret_key`, the same on all replicas: what one seals, another opens";
                context.report.at(&section.field("backend"), message);
            }
            Some(redis(&written.redis, &section.field("redis"), context)?)
        }
    };
    Some(StatePlan {
        path: context.base_dir.join(&written.path),
        redis,
        max_stale: written.max_stale.0,
        retention: retention(&written.retention),
    })
}

fn redis(written: &Redis, section: &Path, context: &mut Context<'_>) -> Option<RedisPlan> {
    let mut at_most = |key: &'static str, span: Span, longest: Duration| {
        if span.0 > longest {
            let message = format!("expected at most {}", Span(longest));
            context.report.at(&section.field(key), message);
        }
    };
    at_most("deadline", written.deadline, LONGEST_DEADLINE);
    at_most("connect_timeout", written.connect_timeout, LONGEST_CONNECT);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if written.key_prefix.is_empty() || !written.key_prefix.bytes().all(is_plain) {
        let message = "expected letters, digits and any of - _ . :";
        context.report.at(&section.field("key_prefix"), message);
    }
    if !written.username.is_empty() && written.password.0.is_none() {
        let message = "needs `password` beside it";
        context.report.at(&section.field("username"), message);
    }
    let is_tls = url(&written.url);
    let is_tls = is_tls.map_err(|message| context.report.at(&section.field("url"), message));
    let tls = section.field("tls");
    if is_tls == Ok(false) && (written.tls.ca_file.is_some() || written.tls.cert.is_some()) {
        let message = "has no effect unless `url` begins with rediss://";
        context.report.at(&tls, message);
    }
    let servers = servers(written, section, context);
    let (ca_file, client) = certificates(&written.tls, &tls, context);
    is_tls.ok()?;
    Some(RedisPlan {
        url: written.url.clone(),
        servers,
        username: written.username.clone(),
        password: written.password.0.clone(),
        ca_file,
        client,
        key_prefix: written.key_prefix.clone(),
        deadline: written.deadline.0,
        connect_timeout: written.connect_timeout.0,
    })
}

/// Whether it is reached over TLS. What is wrong never repeats the URL: a password may be in it.
fn url(written: &str) -> Result<bool, &'static str> {
    const EXPECTED: &str =
        "expected redis://host:port/database, rediss:// for TLS, or unix:///path";
    let url = Url::parse(written).map_err(|_| EXPECTED)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a login in the URL gets into listings; write `username` and `password` instead",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must end after its database");
    }
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    let database = url.path().trim_start_matches('/');
    let is_database = database.is_empty() || database.parse::<u16>().is_ok();
    match url.scheme() {
        "redis" | "rediss" if has_host && is_database => Ok(url.scheme() == "rediss"),
        "unix" if !has_host && !database.is_empty() => Ok(false),
        _ => Err(EXPECTED),
    }
}

fn servers(written: &Redis, section: &Path, context: &mut Context<'_>) -> RedisServersPlan {
    let mut at = |key: Path, message: &str| context.report.at(&key, message);
    let name = section.field("master_name");
    let is_watched = written.mode == RedisMode::Sentinel;
    if is_watched && written.master_name.is_empty() {
        at(name, "needed where `mode` is sentinel");
    } else if !is_watched && !written.master_name.is_empty() {
        at(name, "has no effect unless `mode` is sentinel");
    }
    if written.mode == RedisMode::Standalone {
        if !written.nodes.is_empty() {
            let message = "has no effect unless `mode` is sentinel or cluster";
            at(section.field("nodes"), message);
        }
        return RedisServersPlan::One;
    }
    let url = Url::parse(&written.url).ok();
    let url = url.map(|url| {
        (
            url.scheme() == "unix",
            url.path().trim_matches('/').to_owned(),
        )
    });
    match url {
        Some((true, _)) => {
            let message = "nodes are hosts; write redis:// or rediss://";
            at(section.field("url"), message);
        }
        Some((false, database)) if !is_watched && !matches!(&*database, "" | "0") => {
            at(section.field("url"), "a cluster has the database 0 only");
        }
        Some(_) | None => {}
    }
    nodes(&written.nodes, &section.field("nodes"), context);
    let (nodes, master_name) = (written.nodes.clone(), written.master_name.clone());
    match is_watched {
        true => RedisServersPlan::Sentinel { nodes, master_name },
        false => RedisServersPlan::Cluster { nodes },
    }
}

fn nodes(written: &[String], key: &Path, context: &mut Context<'_>) {
    if written.is_empty() {
        let message = "needed where `mode` is sentinel or cluster: each as host:port";
        context.report.at(key, message);
    }
    for (index, node) in written.iter().enumerate() {
        let parts = node.rsplit_once(':');
        let is_one = parts.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@']) && port.parse::<u16>().is_ok()
        });
        if !is_one {
            let message = "expected host:port, such as 10.0.0.5:26379";
            context.report.at(&key.item(index), message);
        }
    }
}

fn certificates(
    written: &RedisTls,
    section: &Path,
    context: &mut Context<'_>,
) -> (Option<PathBuf>, Option<CertificatePlan>) {
    let mut file = |key: &'static str, file: &String| context.readable(&section.field(key), file);
    let ca_file = written.ca_file.as_ref().map(|path| file("ca_file", path));
    let client = match (&written.cert, &written.key) {
        (Some(cert), Some(key)) => Some(CertificatePlan {
            cert: file("cert", cert),
            key: file("key", key),
        }),
        (Some(_), None) => {
            let message = "needs `key` beside it";
            context.report.at(&section.field("cert"), message);
            None
        }
        (None, Some(_)) => {
            let message = "needs `cert` beside it";
            context.report.at(&section.field("key"), message);
            None
        }
        (None, None) => None,
    };
    (ca_file, client)
}

fn retention(written: &Retention) -> RetentionPlan {
    let days = |days: u32| (days > 0).then_some(days);
    RetentionPlan {
        usage: days(written.usage_days),
        revoked_tokens: days(written.revoked_token_days),
        absent_people: days(written.absent_person_days),
    }
}
