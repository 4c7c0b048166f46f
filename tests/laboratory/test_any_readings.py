"""Whatever a clock, counter or server says, the line takes it: no error, canonical records, and the same again."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.laboratory.rigs import Rig, steered

from truechimer.compare.reading import Reading
from truechimer.evidence.record import Chain, canonical, read
from truechimer.laboratory.replay import replay

NAMES = ("H2", "H3", "C1", "UTC.P", "UTC.Q", "UTC.S", "host")
ANYTHING = st.sampled_from([0.0, 1e-9, -1e-6, 1.0, -86_400.0, 1e12, 1e150, -1e150, 1e308]) | st.floats(
    allow_nan=False, allow_infinity=False
)
LIES = st.lists(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.none() | st.tuples(ANYTHING, st.sampled_from([0.0, 1e-12, 1e-9, 1.0, 1e150])),
        max_size=7,
    ),
    min_size=1,
    max_size=4,
)


def fed(lies: list[dict[str, tuple[float, float] | None]]) -> Rig:
    """A steered laboratory that is told these things (None: silence) and then the truth again."""
    rig = steered()
    for told in lies:

        def meddle(
            readings: Iterable[Reading], told: dict[str, tuple[float, float] | None] = told
        ) -> Iterable[Reading]:
            for one in readings:
                lie = told.get(one.a, ())
                if lie == ():
                    yield one
                elif lie is not None:
                    yield replace(one, x_a_minus_b_s=lie[0], u_s=lie[1])

        rig.meddle = meddle
        rig.live(1)
    rig.meddle = None
    return rig.live(2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(LIES)
def test_any_readings_are_taken_and_recorded_in_canonical_bytes(
    lies: list[dict[str, tuple[float, float] | None]],
) -> None:
    before = len(steered().log)
    rig = fed(lies)
    bodies = rig.log[before:]
    assert bodies
    chain = Chain(before, read_prev(rig.log[before]))
    for data in bodies:
        body, chain = read(data, chain)
        assert canonical(body) == data


def read_prev(data: bytes) -> str:
    return str(json.loads(data)["prev"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=8, phases=(Phase.explicit, Phase.generate))
@given(LIES)
def test_any_readings_replay(lies: list[dict[str, tuple[float, float] | None]]) -> None:
    rig = fed(lies)
    again = replay(rig.log)
    assert again.difference is None
    assert again.compared == len(rig.log)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(st.sampled_from(("UTC.P", "UTC.Q", "UTC.S", "H2", "C1")), st.lists(ANYTHING, min_size=1, max_size=4))
def test_one_liar_of_any_kind_never_makes_the_bound_lie(name: str, values: list[float]) -> None:
    rig = fed([{name: (value, 1e-9)} for value in values])
    assert rig.is_true()
