# mypy: allow-untyped-defs, allow-untyped-calls
"""Detection over many epochs in one call, for replays: the same kernel as `detection_fold.step`, epoch after epoch.

It knows nothing of its own of clocks: a test holds the two ways equal to the bit. One call of machine code hands over
some fifty arrays, which takes longer than the arithmetic of one epoch of ten clocks.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.detection_fold import CONSTANTS, NAMES, advance, said_of
from truechimer.scale.detection_state import DetectionParameters, DetectionState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STATUS, _DOUBTED = NAMES.index("status"), NAMES.index("doubted")


@dataclass(frozen=True, slots=True)
class Judgements:
    """What detection says of many epochs: the arrays of a `Judgement`, each with a row for each epoch; `moved
    (n_epochs, n, 3)`: its `moved_y`, `moved_over_s`, `moved_evenly` (not 0).
    """

    status: Ints
    moved: Floats
    began_anew: NDArray[np.bool_]
    stepped_s: Floats
    divided: NDArray[np.bool_]
    floor_s: Floats


@kernel
def _run(  # noqa: PLR0917
    epoch_ns, due, x_ip, u2, constants, before_ns, arrays, status, moved, began, stepped, floor, divided
):
    """Carry the state over many epochs, in place; `constants` and `arrays` stand for as many arguments."""
    n = x_ip.shape[1]
    residual = np.empty(n)
    for k in range(epoch_ns.shape[0]):
        for i in range(n):
            residual[i], moved[k, i, 0], moved[k, i, 1], moved[k, i, 2] = np.nan, 0.0, 0.0, 0.0
            began[k, i], stepped[k, i], floor[k, i] = False, 0.0, 0.0
        now = (epoch_ns[k], due[k], x_ip[k], u2[k])
        said = (residual, moved[k], began[k], stepped[k], floor[k])
        divided[k] = advance(*(now + constants + (before_ns,) + arrays + said))
        if due[k]:
            before_ns = epoch_ns[k]
        for i in range(n):
            status[k, i] = said_of(arrays[_STATUS][i], arrays[_DOUBTED][i])


def run(  # noqa: PLR0917
    state: DetectionState,
    constants: DetectionParameters,
    epoch_tai_ns: Ints,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    due: NDArray[np.bool_],
) -> tuple[DetectionState, Judgements]:
    """Take many epochs in, as so many `detection_fold.step`s would; the state is not changed, a new one is returned.

    `epoch_tai_ns`, `due`: shape `(n_epochs,)`; `x_clock_minus_pivot_s`, `u2_s2`: `(n_epochs, n)`.
    """
    arrays = tuple(getattr(state, name).copy() for name in NAMES)
    shape = x_clock_minus_pivot_s.shape
    said = Judgements(
        status=np.empty(shape, np.int64),
        moved=np.empty((*shape, 3)),
        began_anew=np.empty(shape, np.bool_),
        stepped_s=np.empty(shape),
        divided=np.empty(shape[0], np.bool_),
        floor_s=np.empty(shape),
    )
    _run(
        epoch_tai_ns,
        due,
        x_clock_minus_pivot_s,
        u2_s2,
        tuple(getattr(constants, name) for name in CONSTANTS),
        state.epoch_ns,
        arrays,
        said.status,
        said.moved,
        said.began_anew,
        said.stepped_s,
        said.floor_s,
        said.divided,
    )
    changed: dict[str, Any] = dict(zip(NAMES, arrays, strict=True))
    taken, missing = np.flatnonzero(due), np.flatnonzero(said.divided)
    if len(taken):
        changed["epoch_ns"] = int(epoch_tai_ns[taken[-1]])
    if len(missing):
        changed["divided_ns"] = int(epoch_tai_ns[missing[-1]])
    return replace(state, **changed), said
