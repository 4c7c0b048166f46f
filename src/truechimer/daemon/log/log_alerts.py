"""Alerts about the log: it is not published, not witnessed, contradicted by a witness, or a witness's clock disagrees.

It acts on nothing. Each is said when it begins, and, but for a contradiction, when it ends.
"""

from collections.abc import Iterator

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.lab_start import Started
from truechimer.daemon.log.log_state import LogState, TroubleKind
from truechimer.daemon.log.log_words import UNPUBLISHED_AFTER_S, WITNESSED_WITHIN_S, missing, tai_of_unix
from truechimer.laboratory.replay import DAEMON

START_WITHIN_S = 30.0
"""How long the publisher may take to say anything at all, on a loaded machine."""
WITNESS_CLOCK_S = 30.0
"""A witness's word about when it cosigned, against our label when its answer came, is this near where both are right:
a request takes ten seconds at the most.
"""


class LogAlerts:
    """What has been said about the log of this run."""

    def __init__(self, started: Started, *, began_raw_ns: int) -> None:
        self._started, self._began_raw_ns = started, began_raw_ns
        self._said: set[tuple[AlertKind, str]] = set()

    def look(self, state: LogState | None, *, is_on: bool, raw_ns: int) -> Iterator[Alert]:
        """Yield what is to be said now."""
        if not is_on:
            return
        seen_ns = self._started.label.at(raw_ns)
        for kind, subject, severity, says, do_next in self._found(state, raw_ns):
            if (kind, subject) not in self._said:
                self._said.add((kind, subject))
                yield Alert(kind, DAEMON, subject, severity, says, (), seen_ns, do_next)
        if state is None:
            return
        holding = {(kind, subject) for kind, subject, *_ in self._found(state, raw_ns)}
        for kind, subject in sorted(self._said - holding):
            if kind in _ENDS:
                self._said.discard((kind, subject))
                yield Alert(kind, DAEMON, subject, AlertSeverity.NOTICE, _ENDS[kind], (), seen_ns, _END_DO_NEXT)

    def _found(self, state: LogState | None, raw_ns: int) -> Iterator[tuple[AlertKind, str, AlertSeverity, str, str]]:
        """Yield what holds now: kind, subject, severity, what is said, what to do."""
        if state is None:
            if raw_ns - self._began_raw_ns > START_WITHIN_S * 1e9:
                says = f"the publisher has said nothing for {START_WITHIN_S:.0f} s: records are not published"
                yield AlertKind.LOG_UNPUBLISHED, "log", AlertSeverity.WARNING, says, _LOOK
            return
        if state.trouble == TroubleKind.CONTRADICTION:
            says = f"{state.trouble_says}: nothing of it is signed"
            yield AlertKind.LOG_CONTRADICTED, "log", AlertSeverity.CRITICAL, says, _KEEP
        elif state.trouble and raw_ns - state.trouble_since_raw_ns > UNPUBLISHED_AFTER_S * 1e9:
            says = f"records are not published ({state.trouble_says})"
            yield AlertKind.LOG_UNPUBLISHED, "log", AlertSeverity.WARNING, says, _LOOK
        for one in state.contradictions:
            subject = f"{one.witness} at {one.size}"
            yield AlertKind.LOG_CONTRADICTED, subject, AlertSeverity.CRITICAL, f"{one.what}: {one.says}", _KEEP
        waits_s = (raw_ns - state.waits_since_raw_ns) / 1e9 if state.waits_since_raw_ns else 0.0
        if waits_s > WITNESSED_WITHIN_S:
            says = f"what was recorded is not cosigned by enough witnesses for {WITNESSED_WITHIN_S:.0f} s: "
            yield AlertKind.LOG_UNWITNESSED, "log", AlertSeverity.WARNING, says + missing(state), _ASK
        for row in state.witnesses:
            if not row.raw_ns or not row.at_s or row.state != "good":
                continue
            ahead_s = (tai_of_unix(row.at_s, self._started.config.leaps) - self._started.label.at(row.raw_ns)) / 1e9
            if abs(ahead_s) > WITNESS_CLOCK_S:
                says = f"its clock says {ahead_s:+.0f} s against ours at the same moment"
                yield AlertKind.WITNESS_CLOCK, row.name, AlertSeverity.WARNING, says, _CLOCKS


_LOOK = "look at what the publisher said; records go on being written, and are published when it works again"
_KEEP = (
    "keep the folder as it is, with what stands in `contradictions`; find out who restored, edited or copied this log; "
    "then begin a new log with a new key, and tell those who believed this one"
)
_ASK = "see `truechimer status`: which witness is away, and why; until then only this machine vouches for its log"
_CLOCKS = "compare both with a third clock: either this laboratory or its witness is wrong about the time of day"
_ENDS = {
    AlertKind.LOG_UNPUBLISHED: "records are published again",
    AlertKind.LOG_UNWITNESSED: "what is recorded is cosigned by enough witnesses again",
    AlertKind.WITNESS_CLOCK: "its clock agrees with ours again",
}
_END_DO_NEXT = "nothing; what was recorded meanwhile is covered now"
