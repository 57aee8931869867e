"""Both Helms render the same, and Kubernetes takes it: every file of ci/, and what can be combined."""

import copy
import itertools
import json
import unittest

import jsonschema
import yaml

import objects
from chart import CHART, EXAMPLES, VERSIONS, only, render, run, template
from values import BASE, EVERYTHING, FLEET, FORGETFUL


class Matrix(unittest.TestCase):
    """Rendered by both Helms alike, and taken by three Kubernetes versions."""

    def is_taken(self, *values):
        texts = [template(version, *values) for version in VERSIONS]
        for done in texts:
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(texts[0].stdout, texts[1].stdout)
        for one in filter(None, yaml.safe_load_all(texts[0].stdout)):
            objects.check(one)
        for version in VERSIONS:
            done = run(version, "lint", str(CHART), "--strict", values=list(values))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_examples(self):
        self.assertGreaterEqual(len(EXAMPLES), 5)
        for path in EXAMPLES:
            with self.subTest(path.name):
                self.is_taken(path)

    def test_everything_at_once(self):
        self.is_taken(BASE, EVERYTHING)
        self.is_taken(BASE, EVERYTHING, FLEET)

    def test_combinations(self):
        choices = [
            [{}, FORGETFUL],
            [
                {"replicas": 4},
                {"autoscaling": {"hpa": {"enabled": True}}},
                {"autoscaling": {"keda": {"enabled": True, "serverAddress": "http://p"}}},
            ],
            [
                {
                    "networkPolicy": {"enabled": False},
                    "topologySpread": {"enabled": False},
                    "podDisruptionBudget": {"enabled": False},
                },
                {"serviceAccount": {"create": False, "name": "mine"}, "shutdown": {"lameDuckSeconds": 0}},
            ],
        ]
        for chosen in itertools.product(*choices):
            with self.subTest(chosen):
                self.is_taken(BASE, FLEET, *chosen)


class Checks(unittest.TestCase):
    """What the checks themselves would catch."""

    def test_an_unknown_key_of_a_crd_is_found(self):
        made = render(EXAMPLES[0], *[path for path in EXAMPLES if path.name == "ha.yaml"])
        for kind, spoil in [
            ("HTTPRoute", lambda spec: spec["rules"][0].update(timeout="1s")),
            ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(intervals="1s")),
            ("PrometheusRule", lambda spec: spec["groups"][0].update(role=[])),
        ]:
            one = copy.deepcopy(only(made, kind))
            objects.check(one)
            spoil(one["spec"])
            with self.subTest(kind), self.assertRaises(jsonschema.ValidationError):
                objects.check(one)

    def test_an_unknown_key_of_a_built_in_is_found(self):
        one = only(render(BASE), "StatefulSet")
        one["spec"]["template"]["spec"]["automountToken"] = False
        with self.assertRaises(Exception):
            objects.check(one)

    def test_no_value_is_without_its_schema(self):
        """Every mapping of the schema is closed, but for those that are free maps by their nature."""
        schema = json.loads((CHART / "values.schema.json").read_text())
        free = set()

        def walk(node, path):
            if isinstance(node, list):
                for one in node:
                    walk(one, path)
            if not isinstance(node, dict):
                return
            if node.get("type") == "object" and node.get("additionalProperties") is not False:
                free.add(path)
            for key, value in node.items():
                inner = (
                    f"{path}.{key}".removeprefix(".")
                    if key not in ("properties", "items", "definitions")
                    else path
                )
                walk(value, inner)

        walk(schema, "")
        self.assertEqual(free, {"config", "configFiles", "global", "kubernetes", "quantities", "strings"})

    def test_every_value_has_a_schema_and_a_default(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.same_keys(schema, schema, values, "values")

    def same_keys(self, whole, schema, values, at):
        if "$ref" in schema:
            schema = whole["definitions"][schema["$ref"].rsplit("/")[-1]]
        if "properties" not in schema or not isinstance(values, dict):
            return
        known = set(schema["properties"]) - {"global"}
        # What is empty by default holds anything of its kind.
        if at != "values.resources":
            self.assertEqual(known, set(values), at)
        for key in known & set(values):
            self.same_keys(whole, schema["properties"][key], values[key], f"{at}.{key}")
