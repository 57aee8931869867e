"""Processes: built, started on a core, accounted for, and stopped whatever happens."""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCHES.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

SUBJECT_CORE, LOAD_CORE = 0, 1


class Failed(Exception):
    """Something that the reader can do something about; the text says what."""


def say(text):
    print(text, flush=True)


def tool(name, package):
    if shutil.which(name) is None:
        raise Failed(f"{name} is missing: apt-get install {package}")
    return name


# What is built, and by which words. Apart from the tools, so that Turnpike has the features it ships with and no more.
BUILDS = [
    (["turnpike"], ["--bins", "-p", "turnpike"]),
    (["fake-provider", "bench-load", "bare-pingora"], ["--bins", "-p", "turnpike-loadtest", "-p", "turnpike-benches"]),
    (
        ["examples/select", "examples/authenticate", "examples/keep_tokens"],
        ["--example", "select", "--example", "authenticate", "--example", "keep_tokens", "-p", "turnpike-benches"],
    ),
]


class Programs:
    """The programs of this workspace, all of one cargo profile."""

    def __init__(self, profile):
        self.profile = profile
        self.folder = TARGET / ("debug" if profile == "dev" else profile)

    def build(self):
        for _, words in BUILDS:
            command = self.cargo(words)
            say("· " + " ".join(command))
            environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
            if subprocess.run(command, cwd=ROOT, env=environment).returncode:
                raise Failed("the build failed; its errors are above")

    def cargo(self, words):
        return ["cargo", "build", "--profile", self.profile, *words]

    def require(self, names):
        """Says all that is missing before anything is measured: a run that ends halfway writes no table."""
        ours = {name: " ".join(self.cargo(words)) for built, words in BUILDS for name in built}
        missing = []
        for name in dict.fromkeys(names):
            if name not in ours and shutil.which(name) is None:
                missing.append(f"{name} is missing: apt-get install {name}")
            elif name in ours and not (self.folder / name).exists():
                missing.append(f"{self.folder / name} is missing: {ours[name]}")
        if missing:
            raise Failed("\n".join(missing))

    def copy(self, name, folder):
        """A copy, so that a build meanwhile does not change what is measured."""
        path = self.folder / name
        if not path.exists():
            raise Failed(f"{path} is not there; run without --no-build")
        copy = folder / path.name
        if not copy.exists():
            shutil.copy2(path, copy)
        return str(copy)


class Process:
    def __init__(self, name, command, core, log, **options):
        self.name, self.log = name, log
        pinned = [tool("taskset", "util-linux"), "-c", str(core), *command]
        with open(log, "ab") as out:
            options = {"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, **options}
            # A session of its own: Ctrl-C comes to us, and we stop it in order.
            self.popen = subprocess.Popen(pinned, start_new_session=True, **options)

    @property
    def pid(self):
        return self.popen.pid

    def traced(self):
        """The process under strace, which is the only child."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if not children:
            raise self.failed("strace started nothing")
        return int(children[0])

    def cpu_seconds(self):
        """What the kernel ran of it, over all its threads."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_kib(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def wait_until_listening(self, port):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise self.failed(f"ended with {self.popen.returncode} instead of serving")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise self.failed(f"does not listen on port {port}")

    def stop(self, pid=None):
        """SIGTERM, again every few seconds (nginx can miss one under valgrind), in the end SIGKILL."""
        for _ in range(24):
            if self.popen.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid or self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5)
                return
        os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()
        raise self.failed("did not end on SIGTERM")

    def failed(self, what):
        tail = pathlib.Path(self.log).read_text(errors="replace")[-2000:]
        return Failed(f"{self.name} {what}; the end of its log {self.log}:\n{tail}")


class Bench:
    """A folder for files, and every process that was started."""

    def __init__(self, programs):
        self.programs = programs
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-path-"))
        self.processes = []
        # The callers' credentials, by port, where they are not the usual one.
        self.keys = {}
        self.redis_server = None

    def __enter__(self):
        cores = os.cpu_count() or 1
        if cores < 2:
            raise Failed("one core only: the measured process needs one, load and provider another")
        return self

    def __exit__(self, kind, *_):
        for process in self.processes:
            if process.popen.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.popen.wait()
        if kind is None:
            shutil.rmtree(self.folder)
        else:
            say(f"logs and configurations are kept in {self.folder}")

    def program(self, name):
        return self.programs.copy(name, self.folder)

    def start(self, name, command, core, **options):
        process = Process(name, command, core, self.folder / f"{name}.log", **options)
        self.processes.append(process)
        return process

    def provider(self, events, gap):
        port = free_port()
        program = self.program("fake-provider")
        flags = ["--raw", "--listen", f"127.0.0.1:{port}", "--events", str(events), "--gap", gap]
        process = self.start("provider", [program, *flags], LOAD_CORE)
        process.wait_until_listening(port)
        return process, port

    def redis(self):
        """The address of a Redis that keeps nothing on disk; started when it is first asked for."""
        if self.redis_server is None:
            port = free_port()
            words = [tool("redis-server", "redis-server"), "--port", str(port), "--save", "", "--dir", str(self.folder)]
            process = self.start("redis", [*words, "--maxmemory-policy", "noeviction"], LOAD_CORE)
            process.wait_until_listening(port)
            self.redis_server = (process, port)
        return f"redis://127.0.0.1:{self.redis_server[1]}/0"

    def load_command(self, lane, port, *flags):
        key = ["--key", self.keys[port]] if port in self.keys else []
        return [self.program("bench-load"), lane, "--target", f"127.0.0.1:{port}", *map(str, flags), *key]

    def load(self, lane, port, *flags):
        """Runs the load to its end and returns what it saw."""
        process = self.start("load", self.load_command(lane, port, *flags), LOAD_CORE, stdout=subprocess.PIPE)
        out, _ = process.popen.communicate()
        self.processes.remove(process)
        if process.popen.returncode:
            raise process.failed(f"({lane} on port {port}) failed")
        return json.loads(out)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def describe(profile):
    def line(*command):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip()

    cpu = next((row.split(":")[1].strip() for row in open("/proc/cpuinfo") if row.startswith("model name")), "unknown")
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "commit": line("git", "describe", "--always", "--dirty"),
        "rustc": line("rustc", "--version"),
        "nginx": line("nginx", "-v") if shutil.which("nginx") else None,
        "profile": profile,
    }
