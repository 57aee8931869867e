"""Every bad value is refused by both Helms, with a text that names it."""

import json
import unittest
from concurrent.futures import ThreadPoolExecutor

import yaml

from chart import CHART, HERE, VERSIONS, run, template
from values import BASE, FLEET

CASES = yaml.safe_load((HERE / "bad.yaml").read_text())
ROOT = CHART.parent


class Bad(unittest.TestCase):
    def test_every_bad_value_is_refused(self):
        def refused(asked):
            case, version = asked
            base = [BASE, FLEET] if case.get("fleet") else [BASE]
            return template(version, *base, case["values"])

        asked = [(case, version) for case in CASES for version in VERSIONS]
        with ThreadPoolExecutor(2) as pool:
            for (case, version), done in zip(asked, pool.map(refused, asked)):
                with self.subTest(values=case["values"], helm=version):
                    self.assertNotEqual(done.returncode, 0, "it is taken")
                    for said in case["says"]:
                        self.assertIn(said, done.stderr)

    def test_without_values_it_says_what_it_needs(self):
        for version in VERSIONS:
            done = template(version)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("image.repository is empty", done.stderr)
            self.assertIn("config is empty", done.stderr)
            self.assertEqual(run(version, "lint", str(CHART)).returncode, 0)

    def test_what_is_no_literal_is_let_through(self):
        config = {
            "api_keys": ["${KEY}", {"key": "file:/run/secrets/b"}],
            "server": {
                "tls": {"cert": "a.crt", "key": "a.key", "certificates": [{"cert": "b.crt", "key": "b.key"}]}
            },
            "remote_management": {"secret_key": ""},
            "egress": {"proxy_url": "http://proxy:3128"},
        }
        self.assertEqual(template("4", BASE, {"config": config}).returncode, 0)

    def test_every_secret_of_the_configuration_is_known_by_its_name(self):
        """Those that the configuration's schema says are secrets are refused as literals."""
        schema = json.loads((ROOT / "config" / "schema.json").read_text())
        names = set()

        def walk(node, name):
            if isinstance(node, dict):
                if is_secret(node):
                    names.add(name)
                for key, value in node.items():
                    outer = key in (
                        "items",
                        "anyOf",
                        "oneOf",
                        "allOf",
                        "additionalProperties",
                        "properties",
                        "$defs",
                    )
                    walk(value, name if outer else key)
            elif isinstance(node, list):
                for one in node:
                    walk(one, name)

        walk(schema, "")
        # A plain string in place of an entry; and headers, of which bad.yaml has one.
        names = (names - {"ClientKeyEntry", "headers"}) | {"api_keys"}
        self.assertGreaterEqual(len(names), 5)
        for name in sorted(names):
            with self.subTest(name):
                for value in ("abcdefgh", ["abcdefgh"]):
                    done = template("4", BASE, {"config": {"x": {name: value}}})
                    if "a secret would stand" in done.stderr:
                        break
                else:
                    self.fail(f"{name} may stand in the ConfigMap")


def is_secret(node):
    return str(node.get("format")).startswith("secret")
