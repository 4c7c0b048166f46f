"""What an epoch costs: the kept figure, and that the quick way to write a record writes what the plain way does."""

import json
import statistics
from pathlib import Path

import pytest

from truechimer.evidence.record import Chain, canonical, quantities, seal

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "line_cost.json"


def test_the_kept_cost_of_an_epoch_is_within_its_limit() -> None:
    body = json.loads(KEPT.read_text(encoding="utf-8"))
    assert body["kernels"] == "compiled"
    assert len(body["ratio_runs"]) >= 5
    assert body["ratio_median"] == statistics.median(body["ratio_runs"])
    assert body["ratio_median"] <= 17.0, "run bench/line.py --with-plain --out docs/measured/line_cost.json"
    for ratio, ours, theirs in zip(body["ratio_runs"], body["line_us_runs"], body["plain_at1_us_runs"], strict=True):
        assert ratio == pytest.approx(ours / theirs, rel=1e-9)


@pytest.mark.parametrize(
    "values", [[], [1.25e-9], [float("nan")], [0.0, float("nan"), -1e300], [-0.0, 5e-324, 1.0] * 9]
)
def test_a_sealed_record_is_canonical_whatever_its_lists_hold(values: list[float]) -> None:
    body = {
        "x_s": quantities(values, "s"),
        "b": 'a "quoted" \\ line\n\u00e9\u2028',
        "a": [1, None, True, "\x00"],
        "terms": {"z": "1.0 s", "y": "2.0 s"},
        "n": 2**53 - 1,
        "none": None,
    }
    sealed, _ = seal("test", body, Chain(7))
    assert sealed.data == canonical(body | {"kind": "test", "seq": 7, "prev": Chain().prev})
