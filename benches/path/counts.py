"""What repeats exactly: instructions and system calls, as the difference of two runs that differ
in the number of calls only, so that start and end of the process drop out. The shorter run stays idle
for as long as the longer one is busy, so that what comes with time drops out, too. One caller, one call
after the other; system calls are also counted with some at once, who share what is written together.

Under callgrind three things weigh more than on a processor. Copies above 2 KiB, which libc makes with
`rep movsb`, would be an instruction a byte: the subjects are told to make them with vector moves. SHA-256
is computed by software, some 30 instructions a byte, where a processor has an instruction for it: that is
told apart (`audited` hashes each record). And all is some ten times as slow: what comes with time, timers
above all, is shared by fewer calls."""

import re
import subprocess
import time

from . import subjects
from .machine import Failed, say

# Calls of the shorter and the longer run.
CALLS = {"chat": (2000, 6000), "large": (100, 300), "stream": (20, 60)}
QUICK = {"chat": (500, 1500), "large": (30, 90), "stream": (10, 30)}
# Some callers at once, in a lane of system calls by itself.
BUSY, CALLERS = "busy", 16
# Without `rep movsb`: see above.
CALLGRIND = ["env", "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824", "valgrind", "--tool=callgrind"]
EVENTS = 64
# The naps of Pingora's clock thread: they come with time, not with calls.
NOT_OF_A_CALL = {"clock_nanosleep"}
# Longer than any subject takes for an event under valgrind, or events would be read together.
GAP = "3ms"


def instructions(bench, names, quick):
    """User instructions of a call, and of an event of a stream."""
    tables = {lane: {} for lane in CALLS}
    for lane, name, runs in lanes(names, quick):
        high, seconds = total_instructions(bench, name, lane, runs[1])
        low, _ = total_instructions(bench, name, lane, runs[0], seconds)
        tables[lane][name] = round((high - low) / (runs[1] - runs[0]))
        say(f"  {lane:7} {name:9} {tables[lane][name]:>10,} instructions a call")
    return tables


def total_instructions(bench, name, lane, calls, lasting=0):
    out = bench.folder / f"callgrind.{name}"
    under = [*CALLGRIND, f"--callgrind-out-file={out}"]
    seconds = run(bench, name, lane, calls, under, lasting)
    return total(out), seconds


def total(out):
    """What callgrind counted."""
    found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if not found:
        raise Failed(f"callgrind left no total in {out}; see the log beside it")
    return int(found[1])


def of_example(bench, example, arguments, runs):
    """User instructions of each of what an example of the crate does so often as its last argument says."""
    low, high = (total_of_example(bench, example, [*arguments, count]) for count in runs)
    return (high - low) / (runs[1] - runs[0])


def total_of_example(bench, example, arguments):
    out = bench.folder / f"callgrind.{example}"
    command = [*CALLGRIND, f"--callgrind-out-file={out}", bench.program(f"examples/{example}")]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    found = done.returncode == 0 and re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if not found:
        raise Failed(f"callgrind left no total of {example}:\n{done.stderr[-2000:]}")
    return int(found[1])


def syscalls(bench, names, quick):
    """System calls of a call, by name."""
    tables = {lane: {} for lane in [*CALLS, BUSY]}
    busy = [(BUSY, name, runs) for lane, name, runs in lanes(names, quick) if lane == "chat"]
    for lane, name, runs in [*lanes(names, quick), *busy]:
        high, seconds = all_syscalls(bench, name, lane, runs[1])
        low, _ = all_syscalls(bench, name, lane, runs[0], seconds)
        each = {call: (high[call] - low.get(call, 0)) / (runs[1] - runs[0]) for call in high.keys() - NOT_OF_A_CALL}
        each = {call: round(count, 2) for call, count in each.items() if count >= 0.005}
        total = round(sum(each.values()), 2)
        tables[lane][name] = {"total": total, **dict(sorted(each.items(), key=lambda row: -row[1]))}
        said = ", ".join(f"{call} {count:g}" for call, count in tables[lane][name].items() if call != "total")
        say(f"  {lane:7} {name:9} {total:>8} system calls a call: {said}")
    return tables


def all_syscalls(bench, name, lane, calls, lasting=0):
    out = bench.folder / f"strace.{name}"
    under = ["strace", "-f", "-c", "-o", str(out)]
    seconds = run(bench, name, lane, calls, under, lasting, traced=True)
    # % time, seconds, usecs/call, calls, errors (may be blank), name
    rows = (row.split() for row in out.read_text().splitlines())
    counted = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"}
    return counted, seconds


def lanes(names, quick):
    for lane, runs in (QUICK if quick else CALLS).items():
        for name in names:
            yield lane, name, runs


def run(bench, name, lane, calls, under, lasting, traced=False):
    """Answers with how many seconds the calls took; they, or the wait after them, take `lasting`."""
    provider, upstream = bench.provider(EVENTS, GAP)
    process, port = subjects.start(bench, name, upstream, under)
    began = time.monotonic()
    scenario, callers = ("chat", CALLERS) if lane == BUSY else (lane, 1)
    bench.load(scenario, port, "--count", calls, "--connections", callers)
    seconds = time.monotonic() - began
    time.sleep(max(0, lasting - seconds))
    process.stop(process.traced() if traced else None)
    provider.stop()
    return seconds
