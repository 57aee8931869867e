//! `docs/reference/metrics.md`, made of the catalogue.

use std::fmt::Write as _;

use super::catalogue::{CATALOGUE, Metric};
use super::labels::{Bound, Label, OTHER};

const HEAD: &str = "\
# Metrics

`GET /metrics` of the admin listener, for Prometheus. Made of `gateway/src/observe/metrics/catalogue.rs`
by `make reference`; dashboards and alerts (`helm/`) are held against it. What they are good for is in
[operating.md](../operating.md#watching).

Callers are in no label, neither people nor keys, nor what they asked for in their own words; of tenants there is the name
that the configuration gives them. Each label has as many values as it says below, at most; gauges of credentials tell of all there are.

Counters and histograms begin anew with the process. A series that names a model, a provider or a credential is there
from its first call on. Generations are each replica's own count: whether replicas agree is told by `turnpike_config_hash`, which
`GET /v0/management/replicas` has as text, and by `turnpike_fleet_configurations`.

To its callers a gateway is the server, so it tells OpenTelemetry's GenAI metrics of model servers. The tokens are the exception: the
conventions have them for clients only. They are of calls that reached a provider, with the provider's name of the configuration, and
`responses` and `messages` are a `chat` to them.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut out = HEAD.to_owned();
    for section in CATALOGUE {
        let _ = write!(
            out,
            "\n## {}\n\n| metric | kind | unit | labels | |\n|---|---|---|---|---|\n",
            section.title
        );
        for metric in section.metrics {
            line(metric, &mut out);
        }
    }
    out.push_str("\n## Labels\n\n| label | of | values | |\n|---|---|---|---|\n");
    for (label, of) in labels() {
        let of = of.join(", ");
        let (name, values, what) = (label.name, values(&label), label.what);
        let _ = writeln!(out, "| `{name}` | {of} | {values} | {what} |");
    }
    out
}

fn line(metric: &Metric, out: &mut String) {
    let labels: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
    let labels = match labels.is_empty() {
        true => String::new(),
        false => format!("`{}`", labels.join("`, `")),
    };
    let (name, kind, unit) = (metric.name, metric.kind.as_str(), metric.unit.as_str());
    let _ = writeln!(
        out,
        "| `{name}` | {kind} | {unit} | {labels} | {} |",
        metric.help
    );
}

/// Each label with the metrics that have it, in their order. Two of one name that say different things
/// are two.
fn labels() -> Vec<(Label, Vec<String>)> {
    let mut found: Vec<(Label, Vec<String>)> = Vec::new();
    for metric in super::catalogue::all() {
        for label in metric.labels {
            let name = format!("`{}`", metric.name);
            let same =
                |(other, _): &&mut (Label, _)| other.name == label.name && other.what == label.what;
            match found.iter_mut().find(same) {
                Some((_, of)) => of.push(name),
                None => found.push((*label, vec![name])),
            }
        }
    }
    found.sort_by_key(|(label, _)| label.name);
    found
}

fn values(label: &Label) -> String {
    let word = |word: &str| match word {
        "" => "(none)".to_owned(),
        word => format!("`{word}`"),
    };
    match label.bound {
        Bound::Words(words) => {
            let words: Vec<_> = words().into_iter().map(word).collect();
            words.join(", ")
        }
        Bound::As(other) => format!("those of `{other}`"),
        Bound::There(many) => many.to_owned(),
        Bound::First(most) => format!(
            "the first {most} since the start, also those that are configured no more; then `{OTHER}`"
        ),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_copy_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let current = super::page();
        if std::env::var_os("RENEW").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == current,
            "docs/reference/metrics.md is stale; renew it: make reference"
        );
    }
}
