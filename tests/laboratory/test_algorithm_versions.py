"""The version of an algorithm counts up with every change after which the same readings give another scale."""

import json

import pytest
from tests.laboratory.algorithm_digests import FILE, digest

from truechimer.scale.live_state import LIVE_ALGORITHMS, VERSIONS

KEPT = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("algorithm", LIVE_ALGORITHMS)
def test_a_scale_that_came_out_otherwise_has_another_version(algorithm: str) -> None:
    version = VERSIONS[algorithm]
    assert version in KEPT, f"{version} is new: python -m tests.laboratory.algorithm_digests"
    assert digest(algorithm) == KEPT[version], (
        f"{version} makes another scale of the same readings: raise the VERSION of what has changed (bands_state, "
        "detection_state, kalman, at1), say so in the changelog under Numerical, and run "
        "python -m tests.laboratory.algorithm_digests"
    )
