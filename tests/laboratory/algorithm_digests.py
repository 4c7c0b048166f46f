"""What each algorithm of the scale makes of fixed readings, as one digest: the watch on its version number.

PYTHONPATH=src:. python -m tests.laboratory.algorithm_digests      write tests/vectors/algorithms.json
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale import live, live_state
from truechimer.scale.live_state import LIVE_ALGORITHMS, VERSIONS

FILE = Path(__file__).parents[1] / "vectors" / "algorithms.json"
KINDS = (*[ClockKind.MASER] * 3, *[ClockKind.CAESIUM] * 4, ClockKind.RUBIDIUM)
WHITE_FM = {ClockKind.MASER: 8e-14, ClockKind.CAESIUM: 5e-12, ClockKind.RUBIDIUM: 8e-12}
EPOCHS, EVERY_NS, FIRST_NS = 260, 1_800 * 10**9, 1_790_000_000 * 10**9


def readings() -> np.ndarray:
    """Clock minus the first clock, `(EPOCHS, n)` s: white FM, one step, one change of rate, gaps. Only + - * and a
    generator whose stream NumPy keeps.
    """
    random = np.random.Generator(np.random.PCG64(20_261_122))
    n = len(KINDS)
    white = np.array([WHITE_FM[kind] for kind in KINDS])
    y = 1e-13 * random.integers(-9, 10, n) + white * random.integers(-300, 301, (EPOCHS, n)) * (1e-2 / 42.0)
    x = np.zeros((EPOCHS, n))
    for k in range(1, EPOCHS):
        x[k] = x[k - 1] + 1_800.0 * y[k]
        if k > 180:
            x[k, 5] += 1_800.0 * 4e-13
    x[120:, 1] += 3e-8
    x += 3e-11 * random.integers(-3, 4, (EPOCHS, n))
    x -= x[:, :1].copy()
    x[200:206, 3] = np.nan
    return x


def digest(algorithm: str) -> str:
    """Return the digest of the scale that the algorithm makes of them, each third epoch between scale steps."""
    clocks = tuple(Clock(name=f"K{i}", kind=kind) for i, kind in enumerate(KINDS))
    constants = live_state.parameters(
        clocks, algorithm=algorithm, interval_s=1_800.0, tau_weight_s=86_400.0, weight_cap_n=4.0, probation_s=86_400.0
    )
    state, sum_ = live_state.start(constants), hashlib.sha256()
    u2 = np.full(len(KINDS), 9e-22)
    u2[0] = 0.0
    for k, x in enumerate(readings()):
        state, step = live.step(
            state,
            constants,
            epoch_tai_ns=FIRST_NS + k * EVERY_NS,
            x_clock_minus_pivot_s=x.copy(),
            u2_s2=np.where(np.isnan(x), np.nan, u2),
            due=k % 40 != 39,
        )
        for part in (step.x_clock_minus_scale_s, step.weight, step.membership, step.residual_s):
            sum_.update(np.where(part == part, part, 0.0).tobytes())  # noqa: PLR0124 - every NaN alike
        single = (float(step.x_pivot_minus_scale_s), float(step.u_center_s), float(step.detection_floor_s))
        sum_.update(repr((*single, bool(step.divided))).encode())
    return sum_.hexdigest()


if __name__ == "__main__":
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    kept |= {VERSIONS[name]: digest(name) for name in LIVE_ALGORITHMS}
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
