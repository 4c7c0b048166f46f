"""Figures that pages state as decided are those of the code: a constant that changes takes its page with it."""

from pathlib import Path

import pytest

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.compare.claims import STALE_INTERVALS
from truechimer.daemon.demo.demo_story import RAMP_S_PER_S, STEP_S
from truechimer.daemon.lab_start import REQUALIFY_INTERVALS
from truechimer.daemon.orders.policy_files import ENVELOPE_DAYS
from truechimer.laboratory.outside import MATURE_VALUES, START_PATIENCE_VALUES
from truechimer.laboratory.run_start import default_limits
from truechimer.scale.at1 import DETECTION_SIGMAS, TAU_WEIGHT_S, WEIGHT_CAP_N
from truechimer.scale.detection import ROBUST_CAP
from truechimer.scale.state import LAGS_SLOTS, MEMORIES_PER_TAU_WEIGHT, SLOTS_PER_TAU_WEIGHT
from truechimer.serve.clock_page import LEAST_BOUND_GROWTH
from truechimer.serve.ntp.server import SIMULATED_ANCHOR_DOUBT_S
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S
from truechimer.steer.bound import COVERAGE_FACTOR
from truechimer.watch.expiry import DAY_NS, WARNING_NS

from .test_documents import DEMO

DOCS = Path(__file__).resolve().parents[2] / "docs"
AT1, BOUND, SELECTION, ENVELOPE = (
    f"adr/{name}.md"
    for name in ("0006-at1-with-several-rate-filters", "0007-the-bound", "0008-selection", "0011-the-envelope")
)


def joined(values: tuple[float, ...]) -> str:
    """Write numbers as a sentence does."""
    *most, last = [f"{value:g}" for value in values]
    return f"{', '.join(most)} and {last}"


def limits_in_words(kind: ClockKind) -> str:
    """Write the default limits of a laboratory whose clock is of this kind, as the page does."""
    limits = default_limits((Clock(name="A", kind=kind),), valid_from_ns=0, valid_until_ns=DAY_NS, sequence=1)
    day = f"{limits.per_day_s * 1e9:g} ns" if limits.per_day_s < 1e-6 else f"{limits.per_day_s * 1e3:g} ms"
    change = f"{limits.per_change:.1e}" if limits.per_change < 1e-9 else "1e-6"
    assert float(change) == limits.per_change
    return f"{change} a change and {day} a day" if kind is ClockKind.CAESIUM else f"{change} and {day} a day"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (AT1, f"memories of {joined(MEMORIES_PER_TAU_WEIGHT)} `tau_weight_s`"),
        (AT1, f"a fixed grid of {SLOTS_PER_TAU_WEIGHT} slots to `tau_weight_s`"),
        (AT1, f"over {LAGS_SLOTS[0]} slot, {LAGS_SLOTS[1]} slots and {LAGS_SLOTS[2]} slots"),
        (AT1, f"none above {ROBUST_CAP:g}), at {DETECTION_SIGMAS:g} sigma"),
        (AT1, f"at most {WEIGHT_CAP_N:g}/N"),
        ("glossary.md", f"({SLOTS_PER_TAU_WEIGHT} to `tau_weight_s`)"),
        ("glossary.md", f"(default {TAU_WEIGHT_S:,.0f} s)"),
        ("glossary.md", f"silent for {STALE_INTERVALS:g} of its own intervals"),
        ("glossary.md", f"`bound_s` = {COVERAGE_FACTOR:g} ×"),
        ("glossary.md", f"plus {SIMULATED_ANCHOR_DOUBT_S:g} s in a simulated laboratory"),
        (BOUND, f"bound_s = {COVERAGE_FACTOR:g} * sqrt"),
        (BOUND, "at least 1e-8" if LEAST_BOUND_GROWTH == 1e-8 else "another growth"),
        (SELECTION, f"once {MATURE_VALUES} outside values"),
        (SELECTION, {4: "four"}[START_PATIENCE_VALUES] + " values of the quickest source"),
        (SELECTION, f"Silent for {STALE_INTERVALS:g} of its own intervals"),
        (SELECTION, f"agreed for {REQUALIFY_INTERVALS:g} intervals"),
        (ENVELOPE, f"its validity: {ENVELOPE_DAYS} days, with an alert {WARNING_NS // DAY_NS} days before"),
        (ENVELOPE, limits_in_words(ClockKind.CAESIUM) + " with an atomic clock"),
        (ENVELOPE, limits_in_words(ClockKind.HOST) + " for an oscillator or a host alone"),
        ("guide/alerts.md", f"the envelope expires within {WARNING_NS // DAY_NS} days"),
        ("guide/alerts.md", f"the leap table expires within {WARNING_NS // DAY_NS} days"),
        ("accuracy.md", f"({STAMP_HANDLING_LIMIT_S * 1e6:g} us where the kernel's stamp is believed"),
        ("accuracy.md", f"{USER_STAMP_LIMIT_S * 1e6:g} us where the program's own is used"),
        ("accuracy.md", f"the bound plus {SIMULATED_ANCHOR_DOUBT_S:g} s"),
    ],
)
def test_a_figure_on_a_page_is_the_codes(page: str, words: str) -> None:
    assert words in (DOCS / page).read_text(encoding="utf-8"), f"docs/{page} should say: {words}"


def test_the_readme_says_the_sizes_of_the_demos_events() -> None:
    words = DEMO.EVENT_WORDS
    assert words["clock-step"] == f"the heaviest clock steps by {STEP_S * 1e9:g} ns"
    assert words["link-ramp"] == f"a link to UTC is walked away, {RAMP_S_PER_S * 1e9:g} ns a second"
