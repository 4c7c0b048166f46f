"""Receivers: what stands against a satellite receiver, said when it begins, when it grows worse, and when it is over.

It sees values and returns standing conditions; it refuses nothing (`compare.receiver_quality` judges).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.compare.receiver_quality import OUTAGES, LinkLevel, LinkQuality, Reason
from truechimer.watch.standing import Standing

_PREFIX = "receiver:"

_SAYS: dict[Reason, tuple[str, str]] = {
    Reason.NO_FIX: ("it has no fix, or too few satellites", "look at the antenna, its cable and the sky above it"),
    Reason.JAMMED: ("its signals have become weak, or it says that it is jammed", "look for what transmits nearby"),
    Reason.GAIN: ("its gain is not what it was", "look at antenna, cable and splitter; a jammer shows here first"),
    Reason.SKY_TOO_EVEN: (
        "its satellites are as strong as one another, as from one transmitter",
        "compare with a receiver on another antenna: a simulator or repeater looks like this",
    ),
    Reason.POSITION: (
        "it places itself away from its antenna",
        "if the antenna was not moved, the signals are not the satellites'",
    ),
    Reason.CLOCK_STEP: ("its clock jumped", "compare with another link before it is believed again"),
    Reason.CLOCK_DRIFT: (
        "its time leaves the laboratory's own faster than clocks do",
        "compare with another link; the laboratory's clocks go on meanwhile",
    ),
    Reason.CONSTELLATION: (
        "its systems contradict each other",
        "see which system moved, and switch it off in the receiver if it is one alone",
    ),
    Reason.UTC_PARAMETERS: (
        "the UTC parameters that it was sent are wrong",
        "use its GPS time without them; the fault is of what the satellites send, not of a clock",
    ),
    Reason.LEAP_SECOND: (
        "it counts other leap seconds than the leap table",
        "compare with Bulletin C; the table changes by an order alone",
    ),
    Reason.DATE: (
        "its date is wrong",
        "it is not followed; look for a week number that rolled over, and for the receiver's firmware",
    ),
    Reason.SPOOF_FLAG: ("it says itself that it is being spoofed", "compare with a receiver on another antenna"),
}

_KINDS = {Reason.UTC_PARAMETERS: AlertKind.UTC_PARAMETERS, Reason.DATE: AlertKind.RECEIVER_DATE}
"""Reasons that have a class of their own; the others are of the link."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A receiver as it stands: its name, the link that it judges, its last quality (None: not heard at this epoch),
    and whether it has been silent for long.
    """

    name: str
    link: str
    quality: LinkQuality | None
    is_silent: bool


def conditions(watched: Sequence[Watched], said: frozenset[str], *, epoch_tai_ns: int) -> tuple[Standing, ...]:
    """Return what stands against the receivers, and (as not holding) what was said before and is over."""
    out: list[Standing] = []
    for one in watched:
        out += _of_one(one, said, epoch_tai_ns)
    known = {f"{_PREFIX}{one.link}:" for one in watched}
    out += [
        Standing(key, holds=False, alert=_silent_maker)
        for key in said
        if key.startswith(_PREFIX) and not any(key.startswith(name) for name in known)
    ]
    return tuple(out)


def held(key: str) -> tuple[AlertKind, AlertSeverity, str] | None:
    """Return kind, severity and link of a condition that was said and stands, None for a key of something else."""
    if not key.startswith(_PREFIX):
        return None
    link, _, what = key.removeprefix(_PREFIX).partition(":")
    if what == "silent":
        return AlertKind.RECEIVER_SILENT, AlertSeverity.WARNING, link
    reason, _, level = what.rpartition(":")
    return (*_class_of(Reason(reason), LinkLevel(level)), link) if reason else None


def _class_of(reason: Reason, level: LinkLevel) -> tuple[AlertKind, AlertSeverity]:
    refused = level is LinkLevel.REFUSED
    kind = _KINDS.get(reason, AlertKind.LINK_REFUSED if refused else AlertKind.LINK_DOUBTED)
    severe = refused and reason not in OUTAGES
    return kind, AlertSeverity.CRITICAL if severe else AlertSeverity.WARNING


CLASSES: tuple[tuple[AlertKind, AlertSeverity], ...] = tuple(
    dict.fromkeys(
        [
            *(_class_of(reason, level) for reason in Reason for level in (LinkLevel.REFUSED, LinkLevel.DOUBTFUL)),
            (AlertKind.RECEIVER_SILENT, AlertSeverity.WARNING),
        ]
    )
)
"""Every class of condition that can stand against a receiver, each once."""


def _silent_maker() -> Alert:
    raise AssertionError("a condition that does not hold is not said")


def _of_one(one: Watched, said: frozenset[str], epoch_ns: int) -> list[Standing]:
    base = f"{_PREFIX}{one.link}:"
    silence, over = f"{base}silent", f"{base}believed"
    before = {key for key in said if key.startswith(base) and key not in (silence, over)}
    out = []
    if one.is_silent or silence in said:
        says = f"the receiver {one.name} says nothing any more; readings of {one.link} are doubtful, or stay refused"
        do_next = "look at the receiver, its line and whatever records it"
        out.append(
            Standing(
                silence,
                holds=one.is_silent,
                alert=_maker(AlertKind.RECEIVER_SILENT, one.link, AlertSeverity.WARNING, says, (), epoch_ns, do_next),
            )
        )
    if one.quality is None:
        return out
    stands = dict(one.quality.reasons)
    figures = tuple(f"{name} {value!r}" for name, value in sorted(one.quality.figures.items()))
    for reason, level in stands.items():
        doubt, refusal = f"{base}{reason.value}:doubtful", f"{base}{reason.value}:refused"
        key = refusal if level is LinkLevel.REFUSED or refusal in said else doubt
        out.append(Standing(key, holds=True, alert=_of_reason(one, reason, level, figures, epoch_ns)))
        if key == refusal and doubt in said:
            out.append(Standing(doubt, holds=True, alert=_silent_maker))
    gone = {key for key in before if Reason(key[len(base) :].rpartition(":")[0]) not in stands}
    out += [Standing(key, holds=False, alert=_silent_maker) for key in gone]
    is_over = bool(before) and not stands
    if is_over or over in said:
        says = f"nothing stands against the receiver {one.name} any more; readings of {one.link} are used again"
        out.append(
            Standing(
                over,
                holds=is_over,
                alert=_maker(AlertKind.LINK_BELIEVED, one.link, AlertSeverity.NOTICE, says, (), epoch_ns, "nothing"),
            )
        )
    return out


def _of_reason(
    one: Watched, reason: Reason, level: LinkLevel, figures: tuple[str, ...], epoch_ns: int
) -> Callable[[], Alert]:
    what, do_next = _SAYS[reason]
    then = "are not used" if level is LinkLevel.REFUSED else "count less"
    says = f"the receiver {one.name} [{reason.value}]: {what}; readings of {one.link} {then}"
    kind, severity = _class_of(reason, level)
    return _maker(kind, one.link, severity, says, (f"reason {reason.value}", *figures), epoch_ns, do_next)


def _maker(  # noqa: PLR0917 - the fields of an alert
    kind: AlertKind,
    subject: str,
    severity: AlertSeverity,
    says: str,
    because: tuple[str, ...],
    epoch_ns: int,
    do_next: str,
) -> Callable[[], Alert]:
    """Return what makes the alert when it is wanted."""
    return lambda: Alert(kind, "compare", subject, severity, says, because, epoch_ns, do_next)
