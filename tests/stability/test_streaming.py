"""Statistics of a stream are those of its record, whatever is missing, with memory that does not grow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truechimer import stability
from truechimer.stability import StabilityMisuse, StreamingStability

from .records import power_law
from .test_deviations import record

FACTORS = [1, 2, 5, 16, 40]


def compare(x: np.ndarray, factors: list[int], *, within: float) -> None:
    stream = StreamingStability(2.0, factors)
    for value in x.tolist():
        stream.add(value)
    for name in ("oadev", "mdev", "tdev", "mtie"):
        found = stream.curve(name)
        truth = getattr(stability, name)(x, 2.0, found.m, ci=None) if len(found) else found
        assert found.n.tolist() == [truth.n[truth.m.tolist().index(m)] if m in truth.m else 0 for m in found.m] or (
            name == "mtie"
        )
        assert np.allclose(found.value, truth.value, rtol=within, atol=0.0)


@pytest.mark.parametrize("kind", ["white pm", "white fm", "random walk", "outlier", "offset and rate"])
def test_a_stream_has_the_values_of_its_record(kind: str) -> None:
    compare(record(kind, 1500), FACTORS, within=1e-12)


def test_missing_readings_leave_out_their_terms() -> None:
    x = record("white fm", 800)
    x[[3, 100, 101, 350]] = np.nan
    x[500:520] = np.nan
    compare(x, [1, 2, 5, 16], within=1e-12)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.floats(-1.0, 1.0), st.just(float("nan"))), min_size=2, max_size=60))
def test_any_stream_is_its_record(values: list[float]) -> None:
    x = np.array(values)
    if np.isfinite(x).sum() < 2:
        return
    stream = StreamingStability(1.0, [1, 3])
    for value in values:
        stream.add(value)
    for name in ("oadev", "mdev", "mtie"):
        found = stream.curve(name)
        if len(found):
            truth = getattr(stability, name)(x, 1.0, found.m, ci=None)
            at = np.searchsorted(found.m, truth.m)
            assert np.allclose(found.value[at], truth.value, rtol=1e-12, atol=0.0)


def test_a_stream_that_has_said_nothing_has_no_values() -> None:
    stream = StreamingStability(1.0, [1, 2])
    stream.add(1.0)
    assert [len(stream.curve(name)) for name in ("oadev", "mdev", "mtie")] == [0, 0, 0]


@pytest.mark.slow
def test_a_long_stream_does_not_drift() -> None:
    x = record("drift", 12_000) + 1e3
    x[6_000] += 1e6  # what an outlier rounds away while it is in the window does not stay away
    stream = StreamingStability(2.0, [1, 300])
    stream.extend(x)
    for name in ("oadev", "mdev", "mtie"):
        truth = getattr(stability, name)(x, 2.0, [1, 300], ci=None)
        assert stream.curve(name).value == pytest.approx(truth.value, rel=1e-12)
        assert stream.curve(name).n.tolist() == truth.n.tolist()


def test_memory_does_not_grow_with_the_stream() -> None:
    stream = StreamingStability(1.0, [1, 8])
    for value in power_law(-2, 3000, np.random.default_rng(1)).tolist():
        stream.add(value)
    assert len(stream._ring) == 25
    assert max(len(factor.tops) + len(factor.lows) for factor in stream._factors) <= 2 * 9


@pytest.mark.parametrize("call", [lambda: StreamingStability(1.0, []), lambda: StreamingStability(0.0, [1])])
def test_a_stream_that_cannot_be_is_a_misuse(call) -> None:
    with pytest.raises(StabilityMisuse):
        call()
    stream = StreamingStability(1.0, [1])
    with pytest.raises(StabilityMisuse, match="infinite"):
        stream.add(float("inf"))
    with pytest.raises(StabilityMisuse, match="a stream knows"):
        stream.curve("theo1")
