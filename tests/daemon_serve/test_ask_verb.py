"""`truechimer ask ntp`: what it prints, and the exit status."""

import json
import socket
from pathlib import Path

import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in

from truechimer.cli import ask_verb
from truechimer.serve import ServiceState


def test_a_synchronised_server_gives_offset_delay_and_bound_and_exit_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        assert ask_verb.main(["ntp", f"127.0.0.1:{door.port}", "--count", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["synchronised"] is True
    assert document["authenticated"] is False
    assert (document["asked"], document["answered"], len(document["samples"])) == (3, 3, 3)
    assert (document["stratum"], document["leap"], document["refid"]) == (1, "none", "TRUE")
    # The page's line is this host's wall clock, so the offset is small and inside the bound.
    assert abs(document["offset_s"]) <= document["bound_s"] + 5e-6
    assert document["bound_s"] == min(sample["bound_s"] for sample in document["samples"])


@pytest.mark.parametrize("shift_s", [-3600, 2.5, 86_400 * 365])
def test_the_offset_is_the_server_minus_this_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shift_s: float
) -> None:
    page = a_live_page()
    shifted = a_live_page(
        anchor_raw_ns=page.anchor_raw_ns,
        anchor_tai_fs=page.anchor_tai_fs + round(shift_s * 10**15),
        leap_expires_tai_s=page.leap_expires_tai_s + 86_400 * 400,
    )
    with a_page_in(tmp_path, shifted), a_door(tmp_path) as door:
        ask_verb.main(["ntp", f"127.0.0.1:{door.port}", "--count", "1", "--json"])
    document = json.loads(capsys.readouterr().out)
    way_s = document["samples"][0]["delay_s"]  # on a machine with other work the way takes milliseconds
    assert document["offset_s"] == pytest.approx(shift_s, abs=1e-3 + way_s / 2)


def test_an_unsynchronised_server_is_exit_1_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_page_in(tmp_path, a_live_page(state=ServiceState.FREERUN)), a_door(tmp_path) as door:
        assert ask_verb.main(["ntp", f"127.0.0.1:{door.port}", "--count", "1", "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert ask_verb.main(["ntp", f"127.0.0.1:{door.port}", "--count", "1"]) == 1
    assert (document["synchronised"], document["reason"], document["kiss"]) == (False, "kiss", "INIT")
    assert "NOT SYNCHRONISED" in capsys.readouterr().out


def test_nobody_there_is_exit_1_with_what_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    assert ask_verb.main(["ntp", f"127.0.0.1:{port}", "--count", "1", "--timeout-s", "0.2"]) == 1
    out = capsys.readouterr().out
    assert "cannot be reached" in out
    assert "check address, port and firewall" in out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["ntp"],
        ["nts", "127.0.0.1"],
        ["ntp", "127.0.0.1", "--count", "0"],
        ["ntp", "127.0.0.1", "--count", "x"],
        ["ntp", "127.0.0.1", "--timeout-s", "nan"],
        ["ntp", "127.0.0.1:99999"],
        ["ntp", "127.0.0.1", "--no-such"],
    ],
)
def test_wrong_use_is_exit_2_in_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = ask_verb.main(argv)
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    found = capsys.readouterr()
    assert status == 2
    assert found.err.count("\n") == 1
    assert found.out == ""


@pytest.mark.parametrize(
    ("server", "port"),
    [("127.0.0.1", 11_123), ("::1", 11_123), ("localhost", 11_123), ("192.0.2.1", 123), ("ntp.example", 123)],
)
def test_without_a_port_ours_is_asked_on_loopback_and_the_standard_one_elsewhere(
    server: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, ExchangeFault

    asked: list[int] = []

    def noted(_host: str, port: int, **_more: object) -> ExchangeFailure:
        asked.append(port)
        return ExchangeFailure(ExchangeFault.NO_ANSWER, "nobody")

    monkeypatch.setattr(ask_verb, "exchange", noted)
    assert ask_verb.main(["ntp", server, "--count", "1"]) == 1
    assert asked == [port]
    capsys.readouterr()
