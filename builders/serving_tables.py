"""What docs/guide/serving.md shows of `bench/ntp.py`: tables of throughput and exactness, and the plots against load.

It measures nothing, and `build_docs.py` writes the files. Every figure comes from docs/measured/ntp_serving.json and
docs/measured/ntp_loads.json.
"""

import json
from pathlib import Path
from typing import Any

from markdown_tables import table

from truechimer.cli import drawing_svg
from truechimer.cli.figure import Figure, log_axis

US = 1e6
NAMES = ("truechimer", "truechimer-python", "chrony", "chrony-newest", "ntpsec", "ntpd-rs", "openntpd")
"""In the plots, in the order of their colours."""
QUANTILES = ("p1", "p50", "p99")


def said_of_the_bench(body: dict[str, Any]) -> str:
    """Return where a document was measured, and with what."""
    versions = ", ".join(f"{name}: {said}" for name, said in sorted(body["versions"].items()))
    load = ", ".join(f"{each:.2f}" for each in body["load_average"])
    host = body["host"]
    turns = f"{body['turns']} turns of " if "turns" in body else ""
    return (
        f"On this bench, loopback, no NIC: {host['processors']} processors, Linux {host['kernel']}, load average "
        f"{load} at the end; {versions}; medians of {body['rounds']} alternating rounds of "
        f"{turns}{body['seconds']} s{', servers and generator at real-time priority' * body['real_time_priority']}."
    )


def serving_block(path: Path) -> str:
    """Return what the bench of the NTP door measured: throughput as ratios, and errors at three loads."""
    if not path.is_file():
        return "Not measured yet: `python bench/ntp.py --out docs/measured/ntp_serving.json` makes these tables."
    body = json.loads(path.read_text(encoding="utf-8"))
    parts = [said_of_the_bench(body)]
    rows = [["Replies per second of processor time", "over", "ratio", "all turns (95 %)", "rounds"]]
    for one in body["ratios"]:
        low, high = one["between"]
        fine = f"{one['of_turns']:.3f} ({low:.3f} to {high:.3f})"
        rounds = ", ".join(f"{each:.2f}" for each in one["all"])
        rows.append([one["of"], one["over"], f"{one['median']:.3f}", fine, rounds])
    parts.append(table(rows))
    rows = [
        ["Requests a second", "server", "offset served p1, p50, p99 (us)", "T4-T3 p50, p99 (us)", "impossible stamps"]
    ]
    for rate, servers in {**body["at_rate"], "saturation": body["saturation"]}.items():
        for name, row in servers.items():
            if "offset_s" in row and not row["replies_per_s"]:
                rows.append([rate, name, "nothing answered", "", ""])
            elif "offset_s" in row:
                offset = ", ".join(f"{row['offset_s'][one] * US:+.2f}" for one in QUANTILES)
                gap = ", ".join(f"{row['t4_minus_t3_s'][one] * US:.2f}" for one in QUANTILES[1:])
                rows.append([rate, name, offset, gap, f"{row['t2_before_t1'] + row['t3_after_t4']:.0f}"])
    parts.append(table(rows))
    rows = [["Server", "what ran", "of a processor, when nobody asks"]]
    rows += [[name, f"`{said}`", f"{body['idle'][name]:.2%}"] for name, said in body["commands"].items() if said]
    rows += [[name, f"not measured: {why}", ""] for name, why in body.get("peers_missing", {}).items()]
    parts.append(table(rows))
    return "\n\n".join(parts)


def loads_block(path: Path) -> str:
    """Return the picture's place on the page, and its figures at every second rate."""
    if not path.is_file():
        return "Not measured yet: `python bench/ntp.py --sweep --out docs/measured/ntp_loads.json` makes this."
    body = json.loads(path.read_text(encoding="utf-8"))
    head = [
        "![Answers and errors against load](pictures/serving-load.svg)",
        said_of_the_bench(body),
    ]
    rows = [["server", "asked a second", "answered a second", "error p50, p99 (us)", "round trip p99 (us)"]]
    for name in _there(body):
        for row in list(body["loads"][name].values())[::2]:
            rates = (f"{row['asked_per_s']:,.0f}", f"{row['replies_per_s']:,.0f}")
            rows.append([name, *rates, *_errors(row)])
    missing = [f"{name} ({why})" for name, why in body["peers_missing"].items()]
    return "\n\n".join([*head, table(rows), *([f"Not measured: {'; '.join(missing)}."] if missing else [])])


def _errors(row: dict[str, Any]) -> tuple[str, str]:
    if not row["replies_per_s"]:
        return "nothing answered", ""
    error, latency = row["error_s"], row["latency_s"]
    return f"{error['p50'] * US:.2f}, {error['p99'] * US:.2f}", f"{latency['p99'] * US:.0f}"


def _there(body: dict[str, Any]) -> list[str]:
    return [name for name in NAMES if name in body["loads"]]


def loads_picture(path: Path) -> str:
    """Return the plots as one SVG: answers, the median error, and the error that 1 in 100 exceeds, against load."""
    loads = json.loads(path.read_text(encoding="utf-8"))["loads"]
    names = [name for name in NAMES if name in loads]

    def curve(name: str, *keys: str, factor: float = 1.0) -> tuple[list[float], list[float]]:
        points = []
        for row in loads[name].values():
            value: Any = row
            for key in keys:
                value = value[key]
            if row["replies_per_s"] and value > 0.0:
                points.append((row["asked_per_s"], value * factor))
        points.sort()  # beyond what the generator can send, it sends what it can
        return [x for x, _ in points], [y for _, y in points]

    frames = (
        ("Answers against load, on this bench (loopback, no NIC)", "answers a second", ("replies_per_s",), 1.0),
        ("Median error of the time served", "error, median, µs", ("error_s", "p50"), US),
        ("Error that one answer in a hundred exceeds", "error, 99 %, µs", ("error_s", "p99"), US),
    )
    drawings = []
    for title, label, keys, factor in frames:
        curves = {name: curve(name, *keys, factor=factor) for name in names}
        figure = Figure(
            title,
            log_axis("requests a second", [x for xs, _ in curves.values() for x in xs]),
            log_axis(label, [y for _, ys in curves.values() for y in ys]),
        )
        for number, (name, (xs, ys)) in enumerate(curves.items()):
            figure.line(xs, ys, number=number, name=name)
        drawings.append(figure.drawing())
    return drawing_svg.stacked(drawings)
