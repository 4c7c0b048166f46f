"""An applier on a host of its own: the same checks again, by its own file."""

import json
from pathlib import Path

import pytest
from tests.cli.test_key_ceremony import lab, said  # noqa: F401 - a fixture

from truechimer.cli.__main__ import main


def orders(folder: Path, capsys: pytest.CaptureFixture[str], value: str, out: str) -> str:
    words = ["order", "propose", "calibration-delay", "--target", "H1", "--value", value, "--because", "a test"]
    path = said(capsys, *words, "--lab", folder, "--out", folder / out)["path"]
    said(capsys, "order", "sign", path, "--key", folder / "policy" / "operator.key", "--yes", "--lab", folder)
    return path


def valid_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour has passed since the proposal: its begin is certain."""
    from truechimer.cli import order_place

    later_ns = 1_800 * 10**9
    monkeypatch.setattr(order_place, "ABOUT_TAI_MINUS_UTC_NS", order_place.ABOUT_TAI_MINUS_UTC_NS + later_ns)


def test_an_applier_of_its_own_repeats_every_check_and_forgets_nothing(
    lab: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, wide = orders(lab, capsys, "2e-8", "one.json"), orders(lab, capsys, "2e-7", "wide.json")
    chain = lab / "applier.jsonl"
    assert main(["order", "apply", one, "--chain", str(chain), "--lab", str(lab)]) == 2
    assert "--policy" in capsys.readouterr().err
    valid_now(monkeypatch)
    words = ("--chain", chain, "--policy", lab / "policy" / "policy.json", "--lab", lab)
    assert said(capsys, "order", "apply", wide, *words, status=1)["reason"] == "per-order"
    assert said(capsys, "order", "apply", one, *words)["outcome"] == "applied"
    assert said(capsys, "order", "apply", one, *words, status=1)["reason"] == "replay"
    assert len(chain.read_bytes().splitlines()) == 4
    assert chain.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_edited_is_found(
    lab: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, chain = orders(lab, capsys, "2e-8", "one.json"), lab / "applier.jsonl"
    valid_now(monkeypatch)
    words = ["order", "apply", one, "--chain", str(chain), "--lab", str(lab)]
    assert main([*words, "--policy", str(lab / "policy" / "policy.json")]) == 0
    good = chain.read_bytes()
    last = json.loads(good.splitlines()[-1])
    forged = json.dumps(
        last | {"outcome": "refused", "reason": "x", "says": "y"}, sort_keys=True, separators=(",", ":")
    )
    for data in (
        good[:-2],
        good.replace(b"H1", b"H2"),
        good.splitlines(keepends=True)[0] + forged.encode() + b"\n",
        b"{}\n",
        good.splitlines(keepends=True)[1],
    ):
        chain.write_bytes(data)
        assert main(words) == 2, data[:60]
        assert chain.read_bytes() == data, "nothing is written behind what cannot be believed"
    chain.write_bytes(good)
    assert main(words) == 1
