"""What replicas ask of the Redis that they share: the round trips, its CPU time and their own, for each request
that they serve far from any limit."""

import socket
from concurrent.futures import ThreadPoolExecutor

from . import subjects
from .machine import SUBJECT_CORE, say

REPLICAS = [1, 2, 4]
EVENTS, GAP = 64, "1ms"


def fleet(bench, quick):
    seconds = 2 if quick else 10
    bench.redis()
    return {replicas: measure(bench, replicas, seconds) for replicas in REPLICAS}


def measure(bench, replicas, seconds):
    provider, upstream = bench.provider(EVENTS, GAP)
    started = [start(bench, replicas, upstream) for _ in range(replicas)]
    ports = [port for _, port in started]
    run(bench, ports, 0.5)
    redis, redis_port = bench.redis_server
    cpu_seconds = lambda: sum(process.cpu_seconds() for process, _ in started)  # noqa: E731
    asked, used, own = round_trips(redis_port), redis.cpu_seconds(), cpu_seconds()
    requests = run(bench, ports, seconds)
    asked, used, own = round_trips(redis_port) - asked, redis.cpu_seconds() - used, cpu_seconds() - own
    for process, _ in [*started, (provider, None)]:
        process.stop()
    row = {"requests": requests, "round_trips": asked / requests, "redis_cpu_us": used * 1e6 / requests, "cpu_us": own * 1e6 / requests}
    say(f"  {replicas} replicas: {requests:,} requests, {row['round_trips']:.4f} round trips each")
    return row


def start(bench, replicas, upstream):
    port = subjects.free_port()
    values = {"port": port, "admin": subjects.free_port(), "upstream": upstream, "folder": bench.folder}
    words = subjects.governed(bench, f"fleet-{replicas}", values)
    process = bench.start(f"governed-{port}", words, SUBJECT_CORE)
    process.wait_until_listening(port)
    return process, port


def run(bench, ports, seconds):
    """Loads all at once, and answers with the number of requests."""
    with ThreadPoolExecutor(len(ports)) as pool:
        load = lambda port: bench.load("chat", port, "--seconds", seconds, "--connections", 8)  # noqa: E731
        return sum(each["requests"] for each in pool.map(load, ports))


def round_trips(port):
    """How often the Redis has read from its clients: what is sent together counts once."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as redis:
        redis.sendall(b"INFO stats\r\n")
        text = b""
        while b"total_reads_processed:" not in text or not text.endswith(b"\r\n"):
            text += redis.recv(65536)
    return int(text.split(b"total_reads_processed:")[1].split(b"\r\n")[0])
