"""Run start: everything a run depends on, as one record from which it can be repeated, and the constants made from it.

It reads no file: whoever starts a run (`daemon`, replay, a test) hands the values in. `configure` is the only way to a
`LaboratoryConfig`, so a replay cannot differ from the run.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from truechimer._version import __version__
from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.clocks.delay import Delay
from truechimer.clocks.register import Link, Register
from truechimer.clocks.state_model import two_state_noise
from truechimer.compare.claims import SILENT
from truechimer.compare.cleaning import LinkHistory
from truechimer.errors import Misuse, Rejected
from truechimer.evidence.record import RecordRejected, number_of, quantity
from truechimer.instants import FS_PER_NS, LeapEntry, LeapTable, UtcLabel
from truechimer.laboratory import departing, leap_notices, ordering, publications, receiver_records, receiving
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory.orders import FIRST_APPLIED, OPS_APPLIED, Orders
from truechimer.laboratory.publications import PublishedSettings
from truechimer.laboratory.receiving import Receiver
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState, begin
from truechimer.quorum.applier import SignedEnvelope
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.order_policy import OrderPolicy, OrderPolicyRejected, order_policy_from
from truechimer.quorum.verified import Refused, Verified
from truechimer.scale import live, live_change, live_state
from truechimer.scale.live_state import DEFAULT_LIVE_ALGORITHM, VERSIONS
from truechimer.steer import holdover
from truechimer.steer.realization import HostNoise
from truechimer.steer.steering_law import SteeringParameters
from truechimer.steer.utc_prediction import ScaleNoise

FOLD = 4
"""Number of the fold: raised by each change after which the same readings make other records. Records of another fold
are neither replayed nor resumed: whoever wrote them repeats them. `None` in records from before there were numbers:
those are compared, and come out or not.
"""

NOTHING_IS_STEERED = "observing: nothing is steered, so no policy and no key are asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What a run is started with; times in seconds. `pairs`: known links (a, b); `operators`: reference -> operator.

    `polls`: how often (s) each server is asked that the laboratory's file names, by reference.
    `observe`: the run only watches; it has neither `policy` nor `envelope`, which every other run has.
    `fold`: the fold that makes its records, see `FOLD`; `algorithm` of the scale, one of `live_state.LIVE_ALGORITHMS`,
    and its version (`live_state.VERSIONS`; left empty: this program's).

    `guarded`: (part, SHA-256) of each part of the laboratory's file that an order changes, or would have to.
    `operations`: those that orders can ask this run for; `doors`: names of the listeners that have a policy;
    `receivers`: satellite receivers whose own word judges their links; `follows_links`: links are held against their
    own past (runs before that could, and records that do not say it, do not);
    `leap_need`: provenances that a leap second takes (0: nothing is voted on, as in records that do not say it);
    `published`: how published values of UTC - UTC(k) are taken, None: not at all.

    The host's label is `anchor_tai_ns` + (raw counter - `anchor_raw_ns`), in the boot `boot_id`: a name for epochs,
    never a time to serve.
    """

    name: str
    scale_name: str
    version: str
    simulated: bool
    clocks: tuple[Clock, ...]
    pairs: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, str], ...]
    interval_s: float
    tau_weight_s: float
    weight_cap_n: float
    probation_s: float
    steer_time_constant_s: float
    steer_interval_s: float
    requalify_s: float
    silence_s: float
    policy: OrderPolicy | None
    envelope: SignedEnvelope | None
    leaps: LeapTable
    coverage: float
    refid: bytes
    reference_refids: tuple[tuple[str, bytes], ...] = field(default=())
    delays: tuple[Delay, ...] = field(default=())
    anchor_raw_ns: int = 0
    anchor_tai_ns: int = 0
    boot_id: str = ""
    observe: bool = False
    polls: tuple[tuple[str, float], ...] = field(default=())
    fold: int | None = FOLD
    algorithm: str = DEFAULT_LIVE_ALGORITHM
    algorithm_version: str = ""
    guarded: tuple[tuple[str, str], ...] = field(default=())
    operations: frozenset[str] = OPS_APPLIED
    doors: tuple[str, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    published: PublishedSettings | None = None
    follows_links: bool = True
    leap_need: int = leap_notices.NEED

    def __post_init__(self) -> None:
        if self.observe is not (self.policy is None) or self.observe is not (self.envelope is None):
            raise Misuse("a run has a policy and an envelope, or it observes and has neither")
        if not self.algorithm_version:
            object.__setattr__(self, "algorithm_version", VERSIONS.get(self.algorithm, ""))

    @property
    def policy_sentence(self) -> str:
        """Who may order a steer in this run, in one sentence."""
        return NOTHING_IS_STEERED if self.policy is None else self.policy.sentence


class FoldRejected(Rejected):
    """Records that another fold made: `version` of the program wrote them, its fold had number `fold`."""

    def __init__(self, version: str, fold: int) -> None:
        super().__init__(
            f"these records are of fold {fold}, truechimer {version} wrote them; this is truechimer {__version__} with "
            f"fold {FOLD}, which makes others: a program with fold {fold} repeats them"
        )
        self.version, self.fold = version, fold


class AlgorithmRejected(Rejected):
    """Records whose scale another version of its algorithm made: `version` of the program wrote them."""

    def __init__(self, version: str, algorithm: str, algorithm_version: str) -> None:
        ours = VERSIONS.get(algorithm)
        here = f"has {ours}" if ours else f"has no algorithm {algorithm!r} in service"
        theirs = algorithm_version or algorithm
        super().__init__(
            f"the scale of these records was made by {theirs}, truechimer {version} wrote them; this is truechimer "
            f"{__version__}, which {here} and makes another: a program with {theirs} repeats them"
        )
        self.version, self.algorithm, self.algorithm_version = version, algorithm, algorithm_version


def of_this_fold(start: RunStart) -> RunStart:
    """Return the start; raises `FoldRejected` where another fold makes what follows it, `AlgorithmRejected` where
    another version of the scale's algorithm does.
    """
    if start.fold not in {None, FOLD}:
        raise FoldRejected(start.version, start.fold or 0)
    if start.algorithm_version != VERSIONS.get(start.algorithm, "none"):
        raise AlgorithmRejected(start.version, start.algorithm, start.algorithm_version)
    return start


def configure(start: RunStart) -> tuple[LaboratoryConfig, LaboratoryState]:
    """Return the constants and the state before the first epoch."""
    register = Register(start.clocks, (), ()).with_links(start.pairs, operators=dict(start.operators))
    config, orders = constants(start), orders_at(start, None)
    limits = NOT_STEERED if orders is None else orders.limits
    noise = ScaleNoise(*live.noise(live_state.start(config.scale), config.scale, start.clocks))
    state = replace(begin(config, register, limits, noise), orders=orders)
    return config, replace(state, publications=_publications(config, state))


def merged(start: RunStart, register: Register) -> RunStart:
    """Return the start with the clocks and links of an earlier run first, in their order: an index never changes its
    meaning.

    A clock that the laboratory file no longer names stays in the register, without readings.
    """
    named = {clock.name: clock for clock in start.clocks}
    clocks = tuple(named.pop(clock.name, clock) for clock in register.clocks) + tuple(named.values())
    known = tuple((register.name_of(link.a), register.name_of(link.b)) for link in register.links)
    operators = {reference.name: reference.operator for reference in register.references} | dict(start.operators)
    pairs = known + tuple(pair for pair in start.pairs if pair not in known)
    return replace(start, clocks=clocks, pairs=pairs, operators=tuple(operators.items()))


def resume(start: RunStart, state: LaboratoryState, *, same_boot: bool) -> tuple[LaboratoryConfig, LaboratoryState]:
    """Carry a state on into a new run (`start` must be `merged` with the state's register).

    After a boot the raw counter has begun anew: host minus scale is learned again; where the host itself is the scale,
    its phase enters again from the selected links while the doors are unsynchronised (`reentering`). A new envelope
    takes the present rate as its reference. An observing run keeps envelope, rate and account of the last run in
    service, so that watching for a while opens no new account; and it knows the rate where that run did.
    """
    orders = orders_at(start, state.orders)
    config = ordering.over(constants(start), orders)
    limits = state.limits if config.observing or orders is None else orders.limits
    known = state.rate_known
    if config.observing:
        known = known or (state.coordination is not None and not state.reentering)
    register = Register(start.clocks, state.register.references, _links_of(start, state.register))
    register = register.with_links(start.pairs, operators=dict(start.operators))
    applied = state.applied
    renewed = isinstance(limits, Verified) and limits != state.limits
    if renewed and applied is not None:
        applied = Applied(applied.y, applied.since_ns, applied.y)
    scale = live_change.carried_on(state.scale, config.scale)
    state = replace(
        state,
        register=register,
        links=state.links.grown(len(register.links)),
        scale=scale,
        noise_of=scale.weight if scale is state.scale else state.noise_of,
        limits=limits,
        orders=orders,
        applied=applied,
        claims=state.claims + (SILENT,) * (len(register.outside) - len(state.claims)),
        rate_known=known,
        wander=(state.wander or holdover.begin()) if config.is_host_alone else None,
        departing=departing.grown(state.departing, len(start.clocks)),
        receivers=receiving.fitted(state.receivers, config.receivers),
        leap=leap_notices.carried_on(state.leap),
    )
    state = replace(state, publications=_publications(config, state))
    if not same_boot:
        host = register.host
        alone = host is not None and bool(config.scale.eligible[host])
        state = replace(
            state,
            host=None,
            host_doubt=None,
            utc=None if alone else state.utc,
            reentering=state.reentering or (alone and state.coordination is not None),
            rate_known=known and not alone,
        )
        if alone:
            state = replace(
                state,
                wander=None if state.wander is None else holdover.after_boot(state.wander),
                scale=live_state.start(config.scale),
                scale_index=0,
                claims=(SILENT,) * len(register.outside),
                links=LinkHistory.empty(len(register.links)),
                departing=None,
            )
    return config, state


def _publications(config: LaboratoryConfig, state: LaboratoryState) -> publications.Publications | None:
    """Return what a run begins with of published values."""
    if config.published is None:
        return None
    noise = publications.noises_of(state.scale, state.register.clocks)
    return publications.carried_on(state.publications, config.published, config.steering.interval_s, noise)


def _links_of(start: RunStart, register: Register) -> tuple[Link, ...]:
    """Return the register's links with reference indices moved up by the clocks that were added."""
    more, n = len(start.clocks) - register.n_clocks, register.n_clocks
    return tuple(Link(link.a + more * (link.a >= n), link.b + more * (link.b >= n)) for link in register.links)


def constants(start: RunStart) -> LaboratoryConfig:
    """Return the constants of a run; what orders have made of them is laid over (`ordering.over`)."""
    constants = live_state.parameters(
        start.clocks,
        algorithm=start.algorithm,
        tau_weight_s=start.tau_weight_s,
        weight_cap_n=start.weight_cap_n,
        probation_s=start.probation_s,
        interval_s=start.interval_s,
    )
    host = two_state_noise(
        next((clock for clock in start.clocks if clock.kind is ClockKind.HOST), Clock(name="host", kind=ClockKind.HOST))
    )
    return LaboratoryConfig(
        name=start.name,
        scale_name=start.scale_name,
        simulated=start.simulated,
        scale=constants,
        interval_ns=round(start.interval_s * 1e9),
        members=int(constants.eligible.sum()),
        pivot=next(
            (i for i, clock in enumerate(start.clocks) if clock.kind not in (ClockKind.HOST, ClockKind.LINK)), 0
        ),
        steering=SteeringParameters(time_constant_s=start.steer_time_constant_s, interval_s=start.steer_interval_s),
        host_noise=HostNoise(host.q1, host.q2, host.y_spread),
        leaps=start.leaps,
        leap_expires_ns=start.leaps.expires_instant.tai_fs // FS_PER_NS,
        requalify_s=start.requalify_s,
        silence_s=start.silence_s,
        coverage=start.coverage,
        refid=start.refid,
        reference_refids=dict(start.reference_refids),
        observing=start.observe,
        polls=dict(start.polls),
        is_host_alone=any(
            clock.kind is ClockKind.HOST and bool(alone)
            for clock, alone in zip(start.clocks, constants.eligible.tolist(), strict=True)
        ),
        doors=start.doors,
        receivers=start.receivers,
        published=start.published,
        follows_links=start.follows_links,
        leap_need=start.leap_need,
    )


def orders_at(start: RunStart, before: Orders | None) -> Orders | None:
    """Return the orders in force as a run begins: those of the records, and the envelope that the run brings."""
    if start.envelope is None or start.policy is None:
        return before
    orders = orders_in_force.with_operations(before or orders_in_force.begun(start.policy), start.operations)
    return orders_in_force.with_envelope(orders, start.envelope)


NOT_STEERED = Refused("observing", NOTHING_IS_STEERED)


def default_limits(
    clocks: tuple[Clock, ...], *, valid_from_ns: int, valid_until_ns: int, sequence: int
) -> SteeringLimits:
    """Return the limits that follow the best clock kind: atomic 2.3e-14 a change and 2 ns a day; else 1e-6 and 1 s a
    day: a host's crystal may change by 1e-6 per kelvin, and a room by 10 K in a day.
    """
    atomic = any(clock.kind.is_atomic for clock in clocks)
    per_change, per_day_s = (2.3e-14, 2e-9) if atomic else (1e-6, 1.0)
    days = (valid_until_ns - valid_from_ns) / 86_400e9
    return SteeringLimits(
        per_change=per_change,
        per_day_s=per_day_s,
        total_s=per_day_s * days / 2.0,
        valid_from_ns=valid_from_ns,
        valid_until_ns=valid_until_ns,
        sequence=sequence,
        coordination_start=True,
    )


_NOISE_UNITS = {item.name: item.metadata.get("unit", "1") for item in fields(NoiseModel)}
_SECONDS = (
    "interval_s",
    "tau_weight_s",
    "probation_s",
    "steer_time_constant_s",
    "steer_interval_s",
    "requalify_s",
    "silence_s",
)


def encode(start: RunStart) -> dict[str, Any]:
    """Return the body of the record `run-start`; of policy and envelope there is nothing where the run observes."""
    body: dict[str, Any] = {name: quantity(getattr(start, name), "s") for name in _SECONDS}
    if start.policy is None or start.envelope is None:
        body["observe"] = True
    else:
        body |= {
            "policy": start.policy.canonical().decode(),
            "envelope": ordering.envelope_body(start.envelope),
        }
    if start.operations != FIRST_APPLIED:
        body["operations"] = sorted(start.operations)
    if start.doors:
        body["doors"] = list(start.doors)
    if start.follows_links:
        body["follows_links"] = True
    if start.leap_need:
        body["leap_need"] = start.leap_need
    if start.receivers:
        body["receivers"] = [receiver_records.receiver_body(one) for one in start.receivers]
    if start.published is not None:
        body["published"] = publications.settings_body(start.published)
    if start.fold is not None:
        body |= {"fold": start.fold, "algorithm": start.algorithm, "algorithm_version": start.algorithm_version}
    return body | {
        "name": start.name,
        "scale_name": start.scale_name,
        "version": start.version,
        "simulated": start.simulated,
        "clocks": [_clock(clock) for clock in start.clocks],
        "pairs": [list(pair) for pair in start.pairs],
        "operators": [list(pair) for pair in start.operators],
        "polls": [[name, quantity(poll_s, "s")] for name, poll_s in start.polls],
        "weight_cap_n": quantity(start.weight_cap_n, "1"),
        "coverage": quantity(start.coverage, "1"),
        "refid": start.refid.hex(),
        "reference_refids": [[name, refid.hex()] for name, refid in start.reference_refids],
        "anchor_raw_ns": str(start.anchor_raw_ns),
        "anchor_tai_ns": str(start.anchor_tai_ns),
        "boot_id": start.boot_id,
        "guarded": [list(pair) for pair in start.guarded],
        "delays": [_delay(delay) for delay in start.delays],
        "leaps": {
            "entries": [[entry.mjd, entry.tai_minus_utc_s] for entry in start.leaps.entries],
            "expires": start.leaps.expires.isoformat(),
            "source": start.leaps.source,
        },
    }


def decode(body: dict[str, Any]) -> RunStart:
    """Read the record back; raises `RecordRejected` where it is not one."""
    try:
        observe = body.get("observe") is True
        fold = int(body["fold"]) if "fold" in body else None
        if not observe and "envelope_signatures" in body:  # the keys of before orders: nothing here can check them
            raise FoldRejected(str(body["version"]), fold or 0)
        return RunStart(
            **{name: number_of(body[name], "s") for name in _SECONDS},
            name=body["name"],
            scale_name=body["scale_name"],
            version=body["version"],
            simulated=body["simulated"],
            clocks=tuple(_clock_from(clock) for clock in body["clocks"]),
            pairs=tuple((a, b) for a, b in body["pairs"]),
            operators=tuple((a, b) for a, b in body["operators"]),
            weight_cap_n=number_of(body["weight_cap_n"], "1"),
            coverage=number_of(body["coverage"], "1"),
            refid=bytes.fromhex(body["refid"]),
            anchor_raw_ns=int(body["anchor_raw_ns"]),
            anchor_tai_ns=int(body["anchor_tai_ns"]),
            boot_id=body["boot_id"],
            delays=tuple(_delay_from(delay) for delay in body["delays"]),
            reference_refids=tuple((name, bytes.fromhex(refid)) for name, refid in body["reference_refids"]),
            polls=tuple((name, number_of(poll_s, "s")) for name, poll_s in body.get("polls", ())),
            fold=fold,
            algorithm=str(body.get("algorithm", "at1")),
            algorithm_version=str(body.get("algorithm_version", "")),
            guarded=tuple((str(name), str(digest)) for name, digest in body.get("guarded", ())),
            observe=observe,
            policy=None if observe else order_policy_from(body["policy"].encode()),
            envelope=None if observe else ordering.envelope_from(body["envelope"]),
            operations=frozenset(str(one) for one in body["operations"]) if "operations" in body else FIRST_APPLIED,
            doors=tuple(str(one) for one in body.get("doors", ())),
            follows_links=body.get("follows_links") is True,
            leap_need=int(body.get("leap_need", 0)),
            receivers=tuple(receiver_records.receiver_from(one) for one in body.get("receivers", ())),
            published=publications.settings_from(body["published"]) if "published" in body else None,
            leaps=LeapTable(
                tuple(LeapEntry(mjd, offset) for mjd, offset in body["leaps"]["entries"]),
                None,
                UtcLabel.parse(body["leaps"]["expires"]),
                body["leaps"]["source"],
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OrderPolicyRejected) as error:
        raise RecordRejected(body.get("seq"), f"not a run-start record ({error!r})") from None


def _clock(clock: Clock) -> dict[str, Any]:
    """Write one clock."""
    body: dict[str, Any] = {"name": clock.name, "kind": clock.kind.value}
    if clock.bipm_code is not None:
        body["bipm_code"] = clock.bipm_code
    noise = {
        name: quantity(value, unit)
        for name, unit in _NOISE_UNITS.items()
        if (value := getattr(clock.noise, name)) is not None
    }
    return body | ({"noise": noise} if noise else {})


def _delay(delay: Delay) -> dict[str, Any]:
    """Write one delay: readings in the log are at the reference plane, and this is what brought them there."""
    return {
        "clock": delay.clock,
        "delay_s": quantity(delay.delay_s, "s"),
        "u_s": quantity(delay.u_s, "s"),
        "calibration_id": delay.calibration_id,
    }


def _delay_from(body: dict[str, Any]) -> Delay:
    """Read one delay."""
    return Delay(
        clock=body["clock"],
        delay_s=number_of(body["delay_s"], "s"),
        u_s=number_of(body["u_s"], "s"),
        calibration_id=body["calibration_id"],
    )


def _clock_from(body: dict[str, Any]) -> Clock:
    """Read one clock."""
    noise = {name: number_of(text, _NOISE_UNITS[name]) for name, text in body.get("noise", {}).items()}
    return Clock(
        name=body["name"], kind=ClockKind(body["kind"]), bipm_code=body.get("bipm_code"), noise=NoiseModel(**noise)
    )
