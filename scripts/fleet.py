"""A fleet on this machine: a Redis, a provider that makes its answers up, and gateways before it.
scripts/fleet-demo, scripts/fleet-exact, scripts/fleet-faults and scripts/fleet-rolling use it.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

KEY, OPERATOR = "key-of-a-client-0123456789", "key-of-the-operator-0123456789"

# What all have in common; `rest` is the rest of it.
CONFIGURATION = """\
server: {{port: {port}, drain: {{lame_duck: 2s}}, secret_key: "secret-of-a-fleet-0123456789abcd"}}
admin: {{port: {admin}, keys: [{{name: operator, key: {operator}, scopes: ["admin:*"]}}]}}
logging: {{level: warn}}
state: {{backend: redis, path: {directory}/turnpike.db, redis: {{url: "unix://{redis}"}}}}
api_keys: [{{key: {key}, name: callers}}]
providers:
  openai:
    base_url: "http://127.0.0.1:{provider}/v1"
    credentials:
{credentials}
{rest}
"""



class Processes:
    """Those that this script started: they end with it."""

    def __init__(self, directory):
        self.directory = directory
        self.running = {}

    def start(self, name, *command):
        with open(self.directory / f"{name}.log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.running[name] = subprocess.Popen([str(part) for part in command], **streams)

    def await_port(self, name, port):
        until = time.monotonic() + 20
        while time.monotonic() < until and self.running[name].poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        log = (self.directory / f"{name}.log").read_text(errors="replace")
        sys.exit(f"{name} did not start:\n{log}")

    def kill(self, name):
        self.running[name].kill()
        self.running.pop(name).wait()

    def stop(self, name):
        """In good order; answers with the exit code."""
        self.running[name].terminate()
        return self.running.pop(name).wait()

    def signal(self, name, which):
        self.running[name].send_signal(getattr(signal, f"SIG{which}"))

    def end(self):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def asked(port, path, method="GET", body=None):
    """What a replica's management API says; None while it is away."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    headers = {"authorization": f"Bearer {OPERATOR}", "content-type": "application/json"}
    try:
        client.request(method, f"/v0/management/{path}", body and json.dumps(body), headers)
        answer = client.getresponse()
        said = answer.read()
        return json.loads(said or b"null") if answer.status < 300 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        client.close()


def prepare():
    """Builds the binaries; answers with where they are."""
    os.chdir(Path(__file__).resolve().parent.parent)
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]:
        os.environ.pop(name, None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["scripts/prepare", "build"], check=True)
    packages = ["-p", "turnpike", "-p", "turnpike-loadtest"]
    profile = os.environ.get("PROFILE", "dev")
    subprocess.run(["cargo", "build", "--locked", "--profile", profile, *packages], check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return (target / ("debug" if profile == "dev" else profile)).resolve()


class Fleet:
    """So many gateways, with these credentials and this rest of a configuration."""

    def __init__(self, processes, binaries, replicas, credentials, rest, *provider_says):
        self.processes, self.binary = processes, binaries / "turnpike"
        directory = processes.directory
        redis, provider = directory / "redis.sock", free_port()
        self.redis()
        processes.start("provider", binaries / "fake-provider", "--listen", f"127.0.0.1:{provider}", "--gap", "20ms", *provider_says)
        processes.await_port("provider", provider)
        self.ports, self.admins = [], []
        for number in range(replicas):
            port, admin, own = free_port(), free_port(), directory / f"gateway-{number + 1}"
            own.mkdir()
            self.ports.append(port)
            self.admins.append(admin)
            (own / "turnpike.yaml").write_text(CONFIGURATION.format(
                port=port, admin=admin, directory=own, redis=redis, provider=provider, key=KEY, operator=OPERATOR,
                credentials="\n".join(f"      - {one}" for one in credentials), rest=rest))
            self.start(number)

    def redis(self):
        """Starts it, with what the one before has left."""
        directory = self.processes.directory
        self.processes.start("redis", "redis-server", "--port", 0, "--unixsocket", directory / "redis.sock", "--save", "",
                             "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--dir", directory)

    def start(self, number):
        name = f"gateway-{number + 1}"
        self.processes.start(name, self.binary, "--config", self.processes.directory / name / "turnpike.yaml")
        self.processes.await_port(name, self.ports[number])

    def stop(self):
        """All gateways, in good order and at once; answers with their exit codes."""
        names = [f"gateway-{number + 1}" for number in range(len(self.ports))]
        for name in names:
            self.processes.signal(name, "TERM")
        return [self.processes.running.pop(name).wait() for name in names]
