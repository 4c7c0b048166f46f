"""Readings CSV in machine code against the reader that is the law: the same rows to the bit, the same findings."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer import kernel
from truechimer.formats import readings_csv, readings_csv_columns
from truechimer.formats.decimal_floats import FIVES, TENS, UNDECIDED, nearest

NS = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n"
MJD = "epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n"
T0 = 1_700_000_000 * 10**9


def assert_equal(data: bytes, known: frozenset[str] | None = None) -> int:
    """Hold both readers against each other; return the number of rows."""
    rows, findings = readings_csv.read(data, known_clocks=known)
    columns, found = readings_csv_columns.read(data, known_clocks=known)
    assert found == findings
    again = list(columns)
    assert [row[:4] for row in again] == [row[:4] for row in rows]
    bits = [struct.pack("<dd", row.x_a_minus_b_s, row.u_s) for row in rows]
    assert [struct.pack("<dd", row.x_a_minus_b_s, row.u_s) for row in again] == bits
    return len(rows)


def number(rng: random.Random) -> str:
    """A number as files have them, and as they should not."""
    kind = rng.randrange(14)
    value = rng.gauss(0.0, 1.0) * 10.0 ** rng.randint(-20, 3)
    if kind < 8:
        return repr(value)
    return [
        f"{value:.12f}",
        f"{value:+.20e}",
        str(rng.randrange(10 ** rng.randint(1, 25))),
        rng.choice(
            ["0", "-0.0", ".5", "5.", "1e400", "1e-400", "4.9e-324", "2.2250738585072011e-308", "0e9", "00012.5"]
        ),
        rng.choice(["nan", "inf", "1_0", "", ".", "1e", "--1", "1.2.3", "0x10", "\u0661", "1e+", "9007199254740993"]),
        f" {value!r}\t",
    ][kind - 8]


def a_file(seed: int, *, mjd: bool, odd: float) -> bytes:
    """A file of three hundred lines, a part of them odd."""
    rng = random.Random(seed)
    names = [f"c{i}" for i in range(rng.choice([2, 5, 30]))]
    lines, at = [], T0
    for _ in range(300):
        if rng.random() < 0.2:
            at += rng.choice([3_600 * 10**9, 1, 10**9 + 7])
        a, b = rng.sample(names, 2)
        epoch = readings_csv.mjd_text_of_ns(at, rng.choice([15, 15, 11, 12, 16])) if mjd else str(at)
        x, u = repr(rng.gauss(0.0, 1e-8)), repr(abs(rng.gauss(0.0, 1e-11)))
        line = f"{epoch},{a},{b},{x},{u}"
        if rng.random() < odd:
            line = rng.choice(
                [
                    f"{epoch},{a},{b},{number(rng)},{u}",
                    f"{epoch},{a},{b},{x},{number(rng)}",
                    f" {epoch} ,\t{a}, {b} ,{x} , {u} ",
                    f"{at - 10**12},{a},{b},{x},{u}",
                    f"+{epoch},{a},{b},{x},{u}",
                    f"{epoch}0000000,{a},{b},{x},{u}",
                    f"{rng.choice(['60000', '.5', '60000.', '1e5', '-3.25'])},{a},{b},{x},{u}",
                    f"{rng.choice(['9' * 19, '8' * 19, '', '000060001.5'])},{a},{b},{x},{u}",
                    f"{epoch},{a},{a},{x},{u}",
                    f"{epoch},{a},b\u00e9,{x},{u}",
                    f"{epoch},{a},{b},{x}",
                    f"{epoch},{a},{b},{x},{u},",
                    f"{epoch},{a},{b},{x},{u}" + " " * rng.choice([4_000, 4_200]),
                    "# a comment, with, five, columns, in it",
                    "#" * 5_000,
                    "",
                    " \t",
                    (MJD if mjd else NS).strip(),
                    (NS if mjd else MJD).strip(),
                    "\x00\xff",
                    line + "\r",
                ]
            )
        lines.append(line)
    head = rng.choice(["", "# first\n\n", "\ufeff", "  "]) + (MJD if mjd else NS)
    text = head + "\n".join(lines) + rng.choice(["\n", "", "\r\n", "\n\n"])
    return text.replace("\n", "\r\n" if seed % 5 == 0 else "\n").encode("utf-8")


@pytest.mark.parametrize("odd", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("mjd", [False, True])
def test_both_readers_read_the_same_rows_and_find_the_same_faults(odd: float, *, mjd: bool) -> None:
    good = sum(assert_equal(a_file(seed, mjd=mjd, odd=odd)) for seed in range(12))
    assert good > 100
    assert_equal(a_file(3, mjd=mjd, odd=odd), frozenset({"c0", "c1"}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n# only a comment",
        b"no header\n1,a,b,1,1\n",
        NS.encode(),
        NS.encode() + b"5,a,b,1e-9,1e-11",
        NS.encode() + b"5,a,b,1e-9,1e-11\n5,a,b,1e-9,1e-11\n5,b,a,1e-9,1e-11\n4,a,b,1,1\n6,b,a,-0,-0.0\n",
        NS.encode() + b"5,a,b,1e-9,-1e-11\n5,a,b,1e-9,-0.0\n",
        NS.encode() + b"#" * 9_000,
        NS.encode() + b"5,a,b,1," + b"1" * 9_000,
        MJD.encode() + b"60000.99999999999999951,a,b,1,1\n60001.000000000000000,a,b,1,1\n",
        MJD.encode() + b"60000.0000000000054,a,b,1,1\n60000.00000000000172801,b,a,1,1\n-1.5,a,b,1,1\n",
    ],
)
def test_edges_of_the_format_are_read_alike(data: bytes) -> None:
    assert_equal(data)


def test_many_pairs_and_long_names_are_kept_apart() -> None:
    names = [f"{'n' * (i % 60)}{i}" for i in range(150)]
    rows = [f"{T0},{a},{b},{i}e-9,1e-11" for i, (a, b) in enumerate((a, b) for a in names for b in names[:9] if a != b)]
    assert assert_equal((NS + "\n".join(rows) + "\n").encode()) > 1_200


@given(st.binary(max_size=300))
def test_no_bytes_are_read_otherwise(data: bytes) -> None:
    assert_equal(NS.encode() + data)
    assert_equal(data)


@given(st.text("0123456789.,-+eE ab#\n\r\t", max_size=120))
def test_no_text_of_the_formats_own_signs_is_read_otherwise(text: str) -> None:
    assert_equal(MJD.encode() + text.encode())
    assert_equal(NS.encode() + b"5,a,b,1,1\n" + text.encode())


@pytest.mark.skipif(not kernel.COMPILED, reason="as plain Python its whole numbers would warn of what is meant")
def test_a_decimal_number_becomes_the_nearest_float_and_what_is_not_sure_is_said() -> None:
    rng = random.Random(7)
    scratch = np.zeros(1)
    undecided = 0
    for turn in range(30_000):
        digits = rng.randrange(10 ** rng.randint(1, 19))
        power = rng.randint(-310, 300) if turn % 4 == 0 else rng.randint(-35, 25)
        if turn % 5 == 0:
            # half way between two floats
            digits, power = (2 * rng.randrange(2**52, 2**53) + 1) << rng.randint(0, 9), 0
        bits = nearest(np.uint64(digits), power, False, FIVES, TENS, (scratch, scratch.view(np.uint64)))
        if bits == UNDECIDED:
            undecided += 1
            continue
        assert struct.pack("<Q", bits) == struct.pack("<d", float(f"{digits}e{power}")), (digits, power)
    assert 0 < undecided < 2_000
