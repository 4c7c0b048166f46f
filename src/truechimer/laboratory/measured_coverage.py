"""The measured coverage of the bound by algorithm: made by `design/bound_coverage.py`; do not edit.

From `docs/measured/bound_coverage*.json`. Each figure is the lower 95 % limit of the share of good runs; an algorithm
that is not here was not measured, and promises none.

`at1`: 144 of 144 simulated runs had every sample inside its bound.
"""

COVERAGE: dict[str, float] = {
    "at1": 0.97941,
}
