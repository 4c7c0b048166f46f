"""Delays: from the connector where a signal was measured to the laboratory's reference plane.

It knows no instrument. A pulse that arrives late makes its clock look behind: measured x = true x - delay. So the
reading at the reference plane is measured + delay_a - delay_b (ITU-R TF.1153 and the BIPM's guidelines use the same
sense: delays are positive and added back).
"""

from dataclasses import replace

from truechimer.clocks.delay import Delay
from truechimer.compare.reading import Reading


def to_reference_plane(measured: Reading, delays: dict[str, Delay]) -> Reading:
    """Return the reading at the reference plane; unchanged where neither side has a delay.

    The delays' uncertainty is systematic: it widens `limit_s` (3 sigma of it), which averaging does not shrink, and not
    `u_s`.
    """
    at_a, at_b = delays.get(measured.a), delays.get(measured.b)
    if at_a is None and at_b is None:
        return measured
    x, limit, names = measured.x_a_minus_b_s, measured.limit_s, []
    if at_a is not None:
        x, limit = x + at_a.delay_s, limit + 3.0 * at_a.u_s
        names.append(at_a.calibration_id)
    if at_b is not None:
        x, limit = x - at_b.delay_s, limit + 3.0 * at_b.u_s
        names.append(at_b.calibration_id)
    return replace(measured, x_a_minus_b_s=x, limit_s=limit, calibration_id="+".join(name for name in names if name))
