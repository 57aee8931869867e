"""What is measured, and how each is configured to pass calls to one provider."""

import itertools
import json
import shutil
import subprocess

from .machine import SUBJECT_CORE, Failed, free_port, say

TURNPIKE = """\
server:
  host: 127.0.0.1
  port: {port}
  threads: 1
  drain: {{lame_duck: -1}}
admin: {{host: 127.0.0.1, port: {admin}}}
api_keys: [{{key: bench-client-key, name: bench, models: ["gpt-*"]}}]
providers:
  openai:
    base_url: "http://127.0.0.1:{upstream}/v1"
    credentials: {credentials}
routing: {{strategy: {strategy}}}
egress: {{allow_private: true}}
audit: {{enabled: {audited}}}
"""

# Each has a folder of its own, for its store and its records.
EMBEDDED = 'state: {{path: "{own}/turnpike.db"}}\n'

# The same, with all that governs a call: an agent token, a tenant, a role, four limits of its caller, of
# each measure one, a quota of the tenant's credential, and a Redis that shares all of it. Under valgrind everything
# is late: the deadlines are long, so that the Redis does not seem to be away.
GOVERNED = """\
state: {{backend: redis, path: "{own}/turnpike.db", redis: {{url: "{redis}", key_prefix: {name}, deadline: 5s, connect_timeout: 10s}}}}
tenants: {{bench: {{hosts: [bench.example.com], pools: [bench]}}}}
roles:
  bench: {{models: ["gpt-*"], limits: {{requests_per_minute: 1000000000, concurrency: 100000}}}}
role_bindings: [{{role: bench, everyone: true}}]
limits:
  - {{name: tokens, scope: user, measure: tokens, window: day, limit: 1000000000000}}
  - {{name: money, scope: tenant, measure: usd, window: month, limit: 1000000000}}
"""

# The same, with each call on record in a file, and traced by one that samples none of them.
AUDITED = """\
telemetry: {{otlp_endpoint: "http://127.0.0.1:9", sample_ratio: 0}}
"""

ONE_KEY = {"strategy": "round_robin", "credentials": "[{api_key: sk-bench-upstream, label: bench}]"}
WITH_QUOTA = {"strategy": "round_robin", "credentials": "[{api_key: sk-bench-upstream, label: bench, pool: bench, quota: {limit: 1000000000000}}]"}

# Every start has records of its own in the Redis.
STARTS = itertools.count()

# One process, as the others are; a worker does the same work under a master. The request limits
# only keep it from closing connections, and the buffer keeps large bodies off the disk.
NGINX = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 512k;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def available():
    names = ["turnpike", "governed", "audited", "pingora", "nginx"]
    for lanes, program, package in ((["governed", "audited"], "redis-server", "redis-server"), (["nginx"], "nginx", "nginx-light")):
        if shutil.which(program) is None:
            say(f"· {program} is missing, so {' and '.join(lanes)} are left out: apt-get install {package}")
            names = [name for name in names if name not in lanes]
    return names


def command(bench, name, upstream, config):
    """The command line of a subject, and the port it will listen on."""
    port = free_port()
    values = {"port": port, "admin": free_port(), "upstream": upstream, "folder": bench.folder}
    if name in ("governed", "audited"):
        return governed(bench, f"{name}-{next(STARTS)}", values, name == "audited"), port
    if name == "turnpike":
        path = bench.folder / f"{name}.yaml"
        values["own"] = folder(bench, name, port)
        path.write_text((TURNPIKE + EMBEDDED).format(audited="false", **values, **config))
        return [bench.program("turnpike"), "--config", str(path)], port
    if name == "nginx":
        path = bench.folder / "nginx.conf"
        path.write_text(NGINX.format(**values))
        return ["nginx", "-e", "stderr", "-p", str(bench.folder), "-c", str(path)], port
    listen, to = f"127.0.0.1:{port}", f"127.0.0.1:{upstream}"
    return [bench.program("bare-pingora"), "--listen", listen, "--upstream", to], port


def governed(bench, name, values, audited=False):
    """One that shares its records with those of the same name, and whose caller has an agent token."""
    path = bench.folder / f"{name}-{values['port']}.yaml"
    secret_key = bench.folder / "secret.key"
    secret_key.write_text("a secret key of 32 bytes exactly")
    secret_key.chmod(0o600)
    values["own"] = folder(bench, name, values["port"])
    text = TURNPIKE.format(audited=str(audited).lower(), **values, **WITH_QUOTA) + (AUDITED if audited else "").format() + GOVERNED.format(**values, name=name, redis=bench.redis())
    path.write_text(text.replace("  threads: 1\n", f'  threads: 1\n  secret_key: "file:{secret_key}"\n'))
    words = [bench.program("turnpike"), "token", "create", "--name", "bench", "--tenant", "bench", "--json", "--config", str(path)]
    made = subprocess.run(words, capture_output=True, text=True)
    if made.returncode:
        raise Failed(f"no agent token could be made:\n{made.stderr}")
    bench.keys[values["port"]] = json.loads(made.stdout)["token"]
    return [bench.program("turnpike"), "--config", str(path)]


def folder(bench, name, port):
    own = bench.folder / f"{name}-{port}"
    own.mkdir()
    return own


def start(bench, name, upstream, under=(), config=ONE_KEY):
    """Starts a subject, below the words of `under` if there are any."""
    words, port = command(bench, name, upstream, config)
    process = bench.start(name, [*under, *words], SUBJECT_CORE)
    process.wait_until_listening(port)
    return process, port
