"""The checks of `truechimer diag` that look at this machine: what it counts, how quickly its clocks are read, who else
sets its clock, what processes may use, what makes the scale fast, and whether the console answers.

They change nothing. What another program does is read from /proc; where that is closed, nothing is claimed.
"""

import http.client
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from truechimer.cli.diag_checks import ANY_ADDRESS, Check, Outcome, clocksource, python
from truechimer.cli.lab_words import number, plain, rows_of, seconds
from truechimer.daemon.host_clocks import WIDEST_PAIR_NS, HostClocks
from truechimer.daemon.ntp.accelerator import why_not
from truechimer.drivers.stamping import Ask, StampingRejected, abilities, ask_kernel

PROC = Path("/proc")
CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
INTERFACES = Path("/sys/class/net")
PAIRS = 50
SETTERS = {
    "chronyd": frozenset({"-x", "-Q", "-q", "-t"}),
    "ntpd": frozenset(),
    "systemd-timesyn": frozenset(),
    "ntpd-rs": frozenset(),
    "ntp-daemon": frozenset(),
    "openntpd": frozenset(),
    "phc2sys": frozenset(),
    "ts2phc": frozenset(),
    "timemaster": frozenset(),
}
"""Programs that set a machine's clock, by their name in /proc/PID/comm (15 letters), and the options with which they do
not.
"""

FILES_WARN_SHARE = 0.7
ANSWER_WITHIN_S = 3.0


def machine_checks() -> Iterator[Check]:
    """Look at this machine."""
    yield clocksource(CLOCKSOURCE)
    yield host_clock_reading(HostClocks())
    yield who_sets_the_clock(PROC)
    yield python()
    yield kernels()
    yield accelerator(why_not())
    yield cards(sorted(path.name for path in INTERFACES.iterdir()))


def process_checks(status: dict[str, Any]) -> Iterator[Check]:
    """Look at the processes of a running laboratory."""
    pids = [status.get("pid"), *(row.get("pid") for row in rows_of(status, "listeners"))]
    yield open_files([pid for pid in pids if isinstance(pid, int)], PROC)
    for row in rows_of(status, "listeners"):
        if row.get("protocol") == "console":
            yield console(row)
        elif row.get("protocol") == "chrony-sock":
            yield sock_door(row)
        if isinstance(row.get("accelerator"), dict):
            yield accelerated_door(row)


def accelerator(why: str | None) -> Check:
    """See whether NTP doors could have the accelerator here; none needs it."""
    what = "accelerator of NTP doors"
    if why is None:
        return Check(Outcome.OK, what, "this kernel takes it; `accelerator = true` in a [[listener]] turns it on")
    return Check(Outcome.OK, what, f"not possible here: {why}; the sockets serve")


def cards(interfaces: Iterable[str], *, ask: Ask = ask_kernel) -> Check:
    """See which network cards could stamp for NTP doors; none needs it."""
    can: list[tuple[str, str | None]] = []
    cannot: list[tuple[str, str | None]] = []
    for interface in interfaces:
        try:
            why = abilities(interface, ask=ask).why_no_hardware
        except StampingRejected:
            why = "it says nothing"
        (can if why is None else cannot).append((interface, why))
    what = "network cards that stamp"
    if can:
        names = ", ".join(plain(name) for name, _ in can)
        return Check(Outcome.OK, what, f'{names}; `hardware = "{plain(can[0][0])}"` in a [[listener]] turns it on')
    because = ", ".join(f"{plain(name)}: {why}" for name, why in cannot[:8])
    return Check(Outcome.OK, what, f"none here ({because}); the kernel stamps")


def accelerated_door(row: dict[str, Any]) -> Check:
    """See whether the accelerator that a door asks for runs."""
    said = row["accelerator"]
    what = f"accelerator of the door on {plain(row.get('address', '-'))} port {plain(row.get('port', '-'))}"
    because = plain(said.get("because", "-"), 200)
    if not said.get("attached"):
        do_next = "the sockets serve; mend it, or take the key accelerator out of the [[listener]]"
        return Check(Outcome.WARN, what, f"not running: {because}", do_next)
    where = plain(", ".join(map(str, said.get("interfaces", ()))))
    if not said.get("answering"):
        return Check(Outcome.OK, what, f"attached to {where}, and leaves everything to the sockets now: {because}")
    moved = int(number(said, "clock_moved") or 0)
    words = f"answers on {where}" + (f"; the host's clock was slewed hard {moved} times" if moved else "")
    return Check(Outcome.OK, what, words)


def host_clock_reading(clocks: HostClocks) -> Check:
    """See how closely the wall clock and the raw counter can be read together: what stamps are worth."""
    widths_ns = sorted(2 * clocks.take_pair().half_width_ns for _ in range(PAIRS))
    words = (
        f"read together within {seconds(median(widths_ns) / 1e9)} (worst of {PAIRS}: {seconds(widths_ns[-1] / 1e9)})"
    )
    what = "this machine's clocks"
    if clocks.take_steps():
        return Check(
            Outcome.WARN, what, "the wall clock was moved while it was read", "find out who sets it; served time is not"
        )
    if median(widths_ns) >= WIDEST_PAIR_NS:
        do_next = "kernel stamps are dropped and bounds are wider: prefer a machine with less load, or clocksource tsc"
        return Check(Outcome.WARN, what, words, do_next)
    return Check(Outcome.OK, what, words)


def who_sets_the_clock(proc: Path) -> Check:
    """Look which programs set this machine's clock. Served time does not depend on it; those that stamp with it do."""
    setters = sorted({name for name, words in _processes(proc) if _sets(name, words)})
    what = "who sets this machine's clock"
    if len(setters) > 1:
        return Check(
            Outcome.WARN, what, f"{', '.join(setters)} at once", "let one of them set it: they undo each other's work"
        )
    if setters:
        return Check(Outcome.OK, what, f"{setters[0]}; served time does not depend on it")
    return Check(Outcome.OK, what, "no program known here; served time does not depend on it")


def _sets(name: str, words: list[str]) -> bool:
    options = SETTERS.get(name)
    return options is not None and options.isdisjoint(words)


def _processes(proc: Path) -> Iterator[tuple[str, list[str]]]:
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        yield name, words[1:]


def open_files(pids: list[int], proc: Path) -> Check:
    """Look how many files each process of the laboratory has open, of those it may."""
    what, worst, shown = "open files", 0.0, ""
    for pid in pids:
        try:
            count = sum(1 for _ in (proc / str(pid) / "fd").iterdir())
            limits = (proc / str(pid) / "limits").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
        words = line.split()
        most = int(words[3]) if len(words) > 3 and words[3].isdecimal() else 0
        if most and count / most >= worst:
            worst, shown = count / most, f"process {pid} has {count} of {most}"
    if not shown:
        return Check(Outcome.OK, what, "not told to this user")
    if worst > FILES_WARN_SHARE:
        return Check(Outcome.WARN, what, shown, "raise LimitNOFILE, and see who keeps connections open")
    return Check(Outcome.OK, what, shown)


def console(row: dict[str, Any]) -> Check:
    """Ask the console for its health and its metrics, as a monitor would."""
    address, port = plain(row.get("address", "")), number(row, "port")
    what = f"console {address} port {plain(row.get('port'))}"
    host = ANY_ADDRESS.get(address, address)
    found = {}
    for path in ("/healthz", "/metrics"):
        connection = http.client.HTTPConnection(host, int(port or 0), timeout=ANSWER_WITHIN_S)
        try:
            connection.request("GET", path, headers={"Host": "localhost" if host in LOOPBACK else host})
            found[path] = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            says = f"{path} does not answer: {plain(getattr(error, 'strerror', None) or error)}"
            return Check(Outcome.FAIL, what, says, "see whether its process lives (`truechimer status --json`)")
        finally:
            connection.close()
    if found["/healthz"] != http.client.OK:
        return Check(
            Outcome.FAIL,
            what,
            f"/healthz says {found['/healthz']}: it has no answer of the laboratory",
            "see the state",
        )
    if found["/metrics"] == http.client.NOT_FOUND:
        return Check(Outcome.OK, what, "answers; /metrics is off")
    if found["/metrics"] != http.client.OK:
        return Check(Outcome.WARN, what, f"/metrics says {found['/metrics']}", "your monitoring sees nothing")
    return Check(Outcome.OK, what, "answers, and so does /metrics")


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def sock_door(row: dict[str, Any]) -> Check:
    """Look whether chronyd is sent samples."""
    what, found = f"chrony-sock {plain(row.get('path', '-'))}", row.get("sock")
    sock = found if isinstance(found, dict) else {}
    now = plain(sock.get("now", "says nothing"))
    if now == "sending":
        return Check(Outcome.OK, what, f"{plain(sock.get('sent', 0))} samples sent")
    do_next = (
        "start chronyd with this SOCK refclock" if now.startswith("not received") else "see the state and the bound"
    )
    return Check(Outcome.WARN, what, f"{now}; {plain(sock['says'])}" if sock.get("says") else now, do_next)


def kernels() -> Check:
    """Look which form of the numeric kernels runs, and whether machine code can be kept for the next start."""
    from truechimer import kernel

    what = "kernels"
    if not kernel.COMPILED:
        asked = os.environ.get("TRUECHIMER_KERNELS") == "plain"
        why = "as TRUECHIMER_KERNELS=plain asks" if asked else "without the extra `fast`"
        return Check(Outcome.OK, what, f"plain Python, {why}: the same figures, more slowly")
    numba = sys.modules["numba"]
    folder = Path(str(numba.config.CACHE_DIR))
    if not os.access(folder, os.W_OK):
        do_next = "each start compiles anew: name a cache folder of one's own with XDG_CACHE_HOME"
        return Check(Outcome.WARN, what, f"machine code cannot be kept in {folder}", do_next)
    return Check(Outcome.OK, what, "machine code, kept between starts")
