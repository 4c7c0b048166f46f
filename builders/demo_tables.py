"""What the README shows of a run of the demo, and what it claims of every run.

It runs nothing: `./truechimer demo --json` made the document.
"""

from collections.abc import Callable
from typing import Any

from markdown_tables import duration, ns, table

NS, US = 1e9, 1e6

EVENTS = ("clock-step", "link-ramp", "slow-drag", "holdover")
"""What happens in the demo; `EVENT_WORDS` says it in words."""

EVENT_WORDS = {
    "clock-step": "the heaviest clock steps by 20 ns",
    "link-ramp": "a link to UTC is walked away, 5 ns a second",
    "slow-drag": "a clock's frequency is dragged away slowly",
    "holdover": "all links to UTC fall silent",
}
SEEN_WITHIN_S = {"clock-step": 20.0, "link-ramp": 20.0, "holdover": 7200.0}
STEP_MOVES_SCALE_NS = 0.5
RAMP_MOVES_SERVED_NS = 0.5
BOUND_NS = 30.0
NTP_MEDIAN_US = 200.0


def _event(body: dict[str, Any], what: str) -> dict[str, Any]:
    return next((event for event in body["events"] if event["what"] == what), {})


def _seen(body: dict[str, Any], what: str) -> bool:
    after_s = _event(body, what).get("detected_after_s")
    return after_s is not None and after_s <= SEEN_WITHIN_S[what]


CLAIMS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    ("the same four events", lambda body: sorted(event["what"] for event in body["events"]) == sorted(EVENTS)),
    (
        "no lie: at no moment is the true error larger than the bound that was stated, in the branches neither",
        lambda body: (
            body["lies"] == 0
            and body["samples"] > 0
            and body["true_error_s_max"] <= body["bound_s_max"]
            and all(abs(event.get("true_error_ns", 0.0)) <= event.get("bound_ns", 0.0) for event in body["events"])
        ),
    ),
    (
        f"the bound stays below {BOUND_NS:g} ns while the laboratory is steered",
        lambda body: body["state"] == "steered" and 0.0 < body["bound_s_max"] * NS <= BOUND_NS,
    ),
    (
        (
            f"the step is seen within {SEEN_WITHIN_S['clock-step']:g} s, "
            f"and moves the scale by at most {STEP_MOVES_SCALE_NS:g} ns"
        ),
        lambda body: _seen(body, "clock-step") and _event(body, "clock-step")["scale_moved_ns"] <= STEP_MOVES_SCALE_NS,
    ),
    (
        (
            f"the link is outvoted within {SEEN_WITHIN_S['link-ramp']:g} s, "
            f"and moves served time by at most {RAMP_MOVES_SERVED_NS:g} ns"
        ),
        lambda body: (
            _seen(body, "link-ramp") and _event(body, "link-ramp").get("served_moved_ns", 0.0) <= RAMP_MOVES_SERVED_NS
        ),
    ),
    (
        (
            "without links the state is `holdover`, "
            f"and the silence is said within {SEEN_WITHIN_S['holdover'] / 3600.0:g} h"
        ),
        lambda body: _seen(body, "holdover") and _event(body, "holdover")["state"] == "holdover",
    ),
    (
        f"the median error of NTP answers over loopback is at most {NTP_MEDIAN_US:g} us",
        lambda body: body["ntp_answered"] > 0 and body["ntp_error_s_median"] * US <= NTP_MEDIAN_US,
    ),
    (
        "every record is replayed in the same bytes",
        lambda body: "difference" not in body["replay"] and body["replay"]["records_compared"] > 0,
    ),
)
"""What the README says of every run, in its words, and the test of it on the demo's document."""


def broken_claims(body: dict[str, Any]) -> list[str]:
    """Return the claims that a demo's document does not bear; a claim that cannot be judged is broken."""
    broken = []
    for words, holds in CLAIMS:
        try:
            good = holds(body)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            broken.append(words)
    return broken


def demo_block(kept: dict[str, Any]) -> str:
    """Return what the README shows of a run: a table of its events, its figures, and the claims."""
    body = kept["demo"]
    rows = [
        [
            "what happens",
            "run",
            "seen after",
            "the scale moves",
            "served time moves",
            "bound then",
            "true error then",
        ],
    ]
    for event in body["events"]:
        words = EVENT_WORDS.get(event["what"], event["what"]) + f" (`{event['target']}`)"
        if event["what"] == "holdover":
            words = EVENT_WORDS["holdover"]
        how = event["how"] + (f", {event['days']:g} days" if event.get("days", 0.0) >= 1.0 else "")
        rows.append(
            [
                words,
                how,
                duration(event.get("detected_after_s")),
                ns(event["scale_moved_ns"]),
                ns(event.get("served_moved_ns")),
                ns(event.get("bound_ns")),
                ns(event.get("true_error_ns")),
            ]
        )
    bits = "bit for bit" if "difference" not in body["replay"] else "and differ"
    figures = (
        f"{len(body['clocks'])} simulated clocks became one scale, `{body['scale']}`. The bound that was stated live "
        f"was at most {ns(body['bound_s_max'] * NS)}; the true error, which only the simulated world knows, at most "
        f"{ns(body['true_error_s_max'] * NS)} in {body['samples']} samples. Lies, with those of the branches' "
        f"{body['branch_samples']} samples: {body['lies']}. "
        f"{body['ntp_requests']} NTP requests over loopback were off by {body['ntp_error_s_median'] * US:.1f} us in "
        f"the median (this kind of machine's stamps, not the scale). Of {body['records']} records "
        f"{body['replay']['records_compared']} were replayed from the log, {bits}."
    )
    claims = "\n".join(f"- {words};" for words, _ in CLAIMS).removesuffix(";") + "."
    return f"    {kept['command']}\n\n{table(rows)}\n\n{figures}\n\n{BRANCHES}\n\n{EVERY_RUN}\n\n{claims}"


BRANCHES = """\
Events marked *branch* need days: the same laboratory, from the end of its history on, runs them beside the live one, \
faster than real time. A drag that is slow enough is not seen by the clocks' own tests: it moves the scale, steering \
on UTC takes most of that back, and served time stays inside its bound."""

EVERY_RUN = "Another seed, another machine, other figures. What holds in every run, and what a test holds a new run to:"
