"""Publications: rapid UTC or Circular T that has not come when it should have, and values that are held back.

It judges no value (`steer.judgement` does) and asks nobody for one: it says once what holds now.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.watch.standing import Standing

DAY_NS = 86_400 * 10**9
HELD, OVERDUE = "value-held/", "publication-overdue/"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a path speaks: usually again after `usual_ns`, and something is wrong after `late_ns`."""

    name: str
    usual_ns: int
    late_ns: int


RAPID = Rhythm("UTCr", 7 * DAY_NS, 11 * DAY_NS)
CIRCULAR_T = Rhythm("UTC", 31 * DAY_NS, 41 * DAY_NS)
RHYTHMS = (RAPID, CIRCULAR_T)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Values of one path (or the scale itself) since `since_ns` that do not fit, in words."""

    subject: str
    since_ns: int
    says: str


def overdue(rhythm: Rhythm, arrived_ns: int, *, epoch_tai_ns: int) -> Standing:
    """Return the condition that a path which has spoken is silent now; `arrived_ns`: when it last spoke."""
    days = (epoch_tai_ns - arrived_ns) / DAY_NS

    def alert() -> Alert:
        says = (
            f"{rhythm.name}: nothing was published for {days:.0f} days; it comes every {rhythm.usual_ns // DAY_NS} days"
        )
        do_next = "fetch it, and put it into the folder of published values; without it the rate is held in the end"
        return Alert(
            AlertKind.PUBLICATION_OVERDUE, "steer", rhythm.name, AlertSeverity.WARNING, says, (), epoch_tai_ns, do_next
        )

    return Standing(f"{OVERDUE}{rhythm.name}", epoch_tai_ns - arrived_ns > rhythm.late_ns, alert)


def held(present: Sequence[HeldBack], said: frozenset[str], *, epoch_tai_ns: int) -> tuple[Standing, ...]:
    """Return a condition for what is held back now, and for each that was said and holds no more."""
    found: list[Standing] = []
    for one in present:

        def alert(one: HeldBack = one) -> Alert:
            do_next = (
                "compare with another copy of the publication, and with the laboratory's link; it counts when it fits"
            )
            return Alert(
                AlertKind.VALUE_HELD,
                "steer",
                one.subject,
                AlertSeverity.WARNING,
                one.says,
                (),
                epoch_tai_ns,
                do_next,
            )

        found.append(Standing(f"{HELD}{one.subject}/{one.since_ns}", holds=True, alert=alert))
    now = {one.key for one in found}
    gone = sorted(key for key in said if key.startswith(HELD) and key not in now)
    return (*found, *(Standing(key, holds=False, alert=_never) for key in gone))


def _never() -> Alert:
    raise AssertionError("a condition that has ended says nothing")
