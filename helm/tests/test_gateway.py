"""The configuration that the chart renders is one that the real gateway takes, with secrets where
the pod mounts them. TURNPIKE is the binary."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from chart import EXAMPLES, pod, render
from values import BASE, EVERYTHING, FLEET

BINARY = os.environ.get("TURNPIKE", "")
MODES = {
    "standalone": {"port": 6380, "database": 2, "username": "u", "existingSecret": "r"},
    "sentinel": {"mode": "sentinel", "nodes": ["127.0.0.1:1"], "masterName": "main"},
    "cluster": {"mode": "cluster", "nodes": ["127.0.0.1:1"], "keyPrefix": "a.b"},
}
TLS = {"tls": {"enabled": True, "existingSecret": "t", "certKey": "tls.crt", "keyKey": "tls.key"}}


class Mounted:
    """The files of a pod, below a folder of ours."""

    def __init__(self, objects, folder):
        self.root = Path(folder)
        for name, text in only_config(objects).items():
            self.write(f"/etc/turnpike/config/{name}", self.moved(text))
        for place in ("/var/lib/turnpike", "/etc/turnpike/auths"):
            (self.root / place[1:]).mkdir(parents=True, exist_ok=True)
        # The configuration names what it needs; whether a pod mounts it is looked at, too.
        self.mounts = [mount["mountPath"] for mount in pod(objects)["containers"][0]["volumeMounts"]]
        for path in sorted(set(re.findall(r"/etc/turnpike/[\w./-]+", str(only_config(objects))))):
            if not path.startswith("/etc/turnpike/auths"):
                self.secret(path)

    def moved(self, text):
        return re.sub(r"/(etc|var/lib)/turnpike", lambda found: f"{self.root}{found.group(0)}", text)

    def secret(self, path):
        parent = path.rsplit("/", 1)[0]
        assert parent in self.mounts, f"{parent} is not mounted"
        if path.endswith((".crt", ".key")):
            text = (CERTIFICATES / path.rsplit(".")[-1]).read_text()
        elif parent.endswith("secret-key"):
            text = bytes(range(32)).hex()
        else:
            text = f"made-up-{path.replace('/', '-')}\n"
        self.write(path, text)

    def write(self, path, text):
        path = self.root / path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def validate(self):
        config = self.root / "etc/turnpike/config/turnpike.yaml"
        environment = {name: "made-up-0123456789" for name in re.findall(r"\$\{(\w+)\}", config.read_text())}
        command = [BINARY, "--config", str(config), "--validate-only"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def only_config(objects):
    found = [
        one["data"]
        for (kind, _), one in objects.items()
        if kind == "ConfigMap" and "turnpike.yaml" in one.get("data", {})
    ]
    assert len(found) == 1
    return found[0]


def setUpModule():
    global CERTIFICATES, FOLDER
    FOLDER = tempfile.TemporaryDirectory()
    CERTIFICATES = Path(FOLDER.name)
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway"
    paths = ["-keyout", CERTIFICATES / "key", "-out", CERTIFICATES / "crt"]
    subprocess.run(["openssl", *request.split(), *paths], check=True, capture_output=True)


def tearDownModule():
    FOLDER.cleanup()


@unittest.skipUnless(BINARY, "TURNPIKE names no binary")
class Gateway(unittest.TestCase):
    def is_taken(self, *values):
        with tempfile.TemporaryDirectory() as folder:
            done = Mounted(render(*values), folder).validate()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout + done.stderr

    def test_examples(self):
        for path in EXAMPLES:
            with self.subTest(path.name):
                self.is_taken(path)

    def test_everything_at_once(self):
        self.is_taken(BASE, EVERYTHING)
        self.is_taken(BASE, EVERYTHING, FLEET)

    def test_redis_in_three_modes(self):
        for mode, redis in MODES.items():
            for tls in ({}, TLS):
                with self.subTest(mode, tls=bool(tls)):
                    self.is_taken(BASE, FLEET, {"redis": {**redis, **tls}})

    def test_what_the_gateway_refuses_is_passed_on_to_it(self):
        """The chart does not know the gateway's keys: the gateway tells of wrong ones, by line."""
        with tempfile.TemporaryDirectory() as folder:
            wrong = {"config": {"sever": {"port": 1}}}
            done = Mounted(render(BASE, wrong), folder).validate()
            self.assertEqual(done.returncode, 1)
            self.assertIn("sever: unknown key", done.stderr)

    def test_the_gateway_starts_on_it(self):
        with tempfile.TemporaryDirectory() as folder:
            mounted = Mounted(render(BASE), folder)
            config = mounted.root / "etc/turnpike/config/turnpike.yaml"
            made = yaml.safe_load(config.read_text())
            made["server"].update(host="127.0.0.1", port=0)
            made["admin"].update(host="127.0.0.1", port=0)
            config.write_text(yaml.safe_dump(made))
            command = [BINARY, "--config", str(config)]
            process = subprocess.Popen(
                command,
                env={"KEY": "made-up-0123456789"},
                cwd="/",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            told = []
            try:
                for line in process.stdout:
                    told.append(line)
                    if "turnpike serves" in line:
                        break
                else:
                    self.fail("".join(told))
            finally:
                process.terminate()
                process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)
            written = {path.name for path in (mounted.root / "var/lib/turnpike").iterdir()}
            self.assertIn("turnpike.db", written)
