"""What is measured, and how each is configured to pass calls to one provider."""

import shutil

from .machine import SUBJECT_CORE, free_port, say

TURNPIKE = """\
server:
  host: 127.0.0.1
  port: {port}
  threads: 1
admin: {{host: 127.0.0.1, port: {admin}}}
api_keys: [{{key: bench-client-key, name: bench, models: ["gpt-*"]}}]
providers:
  openai:
    base_url: "http://127.0.0.1:{upstream}/v1"
    credentials: {credentials}
routing: {{strategy: {strategy}}}
egress: {{allow_private: true}}
"""

# The same, with all that governs a call: a role, four limits of its caller, of each measure one, a cap
# and a quota of the credential.
GOVERNED = """\
roles:
  bench: {{models: ["gpt-*"], limits: {{requests_per_minute: 1000000000, concurrency: 100000}}}}
role_bindings: [{{role: bench, everyone: true}}]
limits:
  - {{name: tokens, scope: user, measure: tokens, window: day, limit: 1000000000000}}
  - {{name: money, scope: tenant, measure: usd, window: month, limit: 1000000000}}
"""

ONE_KEY = {"strategy": "round_robin", "credentials": "[{api_key: sk-bench-upstream, label: bench}]"}

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
    names = ["turnpike", "governed", "pingora"]
    if shutil.which("nginx"):
        return [*names, "nginx"]
    say("· nginx is missing and left out: apt-get install nginx-light")
    return names


def command(bench, name, upstream, config):
    """The command line of a subject, and the port it will listen on."""
    port = free_port()
    values = {"port": port, "admin": free_port(), "upstream": upstream, "folder": bench.folder}
    if name in ("turnpike", "governed"):
        path = bench.folder / f"{name}.yaml"
        governed = GOVERNED.format() if name == "governed" else ""
        path.write_text(TURNPIKE.format(**values, **config) + governed)
        return [bench.program("turnpike"), "--config", str(path)], port
    if name == "nginx":
        path = bench.folder / "nginx.conf"
        path.write_text(NGINX.format(**values))
        return ["nginx", "-e", "stderr", "-p", str(bench.folder), "-c", str(path)], port
    listen, to = f"127.0.0.1:{port}", f"127.0.0.1:{upstream}"
    return [bench.program("bare-pingora"), "--listen", listen, "--upstream", to], port


def start(bench, name, upstream, under=(), config=ONE_KEY):
    """Starts a subject, below the words of `under` if there are any."""
    words, port = command(bench, name, upstream, config)
    process = bench.start(name, [*under, *words], SUBJECT_CORE)
    process.wait_until_listening(port)
    return process, port
