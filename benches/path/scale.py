"""What a large installation costs beside a small one: how soon it serves, how soon it has taken over a
changed configuration, and what a call costs on its path, in instructions."""

import json
import os
import pathlib
import signal
import subprocess
import time

from . import counts, subjects
from .machine import SUBJECT_CORE, Failed, free_port, say

SMALL = {"tenants": 1, "tokens": 1, "credentials": 1, "models": 1}
LARGE = {"tenants": 1_000, "tokens": 100_000, "credentials": 10_000, "models": 1_000}
WARM_UP, CALLS = 200, 4_000
# What is done of a caller's connection. All else comes with time, which callgrind makes fifty times as
# slow: in a large installation that would outweigh the calls.
PATH = "--toggle-collect=turnpike::listener::serve_one::{{closure}}"


def scale(bench):
    found = {}
    for name, sizes in (("small", SMALL), ("large", LARGE)):
        provider, upstream = bench.provider(counts.EVENTS, counts.GAP)
        installation = Installation(bench, name, sizes, upstream)
        found[name] = {**sizes, **installation.times(), "instructions": installation.instructions()}
        provider.stop()
        said = "start {start_s:.2f} s, reload {reload_s:.2f} s, {instructions:,.0f} instructions a call"
        say(f"  {name}: {said.format(**found[name])}")
    return found


class Installation:
    """A configuration and a store of these sizes. The calls are of the last tenant."""

    def __init__(self, bench, name, sizes, upstream):
        self.bench, self.name, self.port, self.admin = bench, name, free_port(), free_port()
        self.store, self.file = bench.folder / f"{name}.db", bench.folder / f"{name}.yaml"
        self.configuration = configuration(sizes, self.port, self.admin, upstream, self.store)
        self.write()
        words = [bench.program("examples/keep_tokens"), str(self.store), str(sizes["tokens"])]
        made = subprocess.run(words, capture_output=True, text=True)
        if made.returncode:
            raise Failed(f"no agent tokens could be made:\n{made.stderr}")

    def write(self):
        # JSON is YAML, and quick to write.
        self.file.write_text(json.dumps(self.configuration))

    def start(self, under=()):
        words = [*under, self.bench.program("turnpike"), "--config", str(self.file)]
        process = self.bench.start(self.name, words, SUBJECT_CORE)
        process.wait_until_listening(self.port)
        return process

    def times(self):
        """Until the first answer, and from a changed file to the next generation."""
        began = time.monotonic()
        process = self.start()
        self.load(1)
        start = time.monotonic() - began
        before, began = generations(process), time.monotonic()
        self.configuration["max_retry_credentials"] = 2
        self.write()
        os.kill(process.pid, signal.SIGHUP)
        while generations(process) == before:
            time.sleep(0.01)
        reload = time.monotonic() - began
        self.load(1)
        process.stop()
        return {"start_s": round(start, 2), "reload_s": round(reload, 2)}

    def instructions(self):
        """Of a call, on its path. Counting begins behind the start and the first calls, which fill what
        is kept."""
        out = self.bench.folder / f"callgrind.{self.name}"
        process = self.start([*counts.CALLGRIND, "--instr-atstart=no", PATH, f"--callgrind-out-file={out}"])
        self.load(WARM_UP)
        control("--instr=on", process)
        self.load(CALLS)
        counted = dumped(out, process)
        process.stop()
        return round(counted / CALLS)

    def load(self, calls):
        model = self.configuration["providers"]["openai"]["models"][-1]["alias"]
        self.bench.load("chat", self.port, "--count", calls, "--key", KEY, "--model", model)


def control(what, process):
    done = subprocess.run(["callgrind_control", what, str(process.pid)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"callgrind_control {what}:\n{done.stdout}{done.stderr}")


def dumped(out, process):
    """What was counted up to now. It is written when the process comes to it."""
    control("--dump", process)
    dump = out.with_name(f"{out.name}.1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if dump.exists() and "\ntotals:" in dump.read_text():
            return counts.total(dump)
        time.sleep(0.05)
    raise Failed(f"callgrind wrote no {dump}")


def generations(process):
    """How many were in force, by its log: to ask for the metrics of so many credentials takes time of its own."""
    return pathlib.Path(process.log).read_text(errors="replace").count("configuration in force")


KEY = "bench-key-of-the-last-tenant"


def configuration(sizes, port, admin, upstream, store):
    tenants = [f"tenant-{nth}" for nth in range(sizes["tenants"])]
    of_tenant = lambda nth: tenants[-1 - nth % len(tenants)]  # noqa: E731
    return {
        "server": {"host": "127.0.0.1", "port": port, "threads": 1},
        "admin": {"host": "127.0.0.1", "port": admin},
        "state": {"path": str(store)},
        "egress": {"allow_private": True},
        # The same in both, and a third of the instructions: it would make the ratio smaller.
        "audit": {"enabled": False},
        "api_keys": [{"key": KEY, "name": "bench", "tenant": tenants[-1]}],
        "tenants": {tenant: {"hosts": [f"{tenant}.example.com"], "pools": [tenant]} for tenant in tenants},
        "providers": {
            "openai": {
                "base_url": f"http://127.0.0.1:{upstream}/v1",
                "models": [{"name": f"model-{nth}", "alias": f"alias-{nth}"} for nth in range(sizes["models"])],
                "credentials": [
                    {"api_key": f"sk-bench-{nth:08}-abcdefghijklmnopqrstuvwxyz", "label": f"c{nth}", "pool": of_tenant(nth)}
                    for nth in range(sizes["credentials"])
                ],
            }
        },
    }
