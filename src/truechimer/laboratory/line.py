"""The line: one epoch of readings through the whole laboratory, as one fold.

    compare -> scale -> watch -> outside -> steer -> realize -> bound -> served time -> records

`step(state, EpochInput, config) -> (state, EpochOutcome)`. It reads no clock, draws no random number and touches no
disk: the demo, `up`, replay and drills only feed it. The order of the calls below is the walk
`docs/walks/01-reading-to-reply.md`, and a test holds the two together.

Law of the file: what decides goes through values (`Selection`, `SteeringOrder`, `Verified`), and each decision leaves
one record.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.compare import cleaning, closure, pivot
from truechimer.compare.claims import Claim
from truechimer.compare.pivot import AgainstPivot
from truechimer.compare.selection import Selection
from truechimer.evidence.record import Record
from truechimer.laboratory import (
    bounding,
    departing,
    late_turn,
    leap_notices,
    observing,
    ordered_rate,
    ordering,
    outside,
    own_past,
    publications,
    receiver_records,
    receiving,
    records,
    service,
    steering,
    timed,
)
from truechimer.laboratory.epoch_input import EpochInput
from truechimer.laboratory.ordered_rate import Bent
from truechimer.laboratory.orders import limits_at, scale_frames
from truechimer.laboratory.service import Found
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.laboratory.steering import Steered
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.scale import at1, live
from truechimer.scale.live_state import LiveState
from truechimer.scale.state import Membership, ScaleStep
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.steer import daily_values, holdover, realization, utc_prediction
from truechimer.steer.bound import Bound, bound
from truechimer.steer.realization import Followed, Realization
from truechimer.steer.steering_order import Coordination, SteeringOrder
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import ScaleNoise
from truechimer.watch import departures, expiry, integrity, silence, standing, steering_room
from truechimer.watch.thresholds import in_force


@dataclass(frozen=True, slots=True)
class EpochOutcome:
    """What an epoch gave. `utc`: UTC minus the scale at the epoch; `bound`, `realization` and `page` are None where
    they do not exist (no coordination yet, host not read, epoch in the past). `coordination`: UTC(k) minus the scale;
    while observing, UTC minus the scale as predicted, which no order made.
    """

    step: ScaleStep
    claims: tuple[Claim, ...]
    selection: Selection
    service: ServiceState
    missing: tuple[str, ...]
    utc: TwoState | None
    coordination: Coordination | None
    order: SteeringOrder | None
    realization: Realization | None
    bound: Bound | None
    page: ClockPage | None
    alerts: tuple[Alert, ...]
    records: tuple[Record, ...]


def step(state: LaboratoryState, given: EpochInput, config: LaboratoryConfig) -> tuple[LaboratoryState, EpochOutcome]:
    """Take one epoch in. Raises `scale.at1.ScaleMisuse` for an epoch that is not after the last one."""
    epoch_ns, register, n = given.readings.epoch_tai_ns, state.register, state.register.n_clocks
    if epoch_ns <= state.epoch_ns:
        raise at1.ScaleMisuse(state.epoch_ns, epoch_ns)
    interval_s = config.interval_ns / 1e9
    held = () if state.orders is None or config.observing else state.orders.timed
    limits = state.limits if state.orders is None or config.observing else limits_at(state.orders, epoch_ns)
    set_by_order = timed.values(held, "monitor-threshold", epoch_ns) if held else {}
    # compare: is each reading what its link lets expect, and what is each clock minus the pivot?
    marks, links = cleaning.classify(given.readings, state.links)
    found = pivot.against_pivot(given.readings, marks, register, preferred=config.pivot)
    loops = closure.check(given.readings, found, register, sigmas=in_force(set_by_order, "closure"))
    # scale: what is each clock minus the ensemble, and which clock is off?
    x_clock_minus_pivot_s = found.x_node_minus_pivot_s[:n]
    if found.alone and config.members > 1:
        # a pivot that no other clock is compared with at this epoch says nothing of the scale
        x_clock_minus_pivot_s = np.full(n, np.nan)
    elif state.orders is not None and state.orders.out:
        # out by order: not heard, as if it were silent; its links stay, for the pivot and the closures
        x_clock_minus_pivot_s = ordering.without(x_clock_minus_pivot_s, state.orders, register)
    # a delay that was changed by order is the clock's, not the scale's: the scale goes on in the frame it has learned
    frames = scale_frames(state.orders, register)
    if frames is not None:
        x_clock_minus_pivot_s = x_clock_minus_pivot_s - (frames - frames[found.pivot])
    index = (epoch_ns + config.interval_ns // 2) // config.interval_ns
    scale, scale_step = live.step(
        state.scale,
        ordering.detecting(config.scale, set_by_order),
        epoch_tai_ns=epoch_ns,
        x_clock_minus_pivot_s=x_clock_minus_pivot_s,
        u2_s2=found.u2_s2[:n],
        due=index > state.scale_index,
        ceilings=timed.ceilings(held, register, epoch_ns),
    )
    x_read_minus_scale_s = x_clock_minus_pivot_s + scale_step.x_pivot_minus_scale_s
    if frames is not None:
        scale_step = replace(
            scale_step,
            x_clock_minus_scale_s=scale_step.x_clock_minus_scale_s + frames,
            x_pivot_minus_scale_s=scale_step.x_pivot_minus_scale_s + float(frames[found.pivot]),
        )
    # watch
    alerts = integrity.check_step(state.scale.membership, scale_step, register, divided_before=state.divided)
    if loops:
        alerts += integrity.check_loops(loops, state.open_loops, register, epoch_tai_ns=epoch_ns)
    # outside: who says what of UTC, who is believed, and what is UTC minus the scale?
    noise, noise_of = state.noise, state.noise_of
    if scale.weight is not noise_of:
        noise, noise_of = ScaleNoise(*live.noise(scale, config.scale, register.clocks)), scale.weight
    judged = receiving.hear(
        state.receivers,
        config.receivers,
        given.evidence,
        readings=given.readings,
        x_clock_minus_scale_s=scale_step.x_clock_minus_scale_s,
        rate_of_clock=scale.rate_of,
        register=register,
        rate=_rate(state),
        leaps=config.leaps,
    )
    pasts, gone = state.own_pasts, own_past.NOBODY
    if config.follows_links and state.wander is None:
        pasts, gone = own_past.hear(
            state.own_pasts,
            readings=judged.readings,
            marks=marks,
            x_clock_minus_scale_s=scale_step.x_clock_minus_scale_s,
            rate_of_clock=scale.rate_of,
            register=register,
            rate=_rate(state),
            orders=state.orders,
        )
    late = late_turn.standing(state.publications, config.published, observing=config.observing)
    by_values = late is not None and late.decides
    of_links = state.publications.links if by_values and state.publications is not None else state.utc
    heard = outside.hear(
        state.claims,
        of_links,
        silenced=judged.silenced,
        gone=gone,
        readings=judged.readings,
        marks=marks,
        step=scale_step,
        scale=scale,
        register=register,
        noise=noise,
        wander=state.wander,
        interval_s=interval_s,
        requalify_s=config.requalify_s,
        polls=config.polls,
        started=state.rate_known if config.observing else state.coordination is not None and not state.reentering,
    )
    alerts += integrity.check_sources(
        state.claims, heard.claims, heard.selection, state.selection, register, epoch_tai_ns=epoch_ns
    )
    away, spoken = departing.hear(
        departing.begin(n) if state.departing is None else state.departing,
        given if judged.readings is given.readings else replace(given, readings=judged.readings),
        marks,
        scale_step,
        scale,
        register=register,
        limit_s=in_force(set_by_order, "departure"),
    )
    alerts += tuple(
        one for k, said_of in spoken if (one := departures.alert(said_of, k, register, epoch_tai_ns=epoch_ns))
    )
    in_use = noise if heard.wander is None else holdover.noise_of(heard.wander, noise)
    known = state.publications
    if known is not None and config.published is not None:
        # late values: the clocks are sampled, the links averaged, and each hour UTC minus the scale is forecast anew
        known = late_turn.turned(
            known,
            config.published.parameters(config.steering.interval_s),
            epoch_ns=epoch_ns,
            step=scale_step,
            x_read_minus_scale_s=x_read_minus_scale_s,
            combined=heard.combined,
            links=heard.utc,
        )
        late = late_turn.standing(known, config.published, observing=config.observing)
        by_values = late is not None and late.decides
    utc = known.utc if by_values and known is not None else heard.utc
    utc_now = None if utc is None else utc_prediction.ahead(utc, in_use, epoch_tai_ns=epoch_ns)
    # steer: in frequency only, inside the signed envelope
    followed = _follow_host(state, scale_step, found, register.host, config)
    host = followed.host if followed is not None else None
    started = state.rate_known if config.observing else state.coordination is not None and not state.reentering
    facts = Found(
        epoch_ns=epoch_ns,
        interval_s=interval_s,
        host_seen=host is not None,
        claims=heard.claims,
        selection=heard.selection,
        utc=utc,
        started=started,
        envelope_in_force=steering.in_force(limits, epoch_ns),
        leap_expired=epoch_ns >= config.leap_expires_ns,
        divided=scale_step.divided,
        scale_ns=scale.epoch_ns,
        observing=config.observing,
        poll_s=outside.poll_s(heard.selection, register, config.polls),
        late=late,
    )
    bent = Bent(state.coordination, state.by_order)
    following, doubt = service.is_following(facts), 0.0
    spread_s = 0.0 if by_values or (started and not config.observing) else outside.spread_s(heard, utc_now)
    if config.observing:
        steered = Steered(state.coordination, state.applied, state.next_steer_ns)
        doubt = observing.doubt_of_rate(heard.utc, spread_s=spread_s, epoch_ns=epoch_ns)
        paper = observing.on_paper(
            utc_now, heard.utc, known=started, following=following, doubt=doubt, epoch_ns=epoch_ns
        )
        started = started or paper is not None
    else:
        bent = ordered_rate.carried(
            state.coordination, state.by_order, held, epoch_ns=epoch_ns, interval_ns=config.interval_ns
        )
        own = ordered_rate.apart(bent)
        if by_values and known is not None and config.published is not None:
            known, steered = late_turn.steer(
                known,
                own,
                state.applied,
                state.next_steer_ns,
                limits=limits,
                parameters=config.published.parameters(config.steering.interval_s),
                following=following,
                epoch_ns=epoch_ns,
            )
        else:
            steered = steering.steer(
                own,
                state.applied,
                state.next_steer_ns,
                now=utc_now,
                utc=heard.utc,
                limits=limits,
                parameters=config.steering,
                following=following,
                alone=heard.wander is not None,
                reentering=state.reentering,
                noise=in_use,
                spread_s=spread_s,
                epoch_ns=epoch_ns,
            )
        steered = ordered_rate.together(steered, own, bent)
        paper = steered.coordination
        started = paper is not None and not (state.reentering and not steered.started)
    if started is not facts.started:
        facts = replace(facts, started=started)
    leap = leap_notices.turned(
        state.leap,
        given.leap_voices,
        leap_notices.Around(register, heard.claims, paper, host, config.leaps, frozenset(config.polls)),
        epoch_ns=epoch_ns,
        need=config.leap_need,
        silence_s=config.silence_s,
    )
    # realize UTC(k) for the host, bound it, and serve it
    real, limit, page = None, None, None
    word = service.decide(facts)
    is_alone = register.host is not None and bool(config.scale.eligible[register.host])
    is_placed = host is not None and (host.n >= realization.PLACED_AFTER or is_alone)
    if paper is not None and utc is not None and utc_now is not None and host is not None and is_placed:
        real = realization.realize(host, paper, config.host_noise, epoch_ns=epoch_ns)
        variances = () if heard.wander is None else holdover.variances_s2(heard.wander, noise)
        limit = bound(
            bounding.terms(
                utc,
                utc_now,
                paper,
                real,
                scale_step,
                members=config.members,
                wander=variances,
                until_s=config.silence_s,
                rate_doubt=doubt,
                host_off_s=0.0 if followed is None else followed.off_s,
                leap_doubt_s=leap.doubt_s,
            )
        )
        if given.raw_ns is not None:
            page = service.clock_page(
                real,
                limit,
                growth=bounding.growth(
                    utc, utc_now, paper, real, wander=variances, until_s=config.silence_s, rate_doubt=doubt
                ),
                raw_ns=given.raw_ns,
                state=word,
                leaps=config.leaps,
                silence_s=config.silence_s,
                simulated=config.simulated,
                coverage=config.coverage,
                refid=service.refid_of(register, heard.selection, config.reference_refids, config.refid),
                stratum=given.stratum,
            )
    lasting = _standing(limits, config, epoch_ns, state.said, set_by_order)
    lasting += _silence(marks, scale, state, config, epoch_ns, in_force(set_by_order, "silence"))
    if config.receivers or state.receivers:
        lasting += receiving.standing(judged, config.receivers, state.said, epoch_ns)
    if leap.known.votes or state.said:
        lasting += leap_notices.standing(leap, leaps=config.leaps, epoch_ns=epoch_ns)
    if steered.applied is not None and isinstance(limits, Verified) and not config.observing:
        share = in_force(set_by_order, "steering-room")
        at_limit = steering_room.at_limit(steered.applied, limits.value, epoch_tai_ns=epoch_ns, share=share)
        lasting += (at_limit,)
    if known is not None:
        lasting += late_turn.lasting(known, state.said, epoch_ns=epoch_ns)
    standing_alerts, said = standing.said_once(state.said, lasting)
    alerts += standing_alerts + _surprises(heard.surprise, followed is not None and followed.moved, steered, epoch_ns)
    alerts += service.changed(facts, state.service, word)
    alerts += timed.ended(held, state.epoch_ns, epoch_ns) if held else ()
    # record every decision
    bodies = [records.readings(given)]
    if scale_step.due:
        bodies.append(records.scale_step(scale_step))
    for k, quality in judged.news:
        bodies.append(receiver_records.quality_body(config.receivers[k], quality, epoch_ns))
    if heard.combined is not None or heard.selection.state is not state.selection:
        bodies.append(records.selected(heard, epoch_ns))
    if bent.order is not None:
        bodies.append(records.bent(bent.order, epoch_ns))
    if (decision := records.steered(steered, epoch_ns, bent.by_order)) is not None:
        bodies.append(decision)
    if page is not None and limit is not None:
        bodies.append(records.served(page, limit))
    if word is not state.service:
        bodies.append(records.state(state.service, word, epoch_ns))
    bodies.extend(records.alert(alert) for alert in alerts)
    sealed, chain = records.sealed(bodies, state.chain)
    after = LaboratoryState(
        register=register,
        chain=chain,
        links=links,
        scale=scale,
        scale_index=index if scale_step.due else state.scale_index,
        noise=noise,
        noise_of=noise_of,
        claims=heard.claims,
        selection=heard.selection.state,
        utc=utc,
        limits=state.limits,
        coordination=steered.coordination,
        applied=steered.applied,
        next_steer_ns=steered.next_steer_ns,
        host=host,
        host_doubt=None if followed is None else followed.doubt,
        service=word,
        divided=live.is_divided(scale, scale_step),
        open_loops=frozenset(loop.link for loop in loops) if loops else _NONE_OPEN,
        said=said,
        epoch_ns=epoch_ns,
        reentering=state.reentering and not steered.started,
        rate_known=started if config.observing else state.rate_known,
        wander=heard.wander,
        daily=_daily(state, heard, epoch_ns),
        orders=state.orders,
        by_order=bent.by_order,
        departing=away if register.outside else state.departing,
        receivers=judged.receivers,
        publications=None if known is None else publications.followed(known, steered.coordination),
        own_pasts=pasts,
        leap=leap.known,
    )
    return after, EpochOutcome(
        scale_step,
        heard.claims,
        heard.selection,
        word,
        service.lacking(facts, word),
        utc_now,
        paper,
        steered.order,
        real,
        limit,
        page,
        alerts,
        sealed,
    )


_NONE_OPEN: frozenset[int] = frozenset()
_FROZEN = int(cleaning.Because.FROZEN)
_ABSENT = int(Membership.ABSENT)


def _follow_host(
    state: LaboratoryState, scale_step: ScaleStep, found: AgainstPivot, host: int | None, config: LaboratoryConfig
) -> Followed | None:
    """Return host minus scale after this epoch, None before its first reading; where the host is the scale itself, it
    is zero by definition.
    """
    before, epoch_ns = state.host, scale_step.epoch_tai_ns
    unchanged = None if before is None else Followed(before, state.host_doubt)
    if host is None:
        return unchanged
    if config.scale.eligible[host]:
        return Followed(TwoState(epoch_ns, 0.0, 0.0, 0.0, 0.0, 0.0, 1))
    x = float(found.x_node_minus_pivot_s[host]) + scale_step.x_pivot_minus_scale_s
    if x != x:  # noqa: PLR0124 - not measured at this epoch
        return unchanged
    u_s = sqrt(float(found.u2_s2[host]) + scale_step.u_center_s * scale_step.u_center_s + 1e-24)
    return realization.follow(
        before, state.host_doubt, config.host_noise, epoch_ns=epoch_ns, x_host_minus_scale_s=x, u_s=u_s
    )


def _rate(state: LaboratoryState) -> receiving.Rate | None:
    """Return how UTC minus the scale goes on as far as was known before this epoch; of a scale of one nothing: its rate
    is what the links say it is.
    """
    if state.utc is None or state.wander is not None:
        return None
    now = state.utc.state
    host_off_s = None if state.host is None else now.x_s - state.host.x_s
    return receiving.Rate(now.y, now.u_y * state.utc.inflation, host_off_s)


def _daily(state: LaboratoryState, heard: outside.Outside, epoch_ns: int) -> daily_values.DailyValues:
    """Return the outside values by day after this epoch; what moved the scale by more than noise ends what they say."""
    if heard.combined is None or heard.wander is not None:
        return state.daily
    before = daily_values.NOTHING if heard.surprise else state.daily
    value = heard.combined
    return daily_values.heard(before, epoch_ns=epoch_ns, x_s=value.x_utc_minus_scale_s, u_s=value.u_s)


def _standing(
    limits: Verified[SteeringLimits] | Refused,
    config: LaboratoryConfig,
    epoch_ns: int,
    said: frozenset[str],
    set_by_order: dict[str, float],
) -> tuple[standing.Standing, ...]:
    """Return the conditions that hold for days; none far from any expiry. An envelope expires only where it is used."""
    leap_ns = round(in_force(set_by_order, "leap-table-expiry") * 1e9)
    if config.observing:
        return expiry.leap_table(config.leap_expires_ns, epoch_tai_ns=epoch_ns)
    envelope_ns = round(in_force(set_by_order, "envelope-expiry") * 1e9)
    envelope_until_ns = limits.value.valid_until_ns if isinstance(limits, Verified) else 0
    nearest = min(config.leap_expires_ns - leap_ns, envelope_until_ns - envelope_ns)
    if epoch_ns < nearest and not said and isinstance(limits, Verified):
        return ()
    leap = expiry.leap_table(config.leap_expires_ns, epoch_tai_ns=epoch_ns, warning_ns=leap_ns)
    return leap + expiry.envelope(envelope_until_ns, epoch_tai_ns=epoch_ns, warning_ns=envelope_ns)


def _silence(  # noqa: PLR0917 - the values of one epoch
    marks: cleaning.Marks,
    scale: LiveState,
    state: LaboratoryState,
    config: LaboratoryConfig,
    epoch_ns: int,
    intervals: float,
) -> tuple[standing.Standing, ...]:
    """Return who stands still: frozen links, members silent for so many intervals, a scale that nobody feeds."""
    patience_ns = round(intervals * config.interval_ns)
    because = marks.because.tolist()
    frozen = [j for j, reason in enumerate(because) if reason == _FROZEN] if _FROZEN in because else []
    silent: list[int] = []
    if config.members > 1 and min(scale.last_ns.tolist()) < epoch_ns - patience_ns:
        was_heard = (scale.membership != _ABSENT) & config.scale.eligible
        silent = np.flatnonzero(was_heard & (scale.last_ns < epoch_ns - patience_ns)).tolist()
    is_empty = config.members > 1 and 0 < scale.epoch_ns < epoch_ns - patience_ns
    if not (frozen or silent or is_empty or state.said):
        return ()
    return silence.conditions(
        frozen, silent, is_empty=is_empty, said=state.said, register=state.register, epoch_tai_ns=epoch_ns
    )


def _surprises(outside_moved: bool, host_moved: bool, steered: Steered, epoch_ns: int) -> tuple[Alert, ...]:  # noqa: FBT001
    """Return the alerts of what no model explains, and of a refused steer."""
    alerts = []
    if outside_moved:
        says = "all sources of UTC agree on what the scale did not expect; the prediction is opened to them"
        alerts.append(
            Alert(
                AlertKind.SCALE_OFF_UTC,
                "steer",
                "scale",
                AlertSeverity.CRITICAL,
                says,
                (),
                epoch_ns,
                "look for what moved the clocks together",
            )
        )
    if host_moved:
        says = "the host's counter left its own prediction against the scale"
        alerts.append(
            Alert(
                AlertKind.HOST_OSCILLATOR,
                "steer",
                "host",
                AlertSeverity.WARNING,
                says,
                (),
                epoch_ns,
                "look at the host's temperature and load",
            )
        )
    if steered.refused is not None:
        says = f"steer refused: {steered.refused.says}"
        alerts.append(
            Alert(
                AlertKind.STEER_REFUSED,
                "quorum",
                "steering",
                AlertSeverity.CRITICAL,
                says,
                (steered.refused.reason,),
                epoch_ns,
                "have the order signed, or a new envelope",
            )
        )
    return tuple(alerts)
