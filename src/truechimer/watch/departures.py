"""Departures: what a source of UTC shows of the scale, in words for the people who steer it.

It sees a statement of `scale.departure` and returns an alert; it judges no clock and changes nothing.
"""

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.scale.departure import Aside, Departure, Said

UNUSUAL = 3.0
"""A departure of more than so many sigma of what the clocks let expect is a warning without any suspect."""
SHOWN_SUSPECTS = 3
DAY_S = 86_400.0
_STEER = "steer by it, or wait: the prediction of UTC takes it in by itself"
_SUSPECT = "compare the suspect with another laboratory or with its own kind over the next weeks; have it out by order"


def alert(said: Said, link: int, register: Register, *, epoch_tai_ns: int) -> Alert | None:
    """Return the alert of a statement about a link to UTC (index among `register.outside`), None where none is due."""
    name = register.link_name(register.outside[link].link)
    if isinstance(said, Aside):
        says = f"a value of {name} is {said.x_off_s:+.3g} s off its own past; it says nothing of the scale"
        if said.begins_anew:
            says = f"{name} keeps {said.x_off_s:+.3g} s off its own past; the scale is compared with it anew from here"
        do_next = "look at the reference, its receiver and its delays"
        severity = AlertSeverity.WARNING
        return Alert(AlertKind.REFERENCE_OFF, "compare", name, severity, says, (), epoch_tai_ns, do_next)
    if not isinstance(said, Departure):
        return None
    size_s, ranked = said.x_scale_minus_predicted_s, said.ranking()[:SHOWN_SUSPECTS]
    shares = ", ".join(f"{register.clocks[i].name} {100.0 * share:.0f} %" for i, share in ranked)
    says = f"the scale departs from {name} by {size_s:+.3g} s in {said.over_s / DAY_S:.0f} d"
    if said.suspect >= 0:
        says += f"; suspect: {shares}"
    because = (
        f"one sigma of the measurement {said.u_s:.2g} s, of what these clocks let expect {said.allowed_s:.2g} s",
        f"value of {said.epoch_ns} ns TAI, predicted from the {said.base_s / DAY_S:.0f} d before",
        f"likeliest: {shares or 'none'}",
    )
    is_loud = said.suspect >= 0 or abs(size_s) > UNUSUAL * said.allowed_s
    severity = AlertSeverity.WARNING if is_loud else AlertSeverity.NOTICE
    do_next = _SUSPECT if said.suspect >= 0 else _STEER
    return Alert(AlertKind.SCALE_DEPARTS, "scale", "scale", severity, says, because, epoch_tai_ns, do_next)
