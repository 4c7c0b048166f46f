"""The checks of `truechimer diag`: each looks at one thing and says OK, WARN or FAIL, why, and what to do.

It prints nothing and mends nothing. A check reads the laboratory through its control socket and asks its doors as a
stranger would; it never reads the laboratory's files. FAIL: time is not served, or may be wrong; WARN: it will be soon,
or something that should watch over it does not.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from truechimer.cli.lab_words import bound, long_span, number, plain, rows_of, seconds
from truechimer.client import ask, find_service
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_NS, Instant, UtcLabel, builtin_leap_table

LEAP_WARN_DAYS = 30
ENVELOPE_WARN_DAYS = 14
DISK_FAIL_BYTES = 100 << 20
DISK_WARN_BYTES = 1 << 30
RECORD_PATIENCE_S = 12.0
RECORD_SPAN_S = 2.0
ROOM_WARN_S, ROOM_FAIL_S = 30 * 86_400.0, 86_400.0
YEAR_S = 365.25 * 86_400.0
DOOR_TIMEOUT_S = 2.0
RAW_RATE_LIMIT = 1e-4
"""s/s: nobody's raw counter is further from true; it counts over the milliseconds between two questions only."""

GOOD_CLOCKSOURCES = frozenset(
    {"tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "timebase", "riscv_clocksource"}
)
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
STATE_OUTCOMES = {
    "steered": ("ok", ""),
    "holdover": ("warn", "see which sources are out with `truechimer sources -v`"),
    "acquiring": ("warn", "wait: it learns offset and rate; `truechimer wait --within S` blocks until it is done"),
    "freerun": ("fail", "name a source of UTC and a reading of `host` in LAB.toml"),
    "alarm": ("fail", "read the alerts below and in `truechimer status`"),
}


class Outcome(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `what` was looked at, what was found, and what to do (empty where nothing is)."""

    outcome: Outcome
    what: str
    says: str
    do_next: str = ""


def laboratory_checks(lab: str | None, told: dict[str, Any] | None = None) -> Iterator[Check]:
    """Look at the running laboratory; where there is none, that is the one finding. `told` is filled with its status,
    for the checks that follow.
    """
    try:
        place = find_service(lab)
        status = ask("status", lab=place)
    except Rejected as error:
        yield Check(Outcome.FAIL, "service", str(error), "start it, or name its directory with --lab DIR")
        return
    if told is not None:
        told |= status
    yield Check(
        Outcome.OK,
        "service",
        f"laboratory {plain(status.get('lab', '-'))} in {place.lab} answers (found by {place.found_by}), process "
        f"{plain(status.get('pid', '-'))}, scale {plain(status.get('scale', '-'))}",
    )
    yield state(status)
    yield from bound_of(status)
    yield leap_table(status)
    yield envelope(status)
    yield sources(status)
    yield clocks(status)
    yield alerts(status)
    yield from host_clock(status)
    yield readings(status)
    yield from doors(status, place.lab)
    yield store(status)
    yield records(status, place.lab)


def state(status: dict[str, Any]) -> Check:
    """Judge the state word, and whether the laboratory can bound the time at all."""
    word = plain(status.get("state", "unknown"))
    outcome, do_next = STATE_OUTCOMES.get(word, ("fail", "are both programs of one version?"))
    if word == "freerun" and is_observing(status) and status.get("synchronised") is True:
        outcome, do_next = "ok", ""
    says = plain(status.get("state_sentence") or word)
    missing = status.get("missing")
    if isinstance(missing, list) and missing:
        says += f" (missing: {', '.join(plain(item) for item in missing)})"
    if status.get("synchronised") is not True and outcome == "ok":
        outcome, do_next = "fail", f"the doors say unsynchronised: {plain(status.get('why', 'no reason given'))}"
    return Check(Outcome(outcome), "state", f"{word}: {says}" if says != word else word, do_next)


def is_observing(status: dict[str, Any]) -> bool:
    """Return True for a laboratory that only watches."""
    return status.get("observing") is True


def bound_of(status: dict[str, Any]) -> Iterator[Check]:
    """Compare the bound with what each door allows."""
    bound_s = number(status, "bound_s")
    if bound_s is None:
        yield Check(Outcome.FAIL, "bound", "there is none: the time cannot be bounded", "see the state above")
        return
    limits = [limit for row in rows_of(status, "listeners") if (limit := number(row, "bound_limit_s")) is not None]
    if not limits:
        yield Check(Outcome.OK, "bound", f"{bound(bound_s)}; no door has a limit")
    for limit_s in sorted(set(limits)):
        words = f"{bound(bound_s)} of the {seconds(limit_s)} that a door allows"
        if bound_s > limit_s:
            yield Check(Outcome.FAIL, "bound", words, "that door says unsynchronised: raise bound_limit_s, or wait")
        elif bound_s > limit_s / 2:
            yield Check(
                Outcome.WARN,
                "bound",
                words,
                "the door will say unsynchronised soon; see the terms in `truechimer status`",
            )
        else:
            yield Check(Outcome.OK, "bound", words)


def leap_table(status: dict[str, Any]) -> Check:
    """Look how long the leap table lasts."""
    found = status.get("leap")
    leap = found if isinstance(found, dict) else {}
    days = _days_until(leap.get("expires"), status)
    if days is None:
        return Check(
            Outcome.WARN, "leap table", "the laboratory does not say when it expires", "see `truechimer status`"
        )
    words = f"expires {plain(leap['expires'])[:10]}, in {days} days"
    if days < 0:
        words = f"expired {plain(leap['expires'])[:10]}, {-days} days ago"
        return Check(
            Outcome.FAIL, "leap table", words, "install a new leap-seconds.list: UTC can no longer be told from TAI"
        )
    if days < LEAP_WARN_DAYS:
        return Check(Outcome.WARN, "leap table", words, "install a new leap-seconds.list")
    return Check(Outcome.OK, "leap table", words)


def host_clock(status: dict[str, Any]) -> Iterator[Check]:
    """Look whether this machine's own clock is right, where the laboratory compares it with UTC."""
    host = status.get("host_clock")
    x_s = number(host, "x_host_clock_minus_utc_s") if isinstance(host, dict) else None
    if not isinstance(host, dict) or x_s is None:
        return
    words = f"{seconds(x_s, signed=True)} from UTC +/- {bound(number(host, 'bound_s'))}"
    if host.get("is_off") is True:
        do_next = "look at what sets it (`chronyc tracking`); programs that stamp with it are off"
        yield Check(
            Outcome.WARN, "this machine's own clock", f"{words}, {bound(number(host, 'limit_s'))} are allowed", do_next
        )
    else:
        yield Check(Outcome.OK, "this machine's own clock", words)


def envelope(status: dict[str, Any]) -> Check:
    """Look whether steering is lawful, and until when."""
    found = status.get("steering")
    steering = found if isinstance(found, dict) else {}
    what = "steering envelope"
    if is_observing(status):
        return Check(Outcome.OK, what, "none is needed: the laboratory observes and steers nothing")
    if steering.get("envelope_refused"):
        return Check(
            Outcome.FAIL,
            what,
            plain(steering["envelope_refused"]),
            "sign a new envelope: without one there is no steering",
        )
    days = _days_until(steering.get("envelope_valid_until"), status)
    if days is None:
        return Check(
            Outcome.WARN, what, "the laboratory names none", "nothing may be steered without a signed envelope"
        )
    words = f"valid until {plain(steering['envelope_valid_until'])[:10]}, {days} days"
    if days < 0:
        return Check(Outcome.FAIL, what, f"expired {-days} days ago", "sign a new one: the laboratory holds over")
    if days < ENVELOPE_WARN_DAYS:
        return Check(Outcome.WARN, what, words, "sign a new one before then")
    return Check(Outcome.OK, what, words)


def sources(status: dict[str, Any]) -> Check:
    """Look whether a majority of independent operators is believed, and who is not."""
    rows = rows_of(status, "sources")
    if not rows:
        return Check(Outcome.FAIL, "sources", "none: the scale is not compared with UTC", "name sources in LAB.toml")
    selected = [row for row in rows if row.get("verdict") == "selected"]
    others = [
        f"{plain(row.get('name'))} {plain(row.get('verdict'))}" for row in rows if row.get("verdict") != "selected"
    ]
    operators = {plain(row.get("operator")) for row in selected}
    words = f"{len(selected)} of {len(rows)} selected, {len(operators)} operator{'s' if len(operators) != 1 else ''}"
    words += f" ({', '.join(others)})" if others else ""
    vote = status.get("selection")
    if isinstance(vote, dict) and vote.get("state") in {"no-majority", "too-few"}:
        words = f"{plain(vote.get('says') or vote['state'])}; {words}"
        return Check(Outcome.FAIL, "sources", words, "nobody is followed: see `truechimer sources -v`")
    if not selected:
        return Check(Outcome.FAIL, "sources", words, "see `truechimer sources -v`; the time is not compared with UTC")
    if any(row.get("verdict") in {"outvoted", "quarantined"} for row in rows):
        return Check(Outcome.WARN, "sources", words, "find out why one tells another time")
    if len(operators) < 3:
        return Check(Outcome.WARN, "sources", words, "a liar is outvoted only where three or more operators are asked")
    if others:
        return Check(Outcome.WARN, "sources", words, "see whether the silent ones can be reached")
    return Check(Outcome.OK, "sources", words)


def clocks(status: dict[str, Any]) -> Check:
    """Look which clocks carry the scale."""
    rows = [row for row in rows_of(status, "clocks") if row.get("state") != "observer" and row.get("kind") != "link"]
    members = [row for row in rows if (number(row, "weight") or 0.0) > 0.0]
    out = [
        f"{plain(row.get('name'))}: {plain(row.get('reason') or row.get('state'))}"
        for row in rows
        if row not in members
    ]
    if not rows:
        return Check(Outcome.OK, "clocks", "none but this host's oscillator")
    words = f"{len(members)} of {len(rows)} carry the scale"
    words += f" ({'; '.join(out)})" if out else ""
    if not members:
        return Check(
            Outcome.FAIL, "clocks", words, "the scale is empty: look at the clocks, or wait if all are learning"
        )
    if out:
        return Check(Outcome.WARN, "clocks", words, "look at the clock named; it comes back by itself once it behaves")
    return Check(Outcome.OK, "clocks", words)


def alerts(status: dict[str, Any]) -> Check:
    """Count the alerts that say that the time may be wrong."""
    rows = rows_of(status, "alerts")
    critical = [row for row in rows if row.get("severity") == "critical"]
    if critical:
        newest = critical[-1]
        words = f"{len(critical)} critical; the newest: {plain(newest.get('says', newest.get('alert')))}"
        return Check(Outcome.WARN, "alerts", words, plain(newest.get("do_next", "see `truechimer status`")))
    return Check(Outcome.OK, "alerts", f"none critical, {len(rows)} in all")


def readings(status: dict[str, Any]) -> Check:
    """Look whether readings were refused."""
    count = number(status, "rejected_readings") or 0.0
    faults = rows_of(status, "reading_faults")
    if not count and not faults:
        return Check(Outcome.OK, "readings", "none rejected")
    words = f"{count:.0f} rejected"
    if faults:
        last = faults[-1]
        words += (
            f"; the last: {plain(last.get('file', '-'))}:{plain(last.get('line', '-'))} {plain(last.get('says', ''))}"
        )
    return Check(Outcome.WARN, "readings", words, "mend what writes them; good readings were kept")


def doors(status: dict[str, Any], lab: Path) -> Iterator[Check]:
    """Ask each NTP door as a client would, and compare its time with what the laboratory itself says."""
    listeners = [row for row in rows_of(status, "listeners") if row.get("protocol") == "ntp"]
    if not listeners:
        yield Check(Outcome.OK, "NTP door", "the laboratory opens none")
        return
    clocks_here = HostClocks()
    warm_up(clocks_here)
    for row in listeners:
        yield _door(row, lab, clocks_here)


def _door(row: dict[str, Any], lab: Path, clocks_here: HostClocks) -> Check:
    """Ask one door over NTP and the laboratory over its socket: the two intervals must overlap."""
    named, port = plain(row.get("address", "127.0.0.1")), number(row, "port")
    address = ANY_ADDRESS.get(named, named)
    what = f"NTP door {address} port {plain(row.get('port'))}"
    if port is None or not 0 < port < 65_536:
        return Check(Outcome.FAIL, what, "the laboratory names no port", "are both programs of one version?")
    try:
        before_ns = clocks_here.raw_ns()
        said = ask("now", lab=lab)
        after_ns = clocks_here.raw_ns()
    except Rejected as error:
        return Check(Outcome.FAIL, what, str(error), "see whether the laboratory still runs")
    try:
        near = Instant(int(said["tai_fs"]))
        earliest, latest = int(said["earliest_tai_fs"]), int(said["latest_tai_fs"])
    except (KeyError, TypeError, ValueError):
        near = Instant.from_tai_ns(time.time_ns() + 37 * 10**9)  # a label that only chooses NTP's era
        earliest, latest = 1, 0
    found = ask_once(
        address, int(port), timeout_s=DOOR_TIMEOUT_S, clocks=clocks_here, leaps=builtin_leap_table(), near=near
    )
    if isinstance(found, ExchangeFailure):
        return Check(Outcome.FAIL, what, found.says, "see whether its process lives (`truechimer status`)")
    if not found.synchronised:
        return Check(Outcome.WARN, what, f"answers unsynchronised ({found.doubt})", "see the state and the bound above")
    if earliest <= latest and _apart(found, earliest, latest, before_ns, after_ns):
        return Check(Outcome.FAIL, what, "tells another time than the laboratory", "stop it: one of the two is wrong")
    words = (
        f"answers in {seconds(found.delay_s)}, stratum {found.stratum}, root distance {bound(found.root_distance_s)}"
    )
    return Check(Outcome.OK, what, f"{words}, and agrees with the laboratory")


def _apart(found: NtpMeasurement, earliest_fs: int, latest_fs: int, before_raw_ns: int, after_raw_ns: int) -> bool:
    """Return True where the door's interval and the laboratory's, carried to the door's moment, do not overlap.

    The laboratory's answer was made between the two raw values.
    """
    assert found.server_tai_fs is not None
    slack_fs = round((found.root_distance_s + RAW_RATE_LIMIT * (found.raw_mid_ns - before_raw_ns) / 1e9) * 1e15)
    least = earliest_fs + (found.raw_mid_ns - after_raw_ns) * FS_PER_NS - slack_fs
    most = latest_fs + (found.raw_mid_ns - before_raw_ns) * FS_PER_NS + slack_fs
    return not least <= found.server_tai_fs <= most


def store(status: dict[str, Any]) -> Check:
    """Look whether records reach the disk."""
    found = status.get("store")
    told = found if isinstance(found, dict) else {}
    state_word = plain(told.get("state", "written"))
    if state_word == "written":
        return Check(Outcome.OK, "store", "records are written")
    words = f"records are not written: {plain(told.get('says', state_word))}; {plain(told.get('waiting', '-'))} wait"
    return Check(Outcome.FAIL, "store", words, "free space, repair or remount the volume of the evidence folder")


def records(status: dict[str, Any], lab: Path) -> Check:
    """See the log of records grow, and say how long the disk would take them."""
    begun = number(status, "records")
    if begun is None:
        return Check(Outcome.WARN, "records", "the laboratory does not count them", "see `truechimer status`")
    asked_s = time.monotonic()
    deadline = asked_s + RECORD_PATIENCE_S
    while True:
        try:
            count = number(ask("status", lab=lab), "records") or 0.0
        except Rejected as error:
            return Check(Outcome.FAIL, "records", str(error), "see whether the laboratory still runs")
        grown, spent_s = count - begun, time.monotonic() - asked_s
        if grown > 0 and (spent_s >= RECORD_SPAN_S or time.monotonic() >= deadline):
            return room(lab, count, grown / spent_s)
        if time.monotonic() >= deadline:
            words = f"{count:.0f}, none new within {RECORD_PATIENCE_S:g} s"
            return Check(Outcome.WARN, "records", words, "fine where epochs are rarer than that, else look at the disk")
        time.sleep(0.25)


def room(lab: Path, count: float, per_s: float) -> Check:
    """Say for how long the disk takes records at this rate. `count`: there are; `per_s`: that come."""
    what, words = "records", f"{count:.0f}, {per_s:.2g} a second"
    try:
        size = sum(part.stat().st_size for part in (lab / "evidence").glob("records.sqlite3*"))
        free = shutil.disk_usage(lab / "evidence").free
    except OSError:
        size = 0
    if not size or not count:
        return Check(Outcome.OK, what, words)
    left_s = free / (size / count * per_s)
    words += f", room for {long_span(left_s)} more" if left_s < YEAR_S else ", room for more than a year"
    if left_s < ROOM_FAIL_S:
        return Check(Outcome.FAIL, what, words, "make room now: without records no new time is stated")
    if left_s < ROOM_WARN_S:
        return Check(Outcome.WARN, what, words, "make room, or move the evidence folder to a larger volume")
    return Check(Outcome.OK, what, words)


def disk(folder: Path) -> Check:
    """Look at the room for records."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Check(Outcome.FAIL, "disk", f"{folder}: {error.strerror}", "check the laboratory's directory")
    words = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"
    if usage.free < DISK_FAIL_BYTES:
        return Check(Outcome.FAIL, "disk", words, "make room: records cannot be written soon")
    if usage.free < DISK_WARN_BYTES:
        return Check(Outcome.WARN, "disk", words, "make room")
    return Check(Outcome.OK, "disk", words)


def clocksource(path: Path) -> Check:
    """Look what the kernel counts: served time runs on it."""
    try:
        name = plain(path.read_text(encoding="ascii", errors="replace").strip())
    except OSError:
        return Check(
            Outcome.WARN, "clocksource", "the kernel does not tell", "fine in a container; look on the host itself"
        )
    if name in GOOD_CLOCKSOURCES:
        return Check(Outcome.OK, "clocksource", name)
    return Check(
        Outcome.WARN,
        "clocksource",
        f"{name}: slow to read",
        "a reading costs microseconds; prefer tsc where it is stable",
    )


def python() -> Check:
    """Look at the interpreter and at what makes the scale fast."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check(Outcome.WARN, "python", f"{version} is untested", "use Python 3.11 to 3.13")
    if find_spec("numba") is None:
        return Check(Outcome.OK, "python", f"{version}; without the extra `fast`: same figures, slower scale")
    return Check(Outcome.OK, "python", f"{version}, with the extra `fast`")


def _days_until(text: Any, status: dict[str, Any]) -> int | None:
    """Return the days from the laboratory's UTC (else the wall clock's label) to a UTC text; None where it is none."""
    try:
        until = UtcLabel.parse(str(text)).mjd
    except Rejected:
        return None
    try:
        today = UtcLabel.parse(str(status.get("utc"))).mjd
    except Rejected:
        today = int(time.time() // 86_400) + 40_587
    return until - today
