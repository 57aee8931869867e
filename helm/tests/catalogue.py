"""The metrics that the gateway exports, by the page that is made of its catalogue.

That the page is up to date is a test of the gateway's own; that it is the truth, one of test_scraped.py.
"""

import re

from chart import CHART

PAGE = CHART.parent / "docs" / "reference" / "metrics.md"

NAMES = r"\b((?:turnpike|gen_ai_(?:client|server))_[a-z_]+)"

# What Prometheus and its operator add to every series.
ADDED = {"instance", "job", "namespace", "pod", "service", "le", "alertname", "alertstate", "severity"}


def catalogue():
    """Names to labels. A histogram's name stands for its three series, too."""
    rows = re.findall(
        r"^\| `(\w+)` \| (?:counter|gauge|histogram) \| [^|]* \| ([^|]*) \|", PAGE.read_text(), re.M
    )
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


METRICS = catalogue()


def words(metric, label):
    """The values that a label of a metric may have, by the page's second table; None = they are no words."""
    word = r"(?:`[^`]*`|\(none\))"
    for name, of, values in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", PAGE.read_text(), re.M):
        if name == label and f"`{metric}`" in of and re.fullmatch(f"{word}(?:, {word})*", values):
            return {one.strip("`").replace("(none)", "") for one in values.split(", ")}
    return None


def asked(expression):
    """The metrics of an expression that there are not, and the labels that its metrics do not have."""
    names = set(re.findall(NAMES, expression))
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


def unknown_words(expression):
    """What selectors ask for that no series can have: words of a label that are not among its words."""
    found = set()
    for name, inside in re.findall(NAMES + r"\{([^}]*)\}", expression):
        metric = name if name in METRICS else re.sub(r"_(bucket|sum|count)$", "", name)
        for label, how, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', inside):
            there = words(metric, label)
            if there is None:
                continue
            wanted = value.split("|") if "~" in how else [value]
            found |= {
                (label, one) for one in wanted if not any(re.fullmatch(one, word) for word in there)
            }
    return found
