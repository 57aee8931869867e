"""The table, and the same as JSON."""

import json

from .machine import TARGET, say

# Of the architecture: at most, or at least, this times bare Pingora; or at most so many.
GOALS = {
    "instructions, chat": "≤ 84,000",
    "system calls, chat": "≤ 7.2",
    "requests/s, chat": "≥ 1.10 ×",
    "CPU µs a request, chat": "≤ 0.90 ×",
    "requests/s, large": "≥ 0.95 ×",
    "CPU µs an event, stream": "≤ 0.95 ×",
    "KiB an open stream": "≤ 32",
    "MiB idle": "≤ 30",
    "MiB after load": "≤ 60",
}


def write(results):
    path = TARGET / "bench-path.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    say("\n" + table(list(rows(results))))
    if any(row.get("core", 1) < 0.9 for lane in ("chat", "large") for row in results.get("rates", {}).get(lane, {}).values()):
        say("A subject had less than 0.9 of its core to do: the load, the provider or other work on this machine was the limit. Go by CPU, not by requests/s.")
    for said in ruled(results):
        say(said)
    if "pools" in results:
        growth(results["pools"])
    if "tokens" in results:
        said = ", ".join(f"{each:,.0f} of {size:,}" for size, each in results["tokens"].items())
        one, *_, many = results["tokens"].values()
        say(f"an authentication by a known agent token: {said} tokens, in instructions; {many / one - 1:+.1%} (goal ≤ 5 %)")
    for replicas, row in results.get("fleet", {}).items():
        say(f"{replicas} replicas of one Redis: {row['round_trips']:.4f} round trips a request (goal ≤ 0.02), {row['redis_cpu_us']:.2f} µs of the Redis' CPU and {row['cpu_us']:.1f} µs of their own a request")
    if "scale" in results:
        scaled(**results["scale"])
    say(f"as JSON: {path}")


def rows(results):
    """Of each figure: its name, how it is written, its value by subject."""
    for lane, by_name in results.get("instructions", {}).items():
        yield f"instructions, {lane}", "{:,.0f}", by_name
    for lane, by_name in results.get("syscalls", {}).items():
        yield f"system calls, {lane}", "{:.2f}", {name: calls["total"] for name, calls in by_name.items()}
    for lane, by_name in results.get("rates", {}).items():
        yield from rate_rows(lane, by_name)
    for key, name, style in [("per_stream_kib", "KiB an open stream", "{:.1f}"), ("idle_mib", "MiB idle", "{:.1f}")]:
        if "memory" in results:
            yield name, style, {subject: row[key] for subject, row in results["memory"].items()}
    if "after_load_mib" in results:
        yield "MiB after load", "{:.1f}", results["after_load_mib"]


def ruled(results):
    """What it costs that calls are governed, and that they are on record, measured and traced."""
    instructions = results.get("instructions", {}).get("chat", {})
    calls = {name: row["total"] for name, row in results.get("syscalls", {}).get("chat", {}).items()}
    chat, one = (results.get("rates", {}).get(lane, {}) for lane in ("chat", "one"))
    for counts, what, goal in ((instructions, "user instructions", "≤ 1.0"), (calls, "system calls", "≤ 1.0")):
        if "governed" in counts and "pingora" in counts:
            yield f"governed: {what} {counts['governed'] / counts['pingora']:.2f} × bare Pingora's (goal {goal})"
        if "audited" in counts:
            yield f"on record: {counts['audited'] - counts['governed']:+,.2f} {what} a call"
    busy = {name: row["total"] for name, row in results.get("syscalls", {}).get("busy", {}).items()}
    if "audited" in busy:
        yield f"on record: {busy['audited'] - busy['governed']:+,.2f} system calls a call with several callers at once"
    if "governed" in chat:
        row, base = chat["governed"], chat["turnpike"]
        yield f"governed: CPU {row['cpu_us_to_pingora']:.2f} × bare Pingora's (goal ≤ 1.05), requests/s {row['per_second_to_pingora']:.2f} × (goal ≥ 0.95), {row['per_second'] / base['per_second']:.2f} of ungoverned (goal ≥ 0.93)"
        yield f"governed: {one['governed']['added_p99_us'] - one['turnpike']['added_p99_us']:+.0f} µs at p99 of one connection beside ungoverned (goal ≤ 100)"
    if "audited" in chat:
        yield f"on record: {chat['audited']['cpu_us'] - chat['governed']['cpu_us']:+.1f} µs of CPU a call, sinks and all threads included (goal of the path alone ≤ 2)"
    after = results.get("after_load_mib", {})
    if "audited" in after:
        rate = chat["audited"]["per_second"]
        yield f"on record: {after['audited'] - after['governed']:+.1f} MiB after load, at {rate:,.0f} calls a second (goal ≤ 8 at 5,000)"


def growth(pools):
    """What ten thousand credentials cost a selection beyond ten, and each of them in memory."""
    for strategy, by_size in pools["instructions"].items():
        sizes = sorted(by_size)
        said = ", ".join(f"{by_size[size]:,.0f} of {size:,}" for size in sizes)
        say(f"a selection, {strategy}: {said} credentials; {by_size[sizes[-1]] / by_size[sizes[0]] - 1:+.1%} (goal ≤ 5 %)")
    say(f"memory: {pools['memory_kib']} KiB resident a credential")


def scaled(small, large):
    more = large["instructions"] / small["instructions"] - 1
    what = "{tenants:,} tenants, {tokens:,} tokens, {credentials:,} credentials, {models:,} models".format(**large)
    say(f"{what}: start {large['start_s']} s (goal ≤ 5), reload {large['reload_s']} s (goal ≤ 1), a call {more:+.1%} (goal ≤ 5 %)")


def rate_rows(lane, by_name):
    def of(key):
        return {name: row[key] for name, row in by_name.items() if key in row and name != "direct"}

    if lane in ("chat", "large"):
        yield f"requests/s, {lane}", "{:,.0f}", of("per_second") | {"ratio": by_name["turnpike"]["per_second_to_pingora"]}
        yield f"share of its core, {lane}", "{:.2f}", of("core") | {"ratio": None}
    ratio = {"ratio": by_name["turnpike"]["cpu_us_to_pingora"]}
    if lane == "stream":
        yield "CPU µs an event, stream", "{:.2f}", of("cpu_us_per_event") | ratio
        yield "first chunk, added p50 µs", "{:.0f}", of("added_first_p50_us")
        yield "first chunk, added p99 µs", "{:.0f}", of("added_first_p99_us")
    else:
        yield f"CPU µs a request, {lane}", "{:.1f}", of("cpu_us") | ratio
    if lane == "one":
        yield "one connection, added p50 µs", "{:.0f}", of("added_p50_us")
        yield "one connection, added p99 µs", "{:.0f}", of("added_p99_us")


def quotient(values):
    if "turnpike" in values and values.get("pingora"):
        return values["turnpike"] / values["pingora"]
    return None


def table(rows):
    names = ["turnpike", "governed", "audited", "pingora", "nginx"]
    lines = [["", *names, "to pingora", "goal"]]
    for name, style, values in rows:
        ratio = values["ratio"] if "ratio" in values else quotient(values)
        cells = [style.format(values[subject]) if subject in values else "–" for subject in names]
        lines.append([name, *cells, f"{ratio:.2f} ×" if ratio is not None else "–", GOALS.get(name, "")])
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths)))
        for line in lines
    )
