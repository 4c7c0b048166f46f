"""Masks: the figures of the tables at every corner, verdicts, masks of one's own, and what the command says of them."""

import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from truechimer import stability
from truechimer.cli.__main__ import main
from truechimer.stability import masks
from truechimer.stability.masks import MaskRejected

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "stability.md"

NAMES = (
    *("g811-prc", "g8272-prtc-a", "g8272-prtc-b", "g8272.1-eprtc", "g8272.1-eprtc-a-holdover", "g8271.1-point-c"),
    *("g8271.1-point-c-enhanced", "g8271.1-point-c-access", "g8273.2-class-ab", "g8273.2-class-c"),
)


def test_every_mask_says_its_source_joins_at_its_corners_and_is_in_the_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert tuple(dict.fromkeys(mask.name.rsplit("-", 1)[0] for mask in masks.MASKS)) == NAMES
    for mask in masks.MASKS:
        assert re.match(r"ITU-T G\.8[\d.]+ \((\d\d/)?\d{4}\)", mask.source)
        assert f"`{mask.name.rsplit('-', 1)[0]}`" in guide
        for a, b in pairwise(mask.segments):
            assert a.to_s == b.from_s
            left, right = a.constant + a.slope * a.to_s, b.constant + b.slope * b.from_s
            assert left == pytest.approx(right, rel=2e-3)  # the recommendations round their corners


@pytest.mark.parametrize(
    ("name", "corners_ns"),
    [
        ("g811-prc-mtie", {0.1: 25.0275, 1000.0: 300.0, 1e4: 390.0}),
        ("g811-prc-tdev", {1.0: 3.0, 100.0: 3.0, 500.0: 15.0, 1000.0: 30.0, 1e4: 30.0}),
        ("g8272-prtc-a-mtie", {0.1: 25.0275, 100.0: 52.5, 273.0: 100.0, 1e5: 100.0}),
        ("g8272-prtc-a-tdev", {1.0: 3.0, 100.0: 3.0, 1000.0: 30.0, 1e4: 30.0}),
        ("g8272-prtc-b-mtie", {1.0: 25.275, 54.5: 39.9875, 54.6: 40.0, 1e6: 40.0}),
        ("g8272-prtc-b-tdev", {1.0: 1.0, 100.0: 1.0, 300.0: 3.0, 500.0: 5.0, 1e5: 5.0}),
        ("g8272.1-eprtc-mtie", {0.5: 4.0, 1.0: 4.0, 10.0: 5.0014, 100.0: 15.00375, 4e5: 30.0, 1e6: 30.0}),
        ("g8272.1-eprtc-tdev", {1.0: 1.0, 3e4: 1.0, 1e5: 3.33333, 3e5: 10.0, 1e6: 10.0}),
        ("g8272.1-eprtc-a-holdover-mtie", {1.0: 4.0, 100.0: 15.00375, 1e4: 15.375}),
        ("g8272.1-eprtc-a-holdover-tdev", {1.0: 1.0, 1e4: 1.0}),
        ("g8271.1-point-c-mtie", {1.3: 197.5, 2.4: 279.64, 100.0: 387.0, 275.0: 579.5, 1e4: 580.0}),
        ("g8271.1-point-c-enhanced-mtie", {1.3: 50.0, 2.4: 60.67, 20.2: 100.72, 211.11: 199.9972, 1e4: 200.0}),
        ("g8271.1-point-c-access-mtie", {1.0: 25.0475, 100.0: 29.75, 400.0: 44.0, 1e4: 44.0}),
        ("g8273.2-class-ab-mtie", {1.0: 40.0, 1000.0: 40.0}),
        ("g8273.2-class-ab-tdev", {1.0: 4.0, 1000.0: 4.0}),
        ("g8273.2-class-c-mtie", {1.0: 10.0, 1000.0: 10.0}),
        ("g8273.2-class-c-tdev", {1.0: 2.0, 1000.0: 2.0}),
    ],
)
def test_limits_are_those_of_the_tables_at_every_corner(name: str, corners_ns: dict[float, float]) -> None:
    (mask,) = masks.named(name)
    found = mask.limit(np.array(list(corners_ns)))
    assert found == pytest.approx([1e-9 * limit for limit in corners_ns.values()], rel=1e-6)
    outside = np.array([mask.segments[0].from_s * 0.99, mask.segments[-1].to_s * 1.01])
    assert np.isnan(mask.limit(outside)).all()


def test_a_curve_just_below_a_corner_meets_the_mask_and_just_above_breaks_it() -> None:
    (mask,) = masks.named("g8272-prtc-b-tdev")
    for size, met in ((0.999, True), (1.001, False)):
        curve = stability.tdev(np.random.default_rng(1).standard_normal(900), 1.0, [100], ci=None)
        scaled = stability.tdev(
            np.random.default_rng(1).standard_normal(900) * size * 1e-9 / curve.value[0], 1.0, [100], ci=None
        )
        assert masks.judge(scaled, mask).met is met
        assert masks.judge(scaled, mask).margin == pytest.approx(1.0 / size)


def test_zeros_meet_every_mask_without_a_margin(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "zeros.txt"
    path.write_text("0\n" * 60, encoding="utf-8")
    target = tmp_path / "zeros.svg"
    assert main(["stability", str(path), "--dev", "tdev", "--mask", "g811-prc", "--json", "--plot", str(target)]) == 0
    verdicts = json.loads(capsys.readouterr().out)["masks"]
    assert [(each["met"], each["margin"]) for each in verdicts] == [(True, None), (True, None)]
    assert "every judged value is 0" in target.read_text(encoding="utf-8")


def test_a_limit_for_filtered_data_says_so_in_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{k} {1e-9 * (k % 3)}\n" for k in range(200)), encoding="utf-8")
    assert main(["stability", str(path), "--mask", "g8271.1-point-c", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert "0.1 Hz" in body["masks"][0]["condition"]
    main(["stability", str(path), "--mask", "g8272-prtc-a"])
    assert "0.1 Hz" not in capsys.readouterr().out
    main(["stability", str(path), "--mask", "g8271.1-point-c"])
    assert "the limit is of time error behind a first-order low-pass filter of 0.1 Hz" in capsys.readouterr().out


def test_the_masks_of_the_guide_can_be_read() -> None:
    blocks = re.findall(r"(?ms)^```toml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"))
    shown = [block for block in blocks if "[[mask]]" in block]
    assert shown
    for block in shown:
        read = masks.read(block.encode())
        assert [mask.name for mask in read] == [table["name"] for table in tomllib.loads(block)["mask"]]
        assert all(np.isfinite(mask.limit(np.array([10.0]))).all() for mask in read)


def test_a_verdict_names_the_worst_averaging_time_and_the_margin() -> None:
    mask = masks.Mask("m", "mtie", (masks.Segment(1.0, 100.0, 10.0),), "test")
    curve = stability.mtie(np.array([0.0, 1.0, 0.0, 8.0, 0.0, 1.0] * 5), 1.0, [1, 2])
    verdict = masks.judge(curve, mask)
    assert (verdict.met, verdict.judged, verdict.worst_tau_s, verdict.margin) == (True, 2, 1.0, 1.25)
    low = masks.judge(curve, masks.Mask("m", "mtie", (masks.Segment(2.0, 100.0, 4.0),), "test"))
    assert (low.met, low.worst_tau_s, low.margin) == (False, 2.0, 0.5)
    outside = masks.judge(curve, masks.Mask("m", "mtie", (masks.Segment(50.0, 100.0, 4.0),), "test"))
    assert outside.met is None
    assert "not judged" in outside.says()
    assert "met" not in outside.as_json()
    with pytest.raises(stability.StabilityMisuse):
        masks.judge(stability.oadev(np.arange(9.0), 1.0), mask)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[mask", "no TOML"),
        ("a = 1", r"\[\[mask\]\]"),
        ("[[mask]]\nstatistic = 'mtie'", "name"),
        ("[[mask]]\nname = 'a'\nstatistic = 'x'", "statistic"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'", "segments or points"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\npoints = [[1, 1]]", "one point"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\npoints = [[2, 1], [1, 1]]", "ascending"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\npoints = [[1, 'x'], [2, 1]]", "numbers"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\nsegments = [[2, 1, 1]]", "range"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\nsegments = [[1, 2, -1]]", "above zero"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\nsegments = [[1, nan, 1]]", "no number"),
        ("[[mask]]\nname = 'a'\nstatistic = 'mtie'\ntau = 1", "key tau"),
        ("[[mask]]\nname = 'a'\ncondition = 1\nstatistic = 'mtie'\npoints = [[1, 1], [2, 1]]", "words in quotes"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused(text: str, says: str) -> None:
    with pytest.raises(MaskRejected, match=says):
        masks.read(text.encode())
