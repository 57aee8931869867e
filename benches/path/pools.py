"""What the size of a pool costs: a selection in instructions, and a credential in memory."""

import time

from . import counts, subjects
from .machine import say

SIZES = [10, 1_000, 10_000]
STRATEGIES = ["round_robin", "fill_first", "priority", "weighted", "quota_aware"]
# Enough that what differs between two starts does not show.
SELECTIONS = (20_000, 1_020_000)


def pools(bench, quick):
    found = {"instructions": {}}
    for strategy in STRATEGIES:
        by_size = {size: selection(bench, strategy, size) for size in SIZES}
        found["instructions"][strategy] = by_size
        said = ", ".join(f"{each:,.0f} of {size:,}" for size, each in by_size.items())
        say(f"  {strategy:12} {said} instructions a selection")
    resident = {size: memory(bench, size) for size in (SIZES[0], SIZES[-1])}
    each = (resident[SIZES[-1]] - resident[SIZES[0]]) / (SIZES[-1] - SIZES[0])
    found["memory_kib"] = round(each, 2)
    say(f"  {each:.2f} KiB of resident memory a credential, what reading the file left behind included")
    return found


def selection(bench, strategy, size):
    return counts.of_example(bench, "select", [strategy, size, "all-ready"], SELECTIONS)


def memory(bench, size):
    provider, upstream = bench.provider(counts.EVENTS, counts.GAP)
    rows = (f"{{api_key: sk-bench-{nth:08}-abcdefghijklmnopqrstuvwxyz, label: c{nth}}}" for nth in range(size))
    config = {"strategy": "round_robin", "credentials": f"[{', '.join(rows)}]"}
    process, port = subjects.start(bench, "turnpike", upstream, config=config)
    # What was freed at the start goes back to the system with what is done a moment later.
    for _ in range(3):
        time.sleep(1)
        bench.load("chat", port, "--count", 10)
    resident = process.memory_kib()
    process.stop()
    provider.stop()
    return resident
