"""Words behind options: what is a number, a day, a date, a duration, and what is told of a word that is none."""

import argparse
from collections.abc import Callable

import pytest

from truechimer.cli import option_values
from truechimer.cli.option_values import count, date, mjd, number, seconds_above_0

A_WORD = "x" * 10_000


def test_words_that_are_what_is_asked_for() -> None:
    assert seconds_above_0("1e-3") == 1e-3
    assert number("says", least=-1.0, most=1.0)("-1") == -1.0
    assert (count("says", most=99)("99"), mjd("61000"), date("2026-11-22")) == (99, 61_000, 61_366)
    assert option_values.durations(" 90,1.5min,.5h,1d,1e3s", says="") == [90.0, 90.0, 1800.0, 86_400.0, 1e3]


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (seconds_above_0, ("0", "-1", "nan", "inf", "1e999", "one", "", A_WORD)),
        (number("says", least=-1.0, most=1.0), ("-1.0000001", "1.0000001", "nan")),
        (count("says", most=99), ("0", "100", "-1", "1.0", "²", "１", "9" * 5_000, "")),
        (mjd, ("39999", "100000", "61000.5")),
        (date, ("2026-02-30", "2026-13-01", "22.11.2026", "２０２６-11-22", "2026-11-22 ", A_WORD)),
        (lambda text: option_values.durations(text, says="", most_s=86_400.0), ("0", "2d", "1w", "1,,2", "1e400", "")),
    ],
)
def test_a_word_that_is_none_is_told_in_one_short_line(read: Callable[[str], object], words: tuple[str, ...]) -> None:
    for word in words:
        with pytest.raises(argparse.ArgumentTypeError) as told:
            read(word)
        assert len(str(told.value)) < 150
        assert "\n" not in str(told.value)
