"""`truechimer utc read`: each kind is known by its text, told in a table and as JSON, and refused in one line."""

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.formats.test_bipm_tables import AFTER, GNSS, HEAD, TABLE, UTCR
from tests.formats.test_exchange_files import POSITIVE, day

from truechimer.cli.__main__ import main
from truechimer.cli.utc_verb import kind_of
from truechimer.formats import clock_data, leap_second_dat, leap_seconds_list
from truechimer.formats.clock_data import ClockReading, ClockStep
from truechimer.instants import UtcLabel, builtin_leap_table

FILES = {
    "circular-t": (HEAD + TABLE + AFTER).encode(),
    "utcr": UTCR.encode(),
    "api": b"# UTC-UTC(AAA)\r\n 55739      795.1        5.2\r\n",
    "two-way": day(of_a=True),
    "clocks": clock_data.write([ClockReading(60_004, "10023", "1350000", 5.0)]),
    "steps": clock_data.write_steps([ClockStep(60_010.5, "1350000", 12.0, 2.0, "AAA", "10023")]),
    "bulletin-c": POSITIVE.encode(),
    "finals2000a": b"16 2 1 57359.00 I -0.003225 0.000031  0.299494 0.000025  I 0.0262864 0.0000042  1.3154\n",
    "leap-list": leap_seconds_list.write(builtin_leap_table(), updated=UtcLabel.parse("2026-07-06T00:00:00Z")),
    "leap-dat": leap_second_dat.write(builtin_leap_table()),
    "csv": b"epoch_mjd,x_utc_minus_utck_s,u_s,available_mjd\n60000,-1.5e-9,3e-10,60012\n60005,2e-9,,60012\n",
}


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["utc", "read", *words, "--json"]) == 0
    files: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return files


def test_every_kind_is_known_by_its_text_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for kind, data in FILES.items():
        assert kind_of(data) == kind
        paths.append(tmp_path / kind)
        paths[-1].write_bytes(data)
    documents = told([str(path) for path in paths], capsys)
    assert [document["kind"] for document in documents] == list(FILES)
    assert all(document["findings"] == [] for document in documents)
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind["circular-t"]["laboratories"][0]["x_utc_minus_utck_s"]["53399"] == pytest.approx(-17.9e-9)
    assert by_kind["bulletin-c"]["leap_s"] == 1
    assert by_kind["steps"]["steps"][0]["y_step"] == pytest.approx(2e-9 / 86_400)
    assert {by_kind[kind]["tai_minus_utc_s"] for kind in ("leap-list", "leap-dat")} == {37}
    assert main(["utc", "read", *map(str, paths)]) == 0
    assert "AAA                    -17.9     -23.3     -17.7     5.6" in capsys.readouterr().out


def test_the_csv_that_steering_takes_is_a_record_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    more = "".join(f"{60_010 + 5 * k},{k}e-9,,{60_080}\n" for k in range(10))
    path.write_bytes(FILES["csv"] + more.encode() + b"60060.5,1e-9,,60080\n")
    assert main(["utc", "read", str(path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [finding["rule"] for finding in body["files"][0]["findings"]] == ["hour"]
    assert body["record"]["UTC"]["all"]["n"] == 12
    for rows, says in ((b"", "no row stands below"), (b"60000.5,1e-9\n", "not 0 h UTC")):
        path.write_bytes(b"epoch_mjd,x_utc_minus_utck_s\n" + rows)
        assert main(["utc", "read", str(path)]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrapped",
    [
        gzip.compress,
        lzma.compress,
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.decode("latin-1").encode("utf-16"),
        lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    ],
    ids=["gzip", "xz", "byte-order mark", "utf-16", "CR LF", "CR"],
)
def test_packing_byte_order_and_line_ends_change_nothing(
    wrapped: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    for data in FILES.values():
        path.write_bytes(data)
        plain = told([str(path)], capsys)
        path.write_bytes(wrapped(data))
        assert told([str(path)], capsys) == plain


def test_what_is_no_text_is_refused_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    for data, says in (
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (bytes(100_000), "this is not text"),
        (b"PK\x03\x04" + FILES["utcr"], "a zip archive; unpack it first"),
        (gzip.compress(FILES["utcr"])[:-40], "fetch the file again"),
        (gzip.compress(bytes(70 << 20)), "unpacks to more than 64 MiB"),
        (b'{"tracks": 3}', "no answer of the BIPM's server"),
    ):
        path.write_bytes(data)
        assert main(["utc", "read", str(path)]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1


def test_utc_minus_gps_is_told_by_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, issue = tmp_path / "utc-gps", tmp_path / "cirt.206"
    path.write_bytes(b"55739 2.4 -1.2\n55740 2.1 -1.4\n55741 2.1 -1.4\n")
    issue.write_bytes((HEAD + TABLE + AFTER + GNSS).encode())
    of_file, of_issue = told([str(path), str(issue)], capsys)
    assert (of_file["kind"], of_file["gnss"]["C0'_s"]["55739"]) == ("utc-gnss", pytest.approx(2.4e-9))
    assert of_issue["gnss"]["C1_s"]["53402"] == pytest.approx(-198.1e-9)
    assert of_issue["gnss"]["N0"]["53402"] == 89
    assert main(["utc", "read", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "C0': 3 days, last 2.1 ns at MJD 55741" in shown
    assert "UTC(k)" not in shown


def test_one_laboratory_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cirt.206"
    path.write_bytes(FILES["circular-t"])
    assert [row["code"] for row in told([str(path), "--laboratory", "BB"], capsys)[0]["laboratories"]] == ["BB"]
    assert main(["utc", "read", str(path), "--laboratory", "ZZ"]) == 2
    assert "no laboratory ZZ" in capsys.readouterr().err


def test_damage_is_named_and_what_is_of_no_kind_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cirt.206"
    path.write_bytes(FILES["circular-t"].replace(b"-23.3", b"-2x.3"))
    assert main(["utc", "read", str(path)]) == 0
    assert main(["utc", "read", str(path), "--strict"]) == 1
    assert "[value]" in capsys.readouterr().err
    for data, says in ((b"\x89PNG\r\n", "of no kind that is known"), (b"CGGTTS", "truechimer cggtts read")):
        path.write_bytes(data)
        assert main(["utc", "read", str(path)]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1
    path.write_bytes(FILES["bulletin-c"])
    assert main(["utc", "read", str(path), "--kind", "utcr"]) == 2


def test_a_clock_file_of_other_scales_is_told_and_makes_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ta.clk"
    path.write_text("# TA(AAA) TAI\n" + "".join(f"{59_574 + 5 * k}.00000 0.000001{k}\n" for k in range(9)))
    assert main(["utc", "read", str(path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert "record" not in body
    assert (body["files"][0]["quantity"], body["files"][0]["values"]) == ("TAI - TA(AAA)", 9)
    for verb in ("holdover", "steer"):
        assert main(["utc", verb, str(path)]) == 2
        assert "TA(AAA) to TAI" in capsys.readouterr().err


def test_years_of_one_laboratory_are_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series, picture = tmp_path / "utc-abc", tmp_path / "record.svg"
    series.write_text("".join(f"{59_574 + 5 * k} {3.0 if k % 2 else -1.0} 0.3 2.0 2.1\n" for k in range(100)))
    assert main(["utc", "read", str(series), "--json", "--plot", str(picture)]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)["record"]["UTC"]
    assert [row["year"] for row in record["years"]] == [2021, 2022, 2023]
    assert record["all"]["n"] == 100
    assert record["all"]["rms_s"] == pytest.approx(5**0.5 * 1e-9)
    assert "wrote" in err
    assert picture.read_text().startswith("<svg")
    assert main(["utc", "read", str(series)]) == 0
    assert "2022" in capsys.readouterr().out
    assert main(["utc", "read", str(series), "--plot", str(series)]) == 2
