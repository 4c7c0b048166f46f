"""Publishing: a file of published values through the fold: read, held against what is known, taken in or refused, and
its record.

It opens no file: bytes are handed in, and a replay hands the same bytes in from the record and must make the same
record. It steers nothing (`late_turn` does). A whole file that contradicts what the filter knows of those days by more
than noise allows is refused at once, and nothing of it counts; of a file that fits, single values may still be held
back by the judgement of all values (`steer.judgement`), and count again when later ones bear them out.

Nobody inside can know that a refused file is false. Three files of one path in a row that contradict alike, while no
other path speaks, are therefore taken in after all: one path alone is believed in the end (ADR 63).

Record `published`: the file's name, its bytes and their SHA-256, the epoch, the outcome with its reason, each value as
UTC minus the scale and what became of it, and the forecast after it.
"""

import base64
import binascii
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from math import sqrt
from statistics import median
from typing import Any

from truechimer.errors import Misuse, Rejected
from truechimer.evidence.record import Record, RecordRejected, quantity, seal
from truechimer.formats import published
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.published import CIRCULAR, RAPID, Published, PublishedRate
from truechimer.instants import LeapTable
from truechimer.laboratory import late_turn, publications
from truechimer.laboratory.publications import (
    CIRCULAR_PATH,
    FILES_KEPT,
    FOUNTAIN_PATH,
    LINKS_PATH,
    NAMES,
    RAPID_PATH,
    Aside,
    Heard,
    Publications,
    PublishedSettings,
)
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.steer import delayed_data, delayed_filter, late_steering
from truechimer.steer.delayed_data import Fate, LateValue

KIND = "published"
LARGEST_FILE = 1 << 20
"""Bytes; a file stands in the records with all of them."""
MOST_VALUES = 1_000
"""Values of one file of days that are remembered: more than daily ones of three months, and what is judged in moments,
not in minutes, by the thread that serves epochs.
"""
USUAL_U_S = {RAPID_PATH: 0.5e-9, CIRCULAR_PATH: 0.3e-9}
LEAST_U_S = 5e-11
"""Values are published to a tenth of a nanosecond."""
REFUSED_SIGMAS = 5.0
REFUSED_VALUES = 4.0
"""A file is refused where the middle of its values is off by so many sigmas of what is known, and by so many of one
value's own noise.
"""
FILES_IN_A_ROW = 3
MOST_SAID = 3
_PATH_OF = {RAPID: RAPID_PATH, CIRCULAR: CIRCULAR_PATH}


class Outcome(StrEnum):
    """What became of a file."""

    TAKEN = "taken"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Offered:
    """A file as it was found: its name and its bytes."""

    name: str
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hex."""
        return sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class PublishedIn:
    """What came of one file: the state after it, its record, the outcome, and in words why. `reason`: one word for a
    refusal; `held`: how many of its values are held back.
    """

    state: LaboratoryState
    record: Record
    outcome: Outcome
    reason: str
    says: str
    held: int


@dataclass(frozen=True, slots=True)
class _Row:
    """One value on the way: what it was published as (NaN: a rate), as UTC minus the scale, and what became of it."""

    mjd: float
    published: float
    value: LateValue | None
    fate: str
    u_common_s: float = 0.0


def is_known(state: LaboratoryState, offered: Offered) -> bool:
    """Return True for a file whose very bytes were taken in or refused before."""
    return state.publications is not None and offered.digest in state.publications.files


def take(config: LaboratoryConfig, state: LaboratoryState, offered: Offered) -> PublishedIn:
    """Take one file in."""
    settings, known = config.published, state.publications
    if settings is None or known is None:
        raise Misuse("published values are taken in where the run says how")
    if not state.epoch_ns:
        raise Misuse("a file is held against a scale: its first epoch comes before")
    parameters = settings.parameters(config.steering.interval_s)
    rows, findings = _read(config, state, settings, known, offered)
    after, outcome, reason, says, rows = _judged(known, state, parameters, offered, rows, findings)
    files = (*after.files, offered.digest)[-FILES_KEPT:]
    after = replace(after, files=files)
    held_back = _held_back(after)
    held = [row for row in rows if row.value is not None and (row.value.path, row.value.epoch_ns) in held_back]
    body = _body(offered, state, outcome, reason, says, rows, findings, after)
    sealed, chain = seal(KIND, body, state.chain)
    utc = after.utc if settings.steers and after.is_known and not config.observing else state.utc
    state = replace(state, chain=chain, publications=after, utc=utc)
    return PublishedIn(state, sealed, outcome, reason, says, len(held))


# ---- reading ------------------------------------------------------------


def _read(
    config: LaboratoryConfig,
    state: LaboratoryState,
    settings: PublishedSettings,
    known: Publications,
    offered: Offered,
) -> tuple[list[_Row], list[Finding]]:
    """Return each value as UTC minus the scale, or why it says nothing of it."""
    names = [clock.name for clock in state.register.clocks]
    if len(offered.data) > LARGEST_FILE:
        says = f"{len(offered.data)} bytes; a file of published values has at most {LARGEST_FILE}: cut it into parts"
        return [], [Finding("too-long", says)]
    if published.is_rates(offered.data):
        rates, findings = published.read_rates(offered.data)
        return [_rate_row(config.leaps, state, known, names, one) for one in rates], findings
    values, findings = published.read(offered.data, name=_name(offered.name), laboratory=settings.laboratory)
    before = names.index(settings.before) if settings.before in names else None
    return [_value_row(config.leaps, state, known, before, one) for one in values], findings


def _value_row(
    leaps: LeapTable, state: LaboratoryState, known: Publications, before: int | None, one: Published
) -> _Row:
    x_s = one.x_utc_minus_utck_s
    try:
        at_ns = publications.midnight_ns(one.mjd, leaps)
    except Rejected:
        return _Row(one.mjd, x_s, None, "of a day before UTC began")
    if at_ns > state.epoch_ns:
        return _Row(one.mjd, x_s, None, "of a day that has not been")
    ours_s = publications.utck_minus_scale_s(known, at_ns, before)
    if ours_s is None:
        return _Row(one.mjd, x_s, None, "of a time of which UTC(k) minus the scale is not known here")
    path = _PATH_OF[one.path]
    u_s = max(one.u_s if one.u_s is not None else USUAL_U_S[path], LEAST_U_S)
    value = LateValue(path=path, epoch_ns=at_ns, value=x_s + ours_s, u=u_s)
    return _Row(one.mjd, x_s, value, "", one.u_common_s or 0.0)


def _rate_row(
    leaps: LeapTable, state: LaboratoryState, known: Publications, names: list[str], one: PublishedRate
) -> _Row:
    try:
        at_ns = publications.midnight_ns(one.mjd, leaps)
    except Rejected:
        return _Row(one.mjd, one.y, None, "of a day before UTC began")
    if at_ns > state.epoch_ns:
        return _Row(one.mjd, one.y, None, "of a day that has not been")
    y = one.y
    if one.clock:
        if one.clock not in names:
            return _Row(one.mjd, one.y, None, f"of a clock {one.clock!a} that this laboratory has not")
        clock = names.index(one.clock)
        then_s = publications.clock_minus_scale_s(known, clock, at_ns - round(one.span_s * 1e9))
        now_s = publications.clock_minus_scale_s(known, clock, at_ns)
        if then_s is None or now_s is None:
            return _Row(one.mjd, one.y, None, f"of a time of which {one.clock} minus the scale is not known here")
        y += (now_s - then_s) / one.span_s
    value = LateValue(path=FOUNTAIN_PATH, epoch_ns=at_ns, value=y, u=one.u, span_s=one.span_s)
    return _Row(one.mjd, one.y, value, "")


# ---- judging a whole file ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Off:
    """By how much (s) the middle of a file's values is off what is known, and what that may be by noise (s)."""

    by_s: float
    allowed_s: float

    @property
    def is_too_much(self) -> bool:
        return abs(self.by_s) > self.allowed_s


def _judged(  # noqa: PLR0917
    known: Publications,
    state: LaboratoryState,
    parameters: late_steering.LateParameters,
    offered: Offered,
    rows: list[_Row],
    findings: list[Finding],
) -> tuple[Publications, Outcome, str, str, list[_Row]]:
    """Return what is known after a file, the outcome with its reason, and its rows with what became of each."""
    usable = [row.value for row in rows if row.value is not None]
    if not usable:
        reason, says = _why_nothing(rows, findings)
        return known, Outcome.REFUSED, reason, says, rows
    if len(usable) > MOST_VALUES:
        says = (
            f"{len(usable)} values of days that are remembered here, at most {MOST_VALUES} of a file: cut it into parts"
        )
        return known, Outcome.REFUSED, "too-many", says, []
    epoch_ns = state.epoch_ns
    values = tuple(sorted(usable, key=lambda one: (one.epoch_ns, one.path)))
    path = values[0].path
    if path != FOUNTAIN_PATH and (known.is_known or _may_judge(known, parameters, epoch_ns)):
        off = _off(known, values)
        if off is not None and off.is_too_much:
            aside = _aside_with(known, Aside(path, offered.digest, values, off.by_s, epoch_ns))
            if not _is_borne_out(known, aside):
                says = (
                    f"{NAMES[path]}: UTC - UTC(k) of {_days(rows)} is {off.by_s * 1e9:+.1f} ns off what the clocks and "
                    f"every other path say, where noise explains {off.allowed_s * 1e9:.1f} ns; nothing of it is used"
                )
                refused = [replace(row, fate=row.fate or "refused with its file") for row in rows]
                return replace(known, aside=aside), Outcome.REFUSED, "contradicts", says, refused
            values = tuple(
                sorted([v for one in aside for v in one.values if one.path == path], key=lambda v: v.epoch_ns)
            )
    return _taken(known, parameters, values, rows, epoch_ns, state)


def _may_judge(known: Publications, parameters: late_steering.LateParameters, epoch_ns: int) -> bool:
    return late_steering.may_start(known.steering, parameters, epoch_ns=epoch_ns) is not None


def _off(known: Publications, values: tuple[LateValue, ...]) -> _Off | None:
    """Hold a file against the filter's forecasts for its epochs, of all values before and at them; None where it has
    none.
    """
    history = known.history
    by, predicted, own = [], [], []
    for value in values:
        then = delayed_data.at(history, value.epoch_ns)
        if then is None:
            continue
        off, _ = delayed_filter.innovation_of(
            then, history.paths, value.path, value=value.value, u=value.u, span_s=value.span_s
        )
        by.append(off.by)
        predicted.append(off.variance - value.u * value.u)
        own.append(value.u)
    if not by:
        return None
    u_s = median(own)
    # the middle of n values is known to 1.25 u / sqrt(n); what was predicted is off for all of them alike
    sigma_s = sqrt(max(median(predicted), 0.0) + 1.5625 * u_s * u_s / len(by))
    return _Off(median(by), max(REFUSED_SIGMAS * sigma_s, REFUSED_VALUES * u_s))


def _aside_with(known: Publications, refused: Aside) -> tuple[Aside, ...]:
    """Return the files put aside with one more: of its path those that came before it in a row."""
    others = [one for one in known.aside if one.path != refused.path]
    own = [one for one in known.aside if one.path == refused.path and one.newest_ns < refused.newest_ns]
    return (*others, *own[1 - FILES_IN_A_ROW :], refused)


def _is_borne_out(known: Publications, aside: tuple[Aside, ...]) -> bool:
    """Return True where enough files in a row say the same, and no other path speaks of the days since the first."""
    own = [one for one in aside if one.path == aside[-1].path]
    if len(own) < FILES_IN_A_ROW or len({one.off_s > 0.0 for one in own}) > 1:
        return False
    since_ns = min(value.epoch_ns for value in own[0].values)
    others = {RAPID_PATH, CIRCULAR_PATH, LINKS_PATH} - {own[0].path}
    return not any(
        mark.at[0] >= since_ns and mark.at[2] in others and mark.value is not None and not mark.value.held
        for mark in known.history.marks
    )


def _taken(  # noqa: PLR0917
    known: Publications,
    parameters: late_steering.LateParameters,
    values: tuple[LateValue, ...],
    rows: list[_Row],
    epoch_ns: int,
    state: LaboratoryState,
) -> tuple[Publications, Outcome, str, str, list[_Row]]:
    """Return what is known with these values in."""
    path = values[0].path
    known = publications.with_noise(known, publications.noises_of(state.scale, state.register.clocks))
    steering, fates = late_steering.hear(known.steering, values, parameters, epoch_ns=epoch_ns)
    fate_of = {(v.path, v.epoch_ns): fate for v, fate in zip(values, fates, strict=True)}
    came = {key for key, fate in fate_of.items() if fate in {Fate.TAKEN, Fate.REVISED}}
    told = [
        row if row.value is None else replace(row, fate=fate_of[row.value.path, row.value.epoch_ns].value)
        for row in rows
    ]
    if not came:
        reason, says = _why_nothing(told, [])
        return known, Outcome.REFUSED, reason, says, told
    after = replace(known, steering=steering, aside=tuple(one for one in known.aside if one.path != path))
    after = _heard(after, path, told, epoch_ns)
    after = late_turn.renewed(after, parameters, epoch_ns)
    held_back = _held_back(after)
    told = [
        replace(row, fate="held")
        if row.value is not None and row.fate and (row.value.path, row.value.epoch_ns) in held_back
        else row
        for row in told
    ]
    n = sum(1 for row in told if row.fate in {Fate.TAKEN.value, Fate.REVISED.value})
    held = sum(1 for row in told if row.fate == "held")
    says = f"{NAMES[path]}: {n} values of {_days(told)} are taken in"
    if held:
        whys = "; ".join(one.says(after.history) for one in after.steering.findings[:MOST_SAID])
        says += f", {held} held back ({whys})"
    return after, Outcome.TAKEN, "", says, told


def _heard(known: Publications, path: int, rows: list[_Row], epoch_ns: int) -> Publications:
    """Note when a path last spoke, and what it said last."""
    if path not in {RAPID_PATH, CIRCULAR_PATH}:
        return known
    newest = max((row for row in rows if row.value is not None), key=lambda row: row.mjd)
    assert newest.value is not None
    before = known.heard[path]
    if before is not None and newest.value.epoch_ns < before.newest_ns:
        return known
    common_s = newest.u_common_s or (0.0 if before is None else before.u_common_s)
    said = Heard(epoch_ns, newest.value.epoch_ns, newest.published, newest.value.u, common_s)
    both = (said, known.heard[1]) if path == RAPID_PATH else (known.heard[0], said)
    return replace(known, heard=both)


def _held_back(known: Publications) -> frozenset[tuple[int, int]]:
    """Return the values that are held back, as (path, epoch in ns TAI)."""
    return frozenset(
        (mark.value.path, mark.value.epoch_ns)
        for mark in known.history.marks
        if mark.value is not None and mark.value.held
    )


def _why_nothing(rows: list[_Row], findings: list[Finding]) -> tuple[str, str]:
    """Return in one word and in a sentence why nothing of a file is used."""
    if rows:
        return "no-use", f"no value of it can be used: {rows[-1].fate}"
    errors = [one for one in findings if one.severity is Severity.ERROR] or findings
    if any(one.rule == "laboratory" for one in errors):
        return "other-laboratory", next(one.says for one in errors if one.rule == "laboratory")
    if errors:
        return "malformed", errors[-1].at("line")[:300] if errors[-1].line else errors[-1].says[:300]
    return "no-value", "it holds no value of UTC - UTC(k)"


def _days(rows: list[_Row]) -> str:
    days = [row.mjd for row in rows if row.value is not None]
    first, last = min(days), max(days)
    return f"MJD {first:g}" if first == last else f"MJD {first:g} to {last:g}"


# ---- the record ------------------------------------------------------------


def _body(  # noqa: PLR0917
    offered: Offered,
    state: LaboratoryState,
    outcome: Outcome,
    reason: str,
    says: str,
    rows: list[_Row],
    findings: list[Finding],
    after: Publications,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": _name(offered.name),
        "sha256": offered.digest,
        "file": base64.b64encode(offered.data).decode("ascii"),
        "epoch_tai_ns": str(state.epoch_ns),
        "outcome": outcome.value,
        "says": says,
        "values": [_value(row) for row in rows],
        "findings": len(findings),
    }
    if reason:
        body["reason"] = reason
    if after.utc is not None:
        body |= {
            "predicted_x_s": quantity(after.utc.state.x_s, "s"),
            "predicted_y": quantity(after.utc.state.y, "1"),
            "predicted_u_s": quantity(after.utc.state.u_x_s, "s"),
        }
    return body


def _value(row: _Row) -> dict[str, Any]:
    body: dict[str, Any] = {"mjd": quantity(row.mjd, "d"), "became": row.fate}
    value = row.value
    if value is None:
        return body
    unit = "1" if value.path == FOUNTAIN_PATH else "s"
    body |= {
        "path": NAMES[value.path],
        "epoch_tai_ns": str(value.epoch_ns),
        "published": quantity(row.published, unit),
        "utc_minus_scale": quantity(value.value, unit),
        "u": quantity(value.u, unit),
    }
    return body | ({"span_s": quantity(value.span_s, "s")} if value.span_s else {})


def _name(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[-120:])


def offered_from(body: dict[str, Any]) -> Offered:
    """Read the file back from its record; raises `RecordRejected`."""
    try:
        return Offered(str(body["name"]), base64.b64decode(body["file"], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise RecordRejected(body.get("seq"), f"not a record of a published file ({error!r})") from None
