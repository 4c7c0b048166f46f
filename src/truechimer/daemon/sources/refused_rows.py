"""Refused rows: readings that were not taken in are counted and kept, and told of now and then.

It judges no row (the feeds and the fold do) and makes no alert. Rows come from several threads.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from truechimer.formats.finding import Finding

KEPT = 100
TELL_EVERY_S = 600.0
"""Refused rows of a file are told at once, and then no more often than this; each one stands in `status`."""


@dataclass(slots=True)
class RefusedRows:
    """The rows refused since the laboratory started; `status` shows the last `KEPT` of them."""

    count: int = 0
    _kept: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _untold: dict[str, list[Finding]] = field(default_factory=dict)
    _told_at_s: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, finding: Finding) -> None:
        """Count and keep a row of the source or file `name`."""
        body = {"file": name, "line": finding.line, "rule": finding.rule, "says": finding.says}
        with self._lock:
            self.count += 1
            self._kept.append({key: value for key, value in body.items() if value is not None})
            self._untold.setdefault(name, []).append(finding)

    def kept(self) -> tuple[list[dict[str, Any]], int]:
        """Return the rows that are kept, and how many there were."""
        with self._lock:
            return list(self._kept), self.count

    def take_due(self, now_s: float) -> list[tuple[str, str]]:
        """Return what is due to be told by `now_s` (monotonic), as names and sentences; it then counts as told."""
        with self._lock:
            due = [name for name in self._untold if now_s - self._told_at_s.get(name, -TELL_EVERY_S) >= TELL_EVERY_S]
            told = {name: self._untold.pop(name) for name in due}
            self._told_at_s |= dict.fromkeys(due, now_s)
        return [(name, _says(findings)) for name, findings in told.items()]


def _says(findings: list[Finding]) -> str:
    """Return the first row refused, and how many more there were, in words."""
    first = findings[0]
    where = "" if first.line is None else f" in line {first.line}"
    more = "" if len(findings) == 1 else f", and {len(findings) - 1} more"
    return f"a row was refused{where} ({first.rule}: {first.says}){more}"
