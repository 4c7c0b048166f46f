"""now, wait, status, sources and diag against a laboratory that answers what a test writes."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.fake_laboratory import FakeLaboratory, a_clock, a_source
from tests.daemon_serve.doors import a_live_page

from truechimer.cli import diag_checks, lab_words
from truechimer.cli.__main__ import main
from truechimer.cli.diag_checks import Outcome
from truechimer.cli.sources_verb import why_out
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.instants import UtcLabel, builtin_leap_table, from_utc

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = ("numpy", "rich", "msgspec", "cryptography", "asyncio", "numba", "scipy", "starlette")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path / "lab") as running:
        monkeypatch.setenv("TRUECHIMER_LAB", str(running.folder))
        yield running


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate of records is seen over a moment."""
    monkeypatch.setattr(diag_checks, "RECORD_SPAN_S", 0.0)


def test_now_says_the_time_its_bound_and_that_it_is_simulated(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["now"]) == 0
    out = capsys.readouterr().out
    assert "Z  +/- 31.3 ns" in out
    assert "SIMULATED" in out
    lab.status["against"] = "utc"
    assert main(["now"]) == 0
    assert "SIMULATED" not in capsys.readouterr().out


def test_now_json_has_the_keys_of_the_contract(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["now", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        "earliest", "latest", "utc", "tai_ns", "state", "bound_s", "u_s", "coverage", "against",
    }  # fmt: skip
    assert document["earliest"] < document["utc"] < document["latest"]


def test_now_unsynchronised_is_status_1_and_names_what_is_missing(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.unsynchronise()
    assert main(["now"]) == 1
    out = capsys.readouterr().out
    assert "UNSYNCHRONISED" in out
    assert "no reading names host" in out
    assert main(["now", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["missing"] == ["no reading names host"]
    assert document["why"] == "freerun"
    assert "utc" not in document


@pytest.mark.parametrize("verb", [["now"], ["status"], ["sources"], ["wait", "--within", "1"]])
def test_without_a_laboratory_is_status_2_in_one_line_that_names_the_four_places(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRUECHIMER_LAB", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(verb) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    for place in ("--lab", "$TRUECHIMER_LAB", "./run/control.sock", "registry"):
        assert place in err


@pytest.mark.parametrize("verb", ["now", "status", "sources"])
def test_these_verbs_import_nothing_heavy_and_answer_at_once(
    lab: FakeLaboratory, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys; from truechimer.cli.__main__ import main; status = main(sys.argv[1:]);"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules];"
        "print(f'{status} {heavy}', file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    begun = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-P", "-c", program, verb], capture_output=True, text=True, check=True, env=environment
    )
    spent_ms = 1e3 * (time.perf_counter() - begun)
    with capsys.disabled():
        print(f"\n  truechimer {verb}: {spent_ms:.0f} ms, start of Python included", end="")
    assert found.stderr == "0 []\n"


def test_wait_ends_at_once_where_the_bound_is_small_enough(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wait", "--within", "1e-7"]) == 0
    assert "+/- 31.3 ns" in capsys.readouterr().out


def test_wait_gives_up_with_status_1_and_says_what_it_saw(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wait", "--within", "1e-8", "--timeout", "0.05", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["bound_s"] == 31.24e-9
    lab.unsynchronise()
    assert main(["wait", "--within", "1", "--timeout", "0.05"]) == 1
    assert "UNSYNCHRONISED" in capsys.readouterr().out


def test_wait_blocks_until_the_bound_has_shrunk(lab: FakeLaboratory) -> None:
    lab.bound_s = 1e-3

    def shrink() -> None:
        end = time.monotonic() + 120
        while len(lab.asked) < 2 and time.monotonic() < end:
            time.sleep(0.005)
        lab.bound_s = 1e-9

    thread = threading.Thread(target=shrink)
    thread.start()
    assert main(["wait", "--within", "1e-6", "--timeout", "120"]) == 0
    thread.join()
    assert len(lab.asked) > 2


def test_wait_waits_for_a_named_laboratory_that_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = FakeLaboratory(tmp_path / "late")
    thread = threading.Timer(0.3, late.socket.start)
    thread.start()
    try:
        assert main(["wait", "--within", "1", "--timeout", "20", "--lab", str(late.folder)]) == 0
    finally:
        thread.join()
        late.socket.close()
    assert main(["wait", "--within", "1", "--timeout", "0.05", "--lab", str(tmp_path / "never")]) == 2
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["wait"], ["wait", "--within", "0"], ["wait", "--within", "nan"], ["now", "x"]])
def test_wrong_use_is_status_2(lab: FakeLaboratory, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_status_is_one_screen_with_everything_that_was_said(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("SIMULATED")
    for words in (
        "+/- 31.3 ns", "steered on UTC by a majority", "21.3 ns of the scale alone", "host link 18.0 ns", "SIM(demo)",
        "TAI - UTC 37 s", "single signer, software key", "caesium2", "phase step", "^x  UTC.p3", "42 requests",
        "warning clock-step: caesium2 stepped", "do: look at its counter",
    ):  # fmt: skip
        assert words in out
    assert len(out.splitlines()) <= 40
    assert max(map(len, out.splitlines())) <= 160


def test_the_terms_of_the_bound_add_up_to_it(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    lab.status["terms"] = {"u_host_link_s": 3e-9, "u_utc_prediction_s": 4e-9, "limit_links_s": 5e-9}
    lab.bound_s = 6 * 5e-9 + 5e-9 + 7e-9
    lab.status["clocks"][0]["weight"] = 1e-5
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "since the last epoch: 7.00 ns" in out or "since the last epoch: 7.01 ns" in out
    assert "<0.001" in out
    lab.bound_s = 35e-9
    assert main(["status"]) == 0
    assert "since the last epoch" not in capsys.readouterr().out


def test_status_says_unsynchronised_first_and_with_its_exit_status(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.unsynchronise("acquiring")
    assert main(["status"]) == 1
    assert "UNSYNCHRONISED  state acquiring" in capsys.readouterr().out


def test_status_shows_a_laboratory_that_says_almost_nothing(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.status = {"state": "freerun", "synchronised": False, "records": 0, "clocks": 3, "sources": [7], "leap": None}
    assert main(["status"]) == 1
    out = capsys.readouterr().out
    assert "UNSYNCHRONISED  state freerun" in out
    assert "no source claims UTC" in out


def test_a_terminal_obeys_nothing_that_a_laboratory_says(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.status["sources"] = [a_source("UTC.\x1b[2Jp1", operator="\x07\r\nx", says="\x9b1A")]
    lab.status["alerts"][0]["says"] = "\x1b]0;x\x07"
    assert main(["status"]) == 0
    assert main(["sources", "-v"]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\r", "\x9b"} & set(out)


def test_sources_have_chronys_marks_and_columns(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["MS", "Name", "Operator", "Stratum", "Poll", "Reach"]
    assert [line[:2] for line in lines[2:]] == ["#*", "^+", "^x", "^?"]
    assert lines[3].split() == ["^+", "UTC.p2", "UTC.p2.example", "1", "6", "377", "12", "-2.50", "us", "306", "us"]


def test_sources_explain_themselves_and_why_one_is_out(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    lab.status["sources"][3]["says"] = "192.0.2.4 did not answer within 2 s"
    assert main(["sources", "-v"]) == 0
    out = capsys.readouterr().out
    assert "Source state '*' = selected, first" in out
    assert "UTC.p4: never heard since the laboratory started; 192.0.2.4 did not answer within 2 s" in out
    assert "UTC.p3: outvoted: we stand -310 us from it" in out


def test_sources_as_csv_have_chronyc_s_ten_columns_and_its_sign(
    lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sources", "-c"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert all(len(row) == 10 for row in rows)
    assert rows[2][:3] == ["^", "x", "UTC.p3"]
    # `offset_s` is the source minus UTC(k) = +310 us: we are behind it, which chrony writes as a negative offset.
    assert float(rows[2][7]) == -3.1e-4
    assert float(rows[2][9]) == pytest.approx(6 * 1e-6 + 3e-4, abs=1e-11)
    assert rows[3] == ["^", "?", "UTC.p4", "", "", "", "", "", "", ""]


def test_sources_as_json_keep_the_laboratorys_own_sign(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"][2]["offset_s"] == 3.1e-4


@pytest.mark.parametrize(
    ("value_s", "shown"),
    [
        (0.0, "0 s"), (3.124e-8, "31.3 ns"), (3.12e-8, "31.2 ns"), (2e-9, "2.00 ns"), (3e-9, "3.00 ns"),
        (9.991e-10, "1.00 ns"), (3.0000001e-9, "3.01 ns"),
        (9.9999e-4, "1.00 ms"), (0.9996, "1.00 s"), (1e-15, "0.01 ps"), (12.34, "12.4 s"), (1234.5, "1235 s"),
    ],
)  # fmt: skip
def test_a_bound_is_shown_rounded_up_and_no_further(value_s: float, shown: str) -> None:
    assert lab_words.bound(value_s) == shown


def test_what_is_no_number_is_a_dash() -> None:
    assert lab_words.bound(None) == lab_words.seconds(float("nan")) == lab_words.age(float("inf")) == "-"


@pytest.mark.parametrize(("value_s", "shown"), [(-3.1e-4, "-310 us"), (2.5e-6, "+2.50 us"), (0.0, "+0 s")])
def test_an_offset_has_a_sign(value_s: float, shown: str) -> None:
    assert lab_words.seconds(value_s, signed=True) == shown


def outcome(checks: Any, what: str) -> Outcome:
    return next(check.outcome for check in checks if check.what.startswith(what))


def healthy(lab: FakeLaboratory) -> None:
    """Make the fake laboratory one where all is well (it has no NTP door, so none is asked)."""
    lab.status["sources"] = [a_source(f"UTC.p{i}") for i in range(3)]
    lab.status["clocks"] = [a_clock("maser1"), a_clock("maser2")]
    lab.status["listeners"] = []
    (lab.folder / "LAB.toml").write_text(
        '[lab]\nname = "demo"\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "192.0.2.1:123"\n'
    )
    clocks = HostClocks()
    page = a_live_page(written_raw_ns=clocks.raw_ns(), valid_until_raw_ns=clocks.raw_ns() + 600 * 10**9)
    with PageWriter(lab.folder / "run" / "clock.page", boot_id=clocks.boot_id()) as writer:
        writer.publish(page)


def test_diag_of_a_healthy_laboratory_fails_nothing(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    healthy(lab)
    assert main(["diag"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("[ OK ] ", "[WARN] ")) for line in lines[:-1])
    assert not [
        line
        for line in lines[:-1]
        if line.startswith("[WARN]")
        and not any(word in line for word in ("disk", "clocksource", "clocks:", "clock:", "snapshot"))
    ]
    assert "0 failed" in lines[-1]


def test_diag_json_has_every_line_and_the_counts(lab: FakeLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    lab.unsynchronise()
    lab.status["listeners"] = []
    assert main(["diag", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == sum(check["outcome"] == "fail" for check in document["checks"]) > 0
    assert all(check["do_next"] for check in document["checks"] if check["outcome"] != "ok")


def test_diag_without_a_laboratory_is_one_failure_that_names_the_four_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRUECHIMER_LAB", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["diag"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[FAIL] service: no running laboratory found: no --lab DIR given; $TRUECHIMER_LAB")


@pytest.mark.parametrize(
    ("changes", "what", "expected"),
    [
        ({"state": "holdover"}, "state", Outcome.WARN),
        ({"state": "acquiring", "synchronised": False}, "state", Outcome.WARN),
        ({"state": "freerun", "synchronised": False}, "state", Outcome.FAIL),
        ({"state": "steered", "synchronised": False, "why": "page-too-old"}, "state", Outcome.FAIL),
        ({"state": "\x1b"}, "state", Outcome.FAIL),
        ({"leap": {"expires": "2026-01-01T00:00:00Z"}}, "leap table", Outcome.FAIL),
        ({"leap": {"expires": "2026-07-20T00:00:00Z"}}, "leap table", Outcome.WARN),
        ({"leap": {"expires": "soon"}}, "leap table", Outcome.WARN),
        ({"steering": {"envelope_valid_until": "2026-07-10T00:00:00Z"}}, "steering envelope", Outcome.WARN),
        ({"steering": {"envelope_valid_until": "2026-06-30T00:00:00Z"}}, "steering envelope", Outcome.FAIL),
        ({"steering": {"envelope_refused": "bad signature"}}, "steering envelope", Outcome.FAIL),
        ({"sources": []}, "sources", Outcome.FAIL),
        ({"sources": [a_source("a", "outvoted", "x"), a_source("b", "stale", "?")]}, "sources", Outcome.FAIL),
        ({"sources": [a_source("a"), a_source("b"), a_source("c", operator="b.example")]}, "sources", Outcome.WARN),
        ({"selection": {"state": "no-majority", "says": "no majority"}}, "sources", Outcome.FAIL),
        ({"store": {"state": "failing", "says": "disk full", "waiting": 3}}, "store", Outcome.FAIL),
        ({"clocks": []}, "clocks", Outcome.OK),
        ({"clocks": [a_clock("a"), a_clock("b", 0.0, state="out-step")]}, "clocks", Outcome.WARN),
        ({"clocks": [a_clock("a", 0.0, state="learning")]}, "clocks", Outcome.FAIL),
        ({"alerts": [{"severity": "critical", "says": "x"}]}, "alerts", Outcome.WARN),
        ({"rejected_readings": 3, "reading_faults": [{"file": "f", "line": 2, "says": "x"}]}, "readings", Outcome.WARN),
    ],
)  # fmt: skip
def test_diag_judges_each_thing(changes: dict[str, Any], what: str, expected: Outcome, lab: FakeLaboratory) -> None:
    lab.instant = from_utc(UtcLabel.parse("2026-07-01T12:00:00Z"), builtin_leap_table(), beyond_expiry="flag")
    healthy(lab)
    lab.status |= changes
    checks = list(diag_checks.laboratory_checks(str(lab.folder)))
    assert outcome(checks, what) is expected
    assert all(check.do_next for check in checks if check.outcome is not Outcome.OK)


@pytest.mark.parametrize(("bound_s", "expected"), [(4e-4, Outcome.OK), (6e-4, Outcome.WARN), (1.1e-3, Outcome.FAIL)])
def test_diag_compares_the_bound_with_each_doors_limit(bound_s: float, expected: Outcome) -> None:
    status = {"bound_s": bound_s, "listeners": [{"bound_limit_s": 1e-3}]}
    assert [check.outcome for check in diag_checks.bound_of(status)] == [expected]


def test_diag_sees_records_that_do_not_grow(lab: FakeLaboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diag_checks, "RECORD_PATIENCE_S", 0.05)
    assert diag_checks.records({"records": 1e9}, lab.folder).outcome is Outcome.WARN
    assert diag_checks.records({}, lab.folder).outcome is Outcome.WARN


def test_diag_sees_a_door_that_does_not_answer(lab: FakeLaboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diag_checks, "DOOR_TIMEOUT_S", 0.2)
    row = {"protocol": "ntp", "address": "127.0.0.1", "port": 9}
    (check,) = diag_checks.doors({"listeners": [row]}, lab.folder)
    assert check.outcome is Outcome.FAIL


@pytest.mark.parametrize(("name", "expected"), [("tsc\n", Outcome.OK), ("hpet\n", Outcome.WARN), (None, Outcome.WARN)])
def test_diag_looks_what_the_kernel_counts(name: str | None, expected: Outcome, tmp_path: Path) -> None:
    if name is not None:
        (tmp_path / "current").write_text(name)
    assert diag_checks.clocksource(tmp_path / "current").outcome is expected


def test_a_source_in_quarantine_is_said_to_agree_only_where_it_does() -> None:
    row = {"name": "s", "verdict": "quarantined", "offset_s": 0.31, "u_s": 1e-5, "limit_s": 1e-4}
    assert "still contradicts" in why_out(row | {"agrees": False})
    assert "agrees again" in why_out(row | {"agrees": True, "offset_s": 1e-6})
