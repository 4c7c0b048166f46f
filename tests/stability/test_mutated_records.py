"""The reader of records on files of every form with pieces of others in them: read, or refused in printable words."""

import bz2
import contextlib
import gzip
import lzma
import random

import pytest

from truechimer.formats import phase_record
from truechimer.formats.phase_record import RecordRejected

from .test_phase_record import READINGS, STATISTICS, TRACKING

FORMS = [
    b"# a\n1e-9\n2e-9\n4D-9\nnan\n",
    b"0 1e-9\n10 2e-9\n20 3e-9\n30 4e-9\n",
    b"1,25\n1,5\n1,75\n",
    b"mjd,x_ns\n60000.0,1\n60000.5,2\n60001.0,\n60001.5,4\n",
    b"0,0;1,5e-9\n1,0;2,5e-9\n",
    b"File: a\nTau: 10\n1\n2\n",
    READINGS[:300].encode(),
    b"# TAPR\n98.00000000012 chA\n99.00000000013 chA\n00.00000000011 chA\n",
    b"1.00000000012 chA\n1.00000000013 chA\n1.0000000001 chA\n",
    b"0.000000000012 TI(A->B)\n0.000000000013 TI(A->B)\n",
    b'TIM 1\n"Sample Interval" 0.5\nTIC 3 2\n1 2\n3 4\n5 6\n',
    b"TIM\nScale: 1e-9\n1\n2\n3\n",
    TRACKING.encode(),
    STATISTICS.encode(),
    b"2026-11-22 06:00:00 1\n2026-11-22 06:01:00 2\n",
    "1\n2\n3\n".encode("utf-16"),
    *(packer(b"1\n2\n3\n") for packer in (gzip.compress, bz2.compress, lzma.compress)),
]
PIECES = [
    b",",
    b";",
    b"\t",
    b" ",
    b"\n",
    b"\r",
    b"-",
    b"nan",
    b"inf",
    b"1e999",
    b"1e-400",
    b"#",
    b'"',
    b"_",
    b"TIC 9 9\n",
    b"chA",
    b"\0",
    b"\xff",
    b"1e300",
    b"-1e308",
    b"9" * 30,
    b"mjd",
    b"0x1p3",
    b"\xe2\x88\x92",
    b"1_0",
    b"TI(",
    b"Date (UTC) Time",
    b"clock_a,clock_b",
    b"%",
    b"D+",
]
OPTIONS = [
    {},
    {"gaps": True},
    {"decimal": "comma"},
    {"decimal": "point"},
    {"column": "1"},
    {"column": "x"},
    {"column": "²"},
    {"pair": ("A", "B")},
    {"pair": ("chA", "chB")},
    {"channel": "P"},
    {"channel": "chA"},
    {"time_unit": "none"},
    {"time_unit": "mjd"},
    {"time_unit": "ns", "gaps": True},
]


def mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(FORMS))
    for _ in range(rng.randint(1, 6)):
        place, kind = rng.randint(0, len(data)), rng.random()
        if kind < 0.4:
            data[place:place] = rng.choice(PIECES)
        elif kind < 0.6:
            del data[place : place + rng.randint(1, 5)]
        elif kind < 0.8 and data:
            data[min(place, len(data) - 1)] = rng.randint(0, 255)
        else:
            start = rng.randint(0, len(data))
            data[place:place] = data[start : start + rng.randint(1, 40)]
    return bytes(data)


def read_or_refuse(count: int, seed: int) -> int:
    rng, refused = random.Random(seed), 0
    for _ in range(count):
        data, options = mutated(rng), rng.choice(OPTIONS)
        said = ""
        try:
            record, findings = phase_record.read(data, **options)
            assert record.values.size == record.lines.size >= 2
            said = record.took_for + record.tau0_from + record.first_time + "".join(each.says for each in findings)
        except RecordRejected as error:
            refused += 1
            said = str(error)
        assert said.isprintable(), (data, options)
        with contextlib.suppress(RecordRejected):
            phase_record.pairs(data)
    return refused


def test_mutated_files_of_every_form_are_read_or_refused() -> None:
    assert 300 < read_or_refuse(1500, seed=1) < 1450


@pytest.mark.acceptance
def test_very_many_mutated_files_are_read_or_refused() -> None:
    assert read_or_refuse(300_000, seed=2) > 0
