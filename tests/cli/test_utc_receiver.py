"""`utc receiver`: a recorded stream as a table, and its link's readings without what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from truechimer.cli import utc_verb
from truechimer.errors import Rejected
from truechimer.formats import readings_csv
from truechimer.formats.readings_csv import ReadingRow
from truechimer.instants import builtin_leap_table
from truechimer.sim.receiver_stream import Disturbance, Receiver

START_NS = 1_780_000_000 * 10**9
ANTENNA = "48.0,11.0,500"


def recorded(folder: Path, *disturbances: Disturbance, n: int = 300) -> tuple[Path, Path]:
    """Write a stream of one epoch a second and the readings of its link, every ten seconds."""
    receiver = Receiver(np.random.default_rng(3), builtin_leap_table(), START_NS, disturbances=disturbances)
    told = list(receiver.epochs(n))
    stream, csv = folder / "day.ubx", folder / "readings.csv"
    stream.write_bytes(b"".join(each.data for each in told))
    rows = [ReadingRow(0, each.epoch_tai_ns, "maser1", "UTC.gnss", each.x_clock_minus_gnss_s, 3e-9) for each in told]
    csv.write_bytes(readings_csv.write(rows[::10]))
    return stream, csv


def test_readings_of_a_disturbed_hour_leave_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, csv = recorded(tmp_path, Disturbance("position", 150.0, 100.0))
    out = tmp_path / "kept.csv"
    words = ["receiver", str(stream), "--antenna", ANTENNA, "--readings", str(csv), "--link", "maser1,UTC.gnss"]
    assert utc_verb.main([*words, "--out", str(out), "--json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert body["epochs"] == 300
    assert body["ok"] + body["doubtful"] + body["refused"] == 300
    assert set(body["reasons"]) == {"position"}
    assert body["stretches"][0]["level"] == "ok"
    kept, findings = readings_csv.read(out.read_bytes())
    assert findings == []
    assert 14 <= len(kept) <= 17
    assert body["readings"]["refused"] == 30 - len(kept)


def test_a_clean_stream_is_fine_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, _ = recorded(tmp_path, n=60)
    stream.write_bytes(b"noise" + stream.read_bytes())
    assert utc_verb.main(["receiver", str(stream), "--antenna", ANTENNA]) == 0
    said = capsys.readouterr()
    assert "60 ok, 0 doubtful, 0 refused" in said.out
    assert "[damaged]" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{text}"], "no epoch that says its date"),
        (["{stream}", "--link", "a,b"], "belong together"),
        (["{stream}", "--readings", "{csv}", "--link", "a,b"], "no reading of a and b"),
        (["{stream}", "--out", "{text}"], "belong together"),
        (["{missing}"], "No such file"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, words: list[str], says: str) -> None:
    stream, csv = recorded(tmp_path, n=3)
    text = tmp_path / "text"
    text.write_text("hello\n", encoding="ascii")
    places = {"stream": stream, "csv": csv, "text": text, "missing": tmp_path / "none"}
    with pytest.raises(Rejected, match=says):
        utc_verb.main(["receiver", *[word.format(**places) for word in words]])


@pytest.mark.parametrize("antenna", ["48,11", "91,0,0", "48,x,0", "48,11,nan"])
def test_an_antenna_is_three_numbers(antenna: str) -> None:
    with pytest.raises(SystemExit) as left:
        utc_verb.main(["receiver", "day.ubx", "--antenna", antenna])
    assert left.value.code == 2
