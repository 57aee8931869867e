"""The metrics that the gateway exports, read from where it makes them."""

import re

from chart import CHART

SOURCES = sorted((CHART.parent / "gateway" / "src" / "observe").glob("*.rs"))

# What Prometheus and its operator add to every series.
ADDED = {"instance", "job", "namespace", "pod", "service", "le", "alertname", "alertstate", "severity"}


def catalogue():
    """Names to labels. A histogram's name stands for its three series, too."""
    found = {}
    for path in SOURCES:
        text = path.read_text()
        names = list(re.finditer(r'"(turnpike_[a-z_]+)"', text))
        for name, following in zip(names, [*names[1:], None]):
            before = text[: name.start()]
            after = text[name.end() : following.start() if following else name.end() + 600]
            labels = set(
                re.findall(r'"([a-z_]+)"', " ".join(re.findall(r'\[((?:\s*"[a-z_]+",?)+\s*)\]', after)))
            )
            labels |= set(re.findall(r'const_label\("([a-z_]+)"', after))
            # `histograms` of metrics.rs gives all of its own this one.
            if re.search(r"histograms\(\s*&registry,\s*$", before):
                labels = {"operation"}
            found.setdefault(name.group(1), set()).update(labels)
    return found


METRICS = catalogue()


def asked(expression):
    """The metrics of an expression that there are not, and the labels that its metrics do not have."""
    names = set(re.findall(r"\b(turnpike_[a-z_]+)", expression))
    bare = {name: re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    missing = {name for name in names if name not in METRICS and bare[name] not in METRICS}
    known = set(ADDED)
    for name in names - missing:
        known |= METRICS.get(name) or METRICS.get(bare[name], set())
    grouped = re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression)
    labels = {label.strip() for group in grouped for label in group.split(",")}
    labels |= {
        label
        for inside in re.findall(r"\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)\s*(?:=|!)", inside)
    }
    return missing, labels - known
