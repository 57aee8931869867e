"""What a clock and the kernel's accounts say. Noisy machines make these move; the subjects take
turns within each round, and medians over the rounds are kept."""

import statistics
import subprocess
import time

from . import subjects
from .machine import LOAD_CORE, say

EVENTS = 64
# What bench-load is told for each lane. `one` is latency, not throughput.
LANES = {
    "chat": ("chat", 32),
    "large": ("large", 8),
    "stream": ("stream", 32),
    "one": ("chat", 1),
}
STREAMS = 500


def rates(bench, names, rounds, seconds):
    """For each lane and subject, the median of each figure over the rounds; and the memory after."""
    provider, upstream = bench.provider(EVENTS, "1ms")
    running = {name: subjects.start(bench, name, upstream) for name in names}
    # The provider itself: what a call costs without anybody between.
    running["direct"] = (provider, upstream)
    for _, port in running.values():
        bench.load("chat", port, "--count", 2000, "--connections", 32)
    seen = {lane: {name: [] for name in running} for lane in LANES}
    for nth in range(1, rounds + 1):
        say(f"· round {nth} of {rounds}")
        for lane in LANES:
            for name, (process, port) in turns(running, nth):
                seen[lane][name].append(measure(bench, lane, process, port, seconds))
        for lane, by_name in seen.items():
            said = ", ".join(f"{name} {row[-1]['per_second']:,.0f}/s {row[-1]['cpu_us']:.1f} µs" for name, row in by_name.items() if name != "direct")
            say(f"  {lane:7} {said}")
    after = {name: round(running[name][0].memory_kib() / 1024, 1) for name in names}
    for process, _ in running.values():
        process.stop()
    return {lane: summary(by_name) for lane, by_name in seen.items()}, after


def turns(running, nth):
    """Everyone is first once in a while."""
    order = list(running.items())
    start = nth % len(order)
    return order[start:] + order[:start]


def measure(bench, lane, process, port, seconds):
    scenario, connections = LANES[lane]
    before = process.cpu_seconds()
    load = bench.load(scenario, port, "--seconds", seconds, "--connections", connections)
    used = process.cpu_seconds() - before
    figures = {
        "per_second": load["requests"] / load["seconds"],
        "cpu_us": used * 1e6 / load["requests"],
        "core": used / load["seconds"],
        "p50_us": load["p50_us"],
        "p99_us": load["p99_us"],
    }
    if scenario == "stream":
        figures["first_p50_us"] = load["first_p50_us"]
        figures["first_p99_us"] = load["first_p99_us"]
        figures["cpu_us_per_event"] = figures["cpu_us"] / EVENTS
    return figures


def summary(by_name):
    """Medians; what a subject adds to the direct call; its ratio to bare Pingora round by round."""
    direct, pingora = by_name["direct"], by_name["pingora"]
    medians = {}
    for name, rows in by_name.items():
        median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for key in [key for key in rows[0] if key.startswith(("p", "first_p")) and key.endswith("_us")]:
            median[f"added_{key}"] = statistics.median(row[key] - base[key] for row, base in zip(rows, direct))
        for key in ("per_second", "cpu_us"):
            median[f"{key}_to_pingora"] = statistics.median(row[key] / base[key] for row, base in zip(rows, pingora))
        medians[name] = median
    for key in ("cpu_us", "core", "cpu_us_to_pingora", "cpu_us_per_event"):
        medians["direct"].pop(key, None)
    return medians


def memory(bench, names, quick):
    """Resident memory: idle, and what one open stream adds; a fresh process each round."""
    say(f"· memory: {STREAMS} open streams")
    seen = {name: [] for name in names}
    for _ in range(1 if quick else 3):
        for name in names:
            seen[name].append(one_memory(bench, name))
    table = {}
    for name, rows in seen.items():
        table[name] = {key: round(statistics.median(row[key] for row in rows), 1) for key in rows[0]}
        say(f"  {name:9} idle {table[name]['idle_mib']} MiB, {table[name]['per_stream_kib']} KiB an open stream")
    return table


def one_memory(bench, name):
    # A gap long enough that every stream is still open when the last one has begun.
    provider, upstream = bench.provider(EVENTS, "3s")
    process, port = subjects.start(bench, name, upstream)
    bench.load("chat", port, "--count", 10)
    idle = process.memory_kib()
    holder = bench.start(
        "holder",
        bench.load_command("stream", port, "--hold", "--connections", STREAMS),
        LOAD_CORE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if holder.popen.stdout.readline() != b"open\n":
        raise holder.failed(f"could not open {STREAMS} streams through {name}")
    time.sleep(0.5)
    held = process.memory_kib()
    holder.popen.stdin.close()
    holder.popen.wait()
    provider.stop()
    process.stop()
    return {"idle_mib": idle / 1024, "per_stream_kib": (held - idle) / STREAMS}
