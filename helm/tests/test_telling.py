"""Dashboards and alerts ask for what the gateway tells; every alert has its section and is tried both ways."""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from catalogue import METRICS, asked, unknown_words
from chart import CHART, HERE

BOARDS = sorted(CHART.glob("dashboards/*.json"))
ALERTS = CHART / "alerts" / "turnpike.yaml"
RUNBOOK = CHART.parent / "docs" / "operating.md"


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels(path):
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def expressions(path):
    return [(panel["title"], target["expr"]) for panel in panels(path) for target in panel["targets"]]


def filled(expression):
    """As Grafana sends it."""
    for variable, value in [
        ("$__rate_interval", "5m"),
        ("$__range", "6h"),
        ("$job", ".*"),
        ("$namespace", ".*"),
    ]:
        expression = expression.replace(variable, value)
    return expression


def promtool(folder, *arguments):
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)


class Dashboards(unittest.TestCase):
    def test_every_panel_asks_for_metrics_that_there_are(self):
        self.assertEqual(len(BOARDS), 3)
        for path in BOARDS:
            for title, expression in expressions(path):
                with self.subTest(board=path.stem, panel=title):
                    self.assertEqual(asked(expression), (set(), set()), expression)
                    self.assertEqual(unknown_words(expression), set(), expression)

    def test_every_expression_is_one_that_prometheus_reads(self):
        records = [
            {"record": f"a:{path.stem}", "expr": filled(expression)}
            for path in BOARDS
            for _, expression in expressions(path)
        ]
        with tempfile.TemporaryDirectory() as folder:
            for index, record in enumerate(records):
                record["record"] += f":{index}"
            (Path(folder) / "rules.yaml").write_text(
                yaml.safe_dump({"groups": [{"name": "a", "rules": records}]})
            )
            done = promtool(folder, "check", "rules", "rules.yaml")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"{len(records)} rules found", done.stdout)

    def test_ids_are_unique_and_panels_do_not_overlap(self):
        uids = {json.loads(path.read_text())["uid"] for path in BOARDS}
        self.assertEqual(len(uids), len(BOARDS))
        for path in BOARDS:
            everything = json.loads(path.read_text())["panels"]
            self.assertEqual(len({panel["id"] for panel in everything}), len(everything))
            taken = set()
            for panel in everything:
                at = panel["gridPos"]
                cells = {
                    (x, y)
                    for x in range(at["x"], at["x"] + at["w"])
                    for y in range(at["y"], at["y"] + at["h"])
                }
                with self.subTest(board=path.stem, panel=panel["title"]):
                    self.assertLessEqual(at["x"] + at["w"], 24)
                    self.assertFalse(cells & taken)
                taken |= cells

    def test_a_metric_or_label_that_there_is_not_is_found(self):
        self.assertEqual(asked("rate(turnpike_request_total[5m])"), ({"turnpike_request_total"}, set()))
        self.assertEqual(
            asked('sum by (tenant) (turnpike_requests_total{state="a"})'), (set(), {"tenant", "state"})
        )
        self.assertEqual(
            asked("sum by (le, operation) (turnpike_request_duration_seconds_bucket)"), (set(), set())
        )
        self.assertEqual(METRICS["turnpike_credential_state"], {"provider", "credential", "state"})
        self.assertEqual(METRICS["turnpike_time_to_first_chunk_seconds"], {"operation"})
        self.assertEqual(METRICS["turnpike_overhead_seconds"], set())
        self.assertEqual(
            unknown_words('turnpike_requests_total{status=~"5..|7..",operation="none",reason!=""}'),
            {("status", "7..")},
        )


class Alerts(unittest.TestCase):
    def test_they_ask_for_metrics_that_there_are(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                self.assertEqual(asked(rule["expr"]), (set(), set()))
                self.assertEqual(unknown_words(rule["expr"]), set())
                used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
                grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"])))) | {
                    "instance"
                }
                self.assertLessEqual(used, grouped)

    def test_each_has_a_section_in_the_runbook(self):
        sections = re.findall(r"^### (Turnpike\w+)$", RUNBOOK.read_text(), re.M)
        self.assertEqual(sorted(sections), sorted(rule["alert"] for rule in rules()))
        for rule in rules():
            self.assertEqual(rule["annotations"]["runbook"], f"docs/operating.md#{rule['alert'].lower()}")
            self.assertIn(rule["labels"]["severity"], {"critical", "warning"})

    def test_each_fires_when_it_should_and_not_before(self):
        cases = yaml.safe_load((HERE / "alerts.yaml").read_text())
        self.assertEqual([case["alert"] for case in cases], [rule["alert"] for rule in rules()])
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rules.yaml").write_text(ALERTS.read_text())
            suite = {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": "1m",
                "tests": [test for case in cases for test in tried(case)],
            }
            (Path(folder) / "tests.yaml").write_text(yaml.safe_dump(suite))
            done = promtool(folder, "test", "rules", "tests.yaml")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


def tried(case):
    """One test in which it fires, and one for each other way to fire (`also`) and each quiet input."""
    rule = next(rule for rule in rules() if rule["alert"] == case["alert"])
    name = case["alert"]
    firing = f'ALERTS{{alertname="{name}",alertstate="firing"}}'

    def test(series, samples, at):
        inputs = [{"series": one, "values": str(values)} for one, values in series.items()]
        expected = {"expr": firing, "eval_time": at, "exp_samples": samples}
        return {"name": name, "interval": "1m", "input_series": inputs, "promql_expr_test": [expected]}

    def sample(told):
        labels = {
            "alertname": name,
            "alertstate": "firing",
            "severity": rule["labels"]["severity"],
            **told.get("labels", {}),
        }
        words = ",".join(f'{key}="{value}"' for key, value in labels.items())
        return {"labels": "ALERTS{" + words + "}", "value": 1}

    at = case.get("at", "1h")
    ways = [case, *case.get("also", [])]
    tests = [test(way["fires"], [sample(way)], at) for way in ways]
    # What has to last is not told at once.
    if "for" in rule and "at" in case:
        tests.append(test(case["fires"], [], "1m"))
    return tests + [test(quiet, [], at) for quiet in case["quiet"]]
