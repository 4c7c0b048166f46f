"""`utc report`: every figure on the page is one of the data, nothing is fetched, and what cannot be told is refused."""

import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from tests.formats.test_bipm_tables import AFTER, HEAD, TABLE
from tests.laboratory.test_submission import DAYS, journal

from truechimer.cli.__main__ import main
from truechimer.formats import clock_data, leap_seconds_list, utcr
from truechimer.formats.clock_data import ClockReading, ClockStep
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.instants import UtcLabel, builtin_leap_table
from truechimer.store.sqlite_records import SqliteRecords


class Cells(HTMLParser):
    """Tables by caption, rows of cells; and every name of a tag and attribute that was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.seen: set[str] = set()
        self._rows: list[list[str]] = []
        self._where = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}
        self._where = tag
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._where = ""

    def handle_data(self, data: str) -> None:
        if self._where == "caption":
            self.tables[data] = self._rows
        elif self._where in ("td", "th"):
            self._rows[-1][-1] += data


def number(cell: str) -> float:
    return float(cell.replace("\u2212", "-"))


def made(
    words: list[str], out: Path, capsys: pytest.CaptureFixture[str], *, status: int = 0
) -> tuple[dict[str, Any], Cells, str]:
    assert main(["utc", "report", *words, "--laboratory", "AAA", "--out", str(out), "--json"]) == status
    text = out.read_text()
    page = Cells()
    page.feed(text)
    return json.loads(capsys.readouterr().out), page, text


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    mjds = tuple(range(53_423, 53_430))
    week = utcr.write(
        utcr.RapidUtc("0509", UtcTable(mjds, (LaboratoryRow("AAA", "", (1.5,) * 3 + (None,) + (2.5,) * 3),)))
    )
    clocks = [ClockReading(53_399 + 5 * k, "10023", "1350000", 10.0 + 4.32 * k) for k in range(7)]
    for name, data in (
        ("cirt.206", (HEAD + TABLE + AFTER).encode()),
        ("UTCr_0509", week),
        ("aaa.clk", clock_data.write(clocks)),
        ("aaa.stp", clock_data.write_steps([ClockStep(53_410.5, "1350000", 12.0, 8.64, "AAA", "10023")])),
        ("leap.list", leap_seconds_list.write(builtin_leap_table(), updated=UtcLabel.parse("2026-07-06T00:00:00Z"))),
    ):
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in ("cirt.206", "UTCr_0509", "aaa.clk", "aaa.stp", "leap.list")]


def test_each_figure_on_the_page_is_that_of_the_files(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, page, text = made(files, tmp_path / "page.html", capsys)
    days = {int(row[1]): row for row in page.tables["by day / ns"][1:]}
    given = re.search(r"^AAA .*$", TABLE, re.MULTILINE)
    assert given is not None
    values = [float(each) for each in given.group().split(")")[1].split()]
    mjds = [53_399, 53_404, 53_409]
    assert [number(days[mjd][2]) for mjd in mjds] == values[:3]
    assert {tuple(map(number, days[mjd][3:5])) for mjd in mjds} == {(values[3], values[5])}
    assert {mjd: number(row[5]) for mjd, row in days.items() if row[5]} == {
        mjd: 1.5 if mjd < 53_426 else 2.5 for mjd in range(53_423, 53_430) if mjd != 53_426
    }
    rms = sqrt(sum(each * each for each in values[:3]) / 3)
    assert number(page.tables["UTC by year"][-1][3]) == pytest.approx(rms, abs=0.005)
    assert [row[0] for row in page.tables["UTC by month"][1:]] == ["2005-01", "2005-02"]
    assert page.tables["UTC by week"][1][0] == "2005-W04", "2005-01-29 was a Saturday of the fourth week"
    assert sum(int(row[1]) for row in page.tables["UTC by week"][1:]) == 3
    (clock,) = page.tables["Clocks as submitted to the BIPM"][1:]
    assert number(clock[5]) == pytest.approx(4.32e-9 / (5 * 86_400), rel=0.01)
    assert number(page.tables["Steps as submitted"][1][3]) == pytest.approx(1e-13)
    for path in files:
        assert sha256(Path(path).read_bytes()).hexdigest() in text
    assert body["leap"]["tai_minus_utc_s"] == 32
    assert str(tmp_path) not in text, "where files lie is nobody's business"


def test_the_page_fetches_nothing_and_the_same_files_make_the_same_page(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, page, text = made(files, tmp_path / "page.html", capsys)
    assert not page.seen & {"script", "link", "img", "iframe", "src", "href", "onload"}
    assert "url(http" not in text
    assert "default-src 'none'" in text
    assert made(files, tmp_path / "again.html", capsys)[2] == text


def test_what_cannot_be_used_is_on_the_page_and_words_from_a_file_are_no_markup(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "<b>cirt.206"
    broken = (HEAD + TABLE + AFTER).replace("-23.3", "<b>3").encode()
    path.write_bytes(broken)
    assert (
        main(["utc", "report", str(path), *files[1:2], "--laboratory", "AAA", "--out", str(tmp_path / "p.html")]) == 1
    )
    text = (tmp_path / "p.html").read_text()
    assert "<b>c" not in text
    assert "<b>3" not in text
    assert "[value]" in text
    assert "[value]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    store = SqliteRecords(folder / "records.sqlite3")
    store.append(list(enumerate(journal()[0])))
    store.close()
    return folder


def test_weights_and_steering_are_those_of_the_journal(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = tmp_path / "utc-aaa"
    series.write_text("".join(f"{mjd} {0.5 * k:.1f} 0.3 2.0 2.1\n" for k, mjd in enumerate(DAYS)))
    body, page, _ = made([str(series), "--journal", str(lab)], tmp_path / "page.html", capsys)
    log = [json.loads(data) for data in journal()[0]]
    steps = [each for each in log if each["kind"] == "scale-step"]
    names = [each["name"] for each in log[0]["clocks"]]
    for clock in body["clocks"]:
        at = names.index(clock["name"])
        for mjd, mean in clock["weight"].items():
            start = (int(mjd) - 40_587) * 86_400 * 10**9 + 37 * 10**9
            here = [each for each in steps if start <= int(each["epoch_tai_ns"]) < start + 86_400 * 10**9]
            said = [float(each["weight"][at].split()[0]) for each in here]
            assert mean == pytest.approx(sum(said) / len(said), rel=1e-12)
    for mjd in {mjd for clock in body["clocks"] for mjd in clock["weight"]}:
        assert sum(clock["weight"].get(mjd, 0.0) for clock in body["clocks"]) == pytest.approx(1.0)
    told = page.tables["Clocks of the scale"][1:]
    assert {row[0] for row in told} == set(names) - {"host"}
    orders = [each for each in log if each["kind"] == "steer" and "refused" not in each]
    assert sum(row["orders"] for row in body["steering"]) == len(orders) > 0
    last = [row for row in body["steering"] if "y_steer" in row][-1]
    assert last["y_steer"] == float(orders[-1]["y_steer"].split()[0])
    assert all(row["x_broken_s"] == 0.0 for row in body["steering"])
    (of_journal,) = [each for each in body["files"] if each["kind"] == "journal"]
    assert of_journal["last_record_sha256"] == sha256(journal()[0][-1]).hexdigest()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{cirt}", "--out", "page.pdf"], "ends in .html"),
        (["{cirt}", "{cirt}"], "the same bytes"),
        (["{cirt}", "--laboratory", "ZZZ"], "no value of UTC - UTC(ZZZ)"),
        (["{cirt}", "--from", "60000"], "no value"),
        (["{cirt}", "--from", "53410", "--to", "53400"], "before the first"),
        (["{cirt}", "{two}"], "of no kind"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    files: list[str], tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two").write_bytes(b"\x89PNG\r\n")
    asked = [word.format(cirt=files[0], two=tmp_path / "two") for word in words]
    more = [] if "--out" in words else ["--out", str(tmp_path / "page.html")]
    code = [] if "--laboratory" in words else ["--laboratory", "AAA"]
    assert main(["utc", "report", *asked, *more, *code]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert not (tmp_path / "page.html").exists()
