"""The records of one epoch: what came in, what was decided, what was served; one kind per decision, in the order of the
line.

It decides nothing and seals by `evidence.record`. What each kind says stands in `evidence.kinds`; `run-start`,
`register` and `order` are made beside the fold (`laboratory.run_start`, `ordering`).
"""

from typing import Any

from truechimer.alerts import Alert
from truechimer.evidence.record import Chain, Record, quantities, quantity, repeated, seal
from truechimer.laboratory import leap_notices, receiver_records
from truechimer.laboratory.epoch_input import EpochInput
from truechimer.laboratory.ordered_rate import OrderedRate
from truechimer.laboratory.outside import Outside
from truechimer.laboratory.steering import Steered
from truechimer.scale.state import ScaleStep
from truechimer.serve.clock_page import ClockPage, ServiceState
from truechimer.steer.bound import Bound
from truechimer.steer.steering_order import SteeringOrder

Body = tuple[str, dict[str, Any]]


def readings(given: EpochInput) -> Body:
    """What came in: null where a link gave nothing; limits and ages only where there are any."""
    values = given.readings
    body: dict[str, Any] = {
        "epoch_tai_ns": str(values.epoch_tai_ns),
        "x_a_minus_b_s": quantities(values.x_a_minus_b_s.tolist(), "s"),
        "u_s": repeated(values.u_s.tobytes(), "s"),
    }
    if any(values.limit_s.tolist()):
        body["limit_s"] = repeated(values.limit_s.tobytes(), "s")
    if any(values.age_s.tolist()):
        body["age_s"] = quantities(values.age_s.tolist(), "s")
    if given.late:
        body["late"] = [
            [one.link, str(one.epoch_tai_ns), quantity(one.x_a_minus_b_s, "s"), quantity(one.u_s, "s")]
            for one in given.late
        ]
    if given.evidence:
        body["evidence"] = [receiver_records.evidence_body(one) for one in given.evidence]
    if given.leap_voices is not None:
        body["leap_voices"] = [leap_notices.voice_body(one) for one in given.leap_voices]
    if given.raw_ns is not None:
        body["raw_ns"] = str(given.raw_ns)
    if given.stratum != 1:
        body["stratum"] = given.stratum
    return "readings", body


def scale_step(step: ScaleStep) -> Body:
    """The scale: every clock minus it, weights, membership."""
    return "scale-step", {
        "epoch_tai_ns": str(step.epoch_tai_ns),
        "x_clock_minus_scale_s": quantities(step.x_clock_minus_scale_s.tolist(), "s"),
        "weight": repeated(step.weight.tobytes(), "1"),
        "membership": step.membership.tolist(),
        "detection_floor_s": quantity(step.detection_floor_s, "s"),
        "divided": step.divided,
    }


def selected(outside: Outside, epoch_ns: int) -> Body:
    """The vote on UTC, the value taken in and the prediction after it."""
    body: dict[str, Any] = {
        "epoch_tai_ns": str(epoch_ns),
        "state": outside.selection.state.value,
        "selected": list(outside.selection.selected),
        "outvoted": list(outside.selection.outvoted),
    }
    if outside.combined is not None and outside.utc is not None:
        combined, utc = outside.combined, outside.utc
        body |= {
            "x_utc_minus_scale_s": quantity(combined.x_utc_minus_scale_s, "s"),
            "u_s": quantity(combined.u_s, "s"),
            "limit_s": quantity(combined.limit_s, "s"),
            "predicted_x_s": quantity(utc.state.x_s, "s"),
            "predicted_y": quantity(utc.state.y, "1"),
            "predicted_u_s": quantity(utc.u_outside_s, "s"),
        }
    return "selection", body


def bent(order: SteeringOrder, epoch_ns: int) -> Body:
    """What signed orders to steer by a rate have changed: the rate of UTC(k) minus the scale with all that they add."""
    return "steer", {
        "epoch_tai_ns": str(epoch_ns),
        "y_steer": quantity(order.y_steer, "1"),
        "valid_from_tai_ns": str(order.valid_from_ns),
        "valid_until_tai_ns": str(order.valid_until_ns),
        "because": order.because,
        "by": "order",
    }


def steered(done: Steered, epoch_ns: int, by_order: OrderedRate | None = None) -> Body | None:
    """Coordination-start, an order applied, or an order refused; None where nothing was decided. `by_order`: what
    signed orders add to the rate that is stated here.
    """
    if done.coordination is not None and done.started:
        return "coordination-start", {
            "epoch_tai_ns": str(epoch_ns),
            "x_utck_minus_scale_s": quantity(done.coordination.x_utck_minus_scale_s, "s"),
            "y_steer": quantity(done.coordination.y_steer, "1"),
        }
    if done.order is None:
        return None
    body: dict[str, Any] = {
        "epoch_tai_ns": str(epoch_ns),
        "y_steer": quantity(done.order.y_steer, "1"),
        "valid_until_tai_ns": str(done.order.valid_until_ns),
        "because": done.order.because,
    }
    if by_order is not None:
        body["y_by_order"] = quantity(by_order.y, "1")
    if done.refused is not None:
        body |= {"refused": done.refused.reason, "says": done.refused.says}
    return "steer", body


def served(page: ClockPage, limit: Bound) -> Body:
    """What the doors were given: the line over the raw counter, and the bound with each term."""
    return "served-time", {
        "anchor_raw_ns": str(page.anchor_raw_ns),
        "anchor_tai_fs": str(page.anchor_tai_fs),
        "rate": quantity(page.rate, "1"),
        "state": page.state.value,
        "bound_s": quantity(page.bound_s, "s"),
        "bound_growth": quantity(page.bound_growth, "1"),
        "u_s": quantity(page.u_s, "s"),
        "terms": {name: quantity(value, "s") for name, value in limit.terms.as_dict().items()},
    }


def alert(said: Alert) -> Body:
    """An alert, as it was said."""
    return "alert", {
        "alert": said.kind.value,
        "component": said.component,
        "subject": said.subject,
        "severity": said.severity.value,
        "says": said.says,
        "because": list(said.because),
        "epoch_tai_ns": str(said.seen_at_tai_ns),
        "do_next": said.do_next,
    }


def state(before: ServiceState, after: ServiceState, epoch_ns: int) -> Body:
    """A change of the state word."""
    return "state", {"epoch_tai_ns": str(epoch_ns), "before": before.value, "after": after.value}


def sealed(bodies: list[Body], chain: Chain) -> tuple[tuple[Record, ...], Chain]:
    """Seal the bodies of one epoch in their order."""
    out = []
    for kind, body in bodies:
        one, chain = seal(kind, body, chain)
        out.append(one)
    return tuple(out), chain
