"""Where Turnpike's instructions of a chat call go: callgrind's counts by function, as the difference
of a shorter and a longer run."""

import collections
import pathlib
import re
import subprocess

from . import counts
from .machine import say

# The one with most on its path.
SUBJECT = "governed"
ROW = re.compile(r"^\s*([\d,]+) \([^)]*\)\s+(.+?)(?: \[[^]]*\])?$")
CRATE = re.compile(r"/registry/src/[^/]+/([^/]+)/")


def functions(bench, file, quick):
    shorter, longer = (counts.QUICK if quick else counts.CALLS)["chat"]
    high, seconds = by_place(bench, longer)
    low, _ = by_place(bench, shorter, seconds)
    runs = list(zip(low, high))
    own, with_callees = (difference(*pair, longer - shorter) for pair in runs)
    total = sum(own.values())
    text = [f"Turnpike with all that governs a call, instructions of one chat call: {total:,.0f}"]
    text += section("by the crate of the source line, inlined code where it was written", grouped(own, crate), total)
    text += section("by function, without what it calls", grouped(own, function), total)
    text += section("by function, with what it calls", grouped(with_callees, function), total)
    text += section("by file and function, without what it calls", own, total)
    pathlib.Path(file).write_text("\n".join(text) + "\n")
    say(f"· where Turnpike's instructions go: {file}")


def by_place(bench, calls, lasting=0):
    """The counts of a run by `file:function`, without and with what is called; and its seconds."""
    _, seconds = counts.total_instructions(bench, SUBJECT, "chat", calls, lasting)
    out = bench.folder / f"callgrind.{SUBJECT}"
    return [annotated(out, inclusive) for inclusive in ("no", "yes")], seconds


def annotated(out, inclusive):
    command = ["callgrind_annotate", f"--inclusive={inclusive}", "--threshold=100", "--auto=no", str(out)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    places = collections.Counter()
    for row in map(ROW.match, listed.splitlines()):
        if row and "PROGRAM TOTALS" not in row[2]:
            places[row[2]] += int(row[1].replace(",", ""))
    return places


def difference(low, high, calls):
    return {place: (count - low.get(place, 0)) / calls for place, count in high.items()}


def grouped(places, name):
    sums = collections.Counter()
    for place, count in places.items():
        sums[name(place)] += count
    return sums


def function(place):
    # A path may hold no colon but the one before the function.
    return place.split(":", 1)[-1]


def crate(place):
    path = place.split(":", 1)[0]
    found = CRATE.search(path)
    if found:
        return found[1]
    if "/library/" in path:
        return "rust " + path.split("/library/")[1].split("/")[0]
    if "sysdeps" in path or path.startswith("./"):
        return "libc"
    return path


def section(title, places, total, most=60):
    rows = sorted(places.items(), key=lambda row: -row[1])[:most]
    return ["", title, *(f"{count:>10,.0f} {count / total:>6.1%}  {place}" for place, count in rows if count >= 1)]
