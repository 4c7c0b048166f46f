"""Foreseen: what a laboratory of several clocks says of a holdover that would begin now.

It decides nothing, and no bound is made of it: the bound counts six sigma and what no statistics knows. It joins what
the scale has learned of its clocks (`steer.free_noise`) and what came from outside day by day (`steer.daily_values`),
or where no link is heard, what was published.
"""

from dataclasses import dataclass
from functools import lru_cache

from truechimer.laboratory import publications
from truechimer.laboratory.state import LaboratoryState
from truechimer.scale.bands_state import DRIFT_U2, START_NS
from truechimer.scale.state import ScaleState
from truechimer.steer import daily_values, first_passage, foresight, free_noise
from truechimer.steer.delayed_filter import FreeNoise
from truechimer.steer.foresight import Foresight, Value
from truechimer.steer.steering_order import Coordination

DAY_S = 86_400.0
HORIZONS_S = (DAY_S, 10.0 * DAY_S, 30.0 * DAY_S)
LIMITS_S = (1e-8, 3e-8, 1e-7, 1e-6)
LEAST_DAYS = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """How long a limit is kept before it is passed for the first time: `for_s` with 99 in 100 (none is longer than
    `first_passage.LONGEST_S`), `likely_for_s` as likely as not.
    """

    limit_s: float
    for_s: float
    likely_for_s: float


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A holdover from the last epoch on. `days` learned from; `u_s`: one sigma of UTC minus the scale after each of
    `HORIZONS_S`; `kept`: of each limit how long |UTC(k) - UTC| stays within it at the rate that is held.
    """

    days: int
    u_s: tuple[float, ...]
    kept: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a foresight follows from: values of UTC by day, what is expected of the scale's noise, of how many clocks it
    is, and the way of UTC(k) from `now_ns` on. Plain values: it may be worked out aside, while the state goes on.
    """

    values: tuple[Value, ...]
    noise: FreeNoise
    is_ensemble: bool
    now_ns: int
    coordination: Coordination
    limits_s: tuple[float, ...]


def asked(state: LaboratoryState, coordination: Coordination, *, limits_s: tuple[float, ...] = ()) -> Asked | None:
    """Return what to foresee; None for a scale of one clock (`steer.holdover` knows it) and before `LEAST_DAYS`."""
    values = daily_values.values(state.daily)
    if len(values) < LEAST_DAYS and state.publications is not None:
        values = publications.believed(state.publications)
    if state.wander is not None or len(values) < LEAST_DAYS:
        return None
    clocks = state.register.n_clocks - (state.register.host is not None)
    if clocks > 1 and not isinstance(state.scale, ScaleState):
        values = daily_values.settled(values, begun_ns=int(state.scale.learner.common_i[START_NS]))
    return Asked(values, expected(state), clocks > 1, state.epoch_ns, coordination, limits_s)


def worked_out(question: Asked) -> Foreseen | None:
    """Return what is foreseen; None where the values tell nothing. Seconds of work where there are many days."""
    known = _learned(question.values, question.noise, question.is_ensemble)
    if known is None:
        return None
    now_ns, coordination = question.now_ns, question.coordination
    passages = first_passage.passages(
        known,
        from_ns=now_ns,
        x_utck_minus_scale_s=coordination.at(now_ns),
        y_utck_minus_scale=coordination.y_steer,
    )
    return Foreseen(
        len(question.values),
        tuple([foresight.ahead(known, now_ns + round(span_s * 1e9)).u_s for span_s in HORIZONS_S]),
        tuple(
            [
                Kept(
                    limit_s,
                    first_passage.stated_s(passages, limit_s),
                    first_passage.kept_s(passages, limit_s, chance=first_passage.LIKELY_CHANCE),
                )
                for limit_s in sorted({*LIMITS_S, *question.limits_s})
            ]
        ),
    )


def foresee(state: LaboratoryState, coordination: Coordination, *, limits_s: tuple[float, ...] = ()) -> Foreseen | None:
    """Return what is foreseen of a holdover that begins now; None where `asked` or `worked_out` has nothing to say."""
    question = asked(state, coordination, limits_s=limits_s)
    return None if question is None else worked_out(question)


@lru_cache(maxsize=4)
def _learned(values: tuple[Value, ...], noise: FreeNoise, is_ensemble: bool) -> Foresight | None:  # noqa: FBT001
    return foresight.foresee(values, noise, foresight.ENSEMBLE if is_ensemble else foresight.ALONE)


def expected(state: LaboratoryState) -> FreeNoise:
    """Return what is expected of the scale's noise with its present weights."""
    clocks, scale = state.register.clocks, state.scale
    carrying = [clock for clock, weight in zip(clocks, scale.weight.tolist(), strict=True) if weight]
    if isinstance(scale, ScaleState) or len(carrying) < 2:
        # one clock alone learns nothing of itself
        return free_noise.of_kinds(carrying or clocks)
    learner = scale.learner
    return free_noise.of_ensemble(
        clocks,
        learner.noise.tolist(),
        weight=scale.weight.tolist(),
        u_drift=[max(each, 0.0) ** 0.5 for each in learner.clock_f[:, DRIFT_U2].tolist()],
        age_s=(state.epoch_ns - int(learner.common_i[START_NS])) / 1e9,
    )
