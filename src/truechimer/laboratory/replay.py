"""Replay: repeat a recorded run through the same fold and compare every record it makes with the one that was recorded.

It trusts nothing but the inputs in the log (`run-start`, `register`, `readings`, `order`, `published`, alerts of the
daemon, and what was noted beside the fold): each decision is made again, and must come out in the same bytes. It reads
no disk: whoever holds the records hands them in.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from truechimer.alerts import Alert
from truechimer.compare.claims import SILENT
from truechimer.compare.reading import EpochReadings
from truechimer.errors import Misuse, TruechimerError
from truechimer.evidence.kinds import NOTED
from truechimer.evidence.record import Chain, Record, RecordRejected, canonical, numbers_of, read, seal
from truechimer.laboratory import leap_notices, line, ordering, publishing, receiver_records, records, run_start
from truechimer.laboratory.epoch_input import EpochInput, LateReading
from truechimer.laboratory.snapshot import Mark, Roots
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.verified import Refused


@dataclass(frozen=True, slots=True)
class Difference:
    """The first record that a replay makes otherwise: its sequence number, what was recorded and what the replay makes
    (None: nothing). `since`: the input record from which it was to follow; it and all after it are doubted.
    """

    seq: int
    why: str
    recorded: bytes | None
    replayed: bytes | None
    since: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """The outcome: `compared` records, the first `difference` (None: bit for bit), and config and state at the end
    (None for an empty log), with the run-starts that they stand on.
    """

    compared: int
    difference: Difference | None
    config: LaboratoryConfig | None
    state: LaboratoryState | None
    start: run_start.RunStart | None
    roots: Roots | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Where a replay may begin instead of at the first record: what a snapshot gave back."""

    start: run_start.RunStart
    config: LaboratoryConfig
    state: LaboratoryState
    roots: Roots


def begin_run(
    start: run_start.RunStart, state: LaboratoryState | None, *, same_boot: bool
) -> tuple[LaboratoryConfig, LaboratoryState, Record]:
    """Open a run: the first of a laboratory (`state` None) or one that resumes; return constants, state and the sealed
    `run-start`.
    """
    if state is None:
        config, after = run_start.configure(start)
    else:
        config, after = run_start.resume(start, state, same_boot=same_boot)
    body = run_start.encode(start) | {"resumes": state is not None, "same_boot": same_boot}
    before, orders = None if state is None else state.orders, after.orders
    if orders is not None and orders is not before:
        body |= {} if before is None else ordering.linked(before)
    sealed, chain = seal("run-start", body, after.chain)
    if orders is not None and orders is not before:
        orders = replace(orders, last=(sealed.seq, chain.prev))
    return config, replace(after, chain=chain, orders=orders), sealed


def grow_register(
    state: LaboratoryState, pairs: Iterable[tuple[str, str]], operators: dict[str, str]
) -> tuple[LaboratoryState, Record | None]:
    """Grow the register by pairs that readings brought; the new links stand in a record of their own. None where
    nothing is new.
    """
    wanted = [tuple(pair) for pair in pairs]
    register = state.register.with_links(wanted, operators=operators)  # type: ignore[arg-type]
    if register is state.register:
        return state, None
    body = {
        "pairs": [list(pair) for pair in wanted],
        "operators": [[name, operators[name]] for name in sorted(operators)],
    }
    sealed, chain = seal("register", body, state.chain)
    return replace(
        state,
        register=register,
        links=state.links.grown(len(register.links)),
        claims=state.claims + (SILENT,) * (len(register.outside) - len(state.claims)),
        chain=chain,
    ), sealed


def note_alert(state: LaboratoryState, alert: Alert) -> tuple[LaboratoryState, Record]:
    """Put an alert on the chain that the fold did not make: what the daemon saw of its own host and its files.

    It changes nothing but the chain. Its component is `DAEMON`, by which a replay knows it for an input.
    """
    if alert.component != DAEMON:
        raise Misuse(f"an alert of {alert.component} is made by the fold, not noted beside it")
    sealed, chain = seal(*records.alert(alert), state.chain)
    return replace(state, chain=chain), sealed


def note(state: LaboratoryState, kind: str, body: dict[str, Any]) -> tuple[LaboratoryState, Record]:
    """Put a record on the chain that was noted beside the fold (`evidence.kinds.NOTED`): it changes nothing else."""
    if kind not in NOTED:
        raise Misuse(f"a record {kind} is not one that is noted beside the fold")
    canonical(body)  # refuses what a record cannot hold; `seal` does not look, because the fold's epochs must be cheap
    sealed, chain = seal(kind, body, state.chain)
    return replace(state, chain=chain), sealed


def input_from(body: dict[str, Any], n_links: int, n_receivers: int = 0) -> EpochInput:
    """Read the record `readings` back into what the fold was fed; raises `RecordRejected`."""
    try:
        x = np.array(numbers_of(body["x_a_minus_b_s"], "s"))
        u = np.array(numbers_of(body["u_s"], "s"))
        limit = np.array(numbers_of(body["limit_s"], "s")) if "limit_s" in body else np.zeros(len(x))
        age = np.array(numbers_of(body["age_s"], "s")) if "age_s" in body else np.zeros(len(x))
        raw_ns = int(body["raw_ns"]) if "raw_ns" in body else None
        epoch_ns, stratum = int(body["epoch_tai_ns"]), int(body.get("stratum", 1))
        late = tuple(_late(one, n_links) for one in body.get("late", ()))
        evidence = tuple(receiver_records.evidence_from(one, n_receivers) for one in body.get("evidence", ()))
        voices = leap_notices.voices_from(body["leap_voices"]) if "leap_voices" in body else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordRejected(body.get("seq"), f"not a readings record ({error!r})") from None
    if not len(x) == len(u) == len(limit) == len(age) == n_links:
        raise RecordRejected(body.get("seq"), f"{len(x)} readings for {n_links} links")
    return EpochInput(EpochReadings(epoch_ns, x, u, limit, age), raw_ns, stratum, late, evidence, voices)


def _late(one: Any, n_links: int) -> LateReading:
    """Read one value that came late; raises `ValueError`."""
    link, epoch_ns, x_s, u_s = one
    x, u = numbers_of([x_s, u_s], "s")
    if type(link) is not int or not 0 <= link < n_links:
        raise ValueError(f"{link!r} is no link")
    return LateReading(link, int(epoch_ns), x, u)


class _Run:
    """A replay under way: the fold's state, and the records it still owes."""

    def __init__(self, known: Known | None) -> None:
        self.config: LaboratoryConfig | None = None if known is None else known.config
        self.state: LaboratoryState | None = None if known is None else known.state
        self.start: run_start.RunStart | None = None if known is None else known.start
        self.roots: Roots | None = None if known is None else known.roots
        self.owed: list[Record] = []
        self.since = 0

    def take(self, body: dict[str, Any]) -> None:
        """Feed one recorded input; its own record and all that follow from it are owed now."""
        kind = body["kind"]
        self.since = int(body["seq"])
        if kind == "run-start":
            self.start = run_start.decode(body)
            run_start.of_this_fold(self.start)
            if self.state is None and body.get("resumes") is True:
                raise RecordRejected(body["seq"], "the log begins with a run that resumes another")
            self.config, self.state, sealed = begin_run(self.start, self.state, same_boot=body.get("same_boot") is True)
            self.roots = Roots(Mark.of(sealed.seq, sealed.data))
            self.owed.append(sealed)
        elif self.config is None or self.state is None:
            raise RecordRejected(body["seq"], "the log does not begin with run-start")
        elif kind == "alert" or kind in NOTED:
            seen = {key: value for key, value in body.items() if key not in ("kind", "seq", "prev")}
            sealed, chain = seal(kind, seen, self.state.chain)
            self.state = replace(self.state, chain=chain)
            self.owed.append(sealed)
        elif kind == ordering.KIND:
            ordered = ordering.take(self.config, self.state, ordering.entry_from(body))
            if isinstance(ordered, Refused):
                raise RecordRejected(body["seq"], ordered.says)
            self.config, self.state = ordered.config, ordered.state
            self.owed.append(ordered.record)
        elif kind == publishing.KIND:
            published = publishing.take(self.config, self.state, publishing.offered_from(body))
            self.state = published.state
            self.owed.append(published.record)
        elif kind == "register":
            pairs, operators = (
                [(a, b) for a, b in body["pairs"]],
                {str(name): str(operator) for name, operator in body["operators"]},
            )
            self.state, grown = grow_register(self.state, pairs, operators)
            if grown is not None:
                self.owed.append(grown)
        else:
            given = input_from(body, len(self.state.register.links), len(self.config.receivers))
            self.state, outcome = line.step(self.state, given, self.config)
            self.owed.extend(outcome.records)


INPUTS = frozenset({"run-start", "register", "readings", ordering.KIND, publishing.KIND}) | NOTED

DAEMON = "daemon"
"""Component of the alerts that come from outside the fold."""


def _is_input(body: dict[str, Any]) -> bool:
    """Return True for a record that the fold was fed, False for one that it made."""
    return body["kind"] in INPUTS or (body["kind"] == "alert" and body.get("component") == DAEMON)


def replay(
    log: Iterable[bytes],
    known: Known | None = None,
    seen: Callable[[dict[str, Any], LaboratoryState], None] | None = None,
) -> Replay:
    """Repeat a run from its records and stop at the first that differs; never raises for what the log holds.

    With `known` the log is what follows the record after which that state was taken; it is believed, not repeated.
    `seen` is told each record that came out the same, with the state after the input that it follows from.
    """
    run, compared = _Run(known), 0
    chain = Chain() if known is None else known.state.chain
    records = iter(log)
    while True:
        try:
            data = next(records, None)
        except RecordRejected as error:  # who reads a signed log ends where it is not what was signed
            return _ended(run, compared, Difference(chain.seq, str(error), None, None))
        if data is None:
            break
        try:
            body, chain = read(data, chain)
            if _is_input(body):
                if run.owed:
                    return _ended(
                        run,
                        compared,
                        Difference(
                            run.owed[0].seq, "the replay makes a record that is not in the log", data, run.owed[0].data
                        ),
                    )
                run.take(body)
        except (TruechimerError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            return _ended(run, compared, Difference(chain.seq, str(error), data, None))
        if not run.owed:
            return _ended(
                run,
                compared,
                Difference(chain.seq - 1, "the log holds a record that the replay does not make", data, None),
            )
        made = run.owed.pop(0)
        if made.data != data:
            return _ended(
                run, compared, Difference(chain.seq - 1, "recorded and replayed bytes differ", data, made.data)
            )
        compared += 1
        if seen is not None and run.state is not None:
            seen(body, run.state)
    return _ended(run, compared, None)


def _ended(run: _Run, compared: int, difference: Difference | None) -> Replay:
    """Return the outcome; a log may end inside an epoch (a crash), so records still owed at its end are no
    difference.
    """
    if difference is not None:
        difference = replace(difference, since=min(run.since, difference.seq))
    return Replay(compared, difference, run.config, run.state, run.start, run.roots)
