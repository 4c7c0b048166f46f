"""What holds for every run of the demo, whatever its seed: the contract's keys, and figures that must be in reason.

It tests nothing by itself; tests of one run and of many call it. Source: contract.md, "Demo JSON"; issue 2 item 13.
"""

import re
from typing import Any

KEYS = {
    "seed",
    "scale",
    "against",
    "clocks",
    "events",
    "bound_s_max",
    "true_error_s_max",
    "lies",
    "ntp_requests",
    "records",
}
EVENTS = ("clock-step", "link-ramp", "slow-drag", "holdover")
EVENT_KEYS = {"what", "target", "scale_moved_ns"}
NS_PER_S = 1e9
BOUND_AT_MOST_S = 30e-9
"""Issue: median bound of the scale <= 30 ns, steered, in the clean simulated rig."""


def faults_of(body: dict[str, Any], *, live: bool) -> list[str]:
    """Return what is wrong with a finished run's document, one line each."""
    checks = {f"key {key}": key in body for key in KEYS}
    if not all(checks.values()):
        return [name for name, good in checks.items() if not good]
    events = {event["what"]: event for event in body["events"]}
    step, ramp, drag, holdover = (events.get(name, {}) for name in EVENTS)
    checks |= {
        "four events in their order": tuple(event["what"] for event in body["events"]) == EVENTS,
        "keys of events": all(event.keys() >= EVENT_KEYS for event in body["events"]),
        "says that it is simulated": (body["scale"], body["against"]) == ("SIM(demo)", "simulated-utc"),
        "twelve clocks": len(body["clocks"]) == 12,
        "no lie": body["lies"] == 0 and all(event.get("lies", 0) == 0 for event in body["events"]),
        "lies were looked for": body["samples"] >= 3 and body["branch_samples"] >= 4000,
        "no NTP answer outside what it stated": body["ntp_outside_stated"] == 0,
        "NTP answers": 0 < body["ntp_answered"] <= body["ntp_requests"],
        "true error inside the bound": 0.0 < body["true_error_s_max"] < body["bound_s_max"],
        "bound tight": 0.0 < body["bound_s_median"] <= body["bound_s_max"] <= BOUND_AT_MOST_S,
        "steered": body["state"] == "steered",
        "step live or branch": step.get("how") == ramp.get("how") == ("live" if live else "branch"),
        "step seen at the next reading": 0.0 < step.get("detected_after_s", 9.9) <= 2.0,
        "step of 20 ns moves the scale little": 0.0 <= step.get("scale_moved_ns", 9.9) <= 0.5,
        "ramp outvoted": 0.0 < ramp.get("detected_after_s", 99.0) <= 15.0,
        "ramp of a link moves no scale": ramp.get("scale_moved_ns") == 0.0,
        "ramp moves served time little": ramp.get("served_moved_ns", 9.9) <= 0.5,
        "drag ran its 30 days": drag.get("how") == "branch" and drag.get("days") == 30.0,
        "drag moves the scale, as a drag must": drag.get("scale_moved_ns", 0.0) > 0.1,
        "holdover ran its 3 days": holdover.get("how") == "branch" and holdover.get("days") == 3.0,
        "holdover is said": holdover.get("state") == "holdover" and 0.0 < holdover.get("detected_after_s", 1e9) <= 7200,
        "silent links move no scale": holdover.get("scale_moved_ns") == 0.0,
        "error inside the bound at each event's end": all(
            abs(event["true_error_ns"]) <= event["bound_ns"] for event in body["events"]
        ),
        "the live laboratory was not held up": body["epoch_late_s_max"] <= 2.0,
        "replayed bit for bit": "difference" not in body["replay"] and body["replay"]["records_compared"] > 10_000,
        "records after the replay": body["replay"]["records_compared"] <= body["records"],
    }
    return [name for name, good in checks.items() if not good]


ROW = re.compile(
    r"^(?P<says>.+?)  +(?P<how>live|branch) +(?P<seen>not seen|[\d.]+ (?:s|min|h|d)) +(?P<scale>[\d.]+) ns"
    r" +(?P<served>[\d.]+) ns +(?P<bound>[\d.]+) ns +(?P<error>[+-][\d.]+) ns$"
)
"""One row of the closing table."""


def rows_of(text: str) -> list[dict[str, str]]:
    """Return the rows of the closing table as they were printed."""
    return [found.groupdict() for line in text.splitlines() if (found := ROW.match(line))]


def rows_that_differ(text: str, body: dict[str, Any]) -> list[str]:
    """Return the events whose figures in the table are not those of the document."""
    rows = rows_of(text)
    if len(rows) != len(body["events"]):
        return [f"{len(rows)} rows for {len(body['events'])} events"]
    wrong = []
    for row, event in zip(rows, body["events"], strict=True):
        printed = (row["how"], row["scale"], row["served"], row["bound"], row["error"], row["seen"] == "not seen")
        meant = (
            event["how"],
            f"{event['scale_moved_ns']:.3f}",
            f"{event['served_moved_ns']:.3f}",
            f"{event['bound_ns']:.1f}",
            f"{event['true_error_ns']:+.2f}",
            "detected_after_s" not in event,
        )
        if printed != meant:
            wrong.append(f"{event['what']}: printed {printed}, measured {meant}")
    return wrong
