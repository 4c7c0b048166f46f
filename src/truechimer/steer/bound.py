"""The bound: how wrong what we state can be. One function makes it; every door adds only its own stamps and age.

    bound = 6 * sqrt(sum u_i^2) + sum limit_j

`u_i` are one-sigma terms (statistics); `limit_j` are added whole, since nothing averages them away. `u_s`, one sigma,
is published beside it and is never called the bound.
"""

from dataclasses import dataclass, fields
from math import sqrt

COVERAGE_FACTOR = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundTerms:
    """Terms of the bound, seconds.

    One sigma: `u_utc_prediction_s` (UTC minus scale at the last outside value), `u_scale_since_outside_s` (what the
    scale may have done since), `u_host_link_s`. Whole: `limit_links_s` (systematic part of the links to UTC),
    `limit_steering_s` (known distance of UTC(k) from predicted UTC), `limit_undetected_s` (the computed detection
    floor), `limit_host_rate_s` (host rate limit x age, and what a reading of the host contradicts),
    `limit_stamps_s`, `limit_leap_s`.
    """

    u_utc_prediction_s: float
    u_scale_since_outside_s: float
    u_host_link_s: float
    limit_links_s: float
    limit_steering_s: float
    limit_undetected_s: float
    limit_host_rate_s: float
    limit_stamps_s: float
    limit_leap_s: float

    def as_dict(self) -> dict[str, float]:
        """Return the terms by name."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(BoundTerms))


@dataclass(frozen=True, slots=True)
class Bound:
    """`bound_s`: the bound; `u_s`: one sigma; `scale_bound_s`: without the host's and the stamps' terms, which belong
    to a door; seconds.
    """

    bound_s: float
    u_s: float
    scale_bound_s: float
    terms: BoundTerms


def bound(terms: BoundTerms) -> Bound:
    """Return the bound of UTC(k) as the host shows it, with its terms."""
    scale_square = (
        terms.u_utc_prediction_s * terms.u_utc_prediction_s
        + terms.u_scale_since_outside_s * terms.u_scale_since_outside_s
    )
    u_s = sqrt(scale_square + terms.u_host_link_s * terms.u_host_link_s)
    of_scale = terms.limit_links_s + terms.limit_steering_s + terms.limit_undetected_s + terms.limit_leap_s
    of_host = terms.limit_host_rate_s + terms.limit_stamps_s
    return Bound(
        COVERAGE_FACTOR * u_s + of_scale + of_host,
        u_s,
        COVERAGE_FACTOR * sqrt(scale_square) + of_scale,
        terms,
    )
