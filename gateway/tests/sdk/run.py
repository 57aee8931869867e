"""Drives the real SDKs, and one coding agent, through the real gateway.

The fake provider stands behind it; nothing leaves this machine. `make test-sdk` installs what this
needs and calls it. Arguments are parts of test names: only matching tests run.

The last line is `N passed, N failed`; the exit code is 1 when a test failed.
"""

import asyncio
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import house

HERE = Path(__file__).parent

PYTHON = ["test_openai", "test_anthropic", "test_google", "test_claude_code", "test_sandbox"]
NODE = ["openai.test.mjs"]


class Tally:
    def __init__(self, only):
        self.only = only
        self.passed = 0
        self.failed = 0

    def wants(self, name):
        return not self.only or any(part in name for part in self.only)

    def passes(self, name, seconds):
        self.passed += 1
        print(f"ok      {name} ({seconds:.2f} s)", flush=True)

    def fails(self, name, why):
        self.failed += 1
        print(f"FAILED  {name}\n{why}", flush=True)


def run_python(module, tally):
    tests = importlib.import_module(module)
    found = [(name, test) for name, test in vars(tests).items() if name.startswith("test_")]
    for name, test in found:
        name = f"{module.removeprefix('test_')}: {name.removeprefix('test_').replace('_', ' ')}"
        if not tally.wants(name):
            continue
        start = time.monotonic()
        try:
            outcome = test()
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
            tally.passes(name, time.monotonic() - start)
        except Exception:
            tally.fails(name, traceback.format_exc())


def run_node(file, tally):
    """Node's own runner, its TAP read."""
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", file],
        cwd=HERE,
        env=house.clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    lines = re.findall(r"^(ok|not ok) \d+ - (.*)\n(?: +---\n +duration_ms: ([\d.]+))?", done.stdout, re.M)
    for word, name, milliseconds in lines:
        name = f"node {file.removesuffix('.test.mjs')}: {name}"
        if not tally.wants(name):
            continue
        if word == "ok":
            tally.passes(name, float(milliseconds or 0) / 1000)
        else:
            tally.fails(name, done.stdout)
    if not lines:
        tally.fails(f"node {file}", done.stdout)


def main():
    tally = Tally(sys.argv[1:])
    # SDKs and agents read proxies and keys of the environment; here they must not.
    clean = house.clean_environment()
    os.environ.clear()
    os.environ.update(clean)
    with tempfile.TemporaryDirectory(prefix="turnpike-sdk-") as directory:
        with house.House(Path(directory)) as served:
            os.environ.update(served.environment())
            for module in PYTHON:
                run_python(module, tally)
            for file in NODE:
                run_node(file, tally)
            leaks = served.leaks()
            if leaks:
                tally.fails("no secret gets out", "\n".join(leaks))
            else:
                tally.passes("no secret gets out", 0)
            if tally.failed:
                print(f"\nthe gateway's log:\n{served.log()}")
    print(f"\n{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
