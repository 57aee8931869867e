"""A real Prometheus scrapes the real gateway before a made-up provider, and every panel shows something.

TURNPIKE and FAKE_PROVIDER are the binaries. Nothing leaves this machine.
"""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from catalogue import METRICS
from chart import CHART
from test_telling import ALERTS, BOARDS, expressions, filled

BINARY = os.environ.get("TURNPIKE", "")
PROVIDER = os.environ.get("FAKE_PROVIDER", "")

KEY = CHART.parent / "plugins" / "credentials" / "tests" / "fixtures" / "test-only-rsa-key.pem"


def open_url(url, headers=None, body=None):
    request = urllib.request.Request(url, headers=headers or {}, data=body and json.dumps(body).encode())
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(what, seconds=60):
    """Asks until there is an answer; the time is a bound for machines that are slow, not a wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("nothing came of it")


class TokenEndpoint(BaseHTTPRequestHandler):
    """Gives a service account's access tokens; whether the assertion is right is a test of the gateway's own."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        token = json.dumps({"access_token": "made-up", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)

    def log_message(self, *_):
        pass


@unittest.skipUnless(BINARY and PROVIDER, "TURNPIKE and FAKE_PROVIDER name no binaries")
class Scraped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.started = []
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.stop)
        cls.provider, cls.port, cls.admin, cls.prometheus = (free_port() for _ in range(4))
        # The first call of one fails: it is asked whether it works again, and does.
        cls.start(PROVIDER, "--listen", f"127.0.0.1:{cls.provider}", "--script", "shaky=500")
        tokens = ThreadingHTTPServer(("127.0.0.1", 0), TokenEndpoint)
        threading.Thread(target=tokens.serve_forever, daemon=True).start()
        cls.addClassCleanup(tokens.server_close)
        cls.addClassCleanup(tokens.shutdown)
        cls.write("auths/robot.json", cls.service_account(tokens.server_port))
        cls.write("turnpike.yaml", cls.configuration())
        cls.start(BINARY, "--config", "turnpike.yaml")
        until(lambda: open_url(f"http://127.0.0.1:{cls.admin}/ready")[0] == 200)
        cls.write(
            "prometheus.yaml",
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ALERTS)],
                "scrape_configs": [
                    {"job_name": "turnpike", "static_configs": [{"targets": [f"127.0.0.1:{cls.admin}"]}]}
                ],
            },
        )
        cls.start(
            "prometheus",
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{cls.prometheus}",
        )
        until(lambda: open_url(f"http://127.0.0.1:{cls.prometheus}/-/ready")[0] == 200)
        cls.calls()
        cls.scraped()
        # Some of a quota was left before, and less is now.
        cls.calls()
        until(lambda: cls.shaky() == 200)
        cls.scraped()

    @classmethod
    def scraped(cls):
        """Twice since the last call, for rates."""
        seen = cls.value("count_over_time(turnpike_build_info[5m])")
        until(lambda: cls.value("count_over_time(turnpike_build_info[5m])") >= seen + 2)

    @classmethod
    def service_account(cls, port):
        return {
            "type": "vertex",
            "location": "us-central1",
            "service_account": {
                "type": "service_account",
                "project_id": "p-1",
                "private_key_id": "made-up",
                "private_key": KEY.read_text(),
                "client_email": "robot@p-1.iam.gserviceaccount.com",
                "token_uri": f"http://127.0.0.1:{port}/token",
            },
        }

    @classmethod
    def configuration(cls):
        url = f"http://127.0.0.1:{cls.provider}"
        return {
            "server": {"port": cls.port},
            "admin": {"port": cls.admin},
            "max_retry_interval": 0,
            "api_keys": [
                {"key": "made-up-key-0123456789"},
                {"key": "made-up-key-limited", "tenant": "acme", "limits": {"requests_per_minute": 1}},
                {"key": "made-up-key-with-money", "tenant": "acme", "limits": {"usd_per_day": 5}},
            ],
            "tenants": {"acme": {}},
            "auth": {"session_affinity": {"enabled": True}, "dir": "auths", "cooldown": {"probe_interval": "1s"}},
            "providers": {
                "openai": {
                    "base_url": f"{url}/v1",
                    "credentials": [{"api_key": "a"}, {"api_key": "b", "quota": {"limit": 1000000}}],
                },
                "claude": {
                    "base_url": url,
                    "credentials": [{"api_key": "c", "label": "small", "quota": {"limit": 1}}],
                },
                "vertex": {"base_url": url},
                "shaky": {"kind": "openai", "base_url": f"{url}/v1", "models": ["shaky-1"], "credentials": [{"api_key": "shaky"}]},
                "gemini": {"base_url": f"http://127.0.0.1:{free_port()}", "credentials": [{"api_key": "d"}]},
            },
        }

    @classmethod
    def calls(cls):
        """Good ones, streams, and of each kind that is refused or fails."""
        chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello?"}]}
        stream = {**chat, "stream": True, "stream_options": {"include_usage": True}}
        message = {
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": "Hello?"}],
        }
        good = {"authorization": "Bearer made-up-key-0123456789", "content-type": "application/json"}
        made = []
        for _ in range(3):
            made.append(cls.call("/v1/chat/completions", {**good, "x-session-id": "one"}, chat))
            made.append(cls.call("/v1/chat/completions", good, stream))
            cls.call("/v1/messages", good, message)
        assert made == [200] * 6, made
        assert cls.call("/v1/chat/completions", {**good, "authorization": "Bearer nobodys"}, chat) == 401
        moneyed = {**good, "authorization": "Bearer made-up-key-with-money"}
        assert cls.call("/v1/chat/completions", moneyed, chat) == 200
        limited = {**good, "authorization": "Bearer made-up-key-limited"}
        assert cls.call("/v1/chat/completions", limited, chat) in (200, 429)
        assert cls.call("/v1/chat/completions", limited, chat) == 429
        # One of its providers is not there; the service account of the other serves.
        assert cls.call("/v1beta/models/gemini-2.5-flash:generateContent", good, {"contents": []}) in (200, 429, 502)
        cls.shaky()

    @classmethod
    def shaky(cls):
        chat = {"model": "shaky-1", "messages": [{"role": "user", "content": "Hello?"}]}
        return cls.call("/v1/chat/completions", {"authorization": "Bearer made-up-key-0123456789"}, chat)

    @classmethod
    def call(cls, path, headers, body):
        return open_url(f"http://127.0.0.1:{cls.port}{path}", headers, body)[0]

    @classmethod
    def query(cls, expression):
        asked = urllib.parse.urlencode({"query": expression})
        status, text = open_url(f"http://127.0.0.1:{cls.prometheus}/api/v1/query?{asked}")
        return status, json.loads(text)

    @classmethod
    def value(cls, expression):
        found = cls.query(expression)[1]["data"]["result"]
        return float(found[0]["value"][1]) if found else 0

    @classmethod
    def write(cls, name, what):
        path = Path(cls.folder.name) / name
        path.parent.mkdir(exist_ok=True)
        # JSON is YAML, and what the files of credentials are in.
        path.write_text(json.dumps(what))

    @classmethod
    def start(cls, *command):
        log = (Path(cls.folder.name) / f"{len(cls.started)}.log").open("w")
        environment = {"PATH": os.environ["PATH"]}
        cls.started.append(
            subprocess.Popen(command, cwd=cls.folder.name, env=environment, stdout=log, stderr=log)
        )

    @classmethod
    def stop(cls):
        for process in reversed(cls.started):
            process.terminate()
        for process in cls.started:
            process.wait(timeout=60)
        cls.folder.cleanup()

    def test_every_panel_shows_something(self):
        for path in BOARDS:
            for title, expression in expressions(path):
                with self.subTest(board=path.stem, panel=title):
                    status, answer = self.query(filled(expression))
                    self.assertEqual(status, 200, answer)
                    self.assertTrue(answer["data"]["result"], expression)

    def test_the_rules_are_loaded_and_nothing_of_a_well_gateway_fires(self):
        answer = json.loads(open_url(f"http://127.0.0.1:{self.prometheus}/api/v1/rules")[1])
        states = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
        self.assertEqual([rule["name"] for rule in states if rule["health"] == "err"], [])
        firing = {rule["name"] for rule in states if rule["state"] == "firing"}
        self.assertEqual(firing, set())

    def test_promtool_finds_nothing_wrong_with_the_metrics_under_load(self):
        with ThreadPoolExecutor() as pool:
            load = [pool.submit(self.calls) for _ in range(8)]
            for _ in range(5):
                text = open_url(f"http://127.0.0.1:{self.admin}/metrics")[1]
                check = ["promtool", "check", "metrics"]
                done = subprocess.run(check, input=text, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
            for one in load:
                one.result()

    def test_the_catalogue_is_what_is_exported(self):
        """The labels that were read from the source are those of the series."""
        for name, labels in METRICS.items():
            series = self.query(f'{{__name__=~"{name}(_bucket)?"}}')[1]["data"]["result"]
            # One that is empty in a series is not there.
            exported = {label for one in series for label in one["metric"]} - {
                "__name__",
                "job",
                "instance",
                "le",
            }
            if series:
                self.assertEqual(exported, labels, name)
