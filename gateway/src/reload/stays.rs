//! What is read at the start only. docs/configuration.md has the same list for operators, and the chart
//! makes new pods when something of it changes (`turnpike.needsRestart` in helm/templates/_config.tpl).

use turnpike_config::Plan;
use turnpike_config::plan::AuditPlan;

/// Keys, and whether two configurations mean the same by them.
type Row = (&'static str, fn(&Plan, &Plan) -> bool);

const AT_THE_START: &[Row] = &[
    (
        "`server.host`, `server.port`, `server.threads`, `admin.host` or `admin.port`",
        |before, after| {
            let listening = |plan: &Plan| {
                let listen = (plan.server.listen.clone(), plan.admin.clone());
                (listen, plan.server.threads)
            };
            listening(before) == listening(after)
        },
    ),
    (
        "`state.backend`, `state.path` or `state.redis`",
        |before, after| {
            let store = |plan: &Plan| (plan.state.path.clone(), plan.state.redis.clone());
            store(before) == store(after)
        },
    ),
    ("`agent_tokens.max_concurrent_hashes`", |before, after| {
        let hashes = |plan: &Plan| plan.agent_tokens.max_concurrent_hashes;
        hashes(before) == hashes(after)
    }),
    (
        "`audit.enabled`, `audit.spool`, `audit.usage` or `audit.sinks`",
        |before, after| {
            let audit = |plan: &Plan| plan.audit.clone().map(AuditPlan::without_secrets);
            audit(before) == audit(after)
        },
    ),
    ("`logging.format` or `logging.file`", |before, after| {
        let logging = |plan: &Plan| (plan.logging.format, plan.logging.file.clone());
        logging(before) == logging(after)
    }),
];

/// The keys that the next configuration means something else by, to no effect before the next start.
pub(super) fn changed(before: &Plan, after: &Plan) -> impl Iterator<Item = &'static str> {
    let changed = AT_THE_START
        .iter()
        .filter(move |(_, same)| !same(before, after));
    changed.map(|(keys, _)| *keys)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnpike_config::Environment;

    use super::*;
    use crate::configuration;

    fn plan(dir: &Path, yaml: &str) -> Plan {
        let path = dir.join("turnpike.yaml");
        std::fs::write(&path, yaml).unwrap();
        let plan = configuration::load(&path, &Environment::default());
        plan.unwrap_or_else(|problems| panic!("{problems}"))
    }

    const SINKS: &str = "{kind: stdout}, {kind: webhook, url: \"https://a\", secret: SECRET}, {kind: otlp, url: \"https://b\", stream: usage}";

    fn sinks(secret: &str) -> String {
        let sinks = SINKS.replace("SECRET", secret);
        format!("audit: {{sinks: [{sinks}]}}")
    }

    #[test]
    fn what_is_read_at_the_start_only_is_told_and_nothing_else() {
        let one = sinks("one-0123456789-0123456789-0123456789");
        let dir = tempfile::tempdir().unwrap();
        let before = plan(dir.path(), &one);
        for (yaml, told) in [
            (one.clone(), None),
            (
                format!("{one}\nserver: {{limits: {{max_body: 1MiB}}}}"),
                None,
            ),
            (format!("{one}\nlogging: {{level: debug}}"), None),
            (one.replace("]}", "], prompts: {enabled: true}}"), None),
            (sinks("two-0123456789-0123456789-0123456789"), None),
            (
                one.replace("stream: usage", "stream: usage, token: abc-0123456789"),
                None,
            ),
            (format!("{one}\nserver: {{port: 1}}"), Some("server.port")),
            (
                format!("{one}\nserver: {{threads: 7}}"),
                Some("server.threads"),
            ),
            (format!("{one}\nadmin: {{port: 1}}"), Some("admin.port")),
            (format!("{one}\nstate: {{path: b.db}}"), Some("state.path")),
            (
                format!("{one}\nagent_tokens: {{max_concurrent_hashes: 3}}"),
                Some("agent_tokens.max_concurrent_hashes"),
            ),
            ("audit: {enabled: false}".to_owned(), Some("audit.enabled")),
            (one.replace("https://a", "https://c"), Some("audit.sinks")),
            (
                one.replace("stdout", "stdout, format: cef"),
                Some("audit.sinks"),
            ),
            (
                format!("{one}\nlogging: {{format: json}}"),
                Some("logging.format"),
            ),
            (
                format!("{one}\nlogging: {{file: /tmp/l}}"),
                Some("logging.file"),
            ),
        ] {
            let after = plan(dir.path(), &yaml);
            let found: Vec<_> = changed(&before, &after).collect();
            assert_eq!(
                found.len(),
                usize::from(told.is_some()),
                "{yaml}: {found:?}"
            );
            assert!(
                told.is_none_or(|told| found[0].contains(told)),
                "{yaml}: {found:?}"
            );
        }
    }

    #[test]
    fn operators_are_told_the_same_list() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(page).unwrap();
        let list = page.split("**Read at the start only**").nth(1).unwrap();
        let list = list.split("\n- ").next().unwrap();
        for (keys, _) in AT_THE_START {
            for key in keys.split('`').skip(1).step_by(2) {
                assert!(list.contains(&format!("`{key}`")), "{key} is missing");
            }
        }
    }
}
