"""`truechimer check`: all faults with file and line; its exit status is the answer."""

import json
import socket
from pathlib import Path

import jsonschema
import pytest

from truechimer.cli.__main__ import main

GOOD = '[lab]\nname = "lab1"\n[[source]]\nname = "p1"\nkind = "ntp"\naddress = "192.0.2.1:123"\n'
BAD = GOOD.replace("[lab]", "[lab]\nsilence_ms = 3").replace("ntp", "npt")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "LAB.toml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_said_to_be_good(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(lab)]) == 0
    assert capsys.readouterr() == (f"{lab}: good: laboratory lab1, 0 clocks, 1 source, 0 doors\n", "")


def test_faults_are_lines_that_an_editor_can_jump_to(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab.write_text(BAD)
    assert main(["check", str(lab)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{lab}:2: [lab] has no key silence_ms; the key is silence_s")
    assert lines[1].startswith(f"{lab}:6: [[source]] 1 (p1) kind")
    assert lines[2] == f"{lab}: 2 faults; `truechimer up` would not start"


def test_json_says_the_same(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(lab)]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(lab), "lab": "lab1", "good": True, "findings": []}
    lab.write_text(BAD)
    assert main(["check", "--json", str(lab)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["good"] is False
    assert "lab" not in document
    assert [(each["line"], each["rule"], each["severity"]) for each in document["findings"]] == [
        (2, "wrong-unit", "error"),
        (6, "not-a-choice", "error"),
    ]


def test_a_warning_is_said_and_the_file_is_good(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab.write_text('[lab]\nname = "x"\n')
    assert main(["check", str(lab)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{lab}: warning: there is no [[source]]")
    assert "good, 1 warning" in last


def test_a_file_that_cannot_be_opened_is_status_2_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / "no.toml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("truechimer check: ")
    assert len(err.splitlines()) == 1


def test_a_taken_port_is_a_fault(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        lab.write_text(f'{GOOD}[[listener]]\nprotocol = "ntp"\nport = {other.getsockname()[1]}\n')
        assert main(["check", str(lab)]) == 1
    assert f"{lab}:9: [[listener]] ntp on 127.0.0.1 port" in capsys.readouterr().out


def test_the_ugly_words_reach_the_rules(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab.parent / "s.toml").write_text(
        "[run]\ndays = 1\ninterval_s = 60\n"
        '[[clock]]\nname = "H1"\nkind = "maser"\n[[clock]]\nname = "H2"\nkind = "maser"\n'
        '[[link]]\na = "H2"\nb = "H1"\n'
    )
    lab.write_text(f'{GOOD}[[source]]\nname = "s"\nkind = "simulated"\nscenario = "s.toml"\n')
    assert main(["check", str(lab)]) == 1
    assert "--insecure-mix-simulated" in capsys.readouterr().out
    assert main(["check", str(lab), "--insecure-mix-simulated"]) == 0


def test_faults_of_a_scenario_are_faults_of_the_laboratory(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab.parent / "s.toml").write_text("[run]\ndays = -1\ninterval_ms = 60\n")
    lab.write_text('[lab]\nname = "x"\n[[source]]\nname = "s"\nkind = "simulated"\nscenario = "s.toml"\n')
    assert main(["check", str(lab)]) == 1
    out = capsys.readouterr().out
    assert f"{lab}:6: s.toml:2: [run] days" in out
    assert f"{lab}:6: s.toml:3: [run] has no key interval_ms" in out


def test_the_schema_that_ships_is_the_one_of_the_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    printed = capsys.readouterr().out
    jsonschema.Draft202012Validator.check_schema(json.loads(printed))
    shipped = Path(__file__).parents[2] / "labs" / "lab.schema.json"
    assert shipped.read_text() == printed, "run: ./truechimer check --schema > labs/lab.schema.json"


def test_for_observing_neither_ports_nor_keys_are_looked_at(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab.parent / "policy").mkdir()
    (lab.parent / "policy" / "operator.key").write_text("not a key")
    (lab.parent / "policy" / "operator.key").chmod(0o644)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        lab.write_text(f'{GOOD}[[listener]]\nprotocol = "ntp"\nport = {other.getsockname()[1]}\n')
        assert main(["check", str(lab)]) == 1
        assert "2 faults; `truechimer up` would not start" in capsys.readouterr().out
        assert main(["check", str(lab), "--observe"]) == 0
    assert "good" in capsys.readouterr().out
    lab.write_text(BAD)
    assert main(["check", str(lab), "--observe"]) == 1
    assert "`truechimer up --observe` would not start" in capsys.readouterr().out
