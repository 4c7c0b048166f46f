"""The laboratory's look at what the fold does not see: this host's clock, news of the feeds, refused rows, the doors.

It makes alerts, opens doors that ended, and notes what the doors promise; it moves no time, and nothing in the fold
follows from it.
"""

from typing import TYPE_CHECKING

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon.door import manifest
from truechimer.daemon.sources.smear_watch import DO_NEXT, SmearNews
from truechimer.laboratory import replay

if TYPE_CHECKING:
    from truechimer.daemon.laboratory_process import Laboratory


def look(laboratory: "Laboratory", now_s: float) -> None:
    """Tell what is new by `now_s` (monotonic)."""
    steps = () if laboratory.wall is None else laboratory.wall.take_steps()
    if steps:
        _tell_steps(laboratory, sum(step.moved_s for step in steps), len(steps))
    if laboratory.host_clock is not None:
        for alert in laboratory.host_clock.look(laboratory.page, steps):
            laboratory.note(alert)
    for feed in laboratory.feeds:
        for news in feed.take_news():
            _tell(laboratory, news.kind, feed.status.name, news.severity, says=news.says, do_next=news.do_next)
    for smeared in _smears(laboratory):
        kind, severity = AlertKind.SOURCE_SMEARS, AlertSeverity.WARNING
        _tell(laboratory, kind, smeared.subject, severity, says=smeared.says, do_next=DO_NEXT)
    for name, says in laboratory.refused.take_due(now_s):
        do_next = "correct what writes the file; `truechimer status --json` lists the last refused rows"
        _tell(laboratory, AlertKind.READING_REJECTED, name, AlertSeverity.NOTICE, says=says, do_next=do_next)
    for told in laboratory.look_at_doors():
        _tell(laboratory, told.kind, told.subject, told.severity, says=told.says, do_next=told.do_next)
    rows = laboratory.manifest.look(((door.name, door.listener) for door in laboratory.doors), now_s)
    if rows is not None:
        epoch_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
        laboratory.note_record(manifest.KIND, {"epoch_tai_ns": str(epoch_ns), "listeners": rows})


def _smears(laboratory: "Laboratory") -> list[SmearNews]:
    """Return the sources that are newly seen to smear a leap second."""
    state = laboratory.started.state
    paper = state.coordination if laboratory.outcome is None else laboratory.outcome.coordination
    if paper is None:
        return []
    now_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    leaps = laboratory.started.config.leaps
    return laboratory.smears.look(state.claims, state.register, paper, leaps=leaps, now_ns=now_ns)


def _tell_steps(laboratory: "Laboratory", moved_s: float, times: int) -> None:
    """Alert: the host's wall clock was stepped. Nothing else follows from it."""
    often = "" if times == 1 else f" in {times} movements"
    says = f"this machine's wall clock was moved by {moved_s:+.6f} s{often}; served time did not follow"
    do_next = "find out who sets this machine's clock; programs that stamp with it are wrong by as much"
    _tell(laboratory, AlertKind.HOST_CLOCK_STEP, "host", AlertSeverity.WARNING, says=says, do_next=do_next)


def _tell(
    laboratory: "Laboratory", kind: AlertKind, subject: str, severity: AlertSeverity, *, says: str, do_next: str
) -> None:
    """Note an alert of this process, of now."""
    seen_ns = laboratory.started.label.at(laboratory.clocks.raw_ns())
    laboratory.note(Alert(kind, replay.DAEMON, subject, severity, says, (), seen_ns, do_next))
