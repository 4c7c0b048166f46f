"""Pictures of `truechimer stability`: the same list of lines as SVG, HTML and PNG, and nothing over the data."""

import builtins
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from truechimer import stability
from truechimer.cli import drawing_png, drawing_svg, figure, stability_plot
from truechimer.cli.drawing import SERIES, SHAPES, Drawing, Line, Mark, Text, shortened
from truechimer.cli.drawing_png import PngRejected
from truechimer.cli.stability_plot import NamedCurve, Trace
from truechimer.stability import masks

from .records import power_law

X = 1e-9 * power_law(0, 500, np.random.default_rng(4))


def texts(drawing: Drawing) -> list[str]:
    return ["".join(piece for piece, _ in item.pieces) for item in drawing.items if isinstance(item, Text)]


def sigma_tau(*, files: int = 1, mask: str | None = None, statistic=stability.tdev, x=X) -> Drawing:
    limits = masks.named(mask) if mask else []
    curve = statistic(x, 1.0)
    verdicts = tuple(masks.judge(curve, each) for each in limits if each.statistic == curve.statistic)
    curves = [NamedCurve(f"clock {k}.txt", curve, verdicts) for k in range(files)]
    (found,) = stability_plot.sigma_tau(curves, [each.mask for each in verdicts])
    return found.drawing()


def test_axes_have_decades_with_lines_between_and_small_ranges_have_labels_too() -> None:
    axis = figure.log_axis("tau", [1.0, 5000.0])
    assert ["".join(piece for piece, _ in pieces) for _, pieces in axis.ticks()] == ["100", "101", "102", "103"]
    assert 2000.0 in axis.fine()
    near = figure.log_axis("tau", [1.0, 1.2])
    assert len(near.ticks()) >= 3
    wide = figure.log_axis("tau", [1e-18, 1e18])
    assert 5 <= len(wide.ticks()) <= 11
    assert next(pieces[0][0] for _, pieces in figure.linear_axis("x", [-1.0, 1.0]).ticks()) == "−1.0"


@pytest.mark.parametrize("values", [[], [np.nan], [0.0], [1e-300, 1e300], [5e-324, 1.0], [1.0], [1e308, 1.7e308]])
def test_any_values_have_axes(values: list[float]) -> None:
    for axis in (figure.log_axis("a", values), figure.linear_axis("a", values)):
        assert axis.low < axis.high
        assert all(np.isfinite(axis.place(value)) for value, _ in axis.ticks())


def test_the_legend_stands_below_the_frame_and_names_every_file_once() -> None:
    drawing = sigma_tau(files=12)
    bottom = drawing.clip[3]
    names = [f"clock {k}.txt" for k in range(12)]
    below = [item for item in drawing.items if isinstance(item, Text) and item.at[1] > bottom + 45]
    assert [item.pieces[0][0] for item in below] == names
    assert all(0.0 < item.at[1] <= drawing.height - 3 for item in below)
    inside = [item for item in drawing.items if isinstance(item, Text) and drawing.clip[1] < item.at[1] < bottom]
    assert all(item.anchor == "end" or item.up for item in inside)  # labels of the axis, nothing over the data


def test_thirty_five_series_differ_in_colour_or_shape() -> None:
    assert len({(Mark((0, 0), k).colour, Mark((0, 0), k).shape) for k in range(35)}) == len(SERIES) * len(SHAPES) == 35


def test_a_curve_of_very_many_averaging_times_is_a_line_with_a_band() -> None:
    x = 1e-9 * power_law(0, 3000, np.random.default_rng(4))
    curve = stability.tdev(x, 1.0, "all", alpha=0)
    limit = masks.Mask("m", "tdev", (masks.Segment(1.0, 1000.0, float(np.max(curve.value[::7])) * 0.999),), "test")
    found = NamedCurve("a", curve, (masks.judge(curve, limit),))
    (drawn,) = stability_plot.sigma_tau([found], [limit])
    items = drawn.drawing().items
    assert len(items) < 1000 < curve.tau_s.size + 100
    marks = [item for item in items if isinstance(item, Mark) and item.clipped]
    assert 5 < len(marks) < 12
    assert any(mark.crossed for mark in marks)
    assert max(len(item.points) for item in items if hasattr(item, "opacity") and item.clipped) > 500


def test_long_names_lose_their_middle() -> None:
    name = "a clock with a name that no legend has room for, number 7.txt"
    short = shortened(name, room=200.0, size=12.0)
    assert short.startswith("a clock")
    assert short.endswith("7.txt")
    assert len(short) < 32


def test_a_mask_is_shaded_and_what_breaks_it_is_struck_through() -> None:
    drawing = sigma_tau(mask="g8272-prtc-b", x=3e-9 * power_law(2, 500, np.random.default_rng(4)))
    limit = masks.named("g8272-prtc-b-tdev")[0]
    curve = stability.tdev(3e-9 * power_law(2, 500, np.random.default_rng(4)), 1.0)
    over = curve.value > limit.limit(curve.tau_s)
    marks = [item for item in drawing.items if isinstance(item, Mark) and item.clipped]
    assert [mark.crossed for mark in marks] == over.tolist()
    assert 0 < over.sum() < over.size
    assert any("EXCEEDED" in words and "times the limit" in words for words in texts(drawing))
    assert any(item.opacity < 1.0 for item in drawing.items if hasattr(item, "opacity") and item.clipped)
    assert any(isinstance(item, Line) and item.dash and item.clipped for item in drawing.items)


def test_frequency_statistics_time_deviations_and_time_errors_have_figures_of_their_own() -> None:
    curves = [NamedCurve("a", f(X, 1.0)) for f in (stability.oadev, stability.tdev, stability.mtie, stability.mdev)]
    drawings = [each.drawing() for each in stability_plot.sigma_tau(curves, [])]
    assert [each.title for each in drawings] == ["Frequency stability", "Time deviation", "MTIE"]
    assert "time deviation / s" in texts(drawings[1])


def test_phases_are_shown_in_a_unit_that_fits_and_less_an_offset_that_would_hide_them() -> None:
    one = stability_plot.over_time([Trace("a", X, 3600.0)], kind="phase").drawing()
    assert "phase / ns" in texts(one)
    assert "time / d" in texts(one)
    shifted = [Trace("a", X + 1.0, 1.0), Trace("b", X, 1.0)]
    assert "each less its first value" in texts(stability_plot.over_time(shifted, kind="phase").drawing())
    both = stability_plot.over_time(shifted, kind="phase").drawing()
    shapes = [item.shape for item in both.items if isinstance(item, Mark) and item.clipped]
    assert shapes == ["circle"] * 6 + ["square"] * 6
    frequency = stability_plot.over_time([Trace("a", np.diff(X), 1.0)], kind="frequency").drawing()
    assert any(words.startswith("fractional frequency / 10") for words in texts(frequency))


def test_a_gap_interrupts_the_line_and_a_long_record_keeps_its_extremes() -> None:
    x = np.zeros(100_000)
    x[40_000:41_000] = np.nan
    x[77_777], x[5] = 9.0, -9.0
    drawing = stability_plot.over_time([Trace("a", x, 1.0)], kind="phase").drawing()
    lines = [item for item in drawing.items if isinstance(item, Line) and item.clipped]
    assert len(lines) == 2
    heights = [down for line in lines for _, down in line.points]
    top, bottom = drawing.clip[1], drawing.clip[3]
    assert min(heights) < top + 0.1 * (bottom - top)
    assert max(heights) > bottom - 0.1 * (bottom - top)


def test_a_surface_has_a_scale_of_colours_from_the_least_to_the_largest_value() -> None:
    found = stability.dynamic(X, 1.0, window=100, ci=None)
    drawing = stability_plot.surface("clock.txt", found).drawing()
    cells = [item for item in drawing.items if hasattr(item, "opacity") and item.clipped]
    assert len(cells) == int(np.isfinite(found.value).sum())
    assert {stability_plot.shade(0.0), stability_plot.shade(1.0)} <= {cell.colour for cell in cells}
    empty = stability_plot.surface("zero", stability.dynamic(np.zeros(50), 1.0, window=20, ci=None)).drawing()
    assert "every value is 0 or missing" in texts(empty)


@pytest.mark.parametrize(
    "make", [sigma_tau, lambda: stability_plot.over_time([Trace("<&'", X, 1.0)], kind="phase").drawing()]
)
def test_an_svg_is_well_formed_alone_stacked_and_in_a_page(make) -> None:
    drawing = make()
    for text in (
        drawing_svg.svg(drawing),
        drawing_svg.stacked([drawing, drawing]),
        drawing_svg.svg(drawing, by_theme=True),
    ):
        ids = [element.get("id") for element in ET.fromstring(text).iter() if element.get("id")]
        assert len(ids) == len(set(ids))
    assert "var(--" not in drawing_svg.svg(drawing)  # other programs read files, too
    themed = set(re.findall(r"var\(--([\w]+)", drawing_svg.svg(drawing, by_theme=True)))
    assert themed <= set(re.findall(r"--(\w+):", drawing_svg.theme_style()))


def test_a_png_has_the_same_marks_in_the_same_places_as_the_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_png, "DOTS_PER_UNIT", 1.5)
    drawing = sigma_tau()
    image = Image.open(io.BytesIO(drawing_png.png([drawing]))).convert("RGB")
    assert image.size == tuple(round(side * drawing_png.DOTS_PER_UNIT) for side in (drawing.width, drawing.height))
    dots = np.asarray(image).astype(int)
    for item in drawing.items:
        if isinstance(item, Mark):
            across, down = (round(value * drawing_png.DOTS_PER_UNIT) for value in item.at)
            wanted = [int(item.colour[k : k + 2], 16) for k in (1, 3, 5)]
            assert np.abs(dots[down, across] - wanted).max() < 12
    assert (dots[:, :3] == 255).all()  # nothing runs over the edge
    stacked = Image.open(io.BytesIO(drawing_png.png([drawing, drawing])))
    assert stacked.size == (image.size[0], 2 * image.size[1])


def test_without_fonts_a_png_has_words_for_greek_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_png, "FONTS", ("no-such-font.ttf",))
    drawing = Drawing("t", 100.0, 40.0, (0.0, 0.0, 100.0, 40.0))
    drawing.text((5.0, 25.0), "τ")
    greek = np.asarray(Image.open(io.BytesIO(drawing_png.png([drawing]))))
    drawing.items.clear()
    drawing.text((5.0, 25.0), "tau")
    assert np.array_equal(greek, np.asarray(Image.open(io.BytesIO(drawing_png.png([drawing])))))


def test_without_pillow_a_png_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = builtins.__import__

    def without(name: str, *rest, **named):
        if name.split(".")[0] == "PIL":
            raise ImportError(name)
        return there(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PngRejected, match=r"truechimer\[plot\]"):
        stability_plot.check_target(tmp_path / "a.png")
    stability_plot.check_target(tmp_path / "a.svg")
    stability_plot.write(tmp_path / "a.svg", stability_plot.sigma_tau([NamedCurve("a", stability.adev(X, 1.0))], []))


def test_too_many_pictures_for_one_png_are_refused() -> None:
    with pytest.raises(PngRejected, match="show fewer"):
        drawing_png.png([Drawing("t", 760.0, 500.0, (0, 0, 1, 1))] * 40)


def test_what_exceeds_a_mask_is_told_before_what_meets_it() -> None:
    limit = masks.named("g8272-prtc-b-tdev")[0]
    quiet, loud = (stability.tdev(size * power_law(2, 500, np.random.default_rng(4)), 1.0) for size in (1e-12, 1e-7))
    curves = [NamedCurve(f"quiet {k}", quiet, (masks.judge(quiet, limit),)) for k in range(8)]
    curves.append(NamedCurve("loud", loud, (masks.judge(loud, limit),)))
    (found,) = stability_plot.sigma_tau(curves, [limit])
    assert any("loud" in words and "EXCEEDED" in words for words in texts(found.drawing()))
