"""The measured coverage of the bound: made by `design/bound_coverage.py`; do not edit.

From `docs/measured/bound_coverage.json`: 144 of 144 simulated runs had every sample inside its bound.
This is the lower 95 % limit of that share.
"""

COVERAGE: dict[str, float] = {
    "at1": 0.97941,
}
