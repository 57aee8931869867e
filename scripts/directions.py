"""Checks who may depend on whom, as docs/architecture.md draws it.

Who alone may use other people's crates is stated in deny.toml, where cargo-deny looks, too. This
needs nothing but cargo, and takes a second.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

PLUGINS = {
    "turnpike-audit",
    "turnpike-identity",
    "turnpike-access",
    "turnpike-credentials",
    "turnpike-limits",
    "turnpike-providers",
    "turnpike-store",
}

# What each crate of the workspace may depend on, of the workspace, outside its tests.
MAY_USE = {
    "turnpike-api": set(),
    "turnpike-config": {"turnpike-api"},
    **{plugin: {"turnpike-api"} for plugin in PLUGINS},
    "turnpike": {"turnpike-api", "turnpike-config"} | PLUGINS,
    "turnpike-loadtest": set(),
    "turnpike-benches": {"turnpike-loadtest"},
}

# A seam's nouns and the plugins have no runtime. They do no I/O of their own and start nothing; the
# store alone has its files, and a thread of its own for them. It has another one for Redis, whose
# client runs in nothing but tokio: there, and nowhere else in it, is a runtime of one thread.
NO_RUNTIME = {"turnpike-api", "turnpike-config"} | PLUGINS
RUNTIME = ("tokio", "hyper", "pingora", "axum", "reqwest", "ureq")
RUNTIME_FOR = {"turnpike-store": {"tokio"}}


def bans():
    """The crates of others that not everybody may use, and who may."""
    deny = Path(__file__).parent.parent / "deny.toml"
    banned = tomllib.loads(deny.read_text())["bans"]["deny"]
    return {ban["crate"]: set(ban.get("wrappers", ())) for ban in banned}


def is_runtime(crate):
    return any(crate == runtime or crate.startswith(runtime + "-") for runtime in RUNTIME)


def problems(packages, banned):
    for package in packages:
        name = package["name"]
        if name not in MAY_USE:
            yield f"{name} is not in scripts/directions.py: say what it may depend on"
            continue
        for dependency in package["dependencies"]:
            other, kind = dependency["name"], dependency["kind"]
            if kind is None and other.startswith("turnpike") and other not in MAY_USE[name]:
                yield f"{name} must not depend on {other}"
            users = banned.get(other)
            if users is not None and name not in users:
                yield f"{name} must not depend on {other}; only {', '.join(sorted(users)) or 'nobody'} may"
            excepted = RUNTIME_FOR.get(name, set())
            if kind is None and name in NO_RUNTIME and is_runtime(other) and other not in excepted:
                yield f"{name} must not depend on {other}: it has no runtime"


def main():
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    packages = json.loads(subprocess.check_output(command))["packages"]
    found = list(problems(packages, bans()))
    print("\n".join(found) or "every dependency points the right way")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
