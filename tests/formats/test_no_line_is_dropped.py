"""Whatever line stands among good ones, in any format: it is in the value or named with its number, nothing is raised,
and no neighbour is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.formats.test_bipm_tables import AFTER, HEAD, TABLE, UTCR
from tests.formats.test_cggtts import file_of
from tests.formats.test_exchange_files import day
from tests.formats.test_rinex_clock import HEAD as RINEX_HEAD
from tests.formats.test_rinex_clock import ROWS as RINEX_ROWS

from truechimer.formats import bipm_api, cggtts, circular_t, clock_data, finals2000a, rinex_clock, twstft, utcr

EARTH = "".join(
    f"16 2 1 {57_359 + k}.00 I -0.003225 0.000031  0.299494 0.000025  I 0.0262864 0.0000042  1.3154 0.0035  I\n"
    for k in range(4)
)
CLOCKS = (
    "60004 10023 1350000  -20000.0 1350001  -19998.5\n"
    "60009 10023 1350000  -20001.0 1350001  -19997.5\n"
    "60014 10023 1350000  -20002.0 1350001  -19996.5\n"
)
STEPS = "60010.50 1350000      12.0      2.00 AAA  10023\n60011.50 1350001      10.0      0.00 AAA  10023\n"
API = (
    "# UTC-UTC(AAA)\r\n 55739      795.1        5.2\r\n 55744      801.1        5.2\r\n 55749      811.1        5.2\r\n"
)


@dataclass(frozen=True)
class Format:
    """A good text, its reader, the lines (from 0) before which another may stand, what a value holds of each line, and
    the values of its rows.
    """

    text: str
    read: Callable[[bytes], Any]
    places: tuple[int, int]
    held: Callable[[Any], set[int]]
    rows: Callable[[Any], list[Any]]
    no_comment: Callable[[str], bool] = lambda _: True


def _lines(text: str) -> int:
    return text.count("\n")


def _table_lines(value: Any) -> set[int]:
    return {row.line for row in value.table.rows} | {
        number for number, _ in (*value.remarks, *getattr(value, "others", ()))
    }


def _table_rows(value: Any) -> list[Any]:
    return [(row.code, row.utc_minus_utck_ns, row.u_ns) for row in value.table.rows]


CGGTTS = file_of().decode("latin-1")
CIRCULAR = HEAD + TABLE + AFTER
TWO_WAY = day(of_a=True).decode()
FORMATS = {
    "cggtts": Format(
        CGGTTS,
        cggtts.read,
        (_lines(CGGTTS) - 3, _lines(CGGTTS)),
        lambda value: set(value.tracks.line.tolist()),
        lambda value: list(
            zip(
                value.tracks.number.tolist(),
                value.tracks.code.tolist(),
                value.tracks.refsys_100ps.tolist(),
                strict=True,
            )
        ),
    ),
    "circular-t": Format(CIRCULAR, circular_t.read, (_lines(HEAD), _lines(CIRCULAR)), _table_lines, _table_rows),
    "utcr": Format(UTCR, utcr.read, (8, _lines(UTCR)), _table_lines, _table_rows),
    "two-way": Format(
        TWO_WAY,
        twstft.read,
        (6, _lines(TWO_WAY)),
        lambda value: {session.line for session in value.sessions},
        lambda value: [(session.mjd, session.start_s, session.tw_s) for session in value.sessions],
        lambda line: not line.startswith("*"),
    ),
    "clock-data": Format(
        CLOCKS,
        clock_data.read,
        (0, 3),
        lambda value: {each.line for each in value},
        lambda value: [(each.mjd, each.clock, each.utck_minus_clock_ns) for each in value],
    ),
    "steps": Format(
        STEPS,
        clock_data.read_steps,
        (0, 2),
        lambda value: {each.line for each in value},
        lambda value: [(each.mjd, each.clock, each.time_ns) for each in value],
    ),
    "finals2000a": Format(
        EARTH,
        finals2000a.read,
        (0, 4),
        lambda _: set(),
        lambda value: [*zip(value.mjd, value.ut1_minus_utc_s, value.u_s, strict=True), *value.blank],
    ),
    "api": Format(
        API,
        bipm_api.read,
        (1, 4),
        lambda _: set(),
        lambda value: list(zip(value[0].mjd, value[0].value_ns, value[0].u_ns, strict=True)),
        lambda line: not line.startswith("#"),
    ),
    "clock-rinex": Format(
        RINEX_HEAD + RINEX_ROWS,
        rinex_clock.read,
        (_lines(RINEX_HEAD), _lines(RINEX_HEAD) + 4),
        lambda value: set(value.line.tolist()),
        lambda value: [
            tuple(map(str, each))
            for each in zip(
                [value.names[k] for k in value.clock.tolist()],
                value.epoch_tai_ns.tolist(),
                value.values[:, 0].tolist(),
                strict=True,
            )
        ],
    ),
}
JUNK = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f\x85\xa0"), min_size=1, max_size=140
)
STRUCTURE = ("MJD", "Date", "Laboratory", "CGGTTS", "GGTTS")
"""Words that a table's own header begins with: such a line is read as one."""


@pytest.mark.parametrize("name", FORMATS)
@given(st.data())
def test_a_strange_line_is_held_or_named_and_costs_no_other(name: str, data: st.DataObject) -> None:
    form = FORMATS[name]
    lines = form.text.split("\n")
    at = data.draw(st.integers(*form.places))
    rows = st.sampled_from([line for line in lines[form.places[0] : form.places[1]] if line.strip()])
    row = data.draw(rows)
    cut = data.draw(st.integers(0, len(row)))
    junk = data.draw(st.one_of(JUNK, st.just(row[:cut]), JUNK.map(lambda text: (row[:cut] + text)[:140])))
    assume(junk.strip() and not junk.strip().startswith(STRUCTURE) and form.no_comment(junk.strip("\r")))
    assume(circular_t._BANNER.match(junk.strip()) is None)
    good, _ = form.read(form.text.encode("latin-1"))
    value, findings = form.read("\n".join([*lines[:at], junk, *lines[at:]]).encode("latin-1"))
    assert value is not None
    named = {finding.line for finding in findings}
    more = form.rows(value)
    new = len(more) - len(form.rows(good))
    taken_first = named and form.rows(value) == form.rows(good) and not form.held(value)  # it says what its repeat says
    assert at + 1 in form.held(value) | named or more != form.rows(good) or taken_first, (junk, findings)
    if at + 1 in named or new == 0:
        before = form.rows(good)
        lost = [each for each in before if each not in more]
        repeated = [finding for finding in findings if finding.rule in ("repeated", "not-rising", "uncertainty")]
        assert len(lost) <= len(repeated), (junk, findings)
