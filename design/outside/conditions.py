"""What is made wrong outside, and what a laboratory in service makes of it: drills D07 to D11 of the catalogue.

    PYTHONPATH=src:. python design/outside/conditions.py            measure and keep (some minutes)

It writes docs/measured/outside_conditions.json. The rig stands in `rig`. Every row is the worst of the seeds. *moved*:
most that UTC(k) differs from the run without the condition, on the same noise, over the whole watch; *seen after*: from
the beginning to the first alert of the class that is expected, about the link that it concerns; *wrongly out*: epochs
in which a link that nothing was done to had no vote; *lies*: pages whose error exceeded their bound. Three defences:
*all*; *links*: no receiver is read, links are held against their own past and each other; *none*: the vote by intervals
alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

from design.outside import rig
from design.outside.rig import GNSS_P, GNSS_Q, TWO_WAY_P, Condition, Point

from truechimer._version import __version__
from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.sim.receiver_stream import Disturbance
from truechimer.sim.scenario import Event, What

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "outside_conditions.json"
WARM_UP_DAYS = 15.0
SEEDS = range(1, 3)
HOUR_S = 3_600.0
_BY_LINKS = frozenset({AlertKind.LINK_OUTVOTED})
_ANY = frozenset({AlertKind.LINK_OUTVOTED, AlertKind.LINK_REFUSED, AlertKind.UTC_PARAMETERS, AlertKind.RECEIVER_DATE})


def event(what: str, target: str, magnitude: float, unit: str, duration_s: float) -> Event:
    """Return an event at the beginning of the condition."""
    return Event(at_s=0.0, what=What(what), target=target, magnitude=magnitude, unit=unit, duration_s=duration_s)


CASES: tuple[tuple[Condition, frozenset[AlertKind], tuple[str, ...], float], ...] = (
    (
        Condition("D07 GNSS link of P steps by 1 us for 6 h", (event("phase-step", GNSS_P, 1e-6, "s", 6 * HOUR_S),)),
        frozenset({AlertKind.LINK_REFUSED, AlertKind.LINK_OUTVOTED}),
        (GNSS_P,),
        2.0,
    ),
    (
        Condition(
            "D08 GNSS link of P is dragged by 1 ns/h to 100 ns, held",
            (event("ramp", GNSS_P, 1e-9 / HOUR_S, "s/s", 100 * HOUR_S),),
        ),
        _BY_LINKS,
        (GNSS_P,),
        7.0,
    ),
    (
        Condition(
            "D09 UTC parameters wrong by -13.7 us for 11 h, both GNSS links",
            tuple(event("phase-step", one, -1.37e-5, "s", 11 * HOUR_S) for one in (GNSS_P, GNSS_Q)),
            (Disturbance("utc-parameters", 0.0, -1.37e-5, 11 * HOUR_S),),
            (0, 1),
        ),
        frozenset({AlertKind.UTC_PARAMETERS}),
        (GNSS_P, GNSS_Q),
        2.0,
    ),
    (
        Condition(
            "D10 both receivers' dates fall back by 1024 weeks", (), (Disturbance("week-rollback", 0.0),), (0, 1)
        ),
        frozenset({AlertKind.RECEIVER_DATE}),
        (GNSS_P, GNSS_Q),
        2.0,
    ),
    (
        Condition(
            "D11 two-way link of P: 100 ns of asymmetry within 2 h",
            (event("ramp", TWO_WAY_P, 1e-7 / (2 * HOUR_S), "s/s", 2 * HOUR_S),),
        ),
        _BY_LINKS,
        (TWO_WAY_P,),
        3.0,
    ),
    (Condition("nothing is made wrong"), _ANY, (), 7.0),
)


def about(subject: str, targets: tuple[str, ...]) -> bool:
    """Return True where an alert's subject is one of the links, or its reference."""
    return any(subject in (one, one.rpartition("-")[0]) for one in targets)


def measured(
    points: list[Point], quiet: list[Point], kinds: frozenset[AlertKind], targets: tuple[str, ...]
) -> dict[str, Any]:
    """Return what one run shows."""
    said = [(point.t_s, alert) for point in points for alert in point.alerts]
    first = next((t_s for t_s, alert in said if alert.kind in kinds and about(alert.subject, targets)), None)
    moved = [abs(a.x_utck_minus_utc_s - b.x_utck_minus_utc_s) for a, b in zip(points, quiet, strict=False)]
    return {
        "moved_s": max(moved),
        "seen_after_s": None if first is None else first - rig.INTERVAL_S,
        "critical_elsewhere": sum(
            1
            for _, alert in said
            if alert.severity is AlertSeverity.CRITICAL and alert.kind in _ANY and not about(alert.subject, targets)
        ),
        "wrongly_out": sum(1 for point in points for name in point.out if name not in targets),
        "lies": sum(
            1 for point in points if point.page_off_s == point.page_off_s and abs(point.page_off_s) > point.bound_s
        ),
        "pages": sum(1 for point in points if point.page_off_s == point.page_off_s),
    }


def worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the worst of the seeds."""
    after = [row["seen_after_s"] for row in rows]
    return {
        "moved_ns": round(max(row["moved_s"] for row in rows) * 1e9, 3),
        "seen_after_h": None if any(one is None for one in after) else round(max(after) / HOUR_S, 2),
        **{key: sum(row[key] for row in rows) for key in ("critical_elsewhere", "wrongly_out", "lies", "pages")},
    }


DEFENCES: dict[str, tuple[str, ...]] = {
    "D07": ("all", "links", "none"),
    "D08": ("all", "none"),
    "D09": ("all", "links", "none"),
    "D10": ("all",),
    "D11": ("all", "none"),
    "not": ("all",),
}
"""Defences that differ in a condition: no receiver sees a drag or an asymmetry, no link a date."""


def main() -> int:
    """Measure and keep."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    longest = max(days for *_, days in CASES)
    for seed in SEEDS:
        for defence in ("all", "links", "none"):
            begun = rig.ready(seed, WARM_UP_DAYS, defence)
            quiet = list(rig.watched(begun, seed, WARM_UP_DAYS, Condition("quiet"), for_days=longest))
            for condition, kinds, targets, days in CASES:
                if defence not in DEFENCES[condition.name[:3]]:
                    continue
                points = quiet
                if targets:
                    points = list(rig.watched(begun, seed, WARM_UP_DAYS, condition, for_days=days))
                row = measured(points, quiet, kinds if defence == "all" else _ANY, targets)
                found.setdefault((condition.name, defence), []).append(row)
                print(seed, defence, condition.name, row, file=sys.stderr, flush=True)
        rig.ready.cache_clear()
        rig.stream.cache_clear()
    document = {
        "version": __version__,
        "seeds": len(SEEDS),
        "warm_up_days": WARM_UP_DAYS,
        "conditions": [
            {"condition": condition.name, "defence": defence, "watched_days": days}
            | worst(found[condition.name, defence])
            for condition, _, _, days in CASES
            for defence in DEFENCES[condition.name[:3]]
        ],
    }
    KEPT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
