"""Where an order stands: the laboratory it is for, what is in force there, and what time it is.

It changes nothing. The orders in force come from the records of the laboratory's folder, whether it runs or not; the
time from the running service, else from this machine's clock, with a minute of doubt that is said.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from truechimer.client import ServiceNotFoundRejected, ask, find_service
from truechimer.daemon.orders import policy_files, proposals
from truechimer.daemon.orders.orders_standing import standing
from truechimer.daemon.records.snapshots import FILE, STATE_KEY
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_NS, Instant, LeapTable, builtin_leap_table
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory.orders import Orders
from truechimer.quorum.applier import Moment
from truechimer.quorum.order_policy import OrderPolicy, OrderPolicyRejected, order_policy_from

ABOUT_TAI_MINUS_UTC_NS = 37 * 10**9
DOUBT_NS = 60 * 10**9
LARGEST_POLICY = 1 << 17


class OrderInputRejected(Rejected):
    """What was named cannot be read, or is not what an order needs."""


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """`orders` in force (None: only a policy is known), the `policy`, the present, and the laboratory's folder."""

    orders: Orders | None
    policy: OrderPolicy
    now: Moment
    folder: Path | None
    scale: str | None
    is_running: bool
    leaps: LeapTable

    @property
    def proposals(self) -> Path:
        """Return where proposals of this laboratory lie."""
        return Path() if self.folder is None else self.folder / "policy" / proposals.FOLDER


def place(lab: str | None, policy_file: Path | None) -> OrderPlace:
    """Return where an order stands; raises `Rejected` where neither a laboratory nor a policy is to be had."""
    leaps = builtin_leap_table()
    if policy_file is not None:
        policy = read_policy(policy_file)
        return OrderPlace(orders_in_force.begun(policy), policy, _label(), None, None, is_running=False, leaps=leaps)
    folder = _folder(lab)
    orders = standing(_records(folder), folder / "run" / FILE, STATE_KEY)
    policy = policy_files.load_policy(folder / "policy") if orders is None else orders.applier.policy
    orders = orders or orders_in_force.with_operations(orders_in_force.begun(policy), orders_in_force.OPS_APPLIED)
    now, scale, is_running = present(str(folder)), None, False
    with suppress(Rejected):
        scale, is_running = str(ask("now", lab=folder).get("scale")), True
    return OrderPlace(orders, policy, now, folder, scale, is_running=is_running, leaps=leaps)


def present(lab: str | None) -> Moment:
    """Return the present as the laboratory in `lab` (or the one that runs here) serves it, else this machine's clock
    and a minute.
    """
    try:
        said = ask("now", lab=lab)
    except Rejected:
        return _label()
    if said.get("synchronised") is True and "earliest_tai_fs" in said:
        return Moment(int(said["earliest_tai_fs"]) // FS_PER_NS, -(-int(said["latest_tai_fs"]) // FS_PER_NS))
    return _label()


def read_policy(path: Path) -> OrderPolicy:
    """Read a policy; raises `OrderInputRejected`."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_POLICY + 1)
        return order_policy_from(data)
    except OSError as error:
        raise OrderInputRejected(f"{path}: {error.strerror}; name a policy file that can be read") from None
    except OrderPolicyRejected as error:
        raise OrderInputRejected(f"{path}: not a policy that can be taken: {error}") from None


def utc(ns: int, leaps: LeapTable) -> str:
    """Return an instant (ns TAI) as UTC to the second; what a calendar does not reach is said."""
    from truechimer.daemon.answering.now_document import utc_text

    try:
        return utc_text(Instant.from_tai_ns(ns), leaps)[:19]
    except Rejected:
        return f"{ns} ns TAI, beyond the calendar"


def _folder(lab: str | None) -> Path:
    """Return the laboratory's folder: the one named, else of the one that runs."""
    if lab is not None:
        path = Path(lab)
        return path.parent if path.is_file() else path
    try:
        return find_service(None).lab
    except ServiceNotFoundRejected:
        raise OrderInputRejected(
            "no laboratory is named and none runs here: name its folder with --lab DIR, or only its policy with "
            "--policy FILE"
        ) from None


def _records(folder: Path) -> Path:
    """Return the record file of a laboratory's folder."""
    if not folder.is_dir():
        raise OrderInputRejected(f"{folder}: no such folder; name the laboratory's with --lab DIR")
    return folder / "evidence" / "records.sqlite3"


def _label() -> Moment:
    """Return this machine's clock as a moment, with the doubt that belongs to it."""
    now_ns = time.time_ns() + ABOUT_TAI_MINUS_UTC_NS
    return Moment(now_ns - DOUBT_NS, now_ns + DOUBT_NS)
