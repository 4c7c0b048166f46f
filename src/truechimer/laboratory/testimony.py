"""Testimony: what a log's records say for a verdict: what was served, and what each outside operator said, era by era.

It judges nothing (`evidence.verdict` does) and takes from the log only what was read and what was given out: run
starts, registers, readings and served lines. The server's own scale, selection and prediction are not used. An *era*
is the time of one label (one boot of the host): comparisons are not carried across its end.
"""

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from truechimer.clocks.clock import ClockKind
from truechimer.clocks.register import Register
from truechimer.errors import TruechimerError
from truechimer.evidence.record import Chain, RecordRejected, number_of, read
from truechimer.evidence.verdict import HOST_WANDER, Claim, Series, Served, Wander
from truechimer.instants import LeapTable
from truechimer.laboratory import ordering, run_start
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.run_start import RunStart
from truechimer.quorum.applier import Applied
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.verified import Refused
from truechimer.serve.clock_page import ServiceState

HALF_WIDTH_SIGMAS = 6.0
NS_PER_S = 10**9
DAY_S = 86_400.0
MOST_PATH = 4
"""Comparisons that one claim may be made of."""

WANDERS: dict[ClockKind, Wander] = {
    ClockKind.HOST: HOST_WANDER,
    ClockKind.LINK: HOST_WANDER,
    ClockKind.OSCILLATOR: Wander(1e-11, 1e-11, 1e-10, 3600.0),
    ClockKind.RUBIDIUM: Wander(1e-11, 1e-13, 1e-17, DAY_S),
    ClockKind.CAESIUM: Wander(1e-11, 1e-14, 0.0, 10.0 * DAY_S),
    ClockKind.MASER: Wander(5e-13, 2e-15, 1e-19, 10.0 * DAY_S),
    ClockKind.FOUNTAIN: Wander(5e-13, 2e-15, 0.0, 10.0 * DAY_S),
}
"""What a clock of a kind may do between two readings, as its data sheets say at their worst, and six times that."""

STATED = frozenset({ServiceState.STEERED.value, ServiceState.HOLDOVER.value})


@dataclass(slots=True)
class Link:
    """The readings of one link in an era, as they come."""

    a: str
    b: str
    t_ns: "array[int]" = field(default_factory=lambda: array("q"))
    x_s: "array[float]" = field(default_factory=lambda: array("d"))
    half_s: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, t_ns: int, x_s: float, half_s: float) -> None:
        """Keep a reading; one that is not later than the last says nothing new of it."""
        if not self.t_ns or t_ns > self.t_ns[-1]:
            self.t_ns.append(t_ns)
            self.x_s.append(x_s)
            self.half_s.append(half_s)

    def series(self, base_ns: int, wander: Wander) -> Series:
        """Return the readings as a series in seconds since `base_ns`."""
        t = (np.frombuffer(self.t_ns, dtype=np.int64) - base_ns) / 1e9 if self.t_ns else np.empty(0)
        x = np.frombuffer(self.x_s, dtype=np.float64) if self.x_s else np.empty(0)
        half = np.frombuffer(self.half_s, dtype=np.float64) if self.half_s else np.empty(0)
        return Series(t, x, half, wander).usable()


@dataclass(slots=True)
class Era:
    """One label's time: its links by register index, the lines that were served, and the register at its end."""

    start: RunStart
    register: Register
    base_ns: int
    links: dict[int, Link] = field(default_factory=dict)
    t_ns: "array[int]" = field(default_factory=lambda: array("q"))
    until_ns: "array[int]" = field(default_factory=lambda: array("q"))
    x_s: "array[float]" = field(default_factory=lambda: array("d"))
    rate: "array[float]" = field(default_factory=lambda: array("d"))
    bound_s: "array[float]" = field(default_factory=lambda: array("d"))
    growth: "array[float]" = field(default_factory=lambda: array("d"))
    stated: "array[int]" = field(default_factory=lambda: array("b"))
    seq: "array[int]" = field(default_factory=lambda: array("q"))
    last_epoch_ns: int = 0

    def served(self) -> Served:
        """Return the lines; each holds until the next, or until the doors fell silent."""
        t = np.frombuffer(self.t_ns, dtype=np.int64) if self.t_ns else np.empty(0, dtype=np.int64)
        until = np.frombuffer(self.until_ns, dtype=np.int64).copy() if self.until_ns else np.empty(0, dtype=np.int64)
        if len(t):
            until[:-1] = np.minimum(until[:-1], t[1:])
            # beyond the last record of the log nothing is known of what was served
            until[-1] = min(int(until[-1]), max(int(t[-1]), self.last_epoch_ns))
        x, rate, bound, growth = (
            np.frombuffer(one, dtype=np.float64) if one else np.empty(0)
            for one in (self.x_s, self.rate, self.bound_s, self.growth)
        )
        return Served(
            t_s=(t - self.base_ns) / 1e9,
            until_s=(until - self.base_ns) / 1e9,
            x_served_minus_label_s=x,
            rate=rate,
            bound_s=bound,
            growth=growth,
            stated=np.frombuffer(self.stated, dtype=np.int8).astype(bool) if self.stated else np.empty(0, dtype=bool),
            seq=np.frombuffer(self.seq, dtype=np.int64) if self.seq else np.empty(0, dtype=np.int64),
        )

    def claims(self) -> list[Claim]:
        """Return what each operator said of UTC minus the label, each by the shortest path to the host's counter."""
        register = self.register
        if register.host is None:
            return []
        series: dict[int, Series] = {}
        found = []
        for outside in register.outside:
            if outside.link not in self.links:
                continue
            path = self._path(outside.clock)
            if path is None:
                continue
            legs = [(outside.link, outside.sign), *path]
            for index, _ in legs:
                if index not in series:
                    series[index] = self.links[index].series(self.base_ns, self._wander(index))
            reference = register.references[outside.reference]
            found.append(Claim(reference.operator, tuple((series[index], sign) for index, sign in legs)))
        return found

    def _path(self, clock: int) -> list[tuple[int, float]] | None:
        """Return the links, each with its sign, that make clock minus host; None where there is no short way."""
        host, register = self.register.host, self.register
        ways: dict[int, list[tuple[int, float]]] = {clock: []}
        queue = deque([clock])
        while queue:
            node = queue.popleft()
            if node == host:
                return ways[node]
            if len(ways[node]) >= MOST_PATH - 1:
                continue
            for index, link in enumerate(register.links):
                if index not in self.links or max(link.a, link.b) >= register.n_clocks:
                    continue
                for here, there, sign in ((link.a, link.b, 1.0), (link.b, link.a, -1.0)):
                    if here == node and there not in ways:
                        ways[there] = [*ways[node], (index, sign)]
                        queue.append(there)
        return None

    def _wander(self, index: int) -> Wander:
        """Return what the less quiet end of a link may do."""
        link, register = self.register.links[index], self.register
        kinds = [register.clocks[node].kind for node in (link.a, link.b) if node < register.n_clocks]
        return max((WANDERS[kind] for kind in kinds), key=lambda wander: wander.white_fm + wander.rate_change_per_s)


@dataclass(frozen=True, slots=True)
class Decision:
    """A record that may have moved the time: a steer, a coordination-start, a new run; or an alert around it."""

    seq: int
    kind: str
    t_ns: int
    says: str


@dataclass(slots=True)
class Testimony:
    """All that a log says. `broken`: the first record that does not follow, and why; `records`: how many were read.

    `witnessed`: the cosigned checkpoints that the log keeps, each with its record.
    `unsigned`: per run whose envelope the given policy does not accept: since when (ns of the label), its record, why.
    """

    eras: list[Era] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    alerts: list[Decision] = field(default_factory=list)
    signers: tuple[str, ...] = ()
    broken: tuple[int, str] | None = None
    broken_ns: int | None = None
    unsigned: list[tuple[int, int, str]] = field(default_factory=list)
    signed_again_ns: list[int] = field(default_factory=list)
    records: int = 0
    head: str = ""
    orders: Orders | None = None
    marks: dict[int, int] = field(default_factory=dict)
    witnessed: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def leaps(self) -> LeapTable | None:
        """The leap table of the last run; None for an empty log."""
        return self.eras[-1].start.leaps if self.eras else None


def hear(log: Iterable[bytes], *, policy: OrderPolicy | None = None) -> Testimony:
    """Read a log to its end, or to the first record that does not follow; never raises for what the log holds.

    `policy`: whose persons must have signed each envelope; None: whom the log itself names.
    """
    said, chain = Testimony(), Chain()
    records = iter(log)
    while True:
        try:
            data = next(records, None)
            if data is None:
                break
            body, after = read(data, chain)
            _take(said, body, policy)
        except (TruechimerError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            said.broken = (chain.seq, error.why if isinstance(error, RecordRejected) else str(error))
            said.broken_ns = said.eras[-1].last_epoch_ns if said.eras else None
            break
        chain = after
    said.records, said.head = chain.seq, chain.prev
    return said


def _take(said: Testimony, body: dict[str, Any], policy: OrderPolicy | None) -> None:
    """Take one record in."""
    kind = body["kind"]
    if kind == "run-start":
        _begin(said, body, policy)
        return
    if not said.eras:
        raise ValueError("the log does not begin with run-start")
    era = said.eras[-1]
    if kind == "register":
        era.register = era.register.with_links(
            [(a, b) for a, b in body["pairs"]], operators={str(name): str(of) for name, of in body["operators"]}
        )
    elif kind == "readings":
        _readings(era, body)
    elif kind == "served-time":
        _served(said, era, body)
    elif kind in {"steer", "coordination-start"}:
        says = "refused" if "refused" in body else f"rate {body['y_steer']}"
        said.decisions.append(Decision(body["seq"], kind, int(body["epoch_tai_ns"]), says))
    elif kind == "witnessed":
        said.witnessed.append((body["seq"], str(body["checkpoint"]).encode()))
    elif kind == ordering.KIND:
        _order(said, era, body)
    elif kind == "alert":
        said.alerts.append(Decision(body["seq"], kind, int(body["epoch_tai_ns"]), f"{body['alert']}: {body['says']}"))


def _begin(said: Testimony, body: dict[str, Any], policy: OrderPolicy | None) -> None:
    """Begin a run: the same era where the label goes on, a new one after a boot."""
    start = run_start.decode(body)
    register = Register(start.clocks, (), ()).with_links(start.pairs, operators=dict(start.operators))
    before = said.eras[-1] if said.eras else None
    now_ns = before.last_epoch_ns if before is not None else start.anchor_tai_ns
    if (
        before is not None
        and body.get("same_boot") is True
        and (before.start.anchor_raw_ns, before.start.anchor_tai_ns) == (start.anchor_raw_ns, start.anchor_tai_ns)
    ):
        before.start, before.register = start, register
    else:
        base_ns = start.anchor_tai_ns // NS_PER_S * NS_PER_S
        said.eras.append(Era(start, register, base_ns))
    said.decisions.append(Decision(body["seq"], "run-start", now_ns, f"version {start.version}"))
    if start.envelope is None or start.policy is None:
        said.signed_again_ns.append(now_ns)
        return
    in_force = said.orders or orders_in_force.begun(policy or start.policy)
    in_force = orders_in_force.with_operations(in_force, start.operations)
    said.orders = orders_in_force.with_envelope(in_force, start.envelope)
    _judge(said, body["seq"], now_ns)


def _judge(said: Testimony, seq: int, now_ns: int) -> None:
    """Note whether the envelope in force is signed as the policy asks."""
    if said.orders is None:
        return
    limits = said.orders.limits
    if isinstance(limits, Refused):
        said.unsigned.append((now_ns, seq, limits.says))
    else:
        said.signers = limits.by
        said.signed_again_ns.append(now_ns)


def _order(said: Testimony, era: Era, body: dict[str, Any]) -> None:
    """Take an order: what the log calls refused changes nothing; what it calls taken is checked by the policy asked."""
    entry, now_ns = ordering.entry_from(body), era.last_epoch_ns
    order = ordering.order_of(entry)
    what = "veto" if order is None else order.sentence
    by = f", signed by {', '.join(str(name) for name in body.get('by', ()))}" if body.get("by") else ""
    said.decisions.append(Decision(body["seq"], "order", now_ns, f"{body['outcome']}: {what}{by}"))
    if said.orders is None or body["outcome"] == "refused":
        return
    said.orders, outcome = orders_in_force.stepped(said.orders, entry)
    if isinstance(outcome, Refused):
        said.unsigned.append((now_ns, body["seq"], f"an order that the log calls {body['outcome']}: {outcome.says}"))
    elif isinstance(outcome, Applied) and outcome.envelope is not None:
        _judge(said, body["seq"], now_ns)


def _readings(era: Era, body: dict[str, Any]) -> None:
    """Keep what was read, each value at its own epoch."""
    epoch_ns = int(body["epoch_tai_ns"])
    if epoch_ns <= era.last_epoch_ns:
        raise ValueError(f"epoch {epoch_ns} does not come after {era.last_epoch_ns}")
    era.last_epoch_ns = epoch_ns
    if "raw_ns" in body and int(body["raw_ns"]) - era.start.anchor_raw_ns != epoch_ns - era.start.anchor_tai_ns:
        raise ValueError("an epoch is not the label of its raw value")
    values, u = body["x_a_minus_b_s"], body["u_s"]
    limits, ages = body.get("limit_s"), body.get("age_s")
    register = era.register
    if not len(values) == len(u) == len(register.links):
        raise ValueError(f"{len(values)} readings for {len(register.links)} links")
    for index, text in enumerate(values):
        if text is None:
            continue
        half = HALF_WIDTH_SIGMAS * number_of(u[index], "s")
        if limits is not None and limits[index] is not None:
            half += number_of(limits[index], "s")
        age_s = 0.0 if ages is None or ages[index] is None else number_of(ages[index], "s")
        link = era.links.get(index)
        if link is None:
            one = register.links[index]
            link = era.links[index] = Link(register.name_of(one.a), register.name_of(one.b))
        link.add(epoch_ns - round(age_s * 1e9), number_of(text, "s"), half)


def _served(said: Testimony, era: Era, body: dict[str, Any]) -> None:
    """Keep a line that was given out."""
    start = era.start
    raw_ns, tai_fs = int(body["anchor_raw_ns"]), int(body["anchor_tai_fs"])
    label_ns = start.anchor_tai_ns + raw_ns - start.anchor_raw_ns
    if era.t_ns and label_ns < era.t_ns[-1]:
        raise ValueError("a page is anchored before the page that it follows")
    numbers = [number_of(body[key], unit) for key, unit in (("rate", "1"), ("bound_s", "s"), ("bound_growth", "1"))]
    is_stated = body["state"] in STATED or (start.observe and body["state"] == ServiceState.FREERUN.value)
    # all of it could be read: now keep it, whole
    era.t_ns.append(label_ns)
    era.until_ns.append(label_ns + round(start.silence_s * 1e9))
    era.x_s.append((tai_fs - label_ns * 10**6) / 1e15)
    for kept, number in zip((era.rate, era.bound_s, era.growth), numbers, strict=True):
        kept.append(number)
    era.stated.append(1 if is_stated else 0)
    era.seq.append(body["seq"])
    said.marks[body["seq"]] = label_ns
