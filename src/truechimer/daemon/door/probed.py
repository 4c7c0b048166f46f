"""What a door's own client has found, as `status`, the console and the door watch say it.

It asks nobody (`daemon.ntp.self_probe` does) and alerts nobody (`door_watch` does). Issue 8, item 5.
"""

from collections.abc import Mapping
from typing import Any

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import BARRED_SAYS
from truechimer.serve.ntp.accelerator import ACCELERATOR_LIMIT_S
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S

MOST_STAMP_ERROR_NS = 2 * round(STAMP_HANDLING_LIMIT_S * 1e9)
"""Of the door's receive stamp, and of its client's. Whatever else an exchange cannot see is below half its delay."""
MOST_ACCELERATED_ERROR_NS = round((STAMP_HANDLING_LIMIT_S + ACCELERATOR_LIMIT_S) * 1e9)
"""Of both stamps of an answer from below the sockets, and of its client's."""


def explained_ns(counts: Mapping[str, int], *, accelerated: bool) -> int:
    """Return how far the client's finding may be from the page with nothing wrong: half the delay, and the stamps."""
    stamps_ns = MOST_ACCELERATED_ERROR_NS if accelerated else MOST_STAMP_ERROR_NS
    return counts.get(names.SERVE_ERROR_HALF_DELAY_NS, 0) + stamps_ns


def is_off(counts: Mapping[str, int], *, accelerated: bool) -> bool:
    """Return whether a door's answers are further off its page than that."""
    error_ns = counts.get(names.SERVE_ERROR_NS, 0)
    return bool(counts.get(names.PROBES_TIMED)) and abs(error_ns) > explained_ns(counts, accelerated=accelerated)


def probed_row(counts: Mapping[str, int], *, accelerated: bool) -> dict[str, Any] | None:
    """Return what is said of a door: None before its client has begun; that it does not ask, and why; else how often it
    asked, how often nobody answered, and, where an answer could be held against the page, by how much it was off
    (`error_s`, positive ahead of the page), and by how much that may be with nothing wrong (`explained_s`).
    """
    barred = counts.get(names.PROBE_BARRED, 0)
    if barred:
        because = next((says for why, says in BARRED_SAYS.items() if why == barred), "-")
        return {"asks": False, "because": because}
    if not counts.get(names.PROBES):
        return None
    row: dict[str, Any] = {
        "asks": True,
        "questions": counts[names.PROBES],
        "unanswered": counts.get(names.PROBES_UNANSWERED, 0),
    }
    if counts.get(names.PROBES_TIMED):
        row |= {
            "error_s": counts.get(names.SERVE_ERROR_NS, 0) / 1e9,
            "half_delay_s": counts.get(names.SERVE_ERROR_HALF_DELAY_NS, 0) / 1e9,
            "explained_s": explained_ns(counts, accelerated=accelerated) / 1e9,
            "is_off": is_off(counts, accelerated=accelerated),
        }
    return row
