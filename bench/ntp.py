"""How many requests an NTP server answers in a second of its processor, and how exact its stamps are: truechimer's
door, chronyd, the newest NTP servers of others, a raw recvmmsg/sendmmsg echo in C, and the floor: what an honest
answer needs, in C, and nothing else (`ntp_floor.c`); all alternating in one run.

    python builders/fetch_peers.py --newest PEERS
    PYTHONPATH=src python bench/ntp.py --peers PEERS --out docs/measured/ntp_serving.json
    PYTHONPATH=src python bench/ntp.py --peers PEERS --sweep --out docs/measured/ntp_loads.json

Loopback, no network card. Every server runs on processor 0, the generator (`ntp_load.c`, compiled by the system's
compiler) on processor 1; 64 client addresses, 256 requests outstanding. The machine's speed changes from one second to
the next by more than the servers differ. So each of five rounds has many turns, in each turn every server is asked for
an eighth of a second, in another order each time, and the figure is replies per second of the processor time of all
processes of the server, as a ratio of the same turn. A round's figure is the median of its turns; what the bars of
issue 8 are held against is the median of the rounds; beside it stands the median of all turns with the interval that
holds it with 95 % (drawn anew from the turns 400 times). What each server takes of a processor when nobody asks it is
measured before. All servers serve this host's own CLOCK_REALTIME: ours from a page that follows it, renewed
ten times a second, so that offsets against the generator's stamps are the servers' own errors.

Two settings are measured: what runs by default against chronyd's default, and everything off against `noclientlog`.
Accuracy is measured at 1,000 and 50,000 requests a second, after those rounds, and at saturation.

`--sweep` asks at a ladder of rates instead, far beyond what any of them answers: what is answered, and how wrong. The
plots of docs/guide/serving.md are drawn from it by `builders/build_docs.py`. Either run takes less than five minutes.
A peer that is not there, or does not answer, is named with the reason (`peers_missing`), never left out in silence.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from ntp_servers import Bench, Server, version_of

from truechimer._version import __version__

OPEN_RATES = (1_000, 50_000)
SATURATION = "saturation"
SWEEP_RATES = (1_000, 3_000, 10_000, 30_000, 60_000, 100_000, 150_000, 200_000, 300_000, 450_000, 600_000)
SWEEP_ROUNDS, SWEEP_SECONDS = 3, 0.5
TURN_S, OPEN_S, IDLE_S = 0.12, 0.5, 2.0
DRAWS, HELD = 400, 0.95
BARE = '{"interleaved":false,"rate_per_s":0.0}'
COUNTING = '{"rate_loopback":true,"rate_per_s":1e6,"rate_burst":1000000}'
NEVER_PACKAGED = {
    "rsntp": "no package of Debian's",
    "facebook/time": "no package of Debian's",
}


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a server's runs, of each figure apart; counts of faults are summed."""
    summed = {"bad", "t2_before_t1", "t3_after_t4", "t2_repeated"}
    found: dict[str, Any] = {}
    for key, value in rows[0].items():
        if isinstance(value, dict):
            found[key] = {one: statistics.median(row[key][one] for row in rows) for one in value}
        elif key in summed:
            found[key] = sum(row[key] for row in rows)
        else:
            found[key] = statistics.median(row[key] for row in rows)
    return found


def ratio(runs: dict[str, list[dict[str, Any]]], one: str, other: str, *, turns: int) -> dict[str, Any]:
    """Return one server's replies per processor second over another's: the median of each round's turns and of these,
    and the median of all turns with its interval.
    """
    pairs = zip(runs[one], runs[other], strict=True)
    each = [a["replies_per_cpu_s"] / b["replies_per_cpu_s"] for a, b in pairs if b["replies_per_cpu_s"]]
    if not each:
        return {"of": one, "over": other, "median": 0.0, "all": [], "of_turns": 0.0, "between": [0.0, 0.0]}
    rounds = [statistics.median(each[at : at + turns]) for at in range(0, len(each), turns)]
    draw = random.Random(8)
    drawn = sorted(statistics.median(draw.choices(each, k=len(each))) for _ in range(DRAWS))
    aside = round(DRAWS * (1 - HELD) / 2)
    return {
        "of": one,
        "over": other,
        "median": round(statistics.median(rounds), 4),
        "all": [round(x, 4) for x in rounds],
        "of_turns": round(statistics.median(each), 4),
        "between": [round(drawn[aside], 4), round(drawn[-1 - aside], 4)],
    }


def idle_shares(bench: Bench, servers: list[Server]) -> dict[str, float]:
    """Return what each server takes of a processor while nobody asks it."""
    before = {server.name: bench.processor_s(server) for server in servers}
    time.sleep(IDLE_S)
    return {server.name: round((bench.processor_s(server) - before[server.name]) / IDLE_S, 5) for server in servers}


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; return the document."""
    servers = [
        bench.raw_echo(),
        bench.floor("floor", 1),
        bench.floor("floor-pairs", 2),
        bench.chrony("chrony"),
        bench.chrony("chrony-noclientlog", "noclientlog"),
        bench.ours("truechimer"),
        bench.ours("truechimer-pairs", "--stamps", "pairs"),
        bench.ours("truechimer-rates", "--rules", COUNTING),
        bench.ours("truechimer-bare", "--rules", BARE),
        bench.ours("truechimer-python", "--workers", "0", plain=True),
        *bench.newest(),
    ]
    time.sleep(1.0)
    idle = idle_shares(bench, servers)
    runs: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    loads: dict[str, dict[str, list[dict[str, Any]]]] = {str(rate): {} for rate in OPEN_RATES}
    for number in range(options.rounds):
        order = random.Random(number)
        for _ in range(options.turns):
            for server in order.sample(servers, len(servers)):
                runs[server.name].append(bench.ask(server, rate=None, seconds=options.seconds))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    for _ in range(options.rounds):
        for rate in OPEN_RATES:
            for server in servers:
                if not server.is_echo:
                    row = bench.ask(server, rate=rate, seconds=OPEN_S)
                    loads[str(rate)].setdefault(server.name, []).append(row)
    ours = ("truechimer", "truechimer-pairs", "truechimer-rates", "truechimer-bare")
    floors = ("floor", "floor-pairs")
    default = [name for name in ("chrony-newest", "ntpsec", "ntpd-rs", "openntpd") if name in runs]
    wanted = [(one, "echo") for one in (*floors, *ours, "truechimer-python", "chrony", *default)]
    wanted += [(one, "chrony") for one in (*floors, *ours[:-1])]
    wanted += [("truechimer", "floor"), ("truechimer-pairs", "floor-pairs"), ("truechimer-bare", "chrony-noclientlog")]
    wanted += [("truechimer", one) for one in default]
    if "chrony-newest-noclientlog" in runs:
        wanted.append(("truechimer-bare", "chrony-newest-noclientlog"))
    return {
        **head(bench, servers, options),
        "turns": options.turns,
        "idle": idle,
        "ratios": [ratio(runs, one, other, turns=options.turns) for one, other in wanted],
        SATURATION: {name: medians(rows) for name, rows in runs.items()},
        "at_rate": {rate: {name: medians(rows) for name, rows in each.items()} for rate, each in loads.items()},
        "all_runs": {name: [round(row["replies_per_cpu_s"]) for row in rows] for name, rows in runs.items()},
    }


def sweep(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Ask every server at every rate of the ladder, in rounds; return the document."""
    servers = [
        bench.ours("truechimer"),
        bench.ours("truechimer-python", "--workers", "0", plain=True),
        bench.chrony("chrony"),
        *(one for one in bench.newest() if one.name != "chrony-newest-noclientlog"),
    ]
    bench.missing.pop("chrony-newest-noclientlog", None)
    time.sleep(1.0)
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {server.name: {} for server in servers}
    for number in range(options.rounds):
        for rate in SWEEP_RATES:
            for server in servers:
                row = bench.ask(server, rate=rate, seconds=options.seconds)
                runs[server.name].setdefault(str(rate), []).append(row)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    kept = ("asked_per_s", "replies_per_s", "error_s", "t4_minus_t3_s", "latency_s", "bad")
    loads = {
        name: {rate: {key: value for key, value in medians(rows).items() if key in kept} for rate, rows in each.items()}
        for name, each in runs.items()
    }
    return {**head(bench, servers, options), "loads": loads}


def head(bench: Bench, servers: list[Server], options: argparse.Namespace) -> dict[str, Any]:
    """Return what was run, where, and which peers were not there."""
    versions = {"chrony": version_of("chronyd", "-v"), "cc": version_of("cc", "--version")}
    return {
        "what": "replies per second of the server's processor time, and exactness of its stamps; loopback, no NIC",
        "host": {"kernel": platform.release(), "python": platform.python_version(), "processors": os.cpu_count()},
        "load_average": os.getloadavg(),
        "real_time_priority": options.real_time,
        "versions": {"truechimer": __version__} | versions | {one.name: one.version for one in servers if one.version},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "commands": {server.name: server.command for server in servers},
        "peers_missing": bench.missing | NEVER_PACKAGED,
    }


def main() -> int:
    """Measure, keep, and say which bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds (default 5; of a sweep 3)")
    parser.add_argument("--seconds", type=float, help=f"of each turn (default {TURN_S}; of a sweep 0.5)")
    parser.add_argument("--turns", type=int, default=8, help="of each round (default 8); a sweep has one")
    parser.add_argument("--peers", type=Path, help="folder of builders/fetch_peers.py --newest: further peers")
    parser.add_argument("--sweep", action="store_true", help="a ladder of rates in place of the three loads")
    parser.add_argument("--real-time", action="store_true", help="servers and generator at real-time priority")
    parser.add_argument("--limits", action="store_true", help="a missed bar is status 1")
    parser.add_argument("--out", type=Path, help="file for the JSON document")
    options = parser.parse_args()
    options.rounds = options.rounds or (SWEEP_ROUNDS if options.sweep else 5)
    options.seconds = options.seconds or (SWEEP_SECONDS if options.sweep else TURN_S)
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), options) as bench:
        document = sweep(bench, options) if options.sweep else measure(bench, options)
    text = json.dumps(document, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    for name, why in document["peers_missing"].items():
        print(f"{name:26} not measured: {why}", file=sys.stderr)
    missed = [] if options.sweep else report(document)
    return 1 if missed and options.limits else 0


LIMITS = {
    ("truechimer", "echo"): 0.85,
    ("truechimer", "chrony"): 1.12,
    ("truechimer-bare", "chrony-noclientlog"): 1.12,
    ("truechimer-pairs", "echo"): 0.90,
    ("truechimer-pairs", "chrony"): 1.2,
}
"""Of issue 8, item 2."""


def report(document: dict[str, Any]) -> list[str]:
    """Print the ratios with their bars; return the bars that were missed."""
    missed = []
    for one in document["ratios"]:
        bar = LIMITS.get((one["of"], one["over"]))
        said = "" if bar is None else f"  bar {bar}: {'met' if one['median'] >= bar else 'MISSED'}"
        missed += [said] if said.endswith("MISSED") else []
        low, high = one["between"]
        fine = f"{one['of_turns']:.3f} ({low:.3f} to {high:.3f})"
        print(f"{one['of']:18} / {one['over']:26} {one['median']:.3f}, of all turns {fine}{said}", file=sys.stderr)
    for name in ("truechimer", "truechimer-pairs", "floor-pairs", "chrony"):
        for rate, table in {**document["at_rate"], SATURATION: document[SATURATION]}.items():
            row = table[name]
            print(
                f"{name:18} {rate:>10}: offset p50 {row['offset_s']['p50'] * 1e6:+.2f} us, T4-T3 p99 "
                f"{row['t4_minus_t3_s']['p99'] * 1e6:.2f} us, T2 before T1 {row['t2_before_t1']}, T3 after T4 "
                f"{row['t3_after_t4']}, T2 twice {row['t2_repeated']}, wrong replies {row['bad']}",
                file=sys.stderr,
            )
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
