"""The fake provider and the gateway, each a process on a free port."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

KEY = "sdk-suite-key-0123456789"
NARROW_KEY = "sdk-suite-narrow-key-0123456789"
WRONG_KEY = "sdk-suite-wrong-key-0123456789"

CLIENT_SECRET = "sdk-suite-client-secret"
UPSTREAM_KEYS = ["sk-spent-0123", "sk-good-0123", "sk-claude-0123", "AIza-gemini-0123", "sk-cutting-0123", "sk-broken-0123"]

# What the fake provider says, six events of it.
TEXT = "Hello from the fake provider."

# `openai` fails over: its first credential always says 429.
# `broken` always answers 500, and is asked every time; `cutting` breaks off after two events of a
# stream.
CONFIG = """\
server: {{port: {proxy}, drain: {{lame_duck: -1}}}}
admin: {{port: {admin}}}
api_keys:
  - {{key: {key}, name: suite}}
  - {{key: {narrow}, name: narrow, models: [gpt-4o-mini]}}
auth: {{cooldown: {{transient: -1}}}}
providers:
  openai:
    base_url: "{upstream}/v1"
    credentials: [{{api_key: sk-spent-0123, priority: 1}}, {{api_key: sk-good-0123, priority: 2}}]
  claude: {{base_url: "{upstream}", credentials: [{{api_key: sk-claude-0123}}]}}
  gemini: {{base_url: "{upstream}", credentials: [{{api_key: AIza-gemini-0123}}]}}
  cutting:
    kind: openai-compatible
    base_url: "{upstream}/v1"
    models: [cutting]
    credentials: [{{api_key: sk-cutting-0123}}]
  broken:
    kind: openai-compatible
    base_url: "{upstream}/v1"
    models: [broken]
    credentials: [{{api_key: sk-broken-0123}}]
"""

# Nobody is known here, and there is a page to sign in at.
LOGIN_CONFIG = """\
server: {{port: {proxy}, drain: {{lame_duck: -1}}}}
admin: {{port: {admin}}}
state: {{path: login/turnpike.db}}
sso: {{enabled: true, providers: {{github: {{client_id: suite, client_secret: {client_secret}}}}}}}
providers:
  openai: {{base_url: "{upstream}/v1", credentials: [{{api_key: sk-good-0123}}]}}
"""

SCRIPTS = ["sk-spent-0123=429", "sk-cutting-0123=cut-mid:2", "sk-broken-0123=500"]

# Of the caller's environment, only what finds programs and their languages.
KEPT = {"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "NODE_EXTRA_CA_CERTS", "TMPDIR", "VIRTUAL_ENV"}


def clean_environment():
    """Nothing that could send a call elsewhere: no proxies, no keys, no base URLs of others."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    suite = {name: value for name, value in os.environ.items() if name.startswith("SDK_SUITE_")}
    return {**kept, **suite, "HOME": "/nonexistent", "NO_PROXY": "*"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class House:
    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self.upstream = f"http://127.0.0.1:{free_port()}"
        self.proxy_port = free_port()
        self.admin_port = free_port()
        self.url = f"http://127.0.0.1:{self.proxy_port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.login_port = free_port()
        self.login_url = f"http://127.0.0.1:{self.login_port}"

    def environment(self):
        """How the tests learn where things are, in whatever language."""
        return {
            "SDK_SUITE_URL": self.url,
            "SDK_SUITE_ADMIN": self.admin,
            "SDK_SUITE_KEY": KEY,
            "SDK_SUITE_NARROW_KEY": NARROW_KEY,
            "SDK_SUITE_WRONG_KEY": WRONG_KEY,
            "SDK_SUITE_TEXT": TEXT,
            "SDK_SUITE_LOGIN_URL": self.login_url,
        }

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        scripts = [part for script in SCRIPTS for part in ("--always", script)]
        listen = self.upstream.removeprefix("http://")
        self.spawn("fake-provider", "--listen", listen, *scripts)
        config = self.directory / "turnpike.yaml"
        config.write_text(
            CONFIG.format(
                proxy=self.proxy_port,
                admin=self.admin_port,
                key=KEY,
                narrow=NARROW_KEY,
                upstream=self.upstream,
            )
        )
        self.spawn("turnpike", "--log-level", "trace", "--config", str(config))
        config = self.directory / "login.yaml"
        # A gateway each keeps its records beside its store.
        (self.directory / "login").mkdir()
        admin = free_port()
        config.write_text(LOGIN_CONFIG.format(client_secret=CLIENT_SECRET, proxy=self.login_port, admin=admin, upstream=self.upstream))
        self.spawn("turnpike", "--log-level", "trace", "--config", str(config), name="login")
        self.wait_for(f"{self.upstream}/")
        self.wait_for(f"{self.admin}/ready")
        self.wait_for(f"http://127.0.0.1:{admin}/ready")

    def spawn(self, program, *arguments, name=None):
        name = name or program
        with open(self.directory / f"{name}.log", "w") as log:
            process = subprocess.Popen(
                [BINARIES / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append((name, process))

    def wait_for(self, url):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for program, process in self.processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{program} stopped at its start:\n{self.log(program)}")
            try:
                return urllib.request.urlopen(url, timeout=1)
            except urllib.error.HTTPError:
                return None
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{url} did not answer within 20 s:\n{self.log()}")

    def log(self, program="turnpike"):
        return (self.directory / f"{program}.log").read_text()

    def leaks(self):
        """Where a secret stands that must not stand there: the gateways' most verbose logs, and their stores."""
        secrets = [KEY, NARROW_KEY, WRONG_KEY, CLIENT_SECRET, *UPSTREAM_KEYS, "Say hello.", "a toll booth"]
        files = [self.directory / "turnpike.log", self.directory / "login.log", *self.directory.glob("*.db*")]
        files = [file for file in files if file.is_file() and file.suffix != ".key"]
        return [f"{secret} stands in {file.name}" for file in files for secret in secrets if secret.encode() in file.read_bytes()]

    def stop(self):
        for _, process in self.processes:
            process.terminate()
        for _, process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
